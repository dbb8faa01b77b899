"""Endless synthetic training scans, and fixed ones of the held-out heads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from scdseg.errors import InputError
from scdseg.training.label_entries import read_label_entries
from scdseg.training.label_maps import LabelMap, LabelScheme, load_label_maps
from scdseg.training.recipe import Recipe
from scdseg.training.settings import DataSettings
from scdseg.training.synthesis import ScanSynthesiser

# What scans for validation are made without.
WHOLE_HEAD: dict[str, Any] = {
    "mirror": 0.0,
    "offset": 0.0,
    "displacement": 0.0,
    "random_contrast": 0.0,
    "inverted": 0.0,
}


class SyntheticScans:
    """Scan after scan of random heads; scan number n depends on the seed and n alone.

    Args:
        heads: label maps to draw from.
        synthesiser: makes the scans.
        seed: of the whole series.
        curriculum: scans over which the strength of the deformation grows from 0.3 to 1.
    """

    def __init__(self, heads: list[LabelMap], synthesiser: ScanSynthesiser, seed: int, curriculum: int = 0) -> None:
        self.heads = heads
        self.synthesiser = synthesiser
        self.seed = seed
        self.curriculum = curriculum

    def sample(self, number: int) -> tuple[Tensor, Tensor]:
        """Scan number ``number``: image (1, *window) and channel indices (*window)."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        head = self.heads[int(torch.randint(len(self.heads), (1,), generator=generator))]
        strength = min(1.0, 0.3 + 0.7 * number / self.curriculum) if self.curriculum else 1.0
        return self.synthesiser(head, generator, strength)


class HeldOutScans(Dataset[tuple[Tensor, Tensor]]):
    """A fixed number of synthetic scans of whole held-out heads."""

    def __init__(self, heads: list[LabelMap], synthesiser: ScanSynthesiser, scans: int, seed: int) -> None:
        self.heads = heads
        self.synthesiser = synthesiser
        self.scans = scans
        self.seed = seed

    def __len__(self) -> int:
        return len(self.heads) * self.scans

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if index >= len(self):
            raise IndexError(index)
        generator = torch.Generator().manual_seed(self.seed + index)
        return self.synthesiser(self.heads[index // self.scans], generator)


def read_heads(recipe: Recipe) -> tuple[LabelScheme, list[LabelMap], list[LabelMap]]:
    """The recipe's label scheme, its training heads and its held-out heads.

    Raises:
        InputError: if there are no label maps or a held-out head is not among them; :func:`load_label_maps` has more.
    """
    assert isinstance(recipe.data, DataSettings)
    root = recipe.root
    files = sorted(root.glob(recipe.data.pattern))
    if not files:
        raise InputError(f"{root}: no label maps match {recipe.data.pattern!r}; set --data.root to their folder")
    names = {file.name.split(".")[0] for file in files}
    absent = sorted(set(recipe.data.validation) - names)
    if absent:
        raise InputError(f"{root}: held-out head {absent[0]!r} is not among the label maps")
    if names <= set(recipe.data.validation):
        raise InputError(f"{root}: every label map is held out; nothing is left to train on")
    labels = recipe.directory / recipe.data.labels
    entries = read_label_entries(labels)
    if any("source" in entry for entry in entries):
        raise InputError(f"{labels}: 'source' is for lists of images; with label maps, name values in data.merge")
    scheme, heads = load_label_maps(files, entries, recipe.data.merge or {})
    held_out = [head for head in heads if head.name in recipe.data.validation]
    return scheme, [head for head in heads if head.name not in recipe.data.validation], held_out


def whole_head_synthesiser(
    recipe: Recipe,
    scheme: LabelScheme,
    spacing: tuple[float, float, float] | None = None,
    **changes: Any,
) -> ScanSynthesiser:
    """Synthesiser of scans for validation: a whole head in the middle, neither mirrored nor locally deformed.

    Args:
        recipe: with label maps.
        scheme: of the label maps.
        spacing: voxel size in mm; None: the recipe's.
        changes: settings of the synthesis to replace, such as ``contrast``.
    """
    spacing = spacing or recipe.data.spacing
    patch = int(recipe.network.get("patch_size", 8))
    x, y, z = (round(mm / s / patch) * patch for mm, s in zip((224.0, 256.0, 224.0), spacing, strict=True))
    return ScanSynthesiser(scheme, (x, y, z), spacing, replace(recipe.synthesis, **{**WHOLE_HEAD, **changes}))
