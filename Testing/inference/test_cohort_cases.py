"""Cases of a cohort: what a folder and a list give, under which names, and what is refused before any work."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from scdseg.bundle import Bundle
from scdseg.errors import InputError
from scdseg.inference.cohort_cases import find_cases
from tiny_model import write_tiny_model

VOXELS = np.random.default_rng(0).random((8, 7, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def two_channels(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_tiny_model(tmp_path_factory.mktemp("models") / "pair", channels=2)


def save(path: Path, scale: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith((".nii", ".nii.gz")):
        nib.save(nib.Nifti1Image(VOXELS * scale, np.eye(4)), path)
    else:
        sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(path))
    return path


def save_series(folder: Path, ending: str = ".dcm") -> Path:
    folder.mkdir(parents=True)
    volume = sitk.GetImageFromArray((VOXELS * 100).astype(np.int16))
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetImageIO("GDCMImageIO")
    for number in range(volume.GetDepth()):
        piece = volume[:, :, number]
        tags = {"0020|000e": "1.2.3", "0008|0018": f"1.2.3.{number + 1}", "0020|0032": f"0\\0\\{number}"}
        for tag, value in (tags | {"0008|0060": "MR", "0010|0010": "Doe^Jane"}).items():
            piece.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{number}{ending}"))
        writer.Execute(piece)
    return folder


def names(source: Path, bundle: Bundle, output: Path | None = None) -> list[str]:
    return [case.name for case in find_cases(source, bundle, output or source.parent / "out")]


def test_a_folder_gives_every_volume_and_series_in_order_and_nothing_else(tiny_bundle: Bundle, tmp_path: Path) -> None:
    root = tmp_path / "in"
    for name in (
        "b.nii.gz",
        "sub-2/T1.mha",
        "sub-1/T1.nrrd",
        "a.nii",
        ".hidden.nii",
        ".cache/x.nii",
        "sub-1/.x.nii.gz",
    ):
        save(root / name)
    save_series(root / "sub-1" / "series")
    save_series(root / "sub-3" / "scan", ending="")
    (root / "notes.txt").write_text("not a volume", encoding="utf-8")
    found = find_cases(root, tiny_bundle, tmp_path / "out")
    assert [case.name for case in found] == ["a", "b", "sub-1_T1", "sub-1_series", "sub-2_T1", "sub-3_scan"]
    assert [case.images[0] for case in found][3] == root / "sub-1" / "series"
    assert not any(case.problem for case in found)


def test_a_folder_that_is_itself_a_series_is_one_case(tiny_bundle: Bundle, tmp_path: Path) -> None:
    assert names(save_series(tmp_path / "scan"), tiny_bundle) == ["scan"]


def test_a_folder_that_links_to_itself_ends(tiny_bundle: Bundle, tmp_path: Path) -> None:
    save(tmp_path / "in" / "sub" / "a.nii")
    try:
        (tmp_path / "in" / "sub" / "loop").symlink_to(tmp_path / "in", target_is_directory=True)
    except OSError:
        pytest.skip("this system makes no links")
    assert names(tmp_path / "in", tiny_bundle) == ["sub_a"]


def test_of_a_folder_and_a_link_to_it_the_first_by_name_is_taken(tiny_bundle: Bundle, tmp_path: Path) -> None:
    # Folders come in no order, or that of their making: each of the two is made first, and last.
    for root, real, link in (("1", "a", "b"), ("2", "b", "a")):
        for number in range(4):
            save(tmp_path / root / f"{number}" / real / "x.nii")
            try:
                (tmp_path / root / f"{number}" / link).symlink_to(tmp_path / root / f"{number}" / real, True)
            except OSError:
                pytest.skip("this system makes no links")
        assert names(tmp_path / root, tiny_bundle) == [f"{number}_a_x" for number in range(4)]


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="such names are legal on Linux alone")
def test_what_has_no_name_of_its_own_in_a_folder_is_a_case_with_a_problem_and_stops_no_other(
    tiny_bundle: Bundle, tmp_path: Path
) -> None:
    for name in ("scan 10:30.nii", "sub/x.nii", "sub/x.nii.gz", "X.mha", "x.nrrd", "good.nii", "line\nbreak.nii"):
        save(tmp_path / "in" / name)
    (tmp_path / "in" / "good.nii").rename(tmp_path / "in" / os.fsdecode(b"\xff.nii"))
    save(tmp_path / "in" / "good.nii")
    found = {case.name: case.problem for case in find_cases(tmp_path / "in", tiny_bundle, tmp_path / "out")}
    assert found.pop("good") == ""
    unfit = {name: found.pop(name) for name in ("scan 10:30.nii", "line\\nbreak.nii", "\\udcff.nii")}
    assert all("is no name for a folder: rename the file" in problem for problem in unfit.values())
    assert sorted(found) == ["X.mha", "sub/x.nii", "sub/x.nii.gz", "x.nrrd"]
    assert found["sub/x.nii"].startswith("2 cases have the name 'sub_x': rename the file, or give it another name")


def test_the_output_folder_is_no_input_nor_are_other_results(tiny_bundle: Bundle, tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.nii")
    save(tmp_path / "in" / "out" / "a" / "labels.nii.gz")
    save(tmp_path / "in" / "earlier" / "a" / "labels.nii.gz")
    save(tmp_path / "in" / "mine" / "labels.nii.gz")
    (tmp_path / "in" / "earlier" / "a" / "report.json").write_text('{"cohort": {}}', encoding="utf-8")
    (tmp_path / "in" / "mine" / "report.json").write_text("{}", encoding="utf-8")
    assert names(tmp_path / "in", tiny_bundle, tmp_path / "in" / "out") == ["a", "mine_labels"]


def test_what_a_folder_has_that_cannot_be_used_is_a_case_with_a_problem(tiny_bundle: Bundle, tmp_path: Path) -> None:
    save(tmp_path / "in" / "b.nii")
    (tmp_path / "in" / "a.nii").write_text("no volume", encoding="utf-8")
    bad, good = find_cases(tmp_path / "in", tiny_bundle, tmp_path / "out")
    assert (bad.name, good.name, good.problem) == ("a", "b", "")
    assert f"{tmp_path / 'in' / 'a.nii'} is not a readable NIfTI file" in bad.problem


LISTS = {
    "text": ("list.txt", "# mine\na.nii\n\nmy scans/b.nii\n", ["a", "my scans_b"]),
    "named text": ("list.txt", "first\ta.nii\nmy scans/b.nii\n", ["first", "my scans_b"]),
    "csv with header": ("list.csv", "\ufeffcase,image\r\nfirst,a.nii\r\n,my scans/b.nii\r\n", ["first", "my scans_b"]),
    "csv with channel": ("list.CSV", 'Case,T1\nfirst,a.nii\nsecond,"my scans/b.nii"\n', ["first", "second"]),
    "json": ("list.json", json.dumps(["a.nii", ["my scans/b.nii"]]), ["a", "my scans_b"]),
    "json objects": (
        "list.json",
        json.dumps([{"case": "first", "image": "a.nii"}, {"image": ["my scans/b.nii"], "label": "c.nii"}]),
        ["first", "my scans_b"],
    ),
}


@pytest.mark.parametrize("kind", LISTS)
def test_a_list_gives_its_cases_in_its_order_relative_to_its_folder(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    file, text, expected = LISTS[kind]
    paths = [save(tmp_path / "a.nii"), save(tmp_path / "my scans" / "b.nii")]
    (tmp_path / file).write_text(text, encoding="utf-8", newline="")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = find_cases(Path("..") / file, tiny_bundle, tmp_path / "out")
    assert [case.name for case in found] == expected
    assert [case.images[0].resolve() for case in found] == paths


@pytest.mark.parametrize("header", ["", "case,T1,T2\n", "case,t2,T1\n"])
def test_channels_go_by_their_column_names_if_there_are_any(two_channels: Bundle, tmp_path: Path, header: str) -> None:
    first, second = (save(tmp_path / f"{name}.nii") for name in ("one", "two"))
    (tmp_path / "list.csv").write_text(f"{header}x,one.nii,two.nii\n", encoding="utf-8")
    (case,) = find_cases(tmp_path / "list.csv", two_channels, tmp_path / "out")
    assert case.images == ((second, first) if "t2" in header else (first, second))


REFUSED = {
    "missing file": ("a.txt", "a.nii\nnowhere.nii\nnor.nii\n", r"nowhere.nii does not exist.*nor.nii does not exist"),
    "unreadable file": ("a.txt", "bad.nii\n", "not a readable NIfTI file"),
    "same name": ("a.csv", "x,a.nii\nX,b.nii\n", "cases of one name: X and x"),
    "same derived name": ("a.txt", "a.nii\na.nrrd\n", "cases of one name: a and a"),
    "name with a path": ("a.csv", "../x,a.nii\n", "no name for a folder"),
    "hidden name": ("a.csv", ".x,a.nii\n", "no name for a folder"),
    "too many files": ("a.csv", "x,a.nii,b.nii\n", r"line 1 has 3 fields, but model tiny takes 1 file a case \(T1\)"),
    "unknown column": ("a.csv", "case,b.nii\nx,a.nii\n", "has the columns b.nii behind 'case'"),
    "field missing": ("a.csv", "case,image\nx\n", "line 2 has 0 fields"),
    "no JSON": ("a.json", "[", "is no JSON"),
    "JSON object": ("a.json", "{}", "holds no list of cases but dict"),
    "JSON number": ("a.json", "[1]", "case 1 is neither a file name"),
    "empty": ("a.txt", "# nothing\n", "holds no case"),
    "one volume": ("a.nii", None, "is a single file"),
    "no text": ("a.txt", "\udcff", "is no text in UTF-8"),
    "not there": ("b.txt", None, "cannot be read"),
    "input where results go": ("a.csv", "x,out/x/labels.nii.gz\n", "lies where results go"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_list_that_cannot_be_used_is_refused(tiny_bundle: Bundle, tmp_path: Path, kind: str) -> None:
    file, text, message = REFUSED[kind]
    for name in ("a.nii", "b.nii", "a.nrrd", "out/x/labels.nii.gz"):
        save(tmp_path / name)
    (tmp_path / "bad.nii").write_text("no volume", encoding="utf-8")
    if text is not None:
        (tmp_path / file).write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(InputError, match=message):
        find_cases(tmp_path / file, tiny_bundle, tmp_path / "out")


def test_a_folder_without_volumes_and_one_within_the_output_are_refused(tiny_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError, match="holds no case"):
        find_cases(tmp_path / "in", tiny_bundle, tmp_path / "out")
    with pytest.raises(InputError, match="holds the images"):
        find_cases(tmp_path / "in", tiny_bundle, tmp_path)


def test_a_model_of_several_channels_needs_a_list(two_channels: Bundle, tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.nii")
    with pytest.raises(InputError, match=r"takes 2 images a case .*give a list"):
        find_cases(tmp_path / "in", two_channels, tmp_path / "out")


def test_the_fingerprint_follows_the_file_and_not_the_place_of_the_cohort(tiny_bundle: Bundle, tmp_path: Path) -> None:
    def fingerprint(root: Path) -> str:
        return find_cases(root, tiny_bundle, tmp_path / "out")[0].fingerprint

    image = save(tmp_path / "in" / "a.nii")
    first = fingerprint(tmp_path / "in")
    (tmp_path / "in").rename(tmp_path / "moved")
    assert fingerprint(tmp_path / "moved") == first
    image = tmp_path / "moved" / "a.nii"
    os.utime(image, ns=(0, image.stat().st_mtime_ns + 1_000_000_000))
    assert fingerprint(tmp_path / "moved") != first


@pytest.mark.parametrize("ending", [".mhd", ".nhdr"])
def test_the_fingerprint_of_a_header_follows_header_and_voxels(
    tiny_bundle: Bundle, tmp_path: Path, ending: str
) -> None:
    header = save(tmp_path / "in" / f"scan[1]{ending}")
    data = next(path for path in header.parent.iterdir() if path != header)

    def fingerprint() -> str:
        (case,) = find_cases(tmp_path / "in", tiny_bundle, tmp_path / "out")
        assert not case.problem
        return case.fingerprint

    seen = {fingerprint()}
    for path in (data, header):
        os.utime(path, ns=(0, 0))
        seen.add(fingerprint())
    assert len(seen) == 3
