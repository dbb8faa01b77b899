"""``scdseg compare``: runs beside each other, with what makes their Dice incomparable."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import yaml

from scdseg.cli import main
from scdseg.training.recipe import load_recipe
from scdseg.training.train import train


@pytest.fixture(scope="module")
def dense_run(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps of the dense baseline, validated behind the second."""
    changes = {
        "network.kind": "dense",
        "network.decoder": "light",
        "optimisation.steps": "2",
        "validation.every_steps": "2",
    }
    folder = tmp_path_factory.mktemp("dense") / "baseline"
    return train(load_recipe(tiny_recipe, changes), folder, devices="cpu").parent


def last_validation(run: Path) -> dict[str, str]:
    with (run / "csv" / "from_step_0" / "metrics.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["val/dice"]][-1]


def test_runs_are_compared_in_every_format(
    tiny_run: Path, dense_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = [tmp_path / f"runs.{kind}" for kind in ("csv", "md", "json")]
    outputs = [argument for table in tables for argument in ("-o", str(table))]
    assert main(["compare", str(tiny_run.parent), str(dense_run), "--device", "cpu", "--rounds", "1", *outputs]) == 0
    printed = capsys.readouterr()
    assert "tiny" in printed.out
    assert "baseline" in printed.out

    document = json.loads(tables[2].read_text())
    assert document["speedups_over"] == "baseline"
    sparse, dense = document["runs"]
    assert [(run["run"], run["kind"], run["pruning"], run["completion"]) for run in document["runs"]] == [
        ("tiny", "scd", "stp", "mta"),
        ("baseline", "dense", None, None),
    ]
    assert (sparse["step"], sparse["validated_at_step"], sparse["keep_ratio"]) == (30, 30, 0.25)
    assert (dense["step"], dense["validated_at_step"], dense["keep_ratio"]) == (2, 2, None)
    for run, folder in ((sparse, tiny_run.parent), (dense, dense_run)):
        row = last_validation(folder)
        assert run["dice"] == float(row["val/dice"])
        assert run["dice_by_label"]["left hippocampus"] == float(row["dice/left hippocampus"])
        assert run["validation_differs_in"] == []
        assert run["training_windows_per_second"] == pytest.approx(1 / run["training_step_seconds"]["median"])
    assert dense["training_speedup"] == {"median": 1.0, "lower": 1.0, "upper": 1.0}
    assert sparse["training_speedup"]["median"] == pytest.approx(
        dense["training_step_seconds"]["median"] / sparse["training_step_seconds"]["median"]
    )

    with tables[0].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == ["tiny", "baseline"]
    assert float(rows[0]["dice_left_hippocampus"]) == sparse["dice_by_label"]["left hippocampus"]
    assert int(rows[1]["macs"]) == dense["macs"]
    assert float(rows[1]["inference_window_seconds_median"]) == dense["inference_window_seconds"]["median"]
    lines = tables[1].read_text().splitlines()
    assert lines[2].startswith("| tiny | stp + mta | 0.25 | ")
    assert lines[3].startswith("| baseline | dense | – | ")
    assert any("trained at keep ratios from 0.1 to 1" in line for line in lines)


def test_a_run_that_was_validated_otherwise_is_flagged(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny_run.parent, other)
    recipe = yaml.safe_load((other / "recipe.yaml").read_text())
    recipe["seed"] += 1
    recipe["data"]["spacing"] = [4.0, 4.0, 4.0]
    recipe["synthesis"]["inverted"] = 0.5  # scans for validation are made without
    (other / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    table = tmp_path / "runs.json"
    assert (
        main(["compare", str(tiny_run.parent), str(other), "--device", "cpu", "--rounds", "1", "-o", str(table)]) == 0
    )
    assert [run["validation_differs_in"] for run in json.loads(table.read_text())["runs"]] == [
        [],
        ["data.spacing", "seed"],
    ]
    assert "* other was validated otherwise than tiny: it differs in data.spacing, seed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("folder", r"there is no such folder"),
        ("recipe.yaml", r"recipe.yaml is missing"),
        ("last.ckpt", r"last.ckpt is missing"),
        ("labels.json", r"labels.json: cannot be read"),
        ("network", r"last.ckpt is not a checkpoint of the recipe beside it"),
    ],
)
def test_what_is_missing_in_a_run_is_named(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], broken: str, message: str
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(tiny_run.parent, folder)
    if broken == "folder":
        shutil.rmtree(folder)
    elif broken == "network":
        text = (folder / "recipe.yaml").read_text()
        (folder / "recipe.yaml").write_text(text.replace("mlp_dim: 96", "mlp_dim: 48"))
    else:
        (folder / broken).unlink()
    assert main(["compare", str(tiny_run.parent), str(folder), "--device", "cpu"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert str(folder) in error


def test_a_table_without_a_format_is_refused_before_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(tmp_path / "none"), "-o", str(tmp_path / "runs.txt")]) == 2
    assert "use .csv, .md, .json" in capsys.readouterr().err
