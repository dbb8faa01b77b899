"""Outputs are refused before work starts, or appear complete and all together."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from scdseg.errors import InputError, ResourceError
from scdseg.volumes import Volume, check_outputs, staged, write_volume

NIFTI = (".nii.gz",)


def test_outputs_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    source = tmp_path / "in.nii.gz"
    source.touch()
    (tmp_path / "link.nii.gz").symlink_to(source)
    (tmp_path / "folder.nii.gz").mkdir()
    for name, message in (
        ("out.jpg", "extension"),
        ("nowhere/out.nii.gz", "does not exist"),
        ("in.nii.gz", "overwrite an input"),
        ("link.nii.gz", "overwrite an input"),
        ("folder.nii.gz", "is a folder"),
    ):
        with pytest.raises(InputError, match=message):
            check_outputs([(tmp_path / name, NIFTI)], [source])
    with pytest.raises(InputError, match="asked for twice"):
        check_outputs([(tmp_path / "a.nii.gz", NIFTI), (tmp_path / "." / "a.nii.gz", NIFTI)], [source])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder.nii.gz", "in.nii.gz", "link.nii.gz"]


def test_files_appear_together_under_their_final_names(tmp_path: Path) -> None:
    paths = [tmp_path / "a.nii.gz", tmp_path / "b.json"]
    with staged(paths) as temporary:
        for path in paths:
            assert temporary[path].name.endswith(path.name)
            temporary[path].write_text(path.name)
        assert not any(path.exists() for path in paths)
    assert [path.read_text() for path in paths] == ["a.nii.gz", "b.json"]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(("error", "raised"), [(KeyboardInterrupt, KeyboardInterrupt), (OSError, ResourceError)])
def test_nothing_is_left_after_an_error(tmp_path: Path, error: type[BaseException], raised: type) -> None:
    (tmp_path / "a.json").write_text("old")
    paths = [tmp_path / "a.json", tmp_path / "b.json"]

    def write() -> None:
        with staged(paths) as temporary:
            temporary[paths[0]].write_text("new")
            raise error

    with pytest.raises(raised):
        write()
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "old"


def write_new(paths: list[Path]) -> None:
    with staged(paths) as temporary:
        for path in paths:
            temporary[path].write_text("new")


@pytest.mark.parametrize("fails", ["a.json", "b.json", "c.json"])
def test_a_rename_that_fails_puts_everything_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    paths = [tmp_path / name for name in ("a.json", "b.json", "c.json")]
    paths[0].write_text("old a")
    paths[2].write_text("old c")
    rename = os.replace

    def replace(source: Path, target: Path) -> None:
        if Path(target).name == fails and Path(source).read_text() == "new":
            raise PermissionError(13, "in use")
        rename(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(ResourceError, match=r"in use.*nothing was kept"):
        write_new(paths)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.json": "old a", "c.json": "old c"}


def test_files_that_cannot_be_put_back_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    paths[0].write_text("old")
    rename = os.replace

    def replace(source: Path, target: Path) -> None:
        if Path(target) in paths:
            raise PermissionError(13, "in use")
        rename(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(ResourceError, match=r"a\.json is now .*-a\.json"):
        write_new(paths)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_old_files_are_replaced(tmp_path: Path) -> None:
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for path in paths:
        path.write_text("old")
    write_new(paths)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.json": "new", "b.json": "new"}


@pytest.mark.parametrize("name", ["out.nii.gz", "out.nrrd", "out.mha"])
def test_a_writer_that_fails_is_one_error_whatever_the_format(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "unplugged"
    folder.mkdir()

    def write() -> None:
        with staged([folder / name]) as temporary:
            folder.rmdir()
            write_volume(Volume(np.zeros((4, 4, 4), np.uint8), np.eye(4)), temporary[folder / name])

    with pytest.raises(ResourceError, match=f"writing .*{name} failed"):
        write()
