"""The labels of the brain-structures recipe: FreeSurfer's values, sides that mirror each other, well-formed codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import scdseg
from scdseg.bundle.labels import check_labels, label_from_json

PATH = Path(scdseg.__file__).parent / "training" / "recipes" / "brain-structures.labels.json"
LABELS: list[dict[str, Any]] = json.loads(PATH.read_text(encoding="utf-8"))
BY_VALUE = {label["value"]: label for label in LABELS}
PAIRED = [2, 3, 4, 5, 7, 8, 10, 11, 12, 13, 17, 18, 26, 28]
PARTNERS = [41, 42, 43, 44, 46, 47, 49, 50, 51, 52, 53, 54, 58, 60]
MIDLINE = [14, 15, 16, 24]
LEFT = {"scheme": "SCT", "value": "7771000", "meaning": "Left"}
RIGHT = {"scheme": "SCT", "value": "24028007", "meaning": "Right"}

# The last digit of a SNOMED CT identifier is Verhoeff's check digit, from the dihedral group D5 and a permutation.
D5 = [
    "0123456789",
    "1234067895",
    "2340178956",
    "3401289567",
    "4012395678",
    "5987604321",
    "6598710432",
    "7659821043",
    "8765932104",
    "9876543210",
]
PERMUTATION = "1576283094"


def has_valid_check_digit(identifier: str) -> bool:
    check = 0
    for position, digit in enumerate(reversed(identifier)):
        permuted = int(digit)
        for _ in range(position % 8):
            permuted = int(PERMUTATION[permuted])
        check = int(D5[check][permuted])
    return check == 0


def codes(label: dict[str, Any]) -> list[dict[str, str]]:
    return [label[key] for key in ("category", "type", "type_modifier", "region") if label[key] is not None]


def test_values_are_freesurfers_in_ascending_order() -> None:
    assert [label["value"] for label in LABELS] == sorted(PAIRED + PARTNERS + MIDLINE)


@pytest.mark.parametrize(("left", "right"), list(zip(PAIRED, PARTNERS, strict=True)))
def test_the_two_sides_mirror_each_other(left: int, right: int) -> None:
    one, other = BY_VALUE[left], BY_VALUE[right]
    assert (one["mirror"], other["mirror"]) == (right, left)
    assert (one["type_modifier"], other["type_modifier"]) == (LEFT, RIGHT)
    assert (one["category"], one["type"]) == (other["category"], other["type"])
    assert one["name"].removeprefix("Left ") == other["name"].removeprefix("Right ")
    assert one["name"] != other["name"]


@pytest.mark.parametrize("value", MIDLINE)
def test_midline_structures_have_no_side(value: int) -> None:
    assert BY_VALUE[value]["mirror"] is None
    assert BY_VALUE[value]["type_modifier"] is None


def test_no_two_labels_share_type_and_side() -> None:
    pairs = {(label["type"]["value"], (label["type_modifier"] or {}).get("value")) for label in LABELS}
    assert len(pairs) == len(LABELS)


@pytest.mark.parametrize("label", LABELS, ids=lambda label: label["name"])
def test_each_entry_is_well_formed(label: dict[str, Any]) -> None:
    assert list(label) == ["value", "name", "color", "category", "type", "type_modifier", "region", "mirror"]
    assert len(label["color"]) == 3
    assert all(isinstance(part, int) and 0 <= part <= 255 for part in label["color"])
    for code in codes(label):
        assert set(code) == {"scheme", "value", "meaning"}
        assert code["scheme"] in ("SCT", "DCM")
        if code["scheme"] == "SCT":
            assert has_valid_check_digit(code["value"])
        # Slicer separates the parts of a terminology entry with these two and its colour tables with commas.
        assert not set("~^,") & set("".join(code.values()) + label["name"])


def test_the_check_digit_tells_a_mistyped_code() -> None:
    assert has_valid_check_digit("42695009")
    assert not has_valid_check_digit("42659009")


def test_a_bundle_can_take_them_as_softmax_channels() -> None:
    labels = [label_from_json({**entry, "channel": channel}) for channel, entry in enumerate(LABELS, start=1)]
    check_labels(labels, len(LABELS) + 1, "softmax", PATH.name)
    assert labels[0].type.meaning == "Cerebral White Matter"
    assert labels[0].region is None
