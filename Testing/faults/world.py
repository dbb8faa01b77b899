"""The module in the embedded host, with a volume and a result of its own, and what must be true after every fault."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

import embedded_slicer
from faults.fault import Violation

REPOSITORY = Path(__file__).resolve().parents[2]
SHAPE = (44, 52, 48)
KEPT, OTHER = 0.5, 1.0  # keep ratios of the result that is there, and of runs that are disturbed
_RUN_S = 40.0
_GONE_S = 6.0
# A message tells what to do in its last part, by an imperative.
_REMEDY = re.compile(
    r"(?:[:;.,] |\bor )(?:or )?(?:to )?(?:press|choose|create|free|give|select|install|copy|export|check|correct|close"
    r"|crop|use|get|update|wait|remove|restart|load|save|put|rename|send one|start|open|end other|allow|cast|compare"
    r"|extract)\b",
    re.IGNORECASE,
)
_AS_BEFORE = "the scene is as it was"


class World:
    """A panel over a scene that holds a volume, "head", and its segmentation.

    Args:
        folder: for temporary files and outputs.
        models: folder with the model "tiny" and others that were made to harm.
    """

    def __init__(self, folder: Path, models: Path) -> None:
        self.models = models
        os.environ["SCDSEG_MODELS"] = str(models)
        self.host = embedded_slicer.start()
        import slicer

        self._app = slicer.app
        self._scene = slicer.mrmlScene
        self.temporary = folder / "temporary"
        self.outputs = folder / "outputs"
        for path in (self.temporary, self.outputs):
            path.mkdir()
        slicer.app.temporaryPath = str(self.temporary)
        self.widget = self.host.load_module(REPOSITORY / "SCDSegmentation" / "SCDSegmentation.py")
        self.kept = self.other = ""
        self.expected: str | None = None  # the scene as a user's own deed left it, None: the one from before
        self.recording: Any = None  # of a run, for workers that repeat it
        self.seconds = 0.0
        self.build()

    # What is there

    @property
    def logic(self) -> Any:
        """The module's logic."""
        return self.widget.logic

    @property
    def message(self) -> str:
        """What the panel says."""
        return str(self.widget.panel.ui.statusLabel.text)

    def build(self) -> None:
        """An empty scene gets the volume and its result; the result of another keep ratio is made known, too."""
        from slicer_module.helpers import add_volume, choose

        self.host.clear_scene()
        self.widget.enter()
        self.volume = add_volume("head", SHAPE)
        choose(self.widget, self.volume, "tiny", OTHER)
        self.widget.panel.ui.overlapSlider.setValue(0.5)
        self.other = self._applied(OTHER)
        self.kept = self._applied(KEPT)
        # The second time the worker is there and the model loaded.
        began = time.perf_counter()
        self._applied(OTHER)
        self.seconds = time.perf_counter() - began
        if self._applied(KEPT) != self.kept or self.kept == self.other:
            raise Violation("error", "the same run gives another result, or another run the same")

    def _applied(self, keep_ratio: float) -> str:
        self.widget.panel.ui.keepRatioSlider.setValue(keep_ratio)
        self.apply()
        self.wait(lambda: self.logic.run is None, _RUN_S, "a run without a fault")
        if not self.message.startswith("Found"):
            raise Violation("stuck", f"Apply does not work: {self.message}")
        return self.state()

    def apply(self) -> Any:
        """Click Apply; returns the run, None if it was refused."""
        self.widget.panel.ui.applyButton.click()
        return self.logic.run

    def worker(self) -> psutil.Process:
        """The worker process; it is started and waited for."""
        self.logic.worker.start()
        self.wait(lambda: self.logic.worker._pid, 30, "the worker's start")
        return psutil.Process(self.logic.worker._pid)

    def wait(self, condition: Callable[[], Any], seconds: float, what: str) -> None:
        """Let the event loop run until something is true.

        Raises:
            Violation: it did not become true in time.
        """
        end = time.perf_counter() + seconds
        while not condition():
            if time.perf_counter() > end:
                raise Violation("stuck", f"{what}: not ended after {seconds:g} s; the panel says: {self.message}")
            self._app.processEvents()
            time.sleep(0.001)

    def disturbed(self, deed: Callable[[], None], share: float) -> str:
        """A run at the other keep ratio, with something done on its way.

        Args:
            deed: what is done.
            share: of a run's time after which it is done.

        Returns:
            What the panel says at the end.
        """
        self.widget.panel.ui.keepRatioSlider.setValue(OTHER)
        run = self.apply()
        if run is None:
            return self.message
        at = time.perf_counter() + share * self.seconds
        self.wait(lambda: time.perf_counter() >= at, 60, "the moment of the fault")
        deed()
        # Qt hears of a process's death in one of its next turns.
        until = time.perf_counter() + 0.1
        self.wait(lambda: time.perf_counter() >= until, 1, "a tenth of a second")
        self.wait(lambda: self.logic.run is None, _RUN_S, "the disturbed run")
        return self.message

    def ask(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Ask the worker, past the panel, and wait for the closing event; its end counts as an error, too."""
        closing: list[dict[str, Any]] = []
        worker = self.logic.worker

        def on_event(event: dict[str, Any]) -> None:
            if event.get("id") == number and event["event"] in ("result", "error") and not event.get("partial"):
                closing.append(event)

        def on_failed(error: Exception) -> None:
            closing.append({"event": "error", "code": "worker", "message": str(error)})

        worker.event.connect(on_event)
        worker.failed.connect(on_failed)
        try:
            number = worker.request(kind, **fields)
            self.wait(lambda: closing, _RUN_S, f"the answer to {kind}")
        finally:
            worker.event.disconnect(on_event)
            worker.failed.disconnect(on_failed)
        return closing[0]

    # What must be true

    def check(self, message: str, told: bool = True) -> None:
        """Check everything that a fault must not harm, and put the world in order by an Apply that must work.

        Raises:
            Violation: naming the first harm.
        """
        if told:
            self._check_message(message)
        self.wait(lambda: self.logic.run is None, _RUN_S, "the end of the run")
        state = self.state()
        wanted = self.expected or (self.other if message.startswith("Found") else self.kept)
        self.expected = None
        if state != wanted:
            known = {self.kept: "the result of before", self.other: "the complete new result"}
            raise Violation("between", f"the scene holds {known.get(state, 'something else')}; told: {message}")
        self.check_files()
        self._check_processes()
        if self.volume.GetScene() is None:
            self.build()
        else:
            self.restore()

    def restore(self) -> None:
        """Let the scene hold the result that it held at first, by an Apply."""
        from slicer_module.helpers import choose

        choose(self.widget, self.volume, "tiny")
        self.widget.panel.ui.overlapSlider.setValue(0.5)
        if self._applied(KEPT) != self.kept:
            raise Violation("lost", "the next Apply gives another result than the same one before the fault")

    def _check_message(self, message: str) -> None:
        if not message.startswith("Found") and not (_REMEDY.search(message) or _AS_BEFORE in message):
            raise Violation("message", f"no cause and remedy: {message!r}")
        if "Internal error" in message or "Traceback" in message or "internal error" in message:
            raise Violation("message", f"an error of the program: {message}")

    def check_files(self) -> None:
        """Check that no temporary file and no part of an output is left.

        Raises:
            Violation: naming what is.
        """
        for folder in (self.temporary, self.outputs):
            try:
                self.wait(lambda folder=folder: not any(folder.iterdir()), 3, f"the removal of files in {folder.name}")
            except Violation:
                left = [str(path.relative_to(folder)) for path in folder.rglob("*")]
                raise Violation("leftover", f"{folder.name}: {left[:5]}") from None

    def _check_processes(self) -> None:
        def others() -> list[psutil.Process]:
            mine = self.logic.worker._pid if self.logic.worker.running else None
            return [p for p in psutil.Process().children(recursive=True) if p.pid != mine and _lives(p)]

        # A worker that has just been asked for has not told its number yet.
        starting = self.logic.worker.running and self.logic.worker._pid is None
        try:
            self.wait(lambda: len(others()) <= starting, _GONE_S, "the end of processes")
        except Violation:
            raise Violation("orphan", f"{[(p.pid, p.cmdline()[-3:]) for p in others()]}") from None

    def state(self) -> str:
        """Everything that results consist of, as one number; the report, which holds times, is left out."""
        nodes = [self._scene.GetNthNode(index) for index in range(self._scene.GetNumberOfNodes())]
        return hashlib.sha256("".join(sorted(map(_digest, nodes))).encode()).hexdigest()

    @contextmanager
    def temporary_folder(self, folder: Path) -> Iterator[None]:
        """Let the module have another folder for temporary files."""
        before, self.temporary = self.temporary, folder
        self._app.temporaryPath = str(folder)
        try:
            yield
        finally:
            self.temporary = before
            self._app.temporaryPath = str(before)

    def close(self) -> None:
        """Quit."""
        self.host.close()


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _digest(node: Any) -> str:
    """A node's name and content."""
    from SCDSegmentationLib.table_nodes import columnsOf

    kind = node.GetClassName()
    # A node that is made anew gets a number behind its name where the old one's is taken.
    digest = hashlib.sha256(f"{kind} {re.sub(r'_[0-9]+', '', node.GetName() or '')}".encode())
    if kind == "vtkMRMLScalarVolumeNode":
        _add_image(digest, node.GetImageData())
    elif kind == "vtkMRMLSegmentationNode":
        for identifier in node.GetSegmentation().GetSegmentIDs():
            segment = node.GetSegmentation().GetSegment(identifier)
            digest.update(f"{segment.GetName()} {segment.GetTerminology()} {segment.GetLabelValue()}".encode())
            _add_image(digest, segment.GetRepresentation("Binary labelmap"))
    elif kind == "vtkMRMLTableNode":
        columns = [(column.name, [str(value) for value in column.values]) for column in columnsOf(node)]
        digest.update(json.dumps(columns).encode())
    return digest.hexdigest()


def _add_image(digest: Any, image: Any) -> None:
    from vtk.util.numpy_support import vtk_to_numpy

    scalars = image.GetPointData().GetScalars() if image is not None else None
    if scalars is not None:
        digest.update(f"{image.GetExtent()}".encode())
        digest.update(vtk_to_numpy(scalars).tobytes())
