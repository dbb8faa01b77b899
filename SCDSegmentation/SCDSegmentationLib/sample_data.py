"""The head MRI that ships with the extension, also in Slicer's Sample Data module."""

from __future__ import annotations

from pathlib import Path

import slicer

from scdseg.resources import sample_volume

NAME = "Colin27T1"
_CATEGORY = "SCDSegmentation"
_CHECKSUM = "SHA256:a009051127f64dc3dd554d5f5b589870ea72106d9642c21b4e7093e478cfc309"


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
        uris=sample_volume().as_uri(),
        fileNames=sample_volume().name,
        nodeNames=NAME,
        loadFileTypes="VolumeFile",
        checksums=_CHECKSUM,
    )


def load() -> slicer.vtkMRMLScalarVolumeNode:
    """Load the sample into the scene and show it."""
    volume = slicer.util.loadVolume(str(sample_volume()), {"name": NAME})
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    return volume
