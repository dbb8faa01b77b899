"""Label maps: raw values become tissues and channels; what cannot be used is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from scdseg.errors import InputError
from scdseg.training.label_entries import read_label_entries
from scdseg.training.label_maps import LabelScheme, load_label_maps
from scdseg.training.recipe import load_recipe
from scdseg.training.synthetic import read_heads

ENTRIES: tuple[dict[str, Any], ...] = (
    {"value": 2, "mirror": 41},
    {"value": 17, "mirror": 53},
    {"value": 24, "mirror": None},
    {"value": 41, "mirror": 2},
    {"value": 53, "mirror": 17},
)
SCHEME = LabelScheme(ENTRIES, {25: 2, 57: 41}, (0, 2, 17, 24, 25, 41, 53, 57, 516))


def write(path: Path, array: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(array, np.eye(4)), path)
    return path


def test_values_become_channels_and_merged_ones_their_hosts() -> None:
    assert SCHEME.channels == 6
    assert SCHEME.targets().tolist() == [0, 1, 2, 3, 1, 4, 5, 4, 0]


def test_a_flipped_head_has_left_and_right_swapped() -> None:
    assert SCHEME.targets(mirrored=True).tolist() == [0, 4, 5, 3, 4, 1, 2, 1, 0]


def test_both_sides_share_the_left_ones_contrast() -> None:
    twins = [SCHEME.tissues[index] for index in SCHEME.sides_together().tolist()]
    assert twins == [0, 2, 17, 24, 25, 2, 17, 25, 516]


def test_merged_values_of_the_shipped_recipe_share_their_contrast_in_pairs() -> None:
    recipe = load_recipe("brain-structures")
    merge = recipe.data.merge
    assert merge is not None
    entries = read_label_entries(recipe.directory / recipe.data.labels)
    merged = tuple(sorted(merge))
    twins = LabelScheme(entries, merge, merged).sides_together().tolist()
    pairs = {(merged[left], merged[index]) for index, left in enumerate(twins) if left != index}
    assert pairs == {(25, 57), (30, 62), (136, 163), (137, 164)}


def test_a_side_whose_twin_is_in_no_map_keeps_its_own_contrast() -> None:
    assert LabelScheme(ENTRIES, {}, (0, 41)).sides_together().tolist() == [0, 1]


def test_maps_are_read_in_ras_order_whatever_their_storage(tmp_path: Path) -> None:
    array = np.zeros((6, 5, 4), np.int16)
    array[1, 1, 1], array[4, 3, 2] = 2, 41
    stored = nib.Nifti1Image(array[::-1].transpose(2, 0, 1), [[0, -2, 0, 9], [0, 0, 3, 0], [4, 0, 0, 0], [0, 0, 0, 1]])
    nib.save(stored, tmp_path / "head.x.nii.gz")
    scheme, (head,) = load_label_maps([tmp_path / "head.x.nii.gz"], ENTRIES, {})
    assert head.name == "head"
    assert np.array_equal(np.array(scheme.tissues)[head.tissues], array)
    assert head.spacing.tolist() == [2, 3, 4]
    assert head.centre.tolist() == [2.5, 2, 1.5]


def test_air_is_a_tissue_even_where_no_map_holds_any(tmp_path: Path) -> None:
    scheme, (head,) = load_label_maps([write(tmp_path / "a.nii", np.full((4, 4, 4), 2, np.uint8))], ENTRIES, {})
    assert scheme.tissues == (0, 2)
    assert head.tissues.unique().tolist() == [1]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4, 4), np.int16), "holds none of the model's labels"),
        (np.full((4, 4, 4), 2.0, np.float32), "whole numbers; this is 3-D float32"),
        (np.full((4, 4, 4, 2), 2, np.int16), "this is 4-D"),
        (np.full((4, 4, 4), -2, np.int16), "the value -2"),
        (np.arange(343, dtype=np.int16).reshape(7, 7, 7), "343 different values"),
    ],
    ids=["empty", "decimals", "4-D", "negative", "too many"],
)
def test_a_map_that_cannot_be_used_is_refused(tmp_path: Path, array: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_label_maps([write(tmp_path / "bad.nii.gz", array)], ENTRIES, {})


def test_a_file_that_is_no_nifti_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.nii.gz").write_text("text")
    with pytest.raises(InputError, match=r"bad\.nii\.gz: cannot be read as a NIfTI label map"):
        load_label_maps([tmp_path / "bad.nii.gz"], ENTRIES, {})


CODE = {"scheme": "SCT", "value": "1", "meaning": "one"}
ENTRY = {"value": 2, "name": "a", "color": [1, 2, 3], "category": CODE, "type": CODE, "mirror": None}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read as a JSON list"),
        ("{", "cannot be read as a JSON list"),
        ('{"value": 2}', "not a list of labels"),
        (json.dumps([{k: v for k, v in ENTRY.items() if k != "type"}]), "'type'"),
        ("[]", "the list of labels is empty"),
        (json.dumps([ENTRY | {"color": [1, 2]}]), "not a list of labels"),
        (json.dumps([ENTRY, ENTRY]), "occurs twice"),
        (json.dumps([ENTRY | {"mirror": 41}]), "label 2 is the mirror of 41"),
    ],
    ids=["missing", "no JSON", "no list", "no type", "empty", "no color", "twice", "one-sided"],
)
def test_labels_that_cannot_be_used_are_refused(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "labels.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_label_entries(path)


def test_held_out_heads_are_not_trained_on(tiny_recipe: Path) -> None:
    scheme, heads, held_out = read_heads(load_recipe(tiny_recipe))
    assert [head.name for head in heads] == ["person_0", "person_1"]
    assert [head.name for head in held_out] == ["person_2"]
    assert scheme.tissues == (0, 2, 17, 24, 25, 41, 53, 516)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("data.root", "/nowhere", "/nowhere: no label maps match"),
        ("data.validation", "[person_9]", "'person_9' is not among the label maps"),
        ("data.validation", "[person_0, person_1, person_2]", "every label map is held out"),
    ],
)
def test_heads_that_cannot_be_split_are_refused(tiny_recipe: Path, key: str, value: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_heads(load_recipe(tiny_recipe, {key: value}))
