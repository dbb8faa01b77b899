"""``scdseg models`` tells what there is, what it does and what cannot be used."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from scdseg.bundle import Bundle
from scdseg.cli import main


@pytest.fixture
def folder(tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one model, which is all that there is."""
    folder = tmp_path / "models"
    shutil.copytree(tiny_bundle.path, folder / "[bold]heads")
    monkeypatch.setenv("SCDSEG_MODELS", str(folder))
    monkeypatch.setattr("scdseg.bundle.search.resource_dir", lambda: tmp_path / "nothing")
    monkeypatch.setenv("COLUMNS", "300")
    return folder


def test_the_list_has_all_that_one_chooses_by(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    output = capsys.readouterr().out
    for cell in (
        "[bold]heads",
        "2 labels: white matter, hippocampus",
        "T1",
        "0.25–1, default 0.5",
        "MB",
        str(folder / "[bold]heads"),
    ):
        assert cell in output


def test_json_can_be_read_by_programs(folder: Path, tiny_bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    listing = json.loads(capsys.readouterr().out)
    (model,) = listing["models"]
    assert (model["name"], model["title"]) == ("[bold]heads", "Tiny")
    assert model["labels"] == [{"value": 2, "name": "white matter"}, {"value": 17, "name": "hippocampus"}]
    assert model["keep_ratio_range"] == [0.25, 1.0]
    assert model["bytes"] == tiny_bundle.weights_path.stat().st_size
    assert listing["problems"] == []
    assert listing["folders"][0] == str(folder)


def test_an_unreadable_model_is_listed_with_its_problem(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = shutil.copytree(folder / "[bold]heads", folder / "broken")
    (broken / "configs" / "metadata.json").write_text("{")
    assert main(["models"]) == 0
    output = capsys.readouterr().out
    assert "[bold]heads" in output
    assert "cannot be used" in output
    assert str(broken / "configs" / "metadata.json") in output
    assert main(["models", "--json"]) == 0
    assert str(broken) in json.loads(capsys.readouterr().out)["problems"][0]


def test_no_models_is_said_with_the_folders_searched(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(folder / "[bold]heads")
    assert main(["models"]) == 0
    output = capsys.readouterr().out
    assert "No models found" in output
    assert str(folder) in output
