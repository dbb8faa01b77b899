"""Label maps of whole heads: what they hold, what the model shall call it, and which side mirrors which."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from torch import Tensor

from scdseg.errors import InputError
from scdseg.training.label_entries import entry_channels


@dataclass(frozen=True)
class LabelScheme:
    """How raw label values become tissues to paint and channels to predict.

    Attributes:
        entries: the model's labels as :func:`read_label_entries` gives them.
        merge: raw value → model label value, for small structures that have no label of their own.
        tissues: raw values that exist in the maps, ascending; a label map is stored as indices into this list.
    """

    entries: tuple[dict[str, Any], ...]
    merge: dict[int, int]
    tissues: tuple[int, ...]

    @property
    def channels(self) -> int:
        """Channels of the logits: the labels and the background."""
        return len(self.entries) + 1

    def targets(self, mirrored: bool = False) -> Tensor:
        """Tissue index → channel (T,) int64; ``mirrored`` swaps left and right, for a flipped head."""
        numbers = entry_channels(self.entries, "softmax")
        channel = {entry["value"]: number for entry, number in zip(self.entries, numbers, strict=True)}
        mirror = {entry["value"]: entry.get("mirror") or entry["value"] for entry in self.entries}
        table = []
        for raw in self.tissues:
            value = self.merge.get(raw, raw)
            table.append(channel.get(mirror.get(value, value) if mirrored else value, 0))
        return torch.tensor(table)

    def sides_together(self) -> Tensor:
        """Tissue index → tissue index (T,) int64 of its left twin, so that both sides get one contrast.

        Twins are labels that mirror each other and the raw values merged into such labels. Those are matched from the
        highest value down: FreeSurfer numbers sides alike, and structures of the midline, which have no twin, lower.
        """
        pairs = [(entry.get("mirror"), entry["value"]) for entry in self.entries]
        left = {mirror: value for mirror, value in pairs if mirror and mirror < value}
        twin = {right: lower for lower, right in left.items()}
        for lower, right in left.items():
            ours, theirs = (
                sorted((raw for raw, host in self.merge.items() if host == value), reverse=True)
                for value in (lower, right)
            )
            twin.update(zip(theirs, ours, strict=False))
        position = {raw: index for index, raw in enumerate(self.tissues)}
        return torch.tensor([position.get(twin.get(raw, raw), index) for index, raw in enumerate(self.tissues)])


@dataclass(frozen=True)
class LabelMap:
    """One head: tissue indices (X, Y, Z) uint8 in RAS+ order, voxel size in mm, centre of the brain in voxels."""

    name: str
    tissues: Tensor
    spacing: Tensor
    centre: Tensor


def load_label_maps(
    files: list[Path], entries: tuple[dict[str, Any], ...], merge: dict[int, int]
) -> tuple[LabelScheme, list[LabelMap]]:
    """Read label maps (NIfTI) and the scheme that covers them all.

    Raises:
        InputError: if a file cannot be read, is not a 3-D label map or holds none of the model's labels.
    """
    arrays: list[np.ndarray] = []
    spacings: list[np.ndarray] = []
    for file in files:
        try:
            image = nib.as_closest_canonical(nib.load(file))
            arrays.append(np.asarray(image.dataobj))
        except Exception as error:
            raise InputError(
                f"{file}: cannot be read as a NIfTI label map ({error}); replace it or take it off the list"
            ) from error
        if arrays[-1].ndim != 3 or not np.issubdtype(arrays[-1].dtype, np.integer):
            raise InputError(
                f"{file}: a label map is a 3-D image of whole numbers; this is {arrays[-1].ndim}-D {arrays[-1].dtype}"
            )
        spacings.append(np.asarray(image.header.get_zooms()[:3], dtype=np.float32))
    values = [np.unique(array) for array in arrays]
    # Air is what lies around a head, even where every voxel of the map has a label.
    tissues = tuple(sorted({0}.union(*(value.tolist() for value in values))))
    if tissues[0] < 0:
        raise InputError(f"the label maps hold the value {tissues[0]}; labels are numbers from 0")
    if len(tissues) > 256:
        raise InputError(f"the label maps hold {len(tissues)} different values; at most 256 are possible")
    scheme = LabelScheme(entries, merge, tissues)
    targets = scheme.targets().numpy()
    maps = []
    for file, array, spacing in zip(files, arrays, spacings, strict=True):
        indices = np.searchsorted(tissues, array).astype(np.uint8)
        labelled = np.argwhere(targets[indices] > 0)
        if not len(labelled):
            raise InputError(f"{file}: holds none of the model's labels")
        centre = torch.from_numpy((labelled.min(0) + labelled.max(0)).astype(np.float32) / 2)
        maps.append(LabelMap(file.name.split(".")[0], torch.from_numpy(indices), torch.from_numpy(spacing), centre))
    return scheme, maps
