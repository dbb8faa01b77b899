"""Models and volumes that were made to harm, in the panel's list and in the worker's hands."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from faults.fault import Fault, Violation
from faults.world import World


def faults(models: Path, volumes: Path) -> Iterator[Fault]:
    """One fault a file; ``faults.make_files`` made them."""
    for path in sorted(models.glob("harm-*")):
        yield Fault("hostile models", path.name, partial(_model, path))
    for path in sorted(volumes.iterdir()):
        yield Fault("hostile volumes", path.name, partial(_volume, path))


def _model(path: Path, world: World) -> str:
    """Choose the model if the panel offers it, and apply it."""
    from slicer_module.helpers import choose

    models = world.widget.panel.models
    models.refresh()
    if path.name not in [model.name for model in models._models]:
        problems = [problem for problem in models.problems if str(path) in problem]
        return problems[0] if problems else "the model is missing in the list without a word"
    choose(world.widget, world.volume, path.name)
    return world.disturbed(lambda: None, 0)


def _volume(path: Path, world: World) -> str:
    pid = world.worker().pid
    outputs = {"labels": str(world.outputs / "labels.nrrd"), "report": str(world.outputs / "report.json")}
    answer = world.ask("segment", images=[str(path)], model="tiny", outputs=outputs)
    if world.logic.worker._pid != pid:
        raise Violation("stuck", f"the worker ended: {answer.get('message')}")
    return str(answer.get("message", "it was segmented"))
