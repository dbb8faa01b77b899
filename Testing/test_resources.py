"""The files that ship are there, readable and the ones that their notice describes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import nibabel as nib
import pytest

from scdseg import resources
from scdseg.resources import embedded_host, module_dir, resource_dir, sample_volume, slicer_module


def test_sample_volume_is_the_head_that_its_notice_describes() -> None:
    digest = hashlib.sha256(sample_volume().read_bytes()).hexdigest()
    assert digest in (resource_dir() / "SampleData" / "NOTICE").read_text(encoding="utf-8")


def test_sample_volume_is_small_and_covers_a_whole_head() -> None:
    assert sample_volume().stat().st_size < 5_000_000
    image = nib.load(sample_volume())
    assert image.shape == (181, 217, 181)
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")


def test_a_checkout_has_the_module_beside_the_engine_and_the_host_among_the_tests() -> None:
    assert (module_dir() / "scdseg").is_dir()
    assert slicer_module().is_file()
    assert (embedded_host() / "__init__.py").is_file()


def test_a_wheel_has_them_in_a_folder_of_the_same_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "shipped" / "embedded_slicer").mkdir(parents=True)
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path)
    assert resource_dir() == tmp_path / "shipped" / "Resources"
    assert slicer_module() == tmp_path / "shipped" / "SCDSegmentation.py"
    assert embedded_host() == tmp_path / "shipped" / "embedded_slicer"
