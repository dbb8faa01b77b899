"""The files that ship are there, readable and the ones that their notice describes."""

from __future__ import annotations

import hashlib

import nibabel as nib

from scdseg.resources import resource_dir, sample_volume


def test_sample_volume_is_the_head_that_its_notice_describes() -> None:
    digest = hashlib.sha256(sample_volume().read_bytes()).hexdigest()
    assert digest in (resource_dir() / "SampleData" / "NOTICE").read_text(encoding="utf-8")


def test_sample_volume_is_small_and_covers_a_whole_head() -> None:
    assert sample_volume().stat().st_size < 5_000_000
    image = nib.load(sample_volume())
    assert image.shape == (181, 217, 181)
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
