"""Make models and volumes to harm, each of which is refused: python -m faults.make_files FOLDER SEED."""

from __future__ import annotations

import random
import shutil
import sys
from collections import Counter
from pathlib import Path
from unittest import mock

from fuzzing.models import Models
from fuzzing.volumes import Volumes
from scdseg.bundle import read_bundle
from scdseg.errors import ScdsegError
from scdseg.volumes import read_volume
from tiny_model import write_tiny_model

_MODELS = {"metadata": 25, "safetensors": 15, "torch": 15}
_VOLUMES = {"nifti": 25, "nrrd": 20, "metaimage": 20, "dicom": 20}
# Of files that are refused with the same words, so many.
_ALIKE = 2


def main() -> None:
    """Write ``models`` and ``volumes`` below the folder."""
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    models, volumes, work = folder / "models", folder / "volumes", folder / "work"
    for path in (models, volumes, work / "models", work / "volumes"):
        path.mkdir(parents=True)
    write_tiny_model(models / "tiny")
    write_tiny_model(models / "tiny4", channels=4)
    spoiled = Models(work / "models")
    with mock.patch("fuzzing.models.read_bundle"):
        for target, count in _MODELS.items():
            alike: Counter[str] = Counter()
            for number in range(2000):
                shutil.rmtree(spoiled.target, ignore_errors=True)
                getattr(spoiled, target)(random.Random(f"{seed} {target} {number}"))
                words = _refusal(lambda: read_bundle(spoiled.target).load_network(), spoiled.target)
                if words and alike[words] < _ALIKE:
                    alike[words] += 1
                    shutil.copytree(spoiled.target, models / f"harm-{target}-{number}")
                    if alike.total() == count:
                        break
    source = Volumes(work / "volumes")
    for target, count in _VOLUMES.items():
        alike = Counter()
        for number in range(3000):
            made: list[Path] = []
            with mock.patch("fuzzing.volumes._read", lambda path, made=made: made.append(_kept(path, work))):
                getattr(source, target)(random.Random(f"{seed} {target} {number}"))
            words = _refusal(lambda made=made: read_volume(made[0]), made[0])
            if words and alike[words] < _ALIKE:
                alike[words] += 1
                made[0].rename(volumes / f"{target}-{number}{''.join(made[0].suffixes)}")
                if alike.total() == count:
                    break
    shutil.rmtree(work)


def _kept(path: Path, folder: Path) -> Path:
    """A copy that stays when the next file is made."""
    copy = folder / f"kept{''.join(path.suffixes)}"
    if copy.is_dir():
        shutil.rmtree(copy)
    return Path((shutil.copytree if path.is_dir() else shutil.copy)(path, copy))


def _refusal(read: object, path: Path) -> str:
    """The words of a refusal, without what differs from file to file; nothing if it is read."""
    try:
        read()  # type: ignore[operator]
    except ScdsegError as error:
        return "".join(c for c in str(error).replace(str(path), "") if c.isalpha())[:60]
    return ""


if __name__ == "__main__":
    main()
