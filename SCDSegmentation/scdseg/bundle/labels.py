"""Labels of a model: the value in the label map, its name and colour, and the codes that say which anatomy it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scdseg.errors import ModelError


@dataclass(frozen=True)
class Code:
    """One coded concept, as DICOM writes it.

    Args:
        scheme: coding scheme designator, such as ``"SCT"`` for SNOMED CT.
        value: code value, such as ``"42695009"``.
        meaning: the concept in words, such as ``"Thalamus"``.
    """

    scheme: str
    value: str
    meaning: str


@dataclass(frozen=True)
class Label:
    """One structure that a model segments.

    Args:
        value: value in the label map, 1…255; 0 is the background, which has no label.
        name: what a user reads.
        color: red, green and blue, 0…255 each.
        category: segmented property category, such as "Anatomical Structure".
        type: segmented property type, such as "Thalamus".
        type_modifier: laterality where anatomy has two of the structure.
        region: anatomic region, for lesions.
        channel: channel of the logits. With softmax, channel 0 is the background; with sigmoid, channels are painted
            in the order of the labels, later ones over earlier ones.
    """

    value: int
    name: str
    color: tuple[int, int, int]
    category: Code
    type: Code
    type_modifier: Code | None
    region: Code | None
    channel: int


def label_from_json(entry: Mapping[str, Any]) -> Label:
    """Build a label from its JSON form, which the schema has already checked."""

    def code(key: str) -> Code | None:
        return Code(**entry[key]) if entry.get(key) else None

    red, green, blue = entry["color"]
    return Label(
        value=entry["value"],
        name=entry["name"],
        color=(red, green, blue),
        category=Code(**entry["category"]),
        type=Code(**entry["type"]),
        type_modifier=code("type_modifier"),
        region=code("region"),
        channel=entry["channel"],
    )


def label_to_json(label: Label) -> dict[str, Any]:
    """Return the JSON form of a label; codes that it does not have are left out."""
    entry: dict[str, Any] = {
        "value": label.value,
        "name": label.name,
        "color": list(label.color),
        "channel": label.channel,
    }
    for key in ("category", "type", "type_modifier", "region"):
        code: Code | None = getattr(label, key)
        if code is not None:
            entry[key] = {"scheme": code.scheme, "value": code.value, "meaning": code.meaning}
    return entry


def check_labels(labels: Sequence[Label], out_channels: int, activation: str, source: str) -> None:
    """Check that values and names are unique and that every foreground channel has exactly one label.

    Args:
        labels: the model's labels.
        out_channels: channels of the network's logits.
        activation: ``"softmax"`` or ``"sigmoid"``.
        source: the file that the labels come from, for the message.

    Raises:
        ModelError: naming the first label that breaks a rule.
    """
    for what in ("value", "name", "channel"):
        seen = set()
        for label in labels:
            if getattr(label, what) in seen:
                raise ModelError(
                    f"{source}: two labels have the {what} {getattr(label, what)!r}; each label needs its own"
                )
            seen.add(getattr(label, what))
    first = 1 if activation == "softmax" else 0
    expected = set(range(first, out_channels))
    found = {label.channel for label in labels}
    if found != expected:
        unlabelled, unknown = sorted(expected - found), sorted(found - expected)
        parts = []
        if unlabelled:
            parts.append(f"channels without a label: {unlabelled}")
        if unknown:
            parts.append(f"labels for channels that are not foreground: {unknown}")
        raise ModelError(
            f"{source}: the network has {out_channels} output channels with {activation}, so channels "
            f"{first}…{out_channels - 1} need one label each; {'; '.join(parts)}"
        )
