"""The folder of a run: which validation is its last one, and what makes two of them incomparable."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from scdseg.training.recipe import Recipe, load_recipe
from scdseg.training.runs import read_run, validation_differences
from scdseg.training.settings import ImageListSettings


def write_log(folder: Path, rows: list[tuple[int, float | None]]) -> None:
    folder.mkdir(parents=True)
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["step", "val/dice", "dice/fluid"])
        writer.writeheader()
        writer.writerows({"step": step, "val/dice": dice, "dice/fluid": dice} for step, dice in rows)


@pytest.mark.parametrize(
    ("logs", "expected"),
    [
        ({0: [(9, 0.1), (19, 0.2), (25, None)]}, (20, 0.2)),
        # Stopped behind step 30, and gone on from the checkpoint of step 20 with other luck.
        ({0: [(9, 0.1), (19, 0.2), (29, 0.9)], 20: [(24, None)]}, (20, 0.2)),
        ({0: [(9, 0.1), (19, 0.2), (29, 0.9)], 20: [(29, 0.3)]}, (30, 0.3)),
        # The run went on behind its last checkpoint, which has 30 steps.
        ({0: [(19, 0.2), (39, 0.9)]}, (20, 0.2)),
        ({0: [(9, None)]}, None),
        ({}, None),
    ],
)
def test_the_last_validation_is_that_of_the_weights_at_hand(
    tiny_run: Path, tmp_path: Path, logs: dict[int, list[tuple[int, float | None]]], expected: tuple[int, float] | None
) -> None:
    for name in ("recipe.yaml", "labels.json", "last.ckpt"):
        shutil.copy(tiny_run.parent / name, tmp_path)
    for start, rows in logs.items():
        write_log(tmp_path / "csv" / f"from_step_{start}", rows)
    run = read_run(tmp_path)
    assert run.step == 30
    if expected is None:
        assert run.validation is None
    else:
        assert run.validation is not None
        assert (run.validation.step, run.validation.mean) == expected
        assert run.validation.labels == {"fluid": expected[1]}


def test_what_trains_alone_does_not_change_the_validation(tiny_recipe: Path) -> None:
    changes = {
        "network.kind": "dense",
        "optimisation.steps": "9",
        "validation.keep_ratio": "1",
        "synthesis.mirror": "0",
    }
    assert validation_differences(load_recipe(tiny_recipe, changes), load_recipe(tiny_recipe)) == []
    other = load_recipe(tiny_recipe, {"synthesis.blur": "[0, 9]", "data.validation": "[person_1]"})
    assert validation_differences(other, load_recipe(tiny_recipe)) == ["data.validation", "synthesis.blur"]


@pytest.mark.parametrize(("listed", "expected"), [([], ["seed"]), ([{"image": "b.nii", "label": "b_label.nii"}], [])])
def test_the_seed_draws_held_out_images_only_where_none_are_listed(
    tiny_recipe: Path, tmp_path: Path, listed: list[dict[str, str]], expected: list[str]
) -> None:
    (tmp_path / "list.json").write_text(json.dumps({"training": [], "validation": listed}))
    base: Recipe = load_recipe(tiny_recipe)
    data = ImageListSettings(str(tmp_path), "list.json", base.data.labels, base.data.spacing)
    recipe = replace(base, data=data)
    assert validation_differences(replace(recipe, seed=recipe.seed + 1), recipe) == expected
