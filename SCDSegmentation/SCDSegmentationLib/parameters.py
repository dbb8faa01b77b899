"""The panel's state, kept in a parameter node and so saved with the scene."""

from typing import Annotated

from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper

SEGMENTS, TOKENS, BOTH, NOTHING = "Segments", "Tokens", "Segments and tokens", "Image only"

IMPORTANCE_MAP, SURVIVAL_MAP, INFLUENCE_MAP = "Importance", "Survival", "Influence"
STAGES, KEPT, GREYED = "Stage at which pruned", "Kept tokens only", "Pruned tokens greyed out"
TOKEN_MAP_CHOICES = (IMPORTANCE_MAP, INFLUENCE_MAP, SURVIVAL_MAP, STAGES, KEPT, GREYED)

COLOR_TABLES = ("Inferno", "Viridis", "Cividis", "Magma", "Plasma", "Grey")

BY_STAGE, BY_IMPORTANCE = "Stage", "Importance"


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
        tokenMap: which map of the tokens.
        stage: pruning stage whose kept tokens are shown, from 1.
        colors: colour table of the tokens.
        opacity: of the token map, 0…1.
        threshold: importance, influence or survival below which tokens are not shown, 0…1.
        legend: whether the colour legend is shown.
        boxes: whether the kept tokens are shown as boxes in 3-D.
        boxColors: what the boxes' colour tells.
        show3D: whether the segments' surfaces are shown.
        device: "auto", or a device's name as the worker knows it.
        overlap: share of a window that the next one covers again.
        precision: number format of the network.
        threads: of the CPU; 0: as many as there are free cores.
        cpuFallback: whether a run that fails on a GPU goes on with the CPU.
        comparedKeepRatios: numbers, as text.
        compareCurrent: whether ``keepRatio`` is compared, too.
        tolerance: mean agreement that the suggested keep ratio has at least.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    inputVolume2: vtkMRMLScalarVolumeNode
    inputVolume3: vtkMRMLScalarVolumeNode
    inputVolume4: vtkMRMLScalarVolumeNode
    model: str = "brain-structures"
    keepRatio: Annotated[float, WithinRange(0.01, 1.0)] = 0.25
    segmentation: vtkMRMLSegmentationNode
    importance: vtkMRMLScalarVolumeNode
    shown: Annotated[str, Choice([BOTH, SEGMENTS, TOKENS, NOTHING])] = BOTH
    tokenMap: Annotated[str, Choice(list(TOKEN_MAP_CHOICES))] = IMPORTANCE_MAP
    stage: Annotated[int, WithinRange(1, 24)] = 1
    colors: Annotated[str, Choice(list(COLOR_TABLES))] = COLOR_TABLES[0]
    opacity: Annotated[float, WithinRange(0.0, 1.0)] = 0.5
    threshold: Annotated[float, WithinRange(0.0, 1.0)] = 0.0
    legend: bool = True
    boxes: bool = False
    boxColors: Annotated[str, Choice([BY_STAGE, BY_IMPORTANCE])] = BY_STAGE
    show3D: bool = False
    device: str = "auto"
    overlap: Annotated[float, WithinRange(0.0, 0.9)] = 0.5
    precision: Annotated[str, Choice(["auto", "bf16", "fp32"])] = "auto"
    threads: Annotated[int, WithinRange(0, 256)] = 0
    cpuFallback: bool = False
    comparedKeepRatios: str = "1, 0.5, 0.25, 0.1"
    compareCurrent: bool = True
    tolerance: Annotated[float, WithinRange(0.0, 1.0)] = 0.98
