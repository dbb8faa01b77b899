"""The comparison of dense and sparse training: its networks differ in the pruning alone, and its figures are paired."""

from __future__ import annotations

import shutil
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest

from measure_quality_kept import RECIPE, finished_run, name_of, recipe_of, section
from scdseg.errors import InputError
from scdseg.networks import SCDUNETR, UNETR
from scdseg.training.build import build_network
from scdseg.training.data import label_channels
from scdseg.training.label_entries import read_label_entries
from scdseg.training.recipe import load_recipe
from scdseg.training.runs import validation_differences
from scdseg.training.settings import DataSettings
from scdseg.training.throughput import Measurement, Throughput


def test_the_networks_differ_in_pruning_alone(tmp_path: Path) -> None:
    dense, sparse = (recipe_of(ratio, 2, tmp_path, None) for ratio in (None, 0.1))
    assert validation_differences(dense, sparse) == []
    assert replace(sparse, network={}, validation=dense.validation, optimisation=dense.optimisation) == replace(
        dense, network={}
    )
    assert replace(sparse.optimisation, keep_ratio=dense.optimisation.keep_ratio) == dense.optimisation
    assert sparse.optimisation.keep_ratio == (0.1, 0.1)
    assert (sparse.validation.keep_ratio, sparse.network["keep_ratio"], sparse.seed) == (0.1, 0.1, 2)
    channels = label_channels(dense)[1]
    networks = [build_network(recipe.network, channels) for recipe in (dense, sparse)]
    assert [type(network) for network in networks] == [UNETR, SCDUNETR]
    assert [network.config["token_head"] for network in networks] == [True, True]


def test_every_merged_value_belongs_to_a_label_and_both_sides_have_one_contrast() -> None:
    recipe = load_recipe(RECIPE)
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


def test_differences_to_dense_are_taken_seed_by_seed() -> None:
    quality = {"dense": [{"a": 0.5}, {"a": 0.7}], name_of(0.25): [{"a": 0.49}, {"a": 0.68}]}
    rows = (
        Throughput("dense", None, 1, 2_000_000_000, 1, (2.0,), (0.5,), 0),
        Throughput("keep 0.25", 0.25, 1, 1_000_000_000, 1, (1.0,), (0.2,), 0),
    )
    speed = Measurement("Some GPU", 1, "bf16", 1, "", rows)
    arguments = Namespace(seeds=[1, 2], keep_ratios=[0.25], scans=4, rounds=2, steps=None)
    text = section(quality, speed, ["a_person"], arguments, load_recipe(RECIPE))
    assert "| dense | 0.6000 ± 0.1414 | – | 2.00 | 0.50 (1.00×) | 2.0 (1.00×) |" in text
    assert "| keep 0.25 | 0.5850 ± 0.1344 | -0.0150 ± 0.0071 | 1.00 | 1.00 (2.00×) | 5.0 (2.50×) |" in text
    assert "--seeds 1 2 --keep-ratios 0.25 --scans 4" in text


def test_a_finished_run_is_taken_and_another_budget_refused(tiny_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(tiny_run.parent, folder)
    recipe = load_recipe(folder / "recipe.yaml")
    assert finished_run(folder, recipe).step == 30
    assert (folder / "last.ckpt").stat().st_mtime == tiny_run.stat().st_mtime
    longer = replace(recipe, optimisation=replace(recipe.optimisation, steps=31))
    with pytest.raises(InputError, match=r"run: holds a run with other settings"):
        finished_run(folder, longer)
