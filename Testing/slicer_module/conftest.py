"""The unmodified module in the embedded host, one host for all tests of the process."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import embedded_slicer
from embedded_slicer.gui import pythonqt
from slicer_module.helpers import wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
MODULE = REPOSITORY / "SCDSegmentation" / "SCDSegmentation.py"

# The module imports Slicer's packages at file scope, so the host is there before any test file is read.
HOST = embedded_slicer.start()


@pytest.fixture(scope="session")
def host() -> Any:
    return HOST


@pytest.fixture(autouse=True)
def no_exception_in_a_slot() -> Iterator[None]:
    """What a slot raises, and what Slicer would log as an error: nobody sees it unless it is looked for."""
    pythonqt.failures.clear()
    yield
    assert pythonqt.failures == []


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models with random weights, of one and of four inputs; made elsewhere, as this process must not load PyTorch."""
    folder = tmp_path_factory.mktemp("models")
    for name, *arguments in (("tiny", "1"), ("tiny4", "4")):
        subprocess.run(
            [sys.executable, REPOSITORY / "Testing" / "tiny_model.py", folder / name, *arguments],
            check=True,
            capture_output=True,
        )
    return folder


@pytest.fixture(scope="session")
def loaded_module(host: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    widget = host.load_module(MODULE)
    yield widget
    widget.logic.stopWorker()


@pytest.fixture
def widget(
    loaded_module: Any, host: Any, tiny_models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Any]:
    """The module's widget over an empty scene, with the tiny models, and a temporary folder of the test's own."""
    import slicer

    monkeypatch.setenv("SCDSEG_MODELS", str(tiny_models))
    before = slicer.app.temporaryPath
    # Spaces and letters beyond ASCII, as in many a user's name.
    folder = tmp_path / "tëmp földer"
    folder.mkdir()
    slicer.app.temporaryPath = str(folder)
    host.clear_scene()
    loaded_module.enter()
    yield loaded_module
    loaded_module.logic.cancel()
    wait_until(lambda: loaded_module.logic.run is None, 5)
    host.clear_scene()
    slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)  # it outlives the scene
    # What holds the last files may be let go of in one of the next turns of the event loop.
    gc.collect()
    wait_until(lambda: not any(folder.iterdir()), 3)
    slicer.app.temporaryPath = before


@pytest.fixture
def recording(widget: Any, host: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the real worker said and wrote in a run; made once for all tests."""
    from slicer_module.worker_scripts import record

    if not _recordings:
        _recordings.append(record(widget, tmp_path_factory.mktemp("recording") / "files"))
        host.clear_scene()
    return _recordings[0]


_recordings: list[Any] = []
