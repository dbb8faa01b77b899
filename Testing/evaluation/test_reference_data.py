"""Getting the evaluation data: from packages at hand, verified, and nothing twice."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from scdseg.errors import InputError, ResourceError
from scdseg.evaluation import reference_data
from scdseg.evaluation.reference_data import NILEARN, REFERENCE_FILES, fetch
from scdseg.resources import sample_volume

CONTENT = b"a small file instead of a large one"


@pytest.fixture
def wheel_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a maker of wheels with one small data file, whose content should be ``CONTENT``."""
    file = next(f for f in REFERENCE_FILES if f.package is NILEARN)
    small = replace(file, sha256=hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setattr(reference_data, "REFERENCE_FILES", (small,))

    def make(content: bytes) -> Path:
        wheel = tmp_path / "nilearn-0.14.0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(small.path, content)
        return wheel

    return make


def test_files_come_out_of_a_package_at_hand(wheel_with, tmp_path: Path) -> None:
    image, mapping = fetch(tmp_path / "data", [wheel_with(CONTENT)])
    assert image.read_bytes() == CONTENT
    assert json.loads(mapping.read_text())["37"] == 17
    assert {path.name for path in (tmp_path / "data").iterdir()} == {image.name, mapping.name}


def test_files_that_are_there_are_not_fetched_again(wheel_with, tmp_path: Path) -> None:
    wheel = wheel_with(CONTENT)
    (image, _) = fetch(tmp_path / "data", [wheel])
    before = image.stat().st_mtime_ns
    wheel.unlink()
    fetch(tmp_path / "data", [wheel])
    assert image.stat().st_mtime_ns == before


def test_other_content_is_refused_and_not_kept(wheel_with, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nilearn.*0\.14\.0"):
        fetch(tmp_path / "data", [wheel_with(b"something else")])
    assert not list((tmp_path / "data").iterdir())


def test_a_broken_package_is_named(wheel_with, tmp_path: Path) -> None:
    wheel = wheel_with(CONTENT)
    wheel.write_bytes(b"not a wheel")
    with pytest.raises(InputError, match=str(wheel)):
        fetch(tmp_path / "data", [wheel])


def test_a_failing_download_says_what_failed(wheel_with, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = replace(NILEARN, download=(sys.executable, "-c", "raise SystemExit('no route')"))
    monkeypatch.setattr(reference_data, "NILEARN", broken)
    monkeypatch.setattr(
        reference_data, "REFERENCE_FILES", tuple(replace(f, package=broken) for f in reference_data.REFERENCE_FILES)
    )
    with pytest.raises(ResourceError, match="no route"):
        fetch(tmp_path / "data")


def test_the_shipped_sample_is_the_listed_colin27() -> None:
    colin = next(f for f in REFERENCE_FILES if f.name == sample_volume().name)
    assert hashlib.sha256(sample_volume().read_bytes()).hexdigest() == colin.sha256


def test_the_command_reports_a_bad_package_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "mricron-data_0_all.deb").write_bytes(b"")
    (tmp_path / "nilearn-0-py3-none-any.whl").write_bytes(b"")
    packages = [f"--package={path}" for path in tmp_path.iterdir()]
    command = [sys.executable, "-m", "scdseg.evaluation.reference_data", str(tmp_path / "data"), *packages]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 2
    assert process.stderr.startswith("error: ")
    assert process.stderr.count("\n") == 1
