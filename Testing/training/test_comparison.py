"""The comparison of networks: each differs from the recipe in what its name says, and figures are paired by seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from compare_networks import HEADS, hippocampus_list
from comparison.networks import ARMS
from comparison.page import choice_table, quality_table
from comparison.training import trained
from scdseg.networks import SCDUNETR, UNETR, macs
from scdseg.training.data import TrainingData
from scdseg.training.label_entries import read_label_entries
from scdseg.training.module import SegmentationModule
from scdseg.training.recipe import load_recipe
from scdseg.training.settings import DataSettings


@pytest.mark.parametrize("recipe", ["msd_hippocampus", HEADS])
def test_the_papers_networks_differ_in_pruning_alone(recipe: str | Path) -> None:
    base = load_recipe(recipe)
    dense, sparse = (ARMS[name].recipe(base, 2) for name in ("dense", "scd-0.25"))
    assert {key for key in sparse.network if sparse.network[key] != dense.network.get(key)} == {"kind", "keep_ratio"}
    assert replace(sparse.optimisation, keep_ratio=(0.1, 0.1)) == dense.optimisation
    assert (sparse.optimisation.keep_ratio, sparse.optimisation.score_loss, sparse.seed) == ((0.25, 0.25), 0.0, 2)
    networks = [ARMS[name].build(made) for name, made in (("dense", dense), ("scd-0.25", sparse))]
    assert [type(network) for network in networks] == [UNETR, SCDUNETR]
    fast = ARMS["fast"].build(ARMS["fast"].recipe(base, 2))
    assert isinstance(fast, SCDUNETR)
    assert macs(fast) < macs(networks[1]) < macs(networks[0])  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [name for name, arm in ARMS.items() if not arm.peer])
def test_every_network_can_be_built_and_trained_at_its_keep_ratio(name: str) -> None:
    recipe = ARMS[name].recipe(load_recipe("msd_hippocampus"), 1)
    module = SegmentationModule(recipe, ["anterior", "posterior"], 3)
    assert recipe.optimisation.keep_ratio == (recipe.network["keep_ratio"],) * 2
    assert isinstance(module.network, UNETR if recipe.network["kind"] == "dense" else SCDUNETR)


def test_every_merged_value_belongs_to_a_label_and_both_sides_have_one_contrast() -> None:
    recipe = load_recipe(HEADS)
    assert isinstance(recipe.data, DataSettings)
    values = {entry["value"] for entry in read_label_entries(recipe.directory / recipe.data.labels)}
    merge = recipe.data.merge or {}
    assert len(values) == 10
    assert set(merge.values()) <= values
    contrast = recipe.synthesis.contrast
    sides = {41: 2, 42: 3, 43: 4, 44: 5, 46: 7, 47: 8, 49: 10, 50: 11, 51: 12, 52: 13, 53: 17, 54: 18, 58: 26, 60: 28}
    for right, left in sides.items():
        assert contrast[right] == contrast[left]
        assert merge[right] == merge.get(left, left)


def test_cases_whose_number_ends_in_0_or_5_are_held_out(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for number in ("001", "015", "040", "104"):
        (tmp_path / "images" / f"hippocampus_{number}.nii.gz").touch()
    lists = hippocampus_list(tmp_path)
    assert [Path(case["label"]).name[12:15] for case in lists["training"]] == ["001", "104"]
    assert [Path(case["image"]).name[12:15] for case in lists["validation"]] == ["015", "040"]


class _Squares:
    """Windows that are dark but for a cube, which is the label."""

    def sample(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        target = torch.zeros(16, 16, 16, dtype=torch.int64)
        at = number % 8
        target[at : at + 8, at : at + 8, 4:12] = 1
        return target.float()[None] + 0.1, target

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        if index >= 2:
            raise IndexError(index)
        return self.sample(index)


def test_a_network_learns_once_and_says_what_it_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = load_recipe("msd_hippocampus")
    small = {"img_size": [16, 16, 16], "hidden_size": 48, "mlp_dim": 96, "assembly_size": 48, "feature_size": 4}
    optimisation = replace(base.optimisation, steps=60, warmup_steps=5, learning_rate=5e-3, precision="32-true")
    recipe = ARMS["fast"].recipe(replace(base, network={**base.network, **small}, optimisation=optimisation), 1)
    data = TrainingData(_Squares(), _Squares())  # type: ignore[arg-type]
    file = tmp_path / "fast-1.json"
    record = trained(ARMS["fast"], recipe, data, file, None, marks=2)
    assert [point["step"] for point in record["curve"]] == [30, 60]
    assert record["curve"][0]["seconds"] < record["curve"][1]["seconds"]
    assert record["dice"] > 0.35  # one of two labels is never there, and counts where it is claimed
    assert set(record["choices"]) == {"learned", "random", "inverted"}
    assert record["choices"]["learned"] == pytest.approx(record["dice"], abs=1e-6)
    monkeypatch.setattr("comparison.training._optimise", None)
    assert trained(ARMS["fast"], recipe, data, file, None, marks=2) == record


def test_differences_are_taken_seed_by_seed() -> None:
    def record(dice: float, learned: float | None = None) -> dict[str, Any]:
        choices = {} if learned is None else {"learned": learned, "random": learned - 0.02, "inverted": learned - 0.05}
        curve = [{"step": 10, "seconds": 5.0, "dice": dice}]
        figures = {"hd95_mm": 1.0, "macs": 2e9, "parameters": 3e6, "steps_per_second": 2.0, "window_seconds": 0.1}
        return {"dice": dice, "curve": curve, "choices": choices, **figures}

    records = {"dense": [record(0.5), record(0.7)], "fast": [record(0.49, 0.49), record(0.68, 0.68)]}
    assert "| 0.5850 ± 0.1344 | -0.0150 ± 0.0071 | 1.00 | 2.00 | 3.0 | 10 |" in quality_table(records, "dense")
    assert "| +0.0200 ± 0.0000 | +0.0500 ± 0.0000 |" in choice_table(records)
