"""The parent's temporary folders, which nobody else is left to remove when it has died: patients' images lie there."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from scdseg.worker.lifetime import Parent

# The system closes a dying process's pipes before it lets the process go.
_PATIENCE_S = 0.4
_POLL_S = 0.02
_SUFFIXES = (".nrrd", ".json")


class Scratch:
    """Remembers folders, and removes those that are left when the parent is gone.

    Args:
        parent: None: it is not known, and nothing is ever removed.
    """

    def __init__(self, parent: Parent | None) -> None:
        self._parent = parent
        self._folders: list[Path] = []

    def add(self, folder: str) -> None:
        """Remember a folder; those that are gone are forgotten."""
        self._folders = [known for known in self._folders if known.is_dir()]
        if Path(folder) not in self._folders:
            self._folders.append(Path(folder))

    def remove_if_orphaned(self) -> None:
        """Remove the folders if the parent is gone, or is just going; a parent that lives looks after them itself."""
        left = [folder for folder in self._folders if folder.is_dir()]
        if not left or self._parent is None:
            return
        end = time.monotonic() + _PATIENCE_S
        while not self._parent.gone():
            if time.monotonic() > end:
                return
            time.sleep(_POLL_S)
        for folder in left:
            _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder that holds nothing but a run's files: anything else is not ours to remove."""
    with suppress(OSError):
        files = list(folder.iterdir())
        if folder.is_symlink() or not all(file.name.endswith(_SUFFIXES) and not file.is_dir() for file in files):
            return
        for file in files:
            file.unlink(missing_ok=True)
        folder.rmdir()
