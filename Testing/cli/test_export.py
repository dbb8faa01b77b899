"""``scdseg export``: a run becomes a model that the other commands find; bad input gives one error and no folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scdseg.bundle import read_bundle
from scdseg.cli import main


def test_a_run_becomes_a_model(tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {"quality.json": json.dumps({"dice": 0.5}), "card.md": "# Ellipsoids", "licence": "Do as you like."}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    bundle = tmp_path / "ellipsoids"
    options = ["--quality", "quality.json", "--card", "card.md", "--license", "licence"]
    options = [option if option.startswith("--") else str(tmp_path / option) for option in options]
    assert main(["export", str(tiny_run), str(bundle), *options, "--version", "2.0.0"]) == 0
    assert f"{bundle}: 5 labels, " in capsys.readouterr().out
    model = read_bundle(bundle)
    assert (model.name, model.version, model.quality) == ("ellipsoids", "2.0.0", {"dice": 0.5})
    assert (bundle / "docs" / "README.md").read_text() == "# Ellipsoids"
    assert (bundle / "docs" / "license.txt").read_text() == "Do as you like."
    assert main(["models"]) == 0


@pytest.mark.parametrize(
    ("name", "text", "option", "message"),
    [
        ("quality.json", "{", "--quality", "quality.json: is not JSON"),
        ("quality.json", "[1]", "--quality", "quality.json: should be a JSON object"),
        ("quality.json", None, "--quality", "quality.json: cannot be read as text"),
        ("card.md", None, "--card", "card.md: cannot be read as text"),
        ("licence", None, "--license", "licence: cannot be read as text"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    tiny_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    text: str | None,
    option: str,
    message: str,
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    assert main(["export", str(tiny_run), str(tmp_path / "bundle"), option, str(tmp_path / name)]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "bundle").exists()


def test_a_checkpoint_that_is_not_there_is_named(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(tiny_run.parent / "none.ckpt"), str(tmp_path / "bundle")]) == 2
    assert "none.ckpt: is not a checkpoint of the recipe beside it" in capsys.readouterr().err
    assert not (tmp_path / "bundle").exists()


def test_a_folder_that_exists_is_left_alone(tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_text("text")
    assert main(["export", str(tiny_run), str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


def test_options_of_other_commands_are_refused(tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as end:
        main(["export", str(tiny_run), str(tmp_path / "bundle"), "--data.root", "x"])
    assert end.value.code == 2
