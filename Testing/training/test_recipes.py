"""The paper's recipes from data to a model: on small data sets laid out as BTCV and MSD Task01 are."""

from __future__ import annotations

import csv
from pathlib import Path
from statistics import fmean

import nibabel as nib
import numpy as np
import pytest

from scdseg.cli import main
from scdseg.training.export import export
from small_datasets import write_btcv, write_msd_braintumour

# A network of a size that trains in seconds; all else is the recipe's.
SMALL = {
    "network.img_size": "[32, 32, 32]",
    "network.hidden_size": "48",
    "network.mlp_dim": "96",
    "network.num_heads": "4",
    "network.num_layers": "10",
    "network.assembly_size": "48",
    "network.assembly_heads": "4",
    "network.feature_size": "4",
    "data.workers": "0",
    "optimisation.learning_rate": "0.2",
    "optimisation.warmup_steps": "5",
    "optimisation.layer_decay": "1.0",
    "optimisation.precision": "32-true",
    "optimisation.batch_size": "2",
}


def run(recipe: str, root: Path, output: Path, spacing: str, steps: int) -> list[float]:
    """Train and give the loss over the steps."""
    settings = SMALL | {
        "data.root": str(root),
        "data.spacing": spacing,
        "optimisation.steps": str(steps),
        "validation.every_steps": str(steps),
    }
    options = [part for key, value in settings.items() for part in (f"--{key}", value)]
    assert main(["train", recipe, "-o", str(output), "--device", "cpu", *options]) == 0
    with (output / "csv" / "from_step_0" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert any(row["val/dice"] for row in rows)
    return [float(row["train/loss"]) for row in rows if row["train/loss"]]


@pytest.mark.parametrize("recipe", ["btcv", "msd_braintumour"])
def test_a_recipe_of_the_paper_becomes_a_model(recipe: str, tmp_path: Path) -> None:
    write, spacing = (write_btcv, "[3.0, 3.0, 4.0]") if recipe == "btcv" else (write_msd_braintumour, "[3.0, 3.0, 3.0]")
    root = write(tmp_path / "data").parent
    losses = run(recipe, root, tmp_path / "run", spacing, 60)
    first, last = (fmean(part) for part in (losses[: len(losses) // 5], losses[-len(losses) // 5 :]))
    assert last < 0.97 * first
    bundle = export(tmp_path / "run" / "last.ckpt", tmp_path / "model")
    assert bundle.activation == ("softmax" if recipe == "btcv" else "sigmoid")

    images = [root / "imagesTr" / "img0005.nii.gz"]
    label = root / "labelsTr" / "label0005.nii.gz"
    if recipe == "msd_braintumour":  # users give one file a contrast
        image = nib.load(root / "imagesTr" / "BRATS_005.nii.gz")
        images = [tmp_path / f"contrast_{channel}.nii.gz" for channel in range(4)]
        for channel, path in enumerate(images):
            nib.save(nib.Nifti1Image(image.get_fdata(dtype=np.float32)[..., channel], image.affine), path)
        label = root / "labelsTr" / "BRATS_005.nii.gz"
    output = tmp_path / "labels.nii.gz"
    command = ["segment", *map(str, images), "-m", str(tmp_path / "model"), "-o", str(output), "--device", "cpu"]
    assert main(command) == 0
    found, truth = (np.asarray(nib.load(path).dataobj) for path in (output, label))
    assert found.shape == truth.shape
    assert set(np.unique(found)) <= {0, *(entry.value for entry in bundle.labels)}
