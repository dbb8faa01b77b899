"""Recipes: what may be left out, what is refused by name, what the command line replaces."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from scdseg.errors import InputError, ResourceError
from scdseg.training.recipe import (
    RECIPES,
    OptimisationSettings,
    ValidationSettings,
    load_recipe,
    save_recipe,
)
from scdseg.training.synthesis import SynthesisSettings
from scdseg.training.synthetic import read_heads


def changed(recipe: Path, folder: Path, change: dict[str, Any]) -> Path:
    """A copy with ``change`` merged into its sections; None takes a key away."""
    content = yaml.safe_load(recipe.read_text())
    for key, value in change.items():
        *sections, last = key.split(".")
        place = content
        for section in sections:
            place = place.setdefault(section, {})
        if value is None:
            del place[last]
        else:
            place[last] = value
    path = folder / "changed.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_the_shipped_recipe_is_sound() -> None:
    recipe = load_recipe("brain-structures")
    assert recipe.directory == RECIPES
    assert (recipe.directory / recipe.data.labels).is_file()
    assert recipe.optimisation.learning_rate == pytest.approx(1.5e-3)
    assert recipe.synthesis.contrast[2] == (0.78, 0.06)


def test_sections_without_required_keys_can_be_left_out(tiny_recipe: Path) -> None:
    recipe = load_recipe(tiny_recipe)
    assert recipe.synthesis == SynthesisSettings()
    assert recipe.validation == ValidationSettings()
    assert recipe.optimisation == OptimisationSettings(steps=30, learning_rate=3e-3, warmup_steps=3)
    assert recipe.data.pattern == "*.nii.gz"


def test_an_empty_section_has_its_defaults(tiny_recipe: Path, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(f"{tiny_recipe.read_text()}\nsynthesis:\nvalidation:\n")
    assert load_recipe(path) == load_recipe(changed(tiny_recipe, tmp_path, {}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nonsense": 1}, "unknown key 'nonsense'"),
        (
            {"optimisation.learning_rat": 1},
            "unknown key 'learning_rat'; did you mean 'learning_rate'",
        ),
        ({"synthesis.blurr": [0, 1]}, "synthesis: unknown key 'blurr'"),
        ({"seed": None}, "'seed' is missing"),
        ({"optimisation.steps": None}, "optimisation: 'steps' is missing"),
        ({"export": None}, "export: 'description' is missing"),
        ({"data": "text"}, "data: should be a mapping, not 'text'"),
        ({"network": [1]}, "'network' should be a mapping"),
        ({"seed": 1.5}, "'seed' should be a whole number, not 1.5"),
        ({"seed": True}, "'seed' should be a whole number"),
        ({"optimisation.learning_rate": "fast"}, "optimisation: 'learning_rate' should be a number, not 'fast'"),
        ({"data.root": 5}, "data: 'root' should be text, not 5"),
        ({"data.validation": "person_0"}, "data: 'validation' should be a list of values"),
        ({"data.spacing": [1.0, 1.0]}, "data: 'spacing' should be a list of 3 values"),
        ({"data.merge": {"x": 2}}, "data: 'merge' should be a whole number, not 'x'"),
        ({"synthesis.contrast": {2: [0.5]}}, "synthesis: 'contrast': 2 should be a list of 2 values"),
        ({"export.crop_foreground": "no"}, "export: 'crop_foreground' should be true or false"),
    ],
    ids=str,
)
def test_a_mistake_is_named(tiny_recipe: Path, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_recipe(changed(tiny_recipe, tmp_path, change))


@pytest.mark.parametrize("text", ["a: [1", "- a\n- b\n", "just text", "", "\x00"], ids=repr)
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"bad\.yaml"):
        load_recipe(path)


def test_a_recipe_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match="no-such-recipe: there is no such recipe file"):
        load_recipe("no-such-recipe")


def test_values_are_replaced(tiny_recipe: Path) -> None:
    recipe = load_recipe(
        tiny_recipe,
        {
            "data.root": "elsewhere",
            "data.validation": "[]",
            "data.merge.57": "41",
            "optimisation.learning_rate": "1e-4",
            "network.hidden_size": "96",
            "validation.every_steps": "7",
            "synthesis.contrast.2": "[0.5, 0.1]",
        },
    )
    assert recipe.root == Path.cwd() / "elsewhere"
    assert recipe.data.validation == ()
    assert recipe.data.merge == {25: 2, 57: 41}
    assert recipe.optimisation.learning_rate == pytest.approx(1e-4)
    assert recipe.network["hidden_size"] == 96
    assert recipe.validation == ValidationSettings(every_steps=7)
    assert recipe.synthesis.contrast == {2: (0.5, 0.1)}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("optimisation.step", "5", "unknown key 'step'"),
        ("optimization.steps", "5", "unknown key 'optimization'"),
        ("name.first", "x", "no section for --name.first"),
        ("optimisation.steps", "[5", "--optimisation.steps \\[5: is not a YAML value"),
        ("optimisation.steps", "five", "'steps' should be a whole number, not 'five'"),
    ],
)
def test_a_replacement_that_does_not_fit_is_named(tiny_recipe: Path, key: str, value: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_recipe(tiny_recipe, {key: value})


def test_a_runs_folder_says_all_about_the_run(tiny_recipe: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(tiny_recipe.parent, source)
    recipe = load_recipe(source / "recipe.yaml", {"optimisation.steps": "9"})
    run = tmp_path / "run"
    run.mkdir()
    save_recipe(recipe, run)
    shutil.rmtree(source)
    saved = load_recipe(run / "recipe.yaml")
    assert saved.optimisation == recipe.optimisation
    assert (saved.network, saved.synthesis, saved.export) == (recipe.network, recipe.synthesis, recipe.export)
    assert (run / saved.data.labels).read_text() == (tiny_recipe.parent / "labels.json").read_text()
    save_recipe(saved, run)  # as a resumed run does with the recipe in its own folder
    assert load_recipe(run / "recipe.yaml") == saved


def test_the_folder_of_the_label_maps_starts_from_the_recipe_or_from_where_the_command_runs(
    tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "project"
    shutil.copytree(tiny_recipe.parent, folder)
    path = changed(folder / "recipe.yaml", folder, {"data.root": "heads"})
    assert [head.name for head in read_heads(load_recipe(path))[1]] == ["person_0", "person_1"]
    monkeypatch.chdir(folder / "heads")
    given = load_recipe(path, {"data.root": "."})
    (tmp_path / "run").mkdir()
    for recipe in (load_recipe(path), given):
        save_recipe(recipe, tmp_path / "run")
        monkeypatch.chdir(tmp_path)
        saved = load_recipe(tmp_path / "run" / "recipe.yaml")
        assert Path(saved.data.root).is_absolute()
        assert [head.name for head in read_heads(saved)[1]] == ["person_0", "person_1"]


def test_a_recipe_that_cannot_be_written_leaves_the_former_one(
    tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_recipe(load_recipe(tiny_recipe), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    rename = os.replace

    def replace(source: Path, target: Path) -> None:
        if Path(target).name == "recipe.yaml" and b"steps: 9" in Path(source).read_bytes():
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(ResourceError, match="No space left"):
        save_recipe(load_recipe(tiny_recipe, {"optimisation.steps": "9"}), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_aliases_are_refused_before_they_grow(tmp_path: Path) -> None:
    levels = "\n".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]" for n in range(1, 30))
    path = tmp_path / "recipe.yaml"
    path.write_text(f"a0: &a0 [x, x]\n{levels}\ndata: *a29\n", encoding="utf-8")
    with pytest.raises(InputError, match="it holds more than 20000 values") as caught:
        load_recipe(path)
    assert len(str(caught.value)) < 1000
