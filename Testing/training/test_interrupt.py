"""Ctrl-C during training: the run stops, says so and can go on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from scdseg.training.recipe import load_recipe
from scdseg.training.train import train

# The rate does not depend on how long the run is to be.
SETTINGS = {"optimisation.accumulate": "3", "optimisation.cooldown": "0", "data.validation": "[]"}


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_ends_between_steps_and_loses_nothing(tiny_recipe: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    command = [sys.executable, "-m", "scdseg.cli", "train", str(tiny_recipe), "-o", str(output), "--device", "cpu"]
    endless = SETTINGS | {"optimisation.steps": "100000", "validation.every_steps": "1000000"}
    options = [f"--{key}={value}" for key, value in endless.items()]
    process = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        logs = output / "csv"
        deadline = time.monotonic() + 120
        while not list(logs.glob("*/metrics.csv")) and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert errors.rstrip().endswith("scdseg: cancelled: the last step is kept; go on with --resume")
    reached = torch.load(output / "last.ckpt", weights_only=True)["global_step"]
    assert reached > 0

    recipe = load_recipe(tiny_recipe, SETTINGS | {"optimisation.steps": str(reached + 2)})
    resumed = torch.load(train(recipe, output, resume=True, devices="cpu"), weights_only=True)
    straight = torch.load(train(recipe, tmp_path / "straight", devices="cpu"), weights_only=True)
    for name, weight in straight["state_dict"].items():
        assert torch.equal(resumed["state_dict"][name], weight), name
