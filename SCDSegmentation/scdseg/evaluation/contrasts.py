"""Scans of one head in several contrasts and resolutions, by synthesis from its label map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scdseg.training.label_maps import LabelMap, LabelScheme
from scdseg.training.recipe import Recipe
from scdseg.training.synthetic import whole_head_synthesiser

# Mean intensity by FreeSurfer value, 1 = brightest, as in fast spin echo images: fluid bright, white matter dark, bone
# darker. Both sides are alike; values that are not listed (the head around the brain) are drawn at random.
T2 = {
    2: 0.40,
    3: 0.58,
    4: 0.95,
    5: 0.92,
    7: 0.40,
    8: 0.58,
    10: 0.48,
    11: 0.54,
    12: 0.52,
    13: 0.38,
    14: 0.93,
    15: 0.93,
    16: 0.44,
    17: 0.58,
    18: 0.58,
    24: 0.95,
    26: 0.54,
    28: 0.44,
    515: 0.12,
}
_SLICE_MM = 5


@dataclass(frozen=True)
class ContrastScan:
    """A synthetic scan with the truth.

    Args:
        contrast: what it looks like.
        image: (X, Y, Z) float32.
        target: (X, Y, Z) channel indices.
        affine: (4, 4), voxel index → mm.
    """

    contrast: str
    image: np.ndarray
    target: np.ndarray
    affine: np.ndarray


def contrast_scans(recipe: Recipe, scheme: LabelScheme, head: LabelMap, seed: int) -> Iterator[ContrastScan]:
    """One scan of a whole head in each contrast, alike in shape: as the recipe's contrast is listed, inverted (1 − mean
    but for air), T2-like, and as listed with voxels of 1 × 1 × 5 mm.

    Args:
        recipe: with label maps and their listed contrast.
        scheme: of the label maps.
        head: to be scanned.
        seed: of all that is drawn.
    """
    listed = recipe.synthesis.contrast
    inverted = {raw: (1 - mean if raw else 0.0, deviation) for raw, (mean, deviation) in listed.items()}
    t2 = {raw: (mean, 0.04) for raw, mean in {**_both_sides(scheme), 0: 0.0}.items()}
    spacing = recipe.data.spacing
    for name, contrast in (("listed", listed), ("inverted", inverted), ("T2-like", t2)):
        synthesiser = whole_head_synthesiser(recipe, scheme, contrast=contrast)
        image, target = synthesiser(head, torch.Generator().manual_seed(seed))
        yield ContrastScan(name, image[0].numpy(), target.numpy(), np.diag([*spacing, 1.0]))
    fine = whole_head_synthesiser(recipe, scheme, (1.0, 1.0, 1.0), thick_slices=0.0)
    image, target = fine(head, torch.Generator().manual_seed(seed))
    yield ContrastScan(
        f"listed, 1 × 1 × {_SLICE_MM} mm",
        _slices(image[0]).mean(dim=-1).numpy(),
        _slices(target)[..., _SLICE_MM // 2].numpy(),
        np.diag([1.0, 1.0, _SLICE_MM, 1.0]),
    )


def _slices(volume: Tensor) -> Tensor:
    """(X, Y, Z) → (X, Y, slices, millimetres of a slice)."""
    count = volume.shape[2] // _SLICE_MM
    return volume[..., : count * _SLICE_MM].unflatten(2, (count, _SLICE_MM))


def _both_sides(scheme: LabelScheme) -> Mapping[int, float]:
    """The T2 contrast for every raw value that is listed, merged into a listed one or the twin of one."""
    mirror = {entry["value"]: entry.get("mirror") for entry in scheme.entries}
    means = {}
    for raw in scheme.tissues:
        value = scheme.merge.get(raw, raw)
        mean = T2.get(value, T2.get(mirror.get(value) or value))
        if mean is not None:
            means[raw] = mean
    return means
