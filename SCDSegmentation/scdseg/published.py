"""The two configurations published with the paper: what their checkpoints do not tell about themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scdseg.bundle import Code, Intensity, Label

_ANATOMY = Code("SCT", "123037004", "Anatomical Structure")
_ALTERED = Code("SCT", "49755003", "Morphologically Altered Structure")
_BRAIN = Code("SCT", "12738006", "Brain")
_LEFT = Code("SCT", "7771000", "Left")
_RIGHT = Code("SCT", "24028007", "Right")


@dataclass(frozen=True)
class Configuration:
    """A published configuration.

    Args:
        title: the model's name for people.
        description: what the model does.
        modality: ``"CT"`` or ``"MR"``.
        img_size: window in voxels.
        num_heads: attention heads of the encoder and of the token assembly.
        prune_after: numbers of the blocks behind which tokens are pruned.
        keep_ratio: share of tokens kept at each stage.
        channels: what each input channel holds.
        activation: ``"softmax"`` or ``"sigmoid"``.
        labels: what the model segments.
        spacing: voxel size that the network sees, mm; its orientation is RAS.
        intensity: preprocessing steps.
    """

    title: str
    description: str
    modality: str
    img_size: tuple[int, int, int]
    num_heads: int
    prune_after: tuple[int, ...]
    keep_ratio: float
    channels: tuple[str, ...]
    activation: str
    labels: tuple[Label, ...]
    spacing: tuple[float, float, float]
    intensity: tuple[Intensity, ...]


def _organs() -> tuple[Label, ...]:
    """The 13 organs of BTCV in the order of its label values."""
    organs = (
        ("Spleen", (157, 108, 162), "78961009", "Spleen", None),
        ("Right kidney", (185, 102, 83), "64033007", "Kidney", _RIGHT),
        ("Left kidney", (205, 122, 103), "64033007", "Kidney", _LEFT),
        ("Gallbladder", (139, 150, 98), "28231008", "Gallbladder", None),
        ("Esophagus", (211, 171, 143), "32849002", "Esophagus", None),
        ("Liver", (221, 130, 101), "10200004", "Liver", None),
        ("Stomach", (216, 132, 105), "69695003", "Stomach", None),
        ("Aorta", (224, 97, 76), "15825003", "Aorta", None),
        ("Inferior vena cava", (0, 151, 206), "64131007", "Inferior vena cava", None),
        ("Portal vein and splenic vein", (0, 108, 178), "110765007", "Portal vein and splenic vein", None),
        ("Pancreas", (249, 180, 111), "15776009", "Pancreas", None),
        ("Right adrenal gland", (249, 186, 150), "23451007", "Adrenal gland", _RIGHT),
        ("Left adrenal gland", (229, 166, 130), "23451007", "Adrenal gland", _LEFT),
    )
    return tuple(
        Label(value, name, color, _ANATOMY, Code("SCT", code, meaning), side, None, value)
        for value, (name, color, code, meaning, side) in enumerate(organs, start=1)
    )


def _tumor_regions() -> tuple[Label, ...]:
    """Label values of the Medical Segmentation Decathlon's Task01.

    The channels are nested regions: 0 tumor core, 1 whole tumor, 2 enhancing tumor. Painted from the whole tumor
    inwards, what stays visible of each is the tissue that the value stands for.
    """
    edema, tumor = Code("SCT", "79654002", "Edema"), Code("SCT", "86049000", "Neoplasm, Primary")
    return (
        Label(1, "Edema", (140, 224, 228), _ALTERED, edema, None, _BRAIN, 1),
        Label(2, "Non-enhancing tumor", (144, 238, 144), _ALTERED, tumor, None, _BRAIN, 0),
        Label(3, "Enhancing tumor", (220, 60, 60), _ALTERED, tumor, None, _BRAIN, 2),
    )


PUBLISHED = {
    "btcv": Configuration(
        title="Abdominal organs (BTCV)",
        description="13 abdominal organs on CT: the checkpoint published with the paper Token Sparsification for "
        "Faster Medical Image Segmentation (IPMI 2023), trained on BTCV.",
        modality="CT",
        img_size=(96, 96, 96),
        num_heads=12,
        prune_after=(3, 6, 9),
        keep_ratio=0.1,
        channels=("CT",),
        activation="softmax",
        labels=_organs(),
        spacing=(1.5, 1.5, 2.0),
        intensity=(Intensity("clip_range", {"a_min": -958, "a_max": 326, "b_min": -1, "b_max": 1}),),
    ),
    "brats": Configuration(
        title="Brain tumor (MSD Task01)",
        description="Edema, non-enhancing and enhancing tumor on four MR contrasts: the checkpoint published with "
        "the paper Token Sparsification for Faster Medical Image Segmentation (IPMI 2023), trained on MSD Task01 "
        "BrainTumour.",
        modality="MR",
        img_size=(128, 128, 128),
        num_heads=12,
        prune_after=(3, 6, 9),
        keep_ratio=0.25,
        channels=("FLAIR", "T1", "T1 with contrast agent", "T2"),
        activation="sigmoid",
        labels=_tumor_regions(),
        spacing=(1.0, 1.0, 1.0),
        intensity=(Intensity("zscore", {"nonzero": True}),),
    ),
}

FAST: dict[str, Any] = {
    "num_layers": 6,
    "prune_after": (0, 2, 4),
    "assembly_size": 384,
    "assembly_heads": 6,
    "decoder": "light",
    "stem": "narrow",
    "token_head": True,
    "detail": "kept",
}
"""What the fast network has other than the paper's, at the paper's width: arguments of ``SCDUNETR``. Never call it the
paper's: the recipe is ``btcv-fast``, the paper's ``btcv``."""
