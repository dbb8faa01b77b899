"""Influence of a run's tokens, computed in the worker and put beside the run's other maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import slicer

from SCDSegmentationLib.errors import SegmentationError
from SCDSegmentationLib.influence_map import ALL_STRUCTURES, checkInfluence, commitInfluence
from SCDSegmentationLib.models import Model
from SCDSegmentationLib.report_check import storedReport
from SCDSegmentationLib.request import Request
from SCDSegmentationLib.results import IMPORTANCE_REFERENCE, REPORT_ATTRIBUTE, inputsOf, segmentIdOf
from SCDSegmentationLib.token_maps import TokenMaps, tokenMapsOf
from SCDSegmentationLib.volume_files import readVolume
from SCDSegmentationLib.worker_process import WorkerProcess
from SCDSegmentationLib.worker_run import WorkerRun


@dataclass(frozen=True)
class Influence:
    """What came out.

    Args:
        node: the map, 0…1 on the token grid.
        on: name of the structure that it is about.
    """

    node: slicer.vtkMRMLScalarVolumeNode
    on: str


class InfluenceRun(WorkerRun):
    """Computes influence on the labels of a run; ``finished`` gives an :class:`Influence`.

    Args:
        request: the inputs and the model of the run, and the device; see :func:`influenceRequest`.
        maps: of the run.
        label: that influence is about; None: all.
        on: name of the structure that has this label; see :func:`structureOf`.
        worker: that does it.

    Raises:
        SegmentationError: the request cannot run, or there is too little room for its temporary files.
    """

    CANCELLED = "Computing influence was cancelled; the scene is as it was."
    CANCEL_HINT = "Stop computing influence; the scene stays as it was."

    def __init__(self, request: Request, maps: TokenMaps, label: int | None, on: str, worker: WorkerProcess) -> None:
        super().__init__(request, worker, results=0)
        self._maps = maps
        self._made = _state(maps)
        self._label, self._on = label, on
        self._file = self._folder / "influence.nrrd"

    def _ask(self) -> int:
        outputs = {"influence": str(self._file)}
        return self._askFor("influence", keep_ratio=self.request.keepRatio, label=self._label, outputs=outputs)

    def _understandResult(self, event: dict[str, Any]) -> Callable[[], None]:
        if event.get("partial") or Path(event["outputs"]["influence"]) != self._file:
            raise ValueError("outputs")
        return lambda: self._later(self._put)

    def _put(self) -> None:
        if self._maps.importance.GetScene() is None or _state(self._maps) != self._made:
            raise SegmentationError("The run's importance was deleted or replaced meanwhile: compute influence again.")
        array, matrix = readVolume(self._file)
        maps = tokenMapsOf(self._maps.importance)
        checkInfluence(maps, array, matrix)
        node = commitInfluence(maps, array, self._on, self.request.volumes[0])
        self._succeed(Influence(node, self._on))


def influenceRequest(
    request: Request, segmentation: slicer.vtkMRMLSegmentationNode | None, maps: TokenMaps | None
) -> Request:
    """What gives the labels of a run again: its keep ratio and overlap with the inputs and the model that are chosen.

    Args:
        request: what Apply would ask for.
        segmentation: of the run.
        maps: of the run.

    Raises:
        SegmentationError: there is no run, or it was made of another volume or with another model.
    """
    report = storedReport(maps.importance) if maps is not None else {}
    if not report or segmentation is None or segmentation.GetNodeReference(IMPORTANCE_REFERENCE) is not maps.importance:
        raise SegmentationError(
            "There is no run to compute influence of: select the segmentation and the importance of one run in Outputs."
        )
    if report["model"]["sha256"] != request.model.sha256:
        raise SegmentationError(
            f"The run was made with the model {report['model']['name']}, or another version of it: select that one."
        )
    # A scene from before inputs were kept tells the first.
    inputs = inputsOf(segmentation) or (
        segmentation.GetNodeReference(segmentation.GetReferenceImageGeometryReferenceRole()),
    )
    if len(inputs) != len(request.volumes):
        raise SegmentationError("Which volumes the run was made of is not known: press Apply to run again.")
    if any(volume is not other for volume, other in zip(inputs, request.volumes, strict=True)):
        raise SegmentationError(
            "The run was made of another volume: select that one as the input."
            if len(inputs) == 1
            else "The run was made of other volumes, or of these in another order: select those as the inputs."
        )
    return replace(request, keepRatio=report["keep_ratio"], overlap=report["windows"]["overlap"])


def structureOf(
    model: Model, segmentation: slicer.vtkMRMLSegmentationNode, segmentId: str | None
) -> tuple[int | None, str]:
    """Label and name of a segment of a run; for no segment None and :data:`ALL_STRUCTURES`.

    The label comes from the ID: the label value of a segment changes when it is edited.

    Raises:
        SegmentationError: the segment is not there, or is none of the model's.
    """
    if segmentId is None:
        return None, ALL_STRUCTURES
    segment = segmentation.GetSegmentation().GetSegment(segmentId)
    if segment is None:
        raise SegmentationError("The structure is not in the segmentation any more: choose another one.")
    for label in model.labels:
        if segmentIdOf(label.value) == segmentId:
            return label.value, segment.GetName()
    raise SegmentationError(
        f"'{segment.GetName()}' is none of the structures that the model {model.name} segments: choose one of those."
    )


def _state(maps: TokenMaps) -> tuple[Any, ...]:
    """What differs if the run's results are replaced."""
    image = maps.importance.GetImageData()
    return image.GetMTime() if image is not None else None, maps.importance.GetAttribute(REPORT_ATTRIBUTE)
