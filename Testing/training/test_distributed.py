"""Two processes that train together do what one with the double batch does."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

# What differs: the noise of pruning is each process's own, and the Dice is taken over its own part of the batch.
_SETTINGS = (
    "--optimisation.steps=80",
    "--optimisation.warmup_steps=5",
    "--optimisation.keep_ratio=[0.5, 0.5]",
    "--data.validation=[]",
    "--validation.every_steps=40",
)


def start(recipe: Path, output: Path, processes: int, batch: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m"]
    if processes > 1:
        command += ["torch.distributed.run", f"--nproc-per-node={processes}", "--master-port=29517", "-m"]
    command += ["scdseg.cli", "train", str(recipe), "-o", str(output), "--device", "cpu"]
    command += ["--devices", str(processes), f"--optimisation.batch_size={batch}", *_SETTINGS]
    package = str(Path(__file__).parents[2] / "SCDSegmentation")
    environment = os.environ | {"PYTHONPATH": package, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def losses(output: Path) -> list[float]:
    with (output / "csv" / "from_step_0" / "metrics.csv").open(newline="") as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file) if row.get("train/loss")]


@pytest.mark.slow
def test_two_processes_train_as_one_with_the_double_batch(tiny_recipe: Path, tmp_path: Path) -> None:
    for folder, processes, batch in (("two", 2, 1), ("one", 1, 2)):
        run = start(tiny_recipe, tmp_path / folder, processes, batch)
        text = run.communicate(timeout=300)[0].decode()
        assert run.returncode == 0, text
    two, one = losses(tmp_path / "two"), losses(tmp_path / "one")
    assert len(one) == len(two) == 4
    assert one[-1] < 0.8 * one[0]
    for a, b in zip(one, two, strict=True):
        assert abs(a - b) < 0.1 * a
    steps = [torch.load(tmp_path / name / "last.ckpt", weights_only=True)["global_step"] for name in ("one", "two")]
    assert steps == [80, 80]
