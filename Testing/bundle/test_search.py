"""Models are found by name in the right order, and unreadable ones are told about."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from scdseg.bundle import find_bundle, find_bundles, model_folders
from scdseg.errors import ModelError
from scdseg.resources import resource_dir


@pytest.fixture(autouse=True)
def no_shipped_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("scdseg.bundle.search.resource_dir", lambda: tmp_path / "shipped")


def use(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
    monkeypatch.setenv("SCDSEG_MODELS", os.pathsep.join(str(folder) for folder in folders))


def test_named_folders_come_first_then_the_users_then_the_shipped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use(monkeypatch, tmp_path / "a", tmp_path / "b")
    named_a, named_b, user, shipped = model_folders()
    assert (named_a, named_b) == (tmp_path / "a", tmp_path / "b")
    assert user.name == "models"
    assert shipped == tmp_path / "shipped" / "Models"


def test_shipped_models_lie_among_the_resources() -> None:
    assert (resource_dir() / "Models").is_dir()


def test_a_model_is_found_by_name_and_by_path(monkeypatch: pytest.MonkeyPatch, bundle_dir: Path) -> None:
    use(monkeypatch, bundle_dir.parent)
    assert find_bundle("tiny") == find_bundle(bundle_dir)
    monkeypatch.chdir(bundle_dir)
    assert find_bundle(".").name == "tiny"


def test_the_first_model_of_a_name_wins(monkeypatch: pytest.MonkeyPatch, bundle_dir: Path, tmp_path: Path) -> None:
    first = shutil.copytree(bundle_dir, tmp_path / "first" / "tiny")
    use(monkeypatch, tmp_path / "first", bundle_dir.parent)
    assert find_bundle("tiny").path == first
    assert [bundle.path for bundle in find_bundles()[0]] == [first]


def test_the_users_folder_and_the_shipped_models_are_searched(
    monkeypatch: pytest.MonkeyPatch, bundle_dir: Path, tmp_path: Path
) -> None:
    user = model_folders()[0]
    shutil.copytree(bundle_dir, user / "mine")
    shutil.copytree(bundle_dir, tmp_path / "shipped" / "Models" / "theirs")
    assert [bundle.name for bundle in find_bundles()[0]] == ["mine", "theirs"]


def test_an_unknown_model_is_answered_with_those_there_are(monkeypatch: pytest.MonkeyPatch, bundle_dir: Path) -> None:
    use(monkeypatch, bundle_dir.parent)
    with pytest.raises(ModelError, match="unknown model 'brain'; there are: tiny"):
        find_bundle("brain")


def test_an_unreadable_model_is_a_problem_and_not_replaced_by_another(
    monkeypatch: pytest.MonkeyPatch, bundle_dir: Path, tmp_path: Path
) -> None:
    broken = shutil.copytree(bundle_dir, tmp_path / "first" / "tiny")
    (broken / "configs" / "metadata.json").write_text("{")
    shutil.copytree(bundle_dir, tmp_path / "first" / "good")
    use(monkeypatch, tmp_path / "first", bundle_dir.parent)
    bundles, problems = find_bundles()
    assert [bundle.name for bundle in bundles] == ["good"]
    assert [str(broken) in str(problem) for problem in problems] == [True]
    with pytest.raises(ModelError, match="not a valid JSON file"):
        find_bundle("tiny")


def test_a_named_folder_that_is_not_there_is_a_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use(monkeypatch, tmp_path / "nowhere")
    bundles, problems = find_bundles()
    assert bundles == []
    assert [str(problem) for problem in problems] == [f"{tmp_path / 'nowhere'}: no such folder; correct SCDSEG_MODELS"]


def test_half_written_models_and_other_folders_are_passed_over(
    monkeypatch: pytest.MonkeyPatch, bundle_dir: Path
) -> None:
    bundle_dir.rename(bundle_dir.with_name(".tiny-1234"))
    (bundle_dir.parent / "notes").mkdir()
    use(monkeypatch, bundle_dir.parent)
    assert find_bundles() == ([], [])
