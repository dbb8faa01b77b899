"""``scdseg segment --influence``: a map beside the labels, and errors before any work."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from scdseg.bundle import Bundle
from scdseg.cli import main


@pytest.fixture
def arguments(tiny_bundle: Bundle, tmp_path: Path) -> list[str]:
    voxels = np.random.default_rng(0).random((20, 18, 16)).astype(np.float32) * 100
    nib.save(nib.Nifti1Image(voxels, np.diag([2.0, 2.0, 2.0, 1.0])), tmp_path / "in.nii.gz")
    labels = str(tmp_path / "labels.nii.gz")
    return ["segment", str(tmp_path / "in.nii.gz"), "-m", str(tiny_bundle.path), "-o", labels, "--device", "cpu"]


def test_influence_is_written_beside_the_labels_and_told_in_the_report(arguments: list[str], tmp_path: Path) -> None:
    paths = {name: tmp_path / f"{name}.nii.gz" for name in ("importance", "influence")}
    report = tmp_path / "report.json"
    wanted = [argument for name, path in paths.items() for argument in (f"--{name}", str(path))]
    assert main([*arguments, *wanted, "--influence-label", "17", "--report", str(report)]) == 0
    importance, influence = (nib.load(path) for path in paths.values())
    assert influence.shape == importance.shape
    np.testing.assert_array_equal(influence.affine, importance.affine)
    assert np.asarray(influence.dataobj).max() == 1
    told = json.loads(report.read_text())
    assert told["influence"] == {"label": "hippocampus"}
    seconds = told["seconds"]
    assert seconds["influence"] > 0
    assert seconds["total"] == pytest.approx(sum(s for step, s in seconds.items() if step != "total"), abs=0.01)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--influence", "i.nii.gz", "--influence-label", "nose"], "has no label 'nose'"),
        (["--influence-label", "17"], "--influence"),
        (["--influence", "i.txt"], "i.txt"),
    ],
)
def test_bad_arguments_are_one_line_and_nothing_is_written(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    more: list[str], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main([*arguments, *more]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert [path.name for path in tmp_path.iterdir()] == ["in.nii.gz"]
