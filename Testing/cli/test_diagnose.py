"""``scdseg diagnose``: what developers need to know, and nothing that tells whose computer it is."""

from __future__ import annotations

import getpass
import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from scdseg import __version__, diagnostics
from scdseg.bundle import Bundle
from scdseg.cli import main


@pytest.fixture
def models(tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder below a patient's name, with one good and one broken model, and one that is not there."""
    folder = tmp_path / "SECRETNAME JOHN" / "models"
    shutil.copytree(tiny_bundle.path, folder / "tiny")
    (folder / "broken" / "configs").mkdir(parents=True)
    (folder / "broken" / "configs" / "metadata.json").write_text(json.dumps({"name": "SECRETNAME"}))
    monkeypatch.setenv("SCDSEG_MODELS", f"{folder}{':' if sys.platform != 'win32' else ';'}{tmp_path / 'SECRETNAME'}")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "SECRETNAME")
    return folder


def test_it_tells_versions_devices_memory_and_models_but_no_names_and_paths(
    models: Path, tiny_bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["diagnose"]) == 0
    out, err = capfd.readouterr()
    for line in (
        f"SCDSegmentation {__version__}",
        f"torch {torch.__version__}",
        "SCDSEG_MODELS: set, 2 in all",
        "OMP_NUM_THREADS: 2",
        "CUDA_VISIBLE_DEVICES: set to something unusual",
    ):
        assert f"  {line}\n" in out
    assert f"  tiny {tiny_bundle.version}, weights {tiny_bundle.weights_sha256[:12]}\n" in out
    assert "  cpu: " in out
    assert " GB free of " in out
    assert out.count("cannot be used: ") == 2
    assert out.endswith(f"{diagnostics.LEFT_OUT}\n")
    assert "SECRET" not in out + err
    for private in (str(tmp_path), str(Path.home()), platform.node()):
        assert private not in out
    assert getpass.getuser() not in out.split() or getpass.getuser() == "root"


def test_it_is_written_into_a_file_or_says_why_not(
    models: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["diagnose", "-o", str(tmp_path / "text.txt")]) == 0
    assert capfd.readouterr().out == f"wrote {tmp_path / 'text.txt'}\n"
    assert "Devices\n  cpu: " in (tmp_path / "text.txt").read_text(encoding="utf-8")
    assert main(["diagnose", "-o", str(tmp_path)]) == 2
    assert f"{tmp_path} cannot be written" in capfd.readouterr().err


def test_help_text_and_the_page_on_security_say_that_names_of_models_are_in_it(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["diagnose", "--help"])
    page = (Path(__file__).parents[2] / "SECURITY.md").read_text(encoding="utf-8")
    for text in (capfd.readouterr().out, diagnostics.LEFT_OUT, page.partition("## Privacy")[2]):
        assert "names of models, which are their folders'," in " ".join(text.split())


def test_a_broken_installation_is_told_of(models: Path, monkeypatch: pytest.MonkeyPatch, capfd: object) -> None:
    def broken() -> None:
        raise ImportError("libtorch_cpu.so: cannot open shared object file: /home/SECRETNAME/lib")

    monkeypatch.setattr("scdseg.worker.probe.probe", broken)
    assert main(["diagnose"]) == 0
    out = capfd.readouterr().out
    assert "cannot be looked for: ImportError: <text>.so: cannot open shared object file: <path>\n" in out


def test_the_shared_part_imports_nothing_heavy() -> None:
    script = "import sys, scdseg.diagnostics as d; d.packages(); print({'torch', 'numpy', 'monai'} & {*sys.modules})"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out == "set()\n"


def test_the_text_is_bounded_and_keeps_the_last_steps() -> None:
    many = ["x" * 5000] * 1000
    text = diagnostics.compose(dict.fromkeys("abcdefgh", many), [*many, "the last step"])
    assert len(text.encode()) <= diagnostics.MAX_BYTES
    assert text.endswith(f"{diagnostics.LEFT_OUT}\n")
    short = diagnostics.compose({"Models": many}, [*(f"step {n}" for n in range(10000)), "the last step"])
    assert "further lines are left out" in short
    assert "earlier lines are left out" in short
    assert "the last step\n" in short
