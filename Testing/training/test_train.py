"""Training end to end: it learns, stops and goes on, and its network comes out as a bundle."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import seed_everything
from monai.inferers import sliding_window_inference
from monai.metrics import compute_dice
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer

from scdseg.bundle import read_bundle
from scdseg.errors import InputError, ModelError
from scdseg.networks import SCDUNETR
from scdseg.training.build import build_network
from scdseg.training.export import export
from scdseg.training.losses import DiceCrossEntropyLoss
from scdseg.training.module import SegmentationModule
from scdseg.training.recipe import load_recipe
from scdseg.training.synthesis import ScanSynthesiser
from scdseg.training.synthetic import HeldOutScans, read_heads, whole_head_synthesiser
from scdseg.training.train import train

CHANNELS = 6


def load(checkpoint: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    return content


def network_of(checkpoint: Path) -> SCDUNETR:
    network = build_network(load_recipe(checkpoint.parent / "recipe.yaml").network, CHANNELS).eval()
    assert isinstance(network, SCDUNETR)
    state = load(checkpoint)["state_dict"]
    network.load_state_dict({k.removeprefix("network."): v for k, v in state.items() if k.startswith("network.")})
    return network


def test_the_loss_falls(tiny_run: Path, tiny_recipe: Path) -> None:
    recipe = load_recipe(tiny_recipe)
    scheme, _, held_out = read_heads(recipe)
    scans = HeldOutScans(held_out, ScanSynthesiser(scheme, (16, 16, 16), recipe.data.spacing, recipe.synthesis), 6, 1)
    images, labels = (torch.stack(part) for part in zip(*(scans[n] for n in range(6)), strict=True))
    seed_everything(recipe.seed)
    untrained = SCDUNETR(**recipe.network, out_channels=CHANNELS).eval()
    with torch.no_grad():
        before, after = (
            float(DiceCrossEntropyLoss()(network(images, 0.5), labels)) for network in (untrained, network_of(tiny_run))
        )
    assert after < 0.8 * before


def test_the_run_ends_with_its_last_step_and_logs_dice(tiny_run: Path) -> None:
    assert tiny_run.name == "last.ckpt"
    assert load(tiny_run)["global_step"] == 30
    with (tiny_run.parent / "csv" / "from_step_0" / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["val/dice"]]
    assert len(rows) == 2
    recipe = load_recipe(tiny_run.parent / "recipe.yaml")
    scheme, _, held_out = read_heads(recipe)
    image, labels = HeldOutScans(held_out, whole_head_synthesiser(recipe, scheme), 1, recipe.seed)[0]
    network = network_of(tiny_run)

    def predict(window: Tensor) -> Tensor:
        logits: Tensor = network(window, recipe.validation.keep_ratio)
        return logits

    with torch.no_grad():
        logits = sliding_window_inference(image[None], (16, 16, 16), 1, predict, overlap=0.25, mode="gaussian")
    assert isinstance(logits, Tensor)
    one_hot = [F.one_hot(classes, CHANNELS).movedim(-1, 1) for classes in (logits.argmax(1), labels[None])]
    dice = compute_dice(*one_hot, include_background=False, ignore_empty=False)[0]
    for entry, value in zip(scheme.entries, dice.tolist(), strict=True):
        assert float(rows[-1][f"dice/{entry['name']}"]) == pytest.approx(value, abs=1e-3)
    assert float(rows[-1]["val/dice"]) == pytest.approx(float(dice.mean()), abs=1e-3)


def test_a_resumed_run_equals_one_that_never_stopped(tiny_recipe: Path, tmp_path: Path) -> None:
    settings = {
        "optimisation.steps": "5",
        "optimisation.curriculum_steps": "4",
        "validation.every_steps": "3",
        "optimisation.accumulate": "2",
        "network.drop_path_rate": "0.3",
        "data.validation": "[]",
    }
    recipe = load_recipe(tiny_recipe, settings)
    straight = train(recipe, tmp_path / "straight", devices="cpu")
    (tmp_path / "stopped").mkdir()
    stopped = Path(shutil.copy(straight.with_name("step=3.ckpt"), tmp_path / "stopped" / "last.ckpt"))
    before = load(stopped)
    resumed = load(train(recipe, stopped.parent, resume=True, devices="cpu"))
    assert (before["global_step"], resumed["global_step"], load(straight)["global_step"]) == (3, 5, 5)
    weights = load(straight)["state_dict"]
    assert any(not torch.equal(before["state_dict"][name], weight) for name, weight in weights.items())
    for name, weight in weights.items():
        assert torch.equal(resumed["state_dict"][name], weight), name


def test_a_finished_run_can_be_prolonged(tiny_run: Path, tiny_recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(tiny_run.parent, folder)
    last = train(load_recipe(tiny_recipe, {"optimisation.steps": "40"}), folder, resume=True, devices="cpu")
    assert load(last)["global_step"] == 40
    assert load_recipe(folder / "recipe.yaml").optimisation.steps == 40
    logs = {path.relative_to(folder / "csv").as_posix() for path in folder.glob("csv/**/*.csv")}
    assert logs == {"from_step_0/metrics.csv", "from_step_30/metrics.csv"}
    before, after = load(tiny_run)["state_dict"], load(last)["state_dict"]
    assert any(not torch.equal(before[name], weight) for name, weight in after.items())


def test_gradients_are_clipped_in_mixed_precision(
    tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    norms = []

    def record(module: SegmentationModule, _: Optimizer) -> None:
        gradients = [weight.grad for weight in module.parameters() if weight.grad is not None]
        if gradients:
            norms.append(float(torch.nn.utils.get_total_norm(gradients)))

    monkeypatch.setattr(SegmentationModule, "on_before_zero_grad", record)
    changes = {"steps": 3, "precision": "bf16-mixed", "gradient_clip": 0.01}
    recipe = load_recipe(tiny_recipe, {f"optimisation.{name}": str(value) for name, value in changes.items()})
    train(recipe, tmp_path / "run", devices="cpu")
    assert norms == [pytest.approx(0.01, rel=1e-2)] * 2


def test_a_folder_with_a_run_is_not_overwritten(tiny_run: Path, tiny_recipe: Path) -> None:
    before = tiny_run.read_bytes()
    with pytest.raises(InputError, match=r"holds a run already; add --resume"):
        train(load_recipe(tiny_recipe), tiny_run.parent, devices="cpu")
    assert tiny_run.read_bytes() == before


def test_a_run_is_not_resumed_with_another_network(tiny_run: Path, tiny_recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(tiny_run.parent, folder)
    before = (folder / "recipe.yaml").read_text()
    with pytest.raises(InputError, match=r"last\.ckpt: is not a checkpoint of this recipe's network"):
        train(load_recipe(tiny_recipe, {"network.mlp_dim": "48"}), folder, resume=True, devices="cpu")
    (folder / "last.ckpt").write_text("text")
    with pytest.raises(InputError, match=r"last\.ckpt: is not a checkpoint"):
        train(load_recipe(tiny_recipe), folder, resume=True, devices="cpu")
    assert (folder / "recipe.yaml").read_text() == before


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("network.hidden_siz", "48", "network: .*hidden_siz"),
        ("network.img_size", "[16, 16, 17]", "network: "),
        ("network.prune_after", "[9]", "prune_after"),
        ("optimisation.precision", "16-imaginary", "16-imaginary"),
        ("data.labels", "nothing.json", r"nothing\.json: cannot be read"),
    ],
)
def test_a_recipe_that_cannot_run_is_refused_before_anything_is_written(
    tiny_recipe: Path, tmp_path: Path, key: str, value: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        train(load_recipe(tiny_recipe, {key: value}), tmp_path / "run", devices="cpu")
    assert not (tmp_path / "run").exists()


def test_the_bundle_has_the_trained_network(tiny_run: Path, tmp_path: Path) -> None:
    export(tiny_run, tmp_path / "tiny-heads", quality={"dice": 0.5}, readme="# Card", license="free", version="1.2.3")
    bundle = read_bundle(tmp_path / "tiny-heads")
    assert (bundle.metadata["name"], bundle.version, bundle.quality) == ("Tiny heads", "1.2.3", {"dice": 0.5})
    assert [(label.value, label.channel) for label in bundle.labels] == [(2, 1), (17, 2), (24, 3), (41, 4), (53, 5)]
    assert bundle.spacing == (8.0, 8.0, 8.0)
    assert bundle.keep_ratio == 0.1  # the network's default, which the recipe does not set
    trained, shipped = network_of(tiny_run), bundle.load_network()
    for name, tensor in trained.state_dict().items():
        assert torch.equal(shipped.state_dict()[name], tensor.half().float()), name
    window = torch.rand(1, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for keep_ratio in (1.0, None):
            expected = trained(window, keep_ratio)
            torch.testing.assert_close(shipped(window, keep_ratio), expected, atol=0.01, rtol=0.01)
    assert expected.std() > 0.1


def test_export_refuses_what_is_no_checkpoint_of_its_recipe(tiny_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with pytest.raises(InputError, match=r"recipe\.yaml: there is no such recipe file"):
        export(folder / "last.ckpt", tmp_path / "bundle")
    for file in ("recipe.yaml", "labels.json"):
        shutil.copy(tiny_run.parent / file, folder)
    with pytest.raises(InputError, match=r"last\.ckpt: is not a checkpoint of the recipe beside it"):
        export(folder / "last.ckpt", tmp_path / "bundle")
    shutil.copy(tiny_run, folder)
    recipe = folder / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("mlp_dim: 96", "mlp_dim: 48"))
    with pytest.raises(InputError, match="size mismatch"):
        export(folder / "last.ckpt", tmp_path / "bundle")
    text = (tiny_run.parent / "recipe.yaml").read_text()
    recipe.write_text(text.replace("network:\n", "network:\n  keep_ratio: [0.5, 0.5, 0.5]\n"))
    with pytest.raises(InputError, match="one keep_ratio for all stages"):
        export(folder / "last.ckpt", tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()
    (tmp_path / "bundle").mkdir()
    with pytest.raises(ModelError, match="exists already"):
        export(tiny_run, tmp_path / "bundle")
