"""Pre-training end to end: it learns, goes on exactly where it stopped, and training starts from what it learnt."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

from scdseg.cli import main
from scdseg.errors import InputError
from scdseg.training.data import open_data
from scdseg.training.devices import Devices
from scdseg.training.pretraining import PretrainingModule, pretrain
from scdseg.training.recipe import load_recipe
from scdseg.training.start import load_start
from scdseg.training.train import build_module

SETTINGS = {
    "pretraining.steps": "60",
    "pretraining.learning_rate": "3.0e-3",
    "pretraining.warmup_steps": "3",
    "pretraining.batch_size": "4",
    "pretraining.decoder_width": "48",
    "pretraining.decoder_layers": "1",
    "validation.every_steps": "3",
}


def load(checkpoint: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    return content


@pytest.fixture(scope="module")
def pretrained(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``encoder.safetensors`` of a run of 60 steps."""
    recipe = load_recipe(tiny_recipe, SETTINGS | {"validation.every_steps": "60"})
    return pretrain(recipe, tmp_path_factory.mktemp("runs") / "pretrained", devices="cpu")


def reconstruction_error(recipe_file: Path, state: dict[str, Tensor] | None) -> float:
    """Loss over windows that the run did not see, all masked in the same way."""
    recipe = load_recipe(recipe_file, SETTINGS)
    torch.manual_seed(0)
    module = PretrainingModule(recipe)
    if state:
        module.load_state_dict(state)
    samples = open_data(recipe, module.network.img_size, labelled=False).samples
    images = torch.stack([samples.sample(1000 + n)[0] for n in range(8)])
    with torch.no_grad():
        return float(module.network.loss(images, module.orders(1000, 0, 8)))


def test_reconstruction_is_learnt(pretrained: Path, tiny_recipe: Path) -> None:
    state = load(pretrained.with_name("last.ckpt"))["state_dict"]
    assert reconstruction_error(tiny_recipe, None) > 1.0  # 1 is what the patches' own means would give
    assert reconstruction_error(tiny_recipe, state) < 0.95


def test_masks_are_a_matter_of_seed_and_window_alone(tiny_recipe: Path) -> None:
    module = PretrainingModule(load_recipe(tiny_recipe, SETTINGS))
    orders = [module.orders(step, 0, 2) for step in range(4)]
    windows = torch.cat(orders)
    assert len({tuple(order) for order in windows.tolist()}) == 8
    assert all(sorted(order) == list(range(8)) for order in windows.tolist())
    torch.manual_seed(5)
    assert torch.equal(PretrainingModule(load_recipe(tiny_recipe, SETTINGS)).orders(3, 0, 2), orders[3])
    other = PretrainingModule(load_recipe(tiny_recipe, SETTINGS | {"seed": "4"}))
    assert not torch.equal(other.orders(3, 0, 2), orders[3])
    two = PretrainingModule(load_recipe(tiny_recipe, SETTINGS), devices=Devices(per_node=2))
    assert torch.equal(torch.cat([two.orders(1, rank, 1) for rank in (0, 1)]), orders[1])


def test_a_resumed_run_equals_one_that_never_stopped(tiny_recipe: Path, tmp_path: Path) -> None:
    recipe = load_recipe(tiny_recipe, SETTINGS | {"pretraining.steps": "5"})
    straight = pretrain(recipe, tmp_path / "straight", devices="cpu").with_name("last.ckpt")
    (tmp_path / "stopped").mkdir()
    stopped = Path(shutil.copy(straight.with_name("step=3.ckpt"), tmp_path / "stopped" / "last.ckpt"))
    before = load(stopped)
    resumed = load(pretrain(recipe, stopped.parent, resume=True, devices="cpu").with_name("last.ckpt"))
    assert (before["global_step"], resumed["global_step"], load(straight)["global_step"]) == (3, 5, 5)
    weights = load(straight)["state_dict"]
    assert all(not torch.equal(before["state_dict"][name], weight) for name, weight in weights.items())
    for name, weight in weights.items():
        torch.testing.assert_close(resumed["state_dict"][name], weight, rtol=0, atol=0)


