"""The panel's state, kept in a parameter node and so saved with the scene."""

from typing import Annotated

from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper

SEGMENTS, IMPORTANCE, BOTH, NOTHING = "Segments", "Importance", "Segments and importance", "Image only"


@parameterNodeWrapper
class SCDSegmentationParameters:
    """What the user chose.

    Args:
        inputVolume: first image of the model; ``inputVolume2`` … ``inputVolume4`` follow for models of several.
        model: name of the model.
        keepRatio: share of tokens kept at each pruning stage.
        segmentation: node that the labels go into; None: a new one.
        importance: node that the token importance goes into; None: a new one.
        shown: what lies over the image.
        opacity: of the importance, 0…1.
        threshold: importance below which tokens are not shown, 0…1.
        legend: whether the colour legend is shown.
        show3D: whether the segments' surfaces are shown.
        device: "auto", or a device's name as the worker knows it.
        overlap: share of a window that the next one covers again.
        precision: number format of the network.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    inputVolume2: vtkMRMLScalarVolumeNode
    inputVolume3: vtkMRMLScalarVolumeNode
    inputVolume4: vtkMRMLScalarVolumeNode
    model: str = "brain-structures"
    keepRatio: Annotated[float, WithinRange(0.01, 1.0)] = 0.25
    segmentation: vtkMRMLSegmentationNode
    importance: vtkMRMLScalarVolumeNode
    shown: Annotated[str, Choice([BOTH, SEGMENTS, IMPORTANCE, NOTHING])] = BOTH
    opacity: Annotated[float, WithinRange(0.0, 1.0)] = 0.5
    threshold: Annotated[float, WithinRange(0.0, 1.0)] = 0.0
    legend: bool = True
    show3D: bool = False
    device: str = "auto"
    overlap: Annotated[float, WithinRange(0.0, 0.9)] = 0.5
    precision: Annotated[str, Choice(["auto", "bf16", "fp32"])] = "auto"
