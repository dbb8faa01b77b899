"""A run whose process is killed goes on to exactly the weights of one that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

_SETTINGS = ("--optimisation.steps=40", "--data.validation=[]", "--validation.every_steps=10")


def train(recipe: Path, output: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "scdseg.cli", "train", str(recipe), "-o", str(output), "--device", "cpu"]
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[2] / "SCDSegmentation"),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        [*command, *_SETTINGS, *options], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_run_goes_on_to_the_same_weights(tiny_recipe: Path, tmp_path: Path) -> None:
    assert train(tiny_recipe, tmp_path / "straight").wait(300) == 0
    folder = tmp_path / "killed"
    run = train(tiny_recipe, folder)
    deadline = time.monotonic() + 300
    while not (folder / "last.ckpt").is_file() and time.monotonic() < deadline:
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    assert run.wait(30) == -signal.SIGKILL
    reached = torch.load(folder / "last.ckpt", weights_only=True)["global_step"]
    assert 10 <= reached < 40
    assert train(tiny_recipe, folder, "--resume").wait(300) == 0
    straight, resumed = (
        torch.load(tmp_path / name / "last.ckpt", weights_only=True) for name in ("straight", "killed")
    )
    assert resumed["global_step"] == straight["global_step"] == 40
    for name, weight in straight["state_dict"].items():
        assert torch.equal(resumed["state_dict"][name], weight), name
    for one, other in zip(straight["optimizer_states"], resumed["optimizer_states"], strict=True):
        for key, values in one["state"].items():
            assert torch.equal(values["exp_avg"], other["state"][key]["exp_avg"])
