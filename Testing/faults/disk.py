"""A small disk that is full from the start, fills up on the way, or holds folders of strange names."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from faults.fault import Fault
from faults.world import World

DISK_BYTES = 4 << 20
"""Size of the disk that the campaign mounts."""
_FILLER = "filler"
NAMES = (
    "with space", "größe 体积 🧠", "quote'quote\"", "line\nbreak", "tab\tand\rreturn", "-rf", "$(touch x)", "a;b|c&d",
    "%s%n%d", "x" * 250, "back\\slash", "~", ".hidden", "[bracket]*?", "{0}", "#?=&",
)  # fmt: skip


def faults(seed: int, disk: Path | None) -> Iterator[Fault]:
    """Disks and names; without a small disk, names alone."""
    rng = random.Random(seed)
    if disk is not None:
        for kilobytes in (0, 1, 10, 50, 100, 150, 200, 220, 240, 250, 260, 280, 300, 320, 340, 360, 400, 450, 500, 600):
            yield Fault("disk full", f"{kilobytes} kB are free", partial(_free, disk, kilobytes * 1000))
        for number in range(20):
            share = (number + rng.random()) / 20
            yield Fault("disk full", f"it fills up after {share:.2f} of a run", partial(_fills, disk, share))
        for kilobytes in (0, 20, 60, 100, 120, 140, 160, 200):
            yield Fault("disk full", f"outputs have {kilobytes} kB", partial(_outputs, disk, kilobytes * 1000))
    for name in NAMES:
        yield Fault("strange names", f"temporary folder {name!r:.40}", partial(_named, name))
        yield Fault("strange names", f"model folder {name!r:.40}", partial(_named_model, name))
    yield Fault("strange names", "a temporary folder of 300 characters", partial(_named, "/".join(["d" * 74] * 4)))
    yield Fault("strange names", "a temporary folder that is a file", _file_for_folder)
    yield Fault("strange names", "a temporary folder on another machine", partial(_elsewhere, "\\\\server\\share\\x"))


def _fill(disk: Path, free: int) -> None:
    """Leave this many bytes."""
    left = os.statvfs(disk)
    size = left.f_bavail * left.f_frsize - free
    if size > 0:
        with (disk / _FILLER).open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)


def _free(disk: Path, free: int, world: World) -> str:
    folder = disk / "temporary"
    folder.mkdir()
    _fill(disk, free)
    with world.temporary_folder(folder):
        message = world.disturbed(lambda: None, 0)
        return _cleaned(world, disk, folder, message)


def _fills(disk: Path, share: float, world: World) -> str:
    folder = disk / "temporary"
    folder.mkdir()
    with world.temporary_folder(folder):
        message = world.disturbed(lambda: _fill(disk, 0), share)
        return _cleaned(world, disk, folder, message)


def _outputs(disk: Path, free: int, world: World) -> str:
    """The worker's own outputs, as another program than the panel would ask for them."""
    folder = disk / "outputs"
    folder.mkdir()
    image = world.outputs / "image.nrrd"
    _write_volume(world, image)
    _fill(disk, free)
    names = ("labels", "importance", "survival", "stage", "scores")
    outputs = {name: str(folder / f"{name}.nrrd") for name in names} | {"report": str(folder / "report.json")}
    answer = world.ask("segment", images=[str(image)], model="tiny", compress=False, outputs=outputs)
    image.unlink()
    left = list(folder.iterdir())
    complete = answer["event"] == "result" and len(left) == len(outputs)
    if complete:
        for path in left:
            path.unlink()
    return _cleaned(world, disk, folder, str(answer.get("message", "it was done: open it")))


def _cleaned(world: World, disk: Path, folder: Path, message: str) -> str:
    """Check that nothing is left, then give the space back."""
    before, world.temporary = world.temporary, folder
    try:
        world.check_files()
    finally:
        world.temporary = before
        (disk / _FILLER).unlink(missing_ok=True)
        shutil.rmtree(folder)
    return message


def _write_volume(world: World, path: Path) -> None:
    from SCDSegmentationLib.volume_files import VolumeWriter

    writer = VolumeWriter(world.volume, path)
    while writer.remaining:
        writer.writePiece()


def _named(name: str, world: World) -> str:
    folder = world.temporary.parent / "named" / name
    folder.mkdir(parents=True)
    with world.temporary_folder(folder):
        message = world.disturbed(lambda: None, 0)
        world.check_files()
    shutil.rmtree(world.temporary.parent / "named")
    return message


def _named_model(name: str, world: World) -> str:
    from slicer_module.helpers import choose

    folder = world.models / name
    shutil.copytree(world.models / "tiny", folder)
    try:
        models = world.widget.panel.models
        models.refresh()
        if name not in [model.name for model in models._models]:
            return "" if not name.startswith(".") else "Hidden folders are no models: rename it."
        choose(world.widget, world.volume, name)
        return world.disturbed(lambda: None, 0)
    finally:
        shutil.rmtree(folder)


def _file_for_folder(world: World) -> str:
    path = world.temporary.parent / "file"
    path.touch()
    try:
        return _elsewhere(str(path), world)
    finally:
        path.unlink()


def _elsewhere(name: str, world: World) -> str:
    """A temporary folder that the settings name, and that cannot be used or is made."""
    import slicer

    before = slicer.app.temporaryPath
    slicer.app.temporaryPath = name
    try:
        return world.disturbed(lambda: None, 0)
    finally:
        slicer.app.temporaryPath = before
        if Path(name).is_dir():
            Path(name).rmdir()
