"""The temporary folder of a run: made with room for its files, and removed whatever happens."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import qt
import slicer

from SCDSegmentationLib.errors import SegmentationError
from SCDSegmentationLib.volume_files import volumeBytes

_FOLDER_PREFIX = "scdseg-run-"
_FORGOTTEN_SECONDS = 7 * 24 * 3600
_GONE_SECONDS = 3600
_SLACK_SECONDS = 120  # that clocks of processes, and of the disks of other machines, may differ
# Machines may share a folder, and only processes of the own one can be asked for.
_MACHINE = hashlib.sha256(platform.node().encode("utf-8", "replace")).hexdigest()[:8]


def removeFolder(folder: Path, tries: int = 5) -> None:
    """Remove a run's folder; on Windows not before a worker that is just ending has let go of its files."""
    shutil.rmtree(folder, ignore_errors=True)
    if tries and folder.exists():
        qt.QTimer.singleShot(1000, lambda: removeFolder(folder, tries - 1))


def _removeForgotten(parent: Path) -> None:
    """Remove the folders of runs that ended with a crash of the application.

    Only what is surely a run's: its name begins as theirs do and it holds nothing but their files.
    """
    for folder in parent.glob(f"{_FOLDER_PREFIX}*"):
        with suppress(OSError):
            names = [path.name for path in folder.iterdir()]
            if _isForgotten(folder) and all(name.lstrip(".").endswith((".nrrd", ".json")) for name in names):
                shutil.rmtree(folder, ignore_errors=True)


def _isForgotten(folder: Path) -> bool:
    """Whether the application that made the folder is gone. Its age alone would not tell: clocks are set."""
    import psutil  # installed with the packages of the worker, so not before the module is loaded

    age = time.time() - folder.stat().st_mtime
    owner = re.match(rf"{_FOLDER_PREFIX}{_MACHINE}-(\d{{1,9}})-", folder.name)
    if owner is None:  # of another machine, or of a version that did not name the process
        return age > _FORGOTTEN_SECONDS
    if age <= _GONE_SECONDS:
        return False
    try:
        began = psutil.Process(int(owner[1])).create_time()
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:  # it cannot be asked, so it is there
        return False
    # Numbers are used again: who began after the folder was last changed has not made it, be it this very process. One
    # that began in the future has seen another clock, and cannot be compared.
    return folder.stat().st_mtime + _SLACK_SECONDS < began <= time.time()


def makeFolder(volumes: Sequence[slicer.vtkMRMLScalarVolumeNode], results: int = 1) -> Path:
    """A folder of the run's own below Slicer's temporary folder.

    Args:
        volumes: that will be written to it.
        results: how many label maps there will be.

    Raises:
        SegmentationError: it cannot be made, or the disk has no room for the volumes and the results.
    """
    parent = Path(slicer.app.temporaryPath)
    voxels = volumes[0].GetImageData().GetNumberOfPoints()
    # A result is there twice for a moment: under its temporary name, and that of the one before.
    needed = sum(volumeBytes(volume) for volume in volumes) + (1 + results) * voxels
    advice = "free disk space, or choose another temporary folder in the application settings."
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _removeForgotten(parent)
        free = shutil.disk_usage(parent).free
        if free < needed:
            raise SegmentationError(
                f"The temporary folder {parent} has {free / 1e6:.0f} MB left, but {needed / 1e6:.0f} MB are needed: "
                f"{advice}",
                "resource",
            )
        return Path(tempfile.mkdtemp(prefix=f"{_FOLDER_PREFIX}{_MACHINE}-{os.getpid()}-", dir=parent))
    except OSError as error:
        raise SegmentationError(
            f"The temporary folder {parent} cannot be used ({error.strerror or error}): {advice}", "resource"
        ) from error
