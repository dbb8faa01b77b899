"""One segmentation from the volumes of a scene to nodes in it, in steps that never keep the GUI waiting."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from SCDSegmentationLib.report_check import checkedReport
from SCDSegmentationLib.results import RESULT_FILES
from SCDSegmentationLib.worker_run import WorkerRun


class SegmentationRun(WorkerRun):
    """Segments once; ``finished`` gives :class:`~SCDSegmentationLib.results.Results` with the nodes in the scene."""

    def _ask(self) -> int:
        outputs = {name: str(path) for name, path in self._outputs.items()}
        return self._askFor("segment", keep_ratio=self.request.keepRatio, outputs=outputs)

    @property
    def _outputs(self) -> dict[str, Path]:
        return {name: self._folder / f"{name}.nrrd" for name in RESULT_FILES}

    def _understandResult(self, event: dict[str, Any]) -> Callable[[], None]:
        if event.get("partial"):
            raise ValueError("partial")
        report = checkedReport(event, self.request.model)
        return lambda: self._later(lambda: self._read(report, self._outputs))
