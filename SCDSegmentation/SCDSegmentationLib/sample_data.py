"""The head MRI that ships with the extension, also in Slicer's Sample Data module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer

from scdseg.resources import sample_volume

NAME = "Colin27T1"
_CATEGORY = "SCDSegmentation"


def register(thumbnail: Path) -> None:
    """List the sample in the Sample Data module.

    Args:
        thumbnail: picture that is shown there.
    """
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category=_CATEGORY,
        sampleName=NAME,
        thumbnailFileName=str(thumbnail),
        customDownloader=load,
    )


def load(source: Any = None) -> slicer.vtkMRMLScalarVolumeNode:
    """Load the sample into the scene and show it.

    Args:
        source: the Sample Data module's entry, which calls this; not needed.
    """
    del source
    volume = slicer.util.loadVolume(str(sample_volume()), {"name": NAME})
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    return volume
