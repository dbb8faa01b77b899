"""The labels of a model to be: a JSON list beside its recipe."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scdseg.bundle import Label
from scdseg.bundle.labels import label_from_json
from scdseg.errors import InputError


def read_label_entries(path: Path, activation: str = "softmax") -> tuple[dict[str, Any], ...]:
    """The model's labels from a JSON list of entries.

    An entry has what a bundle's labels have (value, name, color, category, type, …). It may have ``channel``, its
    channel of the logits, else they go by position; ``channel_name``, what that channel learns where it is more than
    what the label shows in the end, as with nested regions; ``source``, the values in label maps that belong to it,
    else its own value; and ``mirror``, the value of the label on the other side of the body.

    Args:
        path: the file.
        activation: what becomes of the logits, ``"softmax"`` or ``"sigmoid"``.

    Raises:
        InputError: if the file is no such list, a value, a channel or, with softmax, a source occurs twice, a channel
            is left out, or two labels do not mirror each other.
    """
    try:
        entries = tuple(json.loads(path.read_text(encoding="utf-8")))
        for entry in entries:
            label_from_json({**entry, "channel": 1})
            [int(value) for value in entry.get("source", ())]
        mirror = {entry["value"]: entry.get("mirror") for entry in entries}
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a JSON list of labels ({error})") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: is not a list of labels with value, name, color, category and type ({error!r})"
        ) from error
    if not entries:
        raise InputError(f"{path}: the list of labels is empty; a model needs one at least")
    if len(mirror) != len(entries):
        raise InputError(f"{path}: a label value occurs twice; every entry needs its own")
    channels, first = entry_channels(entries, activation), int(activation == "softmax")
    if sorted(channels) != list(range(first, first + len(entries))):
        raise InputError(
            f"{path}: the labels' channels are {sorted(channels)}; with {activation} they should be "
            f"{first} to {first + len(entries) - 1}, each once"
        )
    sources = [value for entry in entries for value in entry_sources(entry)]
    if activation == "softmax" and len(set(sources)) != len(sources):
        twice = next(value for value in sources if sources.count(value) > 1)
        raise InputError(f"{path}: {twice} is the source of two labels; with softmax a voxel has one label")
    for value, other in mirror.items():
        if other is not None and mirror.get(other) != value:
            raise InputError(f"{path}: label {value} is the mirror of {other}, but {other} is not that of {value}")
    return entries


def entry_channels(entries: Sequence[Mapping[str, Any]], activation: str) -> list[int]:
    """Channel of the logits of every entry; with softmax, channel 0 is the background."""
    first = 1 if activation == "softmax" else 0
    return [int(entry.get("channel", position)) for position, entry in enumerate(entries, start=first)]


def entry_sources(entry: Mapping[str, Any]) -> list[int]:
    """Values in label maps that belong to an entry."""
    return [int(value) for value in entry.get("source", (entry["value"],))]


def logit_channels(entries: Sequence[Mapping[str, Any]], activation: str) -> int:
    """Channels of the logits: one a label, and with softmax the background's."""
    return len(entries) + int(activation == "softmax")


def bundle_labels(entries: Sequence[Mapping[str, Any]], activation: str) -> list[Label]:
    """The entries as a bundle has them."""
    channels = entry_channels(entries, activation)
    return [label_from_json({**entry, "channel": channel}) for entry, channel in zip(entries, channels, strict=True)]
