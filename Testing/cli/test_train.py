"""``scdseg train`` with its overrides, and the one error that bad input gives."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from scdseg.cli import main
from scdseg.training.recipe import load_recipe


def run(recipe: Path | str, output: Path, *options: str) -> int:
    return main(["train", str(recipe), "-o", str(output), "--device", "cpu", *options])


def test_a_run_stops_where_it_is_told_and_goes_on(
    tiny_recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last = tmp_path / "run" / "last.ckpt"
    assert run(tiny_recipe, last.parent, "--optimisation.steps", "2", "--data.validation=[]") == 0
    assert f"scdseg export {last} BUNDLE_DIR" in capsys.readouterr().out
    assert torch.load(last, weights_only=True)["global_step"] == 2
    assert load_recipe(last.parent / "recipe.yaml").data.validation == ()
    assert run(tiny_recipe, last.parent, "--resume", "--optimisation.steps", "3", "--data.validation=[]") == 0
    assert torch.load(last, weights_only=True)["global_step"] == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data.root", "/nowhere"], "/nowhere: no label maps match '*.nii.gz'; set --data.root to their folder"),
        (["--resume"], "last.ckpt: there is no checkpoint to resume from"),
        (["--steps", "5"], "--steps: is no option of scdseg train"),
        (["more"], "more: is no option of scdseg train"),
        (["--optimisation.steps"], "--optimisation.steps: its value is missing"),
        (["--optimisation.step", "5"], "unknown key 'step'"),
        (["--optimisation.steps", "many"], "'steps' should be a whole number"),
        (["--device", "cuda"], "cannot be trained on 'cuda'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_error_and_no_folder(
    tiny_recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    if "cuda" in options and torch.cuda.is_available():
        pytest.skip("this machine has the GPU that the test asks for in vain")
    assert run(tiny_recipe, tmp_path / "run", *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_a_run_is_left_alone(
    tiny_recipe: Path, tiny_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tiny_run.read_bytes()
    assert run(tiny_recipe, tiny_run.parent) == 2
    assert "the folder holds a run already; add --resume or choose another --output" in capsys.readouterr().err
    assert tiny_run.read_bytes() == before


def test_a_recipe_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("no-such-recipe", tmp_path / "run") == 2
    assert "no-such-recipe: there is no such recipe file; recipes that ship: brain-struc" in capsys.readouterr().err
