"""Ctrl-C during training: the run stops, says so and can go on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_keeps_the_last_step(tiny_recipe: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    command = [sys.executable, "-m", "scdseg.cli", "train", str(tiny_recipe), "-o", str(output), "--device", "cpu"]
    process = subprocess.Popen(
        [*command, "--optimisation.steps", "100000", "--validation.every_steps", "1000000"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
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
    assert errors.rstrip().endswith("scdseg: cancelled")
    assert torch.load(output / "last.ckpt", weights_only=True)["global_step"] > 0
