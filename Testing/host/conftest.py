"""One host for all tests of the process, with an empty scene for each test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import embedded_slicer


@pytest.fixture(scope="session")
def running_host() -> embedded_slicer.Host:
    return embedded_slicer.start()


@pytest.fixture
def host(running_host: embedded_slicer.Host) -> Iterator[embedded_slicer.Host]:
    """The host with an empty scene and no module."""
    from embedded_slicer.gui.pythonqt import failures

    running_host.clear_scene()
    failures.clear()
    yield running_host
    running_host.clear_scene()
    assert failures == []


@pytest.fixture
def volume(host: embedded_slicer.Host) -> Any:
    """A volume of 24×30×36 voxels of 2 mm with a bright ball in its middle, shown in the slice views."""
    import slicer

    k, j, i = np.mgrid[:36, :30, :24]
    ball = (k - 17.5) ** 2 + (j - 14.5) ** 2 + (i - 11.5) ** 2 < 64
    node = slicer.util.addVolumeFromArray((ball * 1000).astype(np.int16), name="ball")
    node.SetSpacing(2, 2, 2)
    node.SetOrigin(-24, -30, -36)
    node.CreateDefaultDisplayNodes()
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    return node


@pytest.fixture
def segmentation(volume: Any) -> Any:
    """The ball as a segment called thalamus, red."""
    import slicer

    labels = slicer.modules.volumes.logic().CreateAndAddLabelVolume(volume, "labels")
    slicer.util.updateVolumeFromArray(labels, (slicer.util.arrayFromVolume(volume) > 0).astype(np.uint8))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "structures")
    node.CreateDefaultDisplayNodes()
    slicer.modules.segmentations.logic().ImportLabelmapToSegmentationNode(labels, node)
    slicer.mrmlScene.RemoveNode(labels)
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segment = node.GetSegmentation().GetNthSegment(0)
    segment.SetName("thalamus")
    segment.SetColor(1, 0, 0)
    segment.SetTerminology(
        "Segmentation category and type - DICOM master list~SCT^123037004^Anatomical Structure"
        "~SCT^42695009^Thalamus~SCT^7771000^Left~Anatomic codes - DICOM master list~^^~^^"
    )
    return node