def test_images_without_labels_are_enough(tiny_recipe: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(3):
        for contrast in ("t1", "t2"):
            voxels = random.normal(size=(20, 24, 18)).astype(np.float32)
            nib.save(nib.Nifti1Image(voxels, np.diag([8.0, 8.0, 8.0, 1.0])), tmp_path / f"{number}_{contrast}.nii.gz")
    cases = [{"image": [f"{number}_t1.nii.gz", f"{number}_t2.nii.gz"]} for number in range(3)]
    (tmp_path / "unlabelled.json").write_text(json.dumps({"test": cases}), encoding="utf-8")
    content = yaml.safe_load(tiny_recipe.read_text(encoding="utf-8"))
    content["network"]["in_channels"] = 2
    content["export"]["channels"] = ["T1", "T2"]
    labels = str(tiny_recipe.parent / "labels.json")
    content["data"] = {"root": str(tmp_path), "list": "unlabelled.json", "labels": labels, "spacing": [8.0, 8.0, 8.0]}
    content["data"] |= {"training": "test", "validation_share": 0.0, "workers": 0}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    recipe = load_recipe(tmp_path / "recipe.yaml", SETTINGS | {"pretraining.steps": "2"})
    encoder = pretrain(recipe, tmp_path / "run", devices="cpu")
    assert encoder.stat().st_mode == encoder.with_name("last.ckpt").stat().st_mode
    assert load_file(encoder)["embedding.projection.0.weight"].shape[1] == 2


@pytest.mark.parametrize("kind", ["scd", "dense"])
def test_training_starts_from_what_was_learnt(pretrained: Path, tiny_recipe: Path, kind: str) -> None:
    settings = {"start": str(pretrained), "network.kind": kind, "network.decoder": "light"}
    module = build_module(load_recipe(tiny_recipe, settings), Devices("cpu"))
    state = load(pretrained.with_name("last.ckpt"))["state_dict"]
    vit = getattr(module.network, "encoder", module.network)
    for name, weight in vit.state_dict().items():
        if name.startswith(("embedding.", "blocks.", "norm.")):
            assert torch.equal(weight, state[f"network.{name}"]), name
    report = load_start(module.network, pretrained.parent)
    assert len(report.taken) == sum(name.startswith(("embedding.", "blocks.", "norm.")) for name in vit.state_dict())
    assert (report.adapted, report.ignored) == ({}, [])


def test_the_command_trains_and_says_how_to_go_on(
    tiny_recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [item for key, value in SETTINGS.items() for item in (f"--{key}", value)]
    command = ["pretrain", str(tiny_recipe), "-o", str(tmp_path / "run"), "--device", "cpu", *options]
    assert main([*command, "--pretraining.steps", "1"]) == 0
    assert f"--start {tmp_path / 'run' / 'encoder.safetensors'}" in capsys.readouterr().out
    assert main([*command, "--pretraining.steps", "2"]) == 2
    assert "holds a run already; add --resume" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("pretraining.mask_ratio", "1.0", "'mask_ratio' should be a number between 0 and 1"),
        ("pretraining.mask_ratio", "0.99", "leaves 0 of the window's 8 patches"),
        ("pretraining.decoder_width", "20", "divisible by 6"),
        ("pretraining.steps", "0", "'steps' should be at least 1"),
        ("network.img_size", "[16, 16, 17]", "three multiples of the patch size"),
    ],
)
def test_a_recipe_that_cannot_run_is_refused_before_anything_is_written(
    tiny_recipe: Path, tmp_path: Path, key: str, value: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        pretrain(load_recipe(tiny_recipe, {key: value}), tmp_path / "run", devices="cpu")
    assert not (tmp_path / "run").exists()
