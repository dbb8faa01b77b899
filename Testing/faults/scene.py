"""What a user does while a run goes on, at moments that nobody chose well."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from unittest import mock

from faults.fault import Fault
from faults.world import World

Deed = Callable[[World], None]


def faults(seed: int) -> Iterator[Fault]:
    """Deeds at random moments."""
    rng = random.Random(seed)
    for name, deed, times in (
        ("Cancel", _cancel, 12),
        ("Cancel, twice", _cancel_twice, 4),
        ("the worker is restarted", _restart, 8),
        ("the input is deleted", _delete_input, 6),
        ("the scene is closed", _close_scene, 6),
        ("the input is moved", _move_input, 5),
        ("the input loses its voxels", _empty_input, 5),
        ("the segmentation is deleted", _delete_segmentation, 5),
        ("the importance is deleted", _delete_importance, 5),
        ("the panel is left and entered", _leave_and_enter, 4),
        ("another model is chosen", _other_model, 4),
    ):
        for number in range(times):
            share = (number + rng.random()) / times
            yield Fault("scene changed", f"{name} after {share:.2f} of a run", partial(_strike, deed, share))
    for number in range(8):
        share = (number + rng.random()) / 8
        strike = partial(_strike, _remove_files, share)
        yield Fault("files removed", f"temporary files removed after {share:.2f} of a run", strike)
    for years in (-30, -1, 1, 30):
        for share in (0.2, 0.7):
            strike = partial(_clock, years, share)
            yield Fault("clock", f"the clock jumps by {years} years after {share} of a run", strike)


def _strike(deed: Deed, share: float, world: World) -> str:
    return world.disturbed(lambda: deed(world), share)


def _cancel(world: World) -> None:
    if world.logic.run is not None:
        world.apply()


def _cancel_twice(world: World) -> None:
    _cancel(world)
    world.logic.cancel()


def _restart(world: World) -> None:
    world.widget.panel.ui.restartWorkerButton.click()


def _delete_input(world: World) -> None:
    _change(world, lambda scene: scene.RemoveNode(world.volume))


def _close_scene(world: World) -> None:
    world.host.clear_scene()
    _settle(world)


def _delete_segmentation(world: World) -> None:
    _change(world, lambda scene: scene.RemoveNode(world.widget.panel.parameters.segmentation))


def _delete_importance(world: World) -> None:
    _change(world, lambda scene: scene.RemoveNode(world.widget.panel.parameters.importance))


def _move_input(world: World) -> None:
    before = world.volume.GetOrigin()
    world.volume.SetOrigin(500, 0, 0)
    run = world.logic.run
    if run is not None:
        run.failed.connect(lambda _: world.volume.SetOrigin(before))
        run.finished.connect(lambda _: world.volume.SetOrigin(before))
    else:
        world.volume.SetOrigin(before)


def _empty_input(world: World) -> None:
    image = world.volume.GetImageData()
    world.volume.SetAndObserveImageData(None)
    run = world.logic.run
    if run is None:
        world.volume.SetAndObserveImageData(image)
        return
    for signal in (run.failed, run.finished):
        signal.connect(lambda _: world.volume.SetAndObserveImageData(image))


def _leave_and_enter(world: World) -> None:
    world.widget.exit()
    world.widget.enter()


def _other_model(world: World) -> None:
    names = [model.name for model in world.widget.panel.models._models]
    world.widget.panel.ui.modelListWidget.setCurrentRow(names.index("tiny4"))


def _remove_files(world: World) -> None:
    for folder in world.temporary.iterdir():
        shutil.rmtree(folder, ignore_errors=True)


def _clock(years: int, share: float, world: World) -> str:
    """The host's clock; the worker measures by clocks that nobody sets."""
    real = time.time
    with mock.patch("time.time", side_effect=lambda: real() + years * 365 * 86400):
        return world.disturbed(lambda: None, share)


def _change(world: World, change: Callable[[object], None]) -> None:
    import slicer

    change(slicer.mrmlScene)
    _settle(world)


def _settle(world: World) -> None:
    """What follows from a deletion, in the panel's own time, belongs to the deed."""
    run = world.logic.run
    if run is None:
        end = time.perf_counter() + 0.1
        world.wait(lambda: time.perf_counter() > end, 1, "the panel's own deletions")
        world.expected = world.state()
        return
    run.failed.connect(lambda _: _note(world))


def _note(world: World) -> None:
    world.expected = world.state()
