"""What tests of the module do again and again: volumes, choices in the panel, waiting."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

_ANGLE = np.deg2rad(20)
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = np.array(
    [[np.cos(_ANGLE), -np.sin(_ANGLE), 0], [np.sin(_ANGLE), np.cos(_ANGLE), 0], [0, 0, 1]]
) @ np.diag([1.5, 2.0, 2.5])
OBLIQUE[:3, 3] = (-20.0, 5.0, 30.0)


def wait_until(condition: Callable[[], Any], seconds: float = 30) -> None:
    """Let the event loop run until something is true.

    Raises:
        AssertionError: it did not become true in time.
    """
    import slicer

    end = time.perf_counter() + seconds
    while not condition():
        assert time.perf_counter() < end, f"not true after {seconds} s"
        slicer.app.processEvents()
        time.sleep(0.001)


def add_volume(name: str = "head", shape: tuple[int, int, int] = (18, 24, 20), seed: int = 0) -> Any:
    """A volume of smooth noise with oblique, anisotropic axes; shape (K, J, I)."""
    import slicer

    rng = np.random.default_rng(seed)
    coarse = rng.random(tuple(-(-n // 4) for n in shape))
    array = (np.kron(coarse, np.ones((4, 4, 4)))[: shape[0], : shape[1], : shape[2]] * 1000).astype(np.int16)
    volume = slicer.util.addVolumeFromArray(array, name=name)
    volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(OBLIQUE))
    return volume


def choose(widget: Any, volume: Any, model: str = "tiny", keep_ratio: float | None = None) -> None:
    """Choose as a user does, with the panel's own widgets."""
    widget.panel.ui.inputSelector.setCurrentNode(volume)
    names = [m.name for m in widget.panel.models._models]
    widget.panel.ui.modelListWidget.setCurrentRow(names.index(model))
    if keep_ratio is not None:
        widget.panel.ui.keepRatioSlider.setValue(keep_ratio)


def apply(widget: Any, seconds: float = 60) -> str:
    """Click Apply, wait for the end, and return what the panel says."""
    widget.panel.ui.applyButton.click()
    assert widget.logic.run is not None, widget.panel.ui.statusLabel.text
    wait_until(lambda: widget.logic.run is None, seconds)
    return widget.panel.ui.statusLabel.text


def scene_state() -> list[tuple[str, str]]:
    """The nodes of the scene but for those that views and dialogs come and go with."""
    import slicer

    nodes = [slicer.mrmlScene.GetNthNode(i) for i in range(slicer.mrmlScene.GetNumberOfNodes())]
    return [(node.GetClassName(), node.GetName()) for node in nodes]
