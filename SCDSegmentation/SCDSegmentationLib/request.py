"""What a run is asked for, and what is missing or wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import slicer

from SCDSegmentationLib.errors import SegmentationError
from SCDSegmentationLib.models import Model
from SCDSegmentationLib.volume_files import volumeProblem


@dataclass(frozen=True)
class Request:
    """What to segment, and how.

    Args:
        volumes: one for each channel of the model, in its order.
        model: from :func:`SCDSegmentationLib.models.findModels`.
        keepRatio: share of tokens kept at each stage, in (0, 1].
        overlap: share of a window that the next one covers again, 0…0.9.
        device: "auto", or a device's name as the worker knows it.
        precision: "auto", "bf16" or "fp32".
        segmentation: node to replace; None: a new one.
        importance: node to replace; None: a new one.
        cpuFallback: whether a run that fails on a GPU goes on with the CPU.
        threads: of the CPU, at most its cores; 0: as many as there are free ones.
    """

    volumes: tuple[slicer.vtkMRMLScalarVolumeNode, ...]
    model: Model
    keepRatio: float
    overlap: float
    device: str = "auto"
    precision: str = "auto"
    segmentation: slicer.vtkMRMLSegmentationNode | None = None
    importance: slicer.vtkMRMLScalarVolumeNode | None = None
    cpuFallback: bool = False
    threads: int = 0

    def check(self) -> None:
        """Check what can be checked before any work.

        Raises:
            SegmentationError: something is missing or wrong.
        """
        problem = inputProblem(self.volumes, self.model) or self._outputProblem()
        if problem:
            raise SegmentationError(problem)
        if not self.model.path.is_dir():
            raise SegmentationError(
                f"The model '{self.model.title}' is no longer there ({self.model.path}): choose another model.", "model"
            )

    def _outputProblem(self) -> str | None:
        if self.importance is not None and self.importance in self.volumes:
            return f"The importance would replace the input '{self.importance.GetName()}': choose another output."
        return None


def inputProblem(volumes: Sequence[slicer.vtkMRMLScalarVolumeNode | None], model: Model) -> str | None:
    """What is missing or wrong with the inputs of a model, as a sentence; None if they can be used."""
    if len(volumes) != len(model.channels):
        return f"The model '{model.title}' takes {len(model.channels)} volumes: {', '.join(model.channels)}."
    for channel, volume in zip(model.channels, volumes, strict=True):
        problem = volumeProblem(volume)
        if problem:
            return problem if len(volumes) == 1 else f"{channel}: {problem}"
    if len(set(volumes)) != len(volumes):
        return "The same volume is selected for two inputs: select another one."
    return None
