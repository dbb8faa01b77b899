"""What scripts are told when something goes wrong; the panel's own faults are in ``test_faults.py``."""

from __future__ import annotations

from typing import Any

import pytest
import qt

from embedded_slicer.gui import pythonqt
from SCDSegmentationLib.errors import SegmentationError
from slicer_module.helpers import add_volume, scene_state, wait_until

BAD_ARGUMENTS: dict[str, tuple[dict[str, Any], str]] = {
    "model": ({"model": "no-such"}, "There is no model 'no-such'; there are: tiny"),
    "keep ratio": ({"model": "tiny", "keepRatio": 0}, "The keep ratio 0 is out of range"),
    "overlap": ({"model": "tiny", "overlap": 1}, "The overlap 1 is out of range"),
    "inputs": ({"model": "tiny4"}, "takes 4 volumes: T1, T2, PD, FLAIR"),
    "device": ({"model": "tiny", "device": "cuda:99"}, "'cuda:99' is not available"),
}


@pytest.mark.parametrize("kind", BAD_ARGUMENTS)
def test_bad_arguments_of_a_script_are_one_error(widget: Any, kind: str) -> None:
    arguments, words = BAD_ARGUMENTS[kind]
    volume = add_volume()
    nodes = scene_state()
    with pytest.raises(SegmentationError) as caught:
        widget.logic.segment(volume, **arguments)
    assert words in str(caught.value)
    assert scene_state() == nodes


def test_a_waiting_script_is_told_when_the_process_is_restarted(widget: Any) -> None:
    from SCDSegmentation import SCDSegmentationLogic

    volume = add_volume("slow", (120, 120, 120))
    qt.QTimer.singleShot(1500, widget.panel.ui.restartWorkerButton.click)
    with pytest.raises(SegmentationError, match="The segmentation process was stopped"):
        SCDSegmentationLogic().segment(volume, model="tiny", overlap=0.9)
    assert widget.logic.run is None


def test_an_error_in_a_callback_is_the_callbacks_and_the_run_goes_on(widget: Any) -> None:
    ended: list[Any] = []
    before = len(pythonqt.failures)
    widget.logic.startSegmentation(
        add_volume(), model="tiny", onProgress=lambda only: None, onFinished=ended.append, onFailed=ended.append
    )
    wait_until(lambda: ended, 30)
    assert not isinstance(ended[0], SegmentationError)
    assert all(isinstance(failure, TypeError) for failure in pythonqt.failures[before:])
    del pythonqt.failures[before:]


def test_a_run_can_be_cancelled_before_it_starts(widget: Any) -> None:
    run = widget.logic.prepare(widget.logic.request(add_volume(), model="tiny"))
    run.cancel()
    assert widget.logic.run is None
