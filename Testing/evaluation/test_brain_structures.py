"""The script behind the brain model's card refuses an output before it fetches or segments anything."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from scdseg.errors import InputError

pytest.importorskip("lightning", reason="the held-out people are read by the training code")
pytest.importorskip("yaml")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = Path(__file__).parents[1] / "evaluate_brain_structures.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere/quality.json", "does not exist"),
        ("quality.txt", "no extension that is written: use .json"),
        ("taken.json", "taken.md is a folder"),
    ],
)
def test_a_bad_output_is_refused_before_any_work(
    script: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    message: str,
) -> None:
    (tmp_path / "taken.md").mkdir()
    monkeypatch.setattr(script, "fetch", lambda *_: pytest.fail("work began"))
    monkeypatch.setattr(sys, "argv", ["evaluate", str(tmp_path / "data"), "-o", str(tmp_path / name)])
    assert script.main() == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["taken.md"]


def test_a_good_output_lets_the_work_begin(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fetch(*_: object) -> None:
        raise InputError("begun")

    monkeypatch.setattr(script, "fetch", fetch)
    monkeypatch.setattr(sys, "argv", ["evaluate", str(tmp_path / "data"), "-o", str(tmp_path / "quality.json")])
    assert script.main() == 2
    assert capsys.readouterr().err == "error: begun\n"
    assert not list(tmp_path.iterdir())


def test_the_sides_are_those_of_the_labels(script: ModuleType) -> None:
    assert len(script.MIRROR) == 28
    assert (script.MIRROR[17], script.MIRROR[53]) == (53, 17)
    assert not {14, 15, 16, 24} & script.MIRROR.keys()
