"""The installed files are enough: engine, worker, models and sample are found without the repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def run_python(folder: Path, away: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the folder ``away``, with only ``folder`` before the packages of others."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=away,
        env={**os.environ, "PYTHONPATH": str(folder), "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        input="",
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )


def test_the_worker_starts_and_ends_with_its_input(installed: Path, tmp_path: Path) -> None:
    code = "import scdseg.worker; print(scdseg.worker.__file__)"
    process = run_python(installed, tmp_path, "-c", code)
    assert process.returncode == 0, process.stderr
    assert Path(process.stdout.strip()).is_relative_to(installed)
    process = run_python(installed, tmp_path, "-m", "scdseg.worker")
    assert process.returncode == 0, process.stderr


def test_the_models_that_ship_are_found(installed: Path, tmp_path: Path) -> None:
    process = run_python(installed, tmp_path, "-m", "scdseg.cli", "models", "--json")
    assert process.returncode == 0, process.stderr
    listing = json.loads(process.stdout)
    assert listing["problems"] == []
    paths = {model["name"]: Path(model["path"]) for model in listing["models"]}
    assert paths["brain-structures"] == installed / "Resources" / "Models" / "brain-structures"


def test_the_sample_and_the_recipe_are_found(installed: Path, tmp_path: Path) -> None:
    code = """
from scdseg.resources import sample_volume
from scdseg.training.recipe import RECIPES, load_recipe
recipe = load_recipe("brain-structures")
print(sample_volume(), RECIPES / "brain-structures.yaml", recipe.directory / recipe.data.labels, sep="\\n")
"""
    process = run_python(installed, tmp_path, "-c", code)
    assert process.returncode == 0, process.stderr
    for line in process.stdout.splitlines():
        assert Path(line).is_relative_to(installed)
        assert Path(line).is_file()


def test_every_module_of_the_slicer_side_compiles(installed: Path) -> None:
    files = [installed / "SCDSegmentation.py", *sorted((installed / "SCDSegmentationLib").rglob("*.py"))]
    assert len(files) > 1
    for file in files:
        compile(file.read_text(encoding="utf-8"), str(file), "exec")
