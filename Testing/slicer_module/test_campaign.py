"""The first fault of each family, and a short soak; all by ``Testing/fault_campaign.py`` and ``Testing/soak.py``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("needs Linux", allow_module_level=True)

pytestmark = pytest.mark.slow  # two minutes and half a minute

TESTING = Path(__file__).resolve().parents[1]


def test_the_first_fault_of_each_family_is_survived(tmp_path: Path) -> None:
    command = [sys.executable, TESTING / "fault_campaign.py", "--each", "-o", tmp_path / "faults.json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    results = json.loads((tmp_path / "faults.json").read_text(encoding="utf-8"))
    failed = [result for result in results if result["violation"]]
    assert failed == []
    assert done.returncode == 0, done.stderr
    assert len({result["family"] for result in results}) == len(results) >= 20
    told = [result["message"] for result in results if result["message"]]
    assert len(told) >= len(results) - 1


def test_nothing_grows_in_sixty_runs(tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCDSEG_MODELS", str(tiny_models))
    command = [sys.executable, TESTING / "soak.py", "--runs", "60", "--settle", "20", "--model", "tiny"]
    subprocess.run([*command, "-o", tmp_path / "soak.json"], capture_output=True, timeout=600)
    growth = json.loads((tmp_path / "soak.json").read_text(encoding="utf-8"))["growth"]
    memory = {name: value for name, value in growth.items() if name.endswith("MB")}
    assert all(value < 5 for value in memory.values()), memory
    assert {name: value for name, value in growth.items() if name not in memory and value > 0} == {}
