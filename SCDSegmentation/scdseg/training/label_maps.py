"""Label maps of whole heads: what they hold, what the model shall call it, and which side mirrors which."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from torch import Tensor

from scdseg.bundle.labels import label_from_json
from scdseg.errors import InputError


@dataclass(frozen=True)
class LabelScheme:
    """How raw label values become tissues to paint and channels to predict.

    Attributes:
        entries: the model's labels as its bundle lists them (value, name, colour, codes, ``mirror``), channel =
            position + 1.
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
        channel = {entry["value"]: number for number, entry in enumerate(self.entries, start=1)}
        mirror = {entry["value"]: entry["mirror"] or entry["value"] for entry in self.entries}
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
        left = {e["mirror"]: e["value"] for e in self.entries if e["mirror"] and e["mirror"] < e["value"]}
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


def read_label_entries(path: Path) -> tuple[dict[str, Any], ...]:
    """The model's labels from a JSON list of entries (value, name, color, codes, mirror).

    Raises:
        InputError: if the file is no such list, a value occurs twice or two labels do not mirror each other.
    """
    try:
        entries = tuple(json.loads(path.read_text(encoding="utf-8")))
        for entry in entries:
            label_from_json({**entry, "channel": 1})
        mirror = {entry["value"]: entry["mirror"] for entry in entries}
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a JSON list of labels ({error})") from error
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: is not a list of labels with value, name, color, category, type and mirror ({error!r})"
        ) from error
    if len(mirror) != len(entries):
        raise InputError(f"{path}: a label value occurs twice; every entry needs its own")
    for value, other in mirror.items():
        if other is not None and mirror.get(other) != value:
            raise InputError(f"{path}: label {value} is the mirror of {other}, but {other} is not that of {value}")
    return entries


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
