"""Two processes that train together do what one with the double batch does."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

# Nothing is drawn at random in a step; what differs is the Dice, which is taken over each process's part of the batch.
# The first steps leave the decoder out, as brain-structures does, and the deformation grows with the samples.
_SETTINGS = (
    "--network.prune_after=[]",
    "--optimisation.steps=12",
    "--optimisation.token_steps=4",
    "--optimisation.curriculum_steps=8",
    "--optimisation.warmup_steps=2",
    "--optimisation.cooldown=0",
    "--validation.every_steps=12",
)


def start(recipe: Path, output: Path, processes: int, batch: int, launcher: bool) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m"]
    if launcher:
        command += ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
    command += ["scdseg.cli", "train", str(recipe), "-o", str(output), "--device", "cpu"]
    command += ["--devices", str(processes), f"--optimisation.batch_size={batch}", *_SETTINGS]
    package = str(Path(__file__).parents[2] / "SCDSegmentation")
    environment = os.environ | {"PYTHONPATH": package, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def weights(output: Path) -> Tensor:
    content = torch.load(output / "last.ckpt", weights_only=True)
    assert content["global_step"] == 12
    return torch.cat([weight.flatten().float() for weight in content["state_dict"].values()])


def losses(output: Path) -> list[float]:
    with (output / "csv" / "from_step_0" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert any(row["val/dice"] for row in rows)
    return [float(row["train/loss"]) for row in rows if row.get("train/loss")]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [True, False], ids=["torchrun", "lightning"])
def test_two_processes_train_as_one_with_the_double_batch(tiny_recipe: Path, tmp_path: Path, launcher: bool) -> None:
    for folder, processes, batch in (("two", 2, 1), ("one", 1, 2), ("half", 1, 1)):
        run = start(tiny_recipe, tmp_path / folder, processes, batch, launcher and processes > 1)
        text = run.communicate(timeout=300)[0].decode()
        assert run.returncode == 0, text
    two, one, half = (weights(tmp_path / name) for name in ("two", "one", "half"))
    # One process with the single batch is what two that do not talk to each other would be.
    assert torch.dist(two, one) < 0.3 * torch.dist(half, one)
    for a, b in zip(losses(tmp_path / "one"), losses(tmp_path / "two"), strict=True):
        assert abs(a - b) < 0.02 * a
