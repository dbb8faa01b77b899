"""Output files: checked before work starts, and under their final name only when all of them are complete."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from scdseg.errors import InputError, ResourceError

# Temporary files of all stages that are open.
_staged: set[Path] = set()


def check_outputs(outputs: Sequence[tuple[Path, Sequence[str]]], inputs: Sequence[Path]) -> None:
    """Check that every output can be written where it is asked for.

    Args:
        outputs: paths, each with the extensions that it may end in.
        inputs: paths that must not be written over.

    Raises:
        InputError: wrong extension, no such folder, not writable, over an input, or over another output.
    """
    seen: set[Path] = set()
    for path, extensions in outputs:
        if not path.name.lower().endswith(tuple(extensions)):
            raise InputError(f"output {path} has no extension that is written: use {', '.join(extensions)}")
        if path.is_dir():
            raise InputError(f"output {path} is a folder: give a file name")
        if not path.parent.is_dir():
            raise InputError(f"the folder of output {path} does not exist: create {path.parent} first")
        if any(_same_file(path, other) for other in inputs):
            raise InputError(f"output {path} would overwrite an input: give another name")
        if path.resolve() in seen:
            raise InputError(f"output {path} is asked for twice: give every output its own name")
        seen.add(path.resolve())
        try:
            # Permission bits say too little (read-only mounts, network shares): try it.
            with tempfile.TemporaryFile(dir=path.parent):
                pass
        except OSError as error:
            raise InputError(f"output {path} cannot be written ({error.strerror}): choose another folder") from error
        if path.exists() and not os.access(path, os.W_OK):
            raise InputError(f"output {path} exists and is write-protected: remove it or give another name")


def make_output_folder(folder: Path) -> None:
    """Make a folder for outputs, unless it is there.

    Raises:
        InputError: it cannot be made.
    """
    try:
        folder.mkdir(exist_ok=True)
    except FileNotFoundError as error:
        raise InputError(f"output folder {folder} cannot be made: create {folder.parent} first") from error
    except OSError as error:
        raise InputError(f"output folder {folder} cannot be made ({error.strerror}): choose another place") from error


@contextmanager
def staged(paths: Sequence[Path]) -> Iterator[dict[Path, Path]]:
    """Temporary names in the target folders; on leaving without an error all files get their final names at once.

    Args:
        paths: final names.

    Yields:
        Final name → temporary name with the same extension.

    Raises:
        ResourceError: the disk is full or a file cannot be written. No new file is left then, nor on an interrupt, and
            files that were there before are as they were.
    """
    temporary = {path: _hidden(path) for path in paths}
    _staged.update(temporary.values())
    try:
        yield temporary
        _rename_all(temporary)
    except OSError as error:
        first, *others = paths
        more = f" and {len(others)} more" if others else ""
        raise ResourceError(
            f"writing {first}{more} failed ({error.strerror or error}): nothing was kept; free disk space, or choose "
            "another folder"
        ) from error
    finally:
        for partial in temporary.values():
            partial.unlink(missing_ok=True)
            _staged.discard(partial)


def discard_staged() -> None:
    """Remove the temporary files of stages that cannot be left any more: the process ends, or was interrupted there."""
    for partial in list(_staged):
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        _staged.discard(partial)


def _rename_all(temporary: Mapping[Path, Path]) -> None:
    """Give every temporary file its final name, or put back what was there before."""
    there = [path for path in temporary if path.exists() or path.is_symlink()]
    # A single rename is all or nothing by itself.
    aside = {path: _hidden(path) for path in there} if len(temporary) > 1 else {}
    try:
        for path, old in aside.items():
            path.replace(old)
        for path, partial in temporary.items():
            partial.replace(path)
    except BaseException:
        for path in temporary:
            if path not in there:
                with suppress(OSError):
                    path.unlink(missing_ok=True)
        _put_back(aside)
        raise
    for old in aside.values():
        # The new files are complete; an old one that cannot be removed does not change that.
        with suppress(OSError):
            old.unlink()


def _put_back(aside: Mapping[Path, Path]) -> None:
    stuck = []
    for path, old in aside.items():
        if old.exists() or old.is_symlink():
            try:
                old.replace(path)
            except OSError:
                stuck.append(f"{path} is now {old}")
    if stuck:
        raise ResourceError(f"writing failed, and files could not be put back ({'; '.join(stuck)}): rename them")


def _hidden(path: Path) -> Path:
    """A name in the same folder that no other file has, with the same extension."""
    return path.with_name(f".{secrets.token_hex(4)}-{path.name}")


def _same_file(path: Path, other: Path) -> bool:
    if path.exists() and other.exists():
        return path.samefile(other)
    return path.resolve() == other.resolve()
