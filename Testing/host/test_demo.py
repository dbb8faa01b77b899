"""``scdseg demo`` in a process of its own, with a small model on a small volume, and the end of a host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PySide6 import QtGui

TESTING = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of random weights, made elsewhere: this process must not load PyTorch."""
    folder = tmp_path_factory.mktemp("models")
    subprocess.run(
        [sys.executable, TESTING / "tiny_model.py", folder / "tiny", "1"], check=True, capture_output=True, timeout=120
    )
    return folder


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A volume of 40×36×32 voxels of 2 mm: a ball that is brightest in its middle."""
    i, j, k = np.mgrid[:40, :36, :32]
    ball = np.maximum(900 - 9 * ((i - 20) ** 2 + (j - 18) ** 2 + (k - 16) ** 2), 0)
    path = tmp_path / "ball.nii.gz"
    nib.save(nib.Nifti1Image(ball.astype(np.int16), np.diag([2.0, 2.0, 2.0, 1.0])), path)
    return path


def demo(models: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scdseg.cli", "demo", *map(str, arguments)]
    environment = {**os.environ, "SCDSEG_MODELS": str(models)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180)


def test_the_demo_writes_the_scene_the_results_and_pictures(models: Path, image: Path, tmp_path: Path) -> None:
    output = tmp_path / "results"
    ended = demo(models, "-o", output, "--image", image, "-m", "tiny", "--keep-ratio", "0.5")
    assert ended.returncode == 0, ended.stderr
    names = {"scene.mrb", "labels.nii.gz", "importance.nrrd", "report.json", "panel.png", "views.png", "window.png"}
    assert {path.name for path in output.iterdir()} == names
    assert all(f"wrote {output / name}" in ended.stdout for name in names)

    report = json.loads((output / "report.json").read_text(encoding="utf-8"))
    assert report["keep_ratio"] == 0.5
    labels = nib.load(output / "labels.nii.gz")
    np.testing.assert_allclose(labels.affine, nib.load(image).affine, atol=1e-4)
    voxels = {
        int(value): int(count) for value, count in zip(*np.unique(labels.dataobj, return_counts=True), strict=True)
    }
    assert {label["value"]: label["voxels"] for label in report["labels"] if label["voxels"]} == {
        value: count for value, count in voxels.items() if value
    }
    window = QtGui.QImage(str(output / "window.png"))
    assert (window.width(), window.height()) == (1400, 900)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--image", "nothing.nii.gz"), "nothing.nii.gz is not there"),
        (("-m", "liver"), "There is no model 'liver'"),
        (("--keep-ratio", "1.5"), "keep ratio 1.5 is out of range"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_exit_code_2(
    models: Path, tmp_path: Path, image: Path, arguments: tuple[str, ...], message: str
) -> None:
    given = ("-o", tmp_path / "results", "--image", image, "-m", "tiny", *arguments)
    ended = demo(models, *given)
    assert ended.returncode == 2, ended.stderr
    assert message in ended.stderr.splitlines()[-1]


def test_without_its_packages_the_demo_says_how_to_install_them(models: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'PySide6' else find(name, *rest)\n",
        encoding="utf-8",
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "scdseg.cli", "demo", "-o", str(tmp_path / "results")]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2, ended.stderr
    assert "PySide6: install with pip install 'scdseg[gui]'" in ended.stderr


def test_a_closed_host_has_told_its_modules_and_leaves_no_files(tmp_path: Path) -> None:
    (tmp_path / "Closing.py").write_text(
        "import slicer\n"
        "from slicer.ScriptedLoadableModule import *\n"
        "class Closing(ScriptedLoadableModule):\n"
        "    pass\n"
        "class ClosingWidget(ScriptedLoadableModuleWidget):\n"
        "    def setup(self):\n"
        "        slicer.app.connect('aboutToQuit()', lambda: print('quitting'))\n"
        "    def cleanup(self):\n"
        "        print('cleaning up with', slicer.mrmlScene.GetNumberOfNodesByClass('vtkMRMLVolumeNode'), 'volume')\n",
        encoding="utf-8",
    )
    script = (
        "import sys, embedded_slicer, numpy as np\n"
        "host = embedded_slicer.start()\n"
        "host.load_module(sys.argv[1])\n"
        "import slicer\n"
        "slicer.util.addVolumeFromArray(np.zeros((4, 4, 4)))\n"
        "host.views_screenshot(sys.argv[2])\n"
        "host.close()\n"
        "print('volumes:', host.scene.GetNumberOfNodesByClass('vtkMRMLVolumeNode'))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(TESTING), "TMPDIR": str(tmp_path / "temporary")}
    (tmp_path / "temporary").mkdir()
    ended = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "Closing.py"), str(tmp_path / "views.png")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == ["quitting", "cleaning up with 1 volume", "volumes: 0"]
    assert list((tmp_path / "temporary").iterdir()) == []
