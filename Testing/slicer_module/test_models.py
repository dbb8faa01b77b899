"""The gallery reads models without PyTorch, and finds those that the engine finds."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from scdseg.bundle import find_bundles, model_folders
from SCDSegmentationLib.keep_ratio import describe, presets
from SCDSegmentationLib.models import findModels, modelFolders, readModel


def test_panel_and_engine_search_the_same_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SCDSEG_MODELS", os.pathsep.join((str(tmp_path / "a"), str(tmp_path / "b"))))
    assert modelFolders() == model_folders()


def test_panel_and_engine_find_the_same_models_and_labels(monkeypatch: pytest.MonkeyPatch, tiny_models: Path) -> None:
    monkeypatch.setenv("SCDSEG_MODELS", str(tiny_models))
    models, problems = findModels()
    bundles, _ = find_bundles()
    assert problems == []
    assert [model.path for model in models] == [bundle.path for bundle in bundles]
    for model, bundle in zip(models, bundles, strict=True):
        assert model.keepRatioRange == bundle.keep_ratio_range
        assert [label.name for label in model.labels] == [label.name for label in bundle.labels]


def test_a_label_becomes_the_terminology_that_slicer_writes() -> None:
    models, _ = findModels()
    brain = next(model for model in models if model.name == "brain-structures")
    thalamus = next(label for label in brain.labels if label.name == "Left thalamus")
    assert thalamus.terminology == (
        "Segmentation category and type - DICOM master list~SCT^123037004^Anatomical Structure~SCT^42695009^Thalamus~"
        "SCT^7771000^Left~Anatomic codes - DICOM master list~^^~^^"
    )
    assert thalamus.color == pytest.approx((0, 118 / 255, 14 / 255))


def with_network(text: str, **arguments: object) -> str:
    metadata = json.loads(text)
    metadata["scd"]["network"].update(arguments)
    return json.dumps(metadata)


DAMAGES = {
    "a patch of nothing": lambda text: with_network(text, patch_size=0),
    "a billion layers": lambda text: with_network(text, num_layers=10**9),
    "a width beyond all numbers": lambda text: with_network(text, hidden_size=10**400),
    "stages of text": lambda text: with_network(text, prune_after="1, 2"),
    "a network that is a list": lambda text: text.replace('"network": {', '"network": [], "was": {'),
    "nesting": lambda text: "[" * 200_000,
    "a key twice": lambda text: text.replace('"scd": {', '"scd": {}, "scd": {'),
    "a ratio that is no number": lambda text: text.replace('"keep_ratio_range": [', '"keep_ratio_range": ["x", '),
    "a colour beyond all": lambda text: text.replace('"color": [', '"color": [1e300, 1e308, '),
    "too many labels": lambda text: text.replace('"labels": [', '"labels": [' + "{}, " * 300),
    "a terminal's commands": lambda text: text.replace("Random weights", r"\u001b[2J"),
    "no JSON": lambda text: "{",
    "no labels": lambda text: json.dumps({**json.loads(text), "scd": {}}),
    "labels of another kind": lambda text: text.replace('"color": [', '"colour": ['),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_model_is_a_problem_that_names_it_and_hides_no_other(
    tiny_models: Path, tmp_path: Path, damage: str
) -> None:
    for name in ("a", "b"):
        shutil.copytree(tiny_models / "tiny", tmp_path / name)
    path = tmp_path / "a" / "configs" / "metadata.json"
    path.write_text(DAMAGES[damage](path.read_text(encoding="utf-8")), encoding="utf-8")
    models, problems = findModels([tmp_path])
    assert [model.name for model in models] == ["b"]
    assert len(problems) == 1
    assert str(tmp_path / "a") in problems[0]


def test_a_model_of_more_inputs_than_the_panel_has_is_a_problem(tiny_models: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_models / "tiny", tmp_path / "many")
    path = tmp_path / "many" / "configs" / "metadata.json"
    metadata = json.loads(path.read_text(encoding="utf-8"))
    metadata["scd"]["channels"] = ["a", "b", "c", "d", "e"]
    path.write_text(json.dumps(metadata), encoding="utf-8")
    _, problems = findModels([tmp_path])
    assert "takes 5 images, and the panel has room for 4" in problems[0]


def test_a_search_finds_structures_and_inputs_in_any_order(tiny_models: Path) -> None:
    model = readModel(tiny_models / "tiny")
    assert model.matches("HIPPO t1")
    assert model.matches("")
    assert not model.matches("hippocampus liver")


def test_the_line_below_the_slider_says_tokens_and_work(tiny_models: Path) -> None:
    models, _ = findModels()
    brain = next(model for model in models if model.name == "brain-structures")
    assert describe(brain, 0.25) == (
        "keeps 25 % of tokens a stage: 160 → 40 → 10 of 640, about 1.2× less work than dense"
    )
    assert describe(brain, 0.05).endswith("(outside the model's useful range 0.1…1)")
    assert [preset.keepRatio for preset in presets(brain)] == [0.1, 0.25, 1.0]
