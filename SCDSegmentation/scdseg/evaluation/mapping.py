"""Reference label maps in a model's label values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from scdseg.errors import InputError
from scdseg.volumes import VolumeHeader, read_header, read_volume, require_same_grid


def read_mapping(path: Path) -> dict[int, int]:
    """Read ``{"reference value": model value, …}`` from a JSON file.

    Raises:
        InputError: missing, not JSON, or anything but whole numbers above 0.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        mapping = {int(key): int(value) for key, value in entries.items()}
    except OSError as error:
        raise InputError(f"mapping {path} cannot be read ({error.strerror}): check the path") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f'mapping {path} is not of the form {{"37": 17, "38": 53}}: correct it ({error})') from error
    if not mapping or min(mapping) < 1 or min(mapping.values()) < 1:
        raise InputError(f"mapping {path} needs label values above 0 on both sides: background is never compared")
    return mapping


def read_reference(
    path: Path, image: VolumeHeader, known: Iterable[int], mapping: Mapping[int, int] | None = None
) -> tuple[np.ndarray, list[int]]:
    """Read a reference label map in the model's values.

    Args:
        path: label map on the image's grid.
        image: header of the image.
        known: the model's label values.
        mapping: reference value → model value; reference values that it lacks become background. None: the values
            are the model's own.

    Returns:
        The label map (X, Y, Z) uint8, and the model's values that are to be compared: those mapped to, or all.

    Raises:
        InputError: unreadable, on another grid, not whole numbers, or without any of the labels.
    """
    header = read_header(path)
    require_same_grid([image, header], ["image", "reference"])
    array = read_volume(header).array
    values = np.rint(array)
    if np.abs(array - values).max() > 1e-3 or values.min() < 0:
        raise InputError(f"reference {path} holds values that are not label numbers: give a label map")
    known = sorted(known)
    pairs = dict(mapping) if mapping is not None else {value: value for value in known}
    if unknown := sorted(set(pairs.values()) - set(known)):
        raise InputError(f"the mapping leads to {unknown}, which are no labels of the model: it has {known}")
    labels = np.zeros(array.shape, np.uint8)
    for theirs, ours in pairs.items():
        labels[values == theirs] = ours
    if not labels.any():
        raise InputError(
            f"reference {path} has none of the labels {sorted(pairs)}: give another one, or a mapping of its values"
        )
    return labels, sorted(set(pairs.values()))
