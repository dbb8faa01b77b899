"""``scdseg segment`` on good and bad input: a result, or one clear error; never a traceback or a partial file."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from scdseg.bundle import Bundle
from scdseg.cli import main

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
VOXELS = np.random.default_rng(0).random((20, 18, 16)).astype(np.float32) * 100


def nifti(array: np.ndarray = VOXELS, affine: np.ndarray = AFFINE, name: str = "in.nii.gz") -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        nib.save(nib.Nifti1Image(array, affine), folder / name)
        return folder / name

    return write


def raw(content: bytes, name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return write


def truncated(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / name
        if name.endswith((".nii", ".nii.gz")):
            nifti(name=name)(folder)
        else:
            sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(path), useCompression=False)
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
        return path

    return write


def itk(image: sitk.Image, name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        sitk.WriteImage(image, str(folder / name))
        return folder / name

    return write


def zero_spacing_nifti(folder: Path) -> Path:
    image = nib.Nifti1Image(VOXELS, AFFINE)
    image.set_sform(None, code=0)
    nib.save(image, folder / "in.nii")
    content = bytearray((folder / "in.nii").read_bytes())
    # pixdim[3] of a NIfTI-1 header.
    content[88:92] = bytes(4)
    (folder / "in.nii").write_bytes(content)
    return folder / "in.nii"


def zero_spacing_mha(folder: Path) -> Path:
    path = itk(sitk.GetImageFromArray(VOXELS), "in.mha")(folder)
    path.write_bytes(path.read_bytes().replace(b"ElementSpacing = 1 1 1", b"ElementSpacing = 1 0 1"))
    return path


def empty_folder(folder: Path) -> Path:
    (folder / "series").mkdir()
    return folder / "series"


def with_values(*values: float) -> np.ndarray:
    array = VOXELS.copy()
    array.ravel()[: len(values)] = values
    return array


FLAT = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
RGB = np.zeros((20, 18, 16), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
BAD_IMAGES = {
    "missing": (lambda folder: folder / "in.nii.gz", "does not exist"),
    "unknown kind": (raw(b"x", "in.jpg"), "is of no kind that is read"),
    "empty file": (raw(b"", "in.nii.gz"), "not a readable NIfTI file"),
    "text called nii.gz": (raw(b"subject,age\n1,44\n", "in.nii.gz"), "not a readable NIfTI file"),
    "text called nii": (raw(b"subject,age\n" * 100, "in.nii"), "not a readable NIfTI file"),
    "text called nrrd": (raw(b"subject,age\n", "in.nrrd"), "cannot be read as a volume"),
    "truncated nii.gz": (truncated("in.nii.gz"), "damaged or cut short"),
    "truncated nii": (truncated("in.nii"), "damaged or cut short"),
    "truncated nrrd": (truncated("in.nrrd"), "damaged or cut short"),
    "truncated mha": (truncated("in.mha"), "damaged or cut short"),
    "2-D nifti": (nifti(VOXELS[:, :, 0]), "2-D image"),
    "2-D nrrd": (itk(sitk.GetImageFromArray(VOXELS[0]), "in.nrrd"), "2-D image"),
    "4-D nifti": (nifti(np.stack([VOXELS] * 3, axis=-1)), "4-D series"),
    "4-D nrrd": (itk(sitk.GetImageFromArray(np.stack([VOXELS] * 3), isVector=False), "in.nrrd"), "4-D series"),
    "RGB nifti": (nifti(RGB), "colours"),
    "RGB nrrd": (itk(sitk.GetImageFromArray(np.stack([VOXELS] * 3, axis=-1), isVector=True), "in.nrrd"), "colours"),
    "one slice": (nifti(VOXELS[:, :, :1]), "single slice"),
    "empty": (nifti(np.zeros_like(VOXELS)), "is empty: every voxel has the value 0"),
    "constant": (nifti(np.full_like(VOXELS, 7)), "every voxel has the value 7"),
    "only NaN": (nifti(np.full_like(VOXELS, np.nan)), "no voxel with a finite value"),
    "spacing 0 nifti": (zero_spacing_nifti, "spacing of 2×2×0 mm"),
    "spacing 0 mha": (zero_spacing_mha, "spacing of 1×0×1 mm"),
    "spacing 50 mm": (nifti(affine=np.diag([1.0, 1, 50, 1])), "spacing of 1×1×50 mm, more than 25 mm"),
    "axes in one plane": (nifti(affine=FLAT), "in one plane"),
    "folder without DICOM": (empty_folder, "holds no DICOM series"),
}  # fmt: skip


def assert_one_error(code: int, err: str, message: str) -> None:
    # MetaImage's reader prints lines of its own.
    lines = [line for line in err.splitlines() if line.startswith("scdseg:")]
    assert code == 2
    assert len(lines) == 1
    assert lines[0].startswith("scdseg: error: ")
    assert message in lines[0]
    assert "Traceback" not in err


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_a_bad_image_is_one_error_that_names_it(
    tiny_bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    make, message = BAD_IMAGES[kind]
    image = make(tmp_path)
    before = sorted(tmp_path.iterdir())
    code = main(["segment", str(image), "-m", str(tiny_bundle.path), "-o", str(tmp_path / "out.nii.gz")])
    out, err = capfd.readouterr()
    assert_one_error(code, err, message)
    assert str(image) in err
    assert out == ""
    assert sorted(tmp_path.iterdir()) == before


BAD_ARGUMENTS = {
    "keep ratio 0": (["--keep-ratio", "0"], "keep ratio 0.0 is out of range"),
    "keep ratio 1.5": (["--keep-ratio", "1.5"], "keep ratio 1.5 is out of range"),
    "keep ratio nan": (["--keep-ratio", "nan"], "keep ratio nan is out of range"),
    "overlap 1": (["--overlap", "1"], "overlap 1.0 is out of range"),
    "no threads": (["--threads", "0"], "0 threads cannot be used: give a number from 1 to "),
    "more threads than cores": (["--threads", "9999"], "9999 threads cannot be used: give a number from 1 to "),
    "absent device": (["--device", "cuda:99"], "device 'cuda:99' is not available: this machine has"),
    "unknown device": (["--device", "abacus"], "device 'abacus' is not available: this machine has"),
    "unknown model": (["-m", "no-such-model"], "no-such-model"),
    "output over input": (["-o", "{folder}/in.nii.gz"], "would overwrite an input"),
    "map over input": (["--importance", "{folder}/in.nii.gz"], "would overwrite an input"),
    "scores over input": (["--scores", "{folder}/in.nii.gz"], "would overwrite an input"),
    "outputs of one name": (["--survival", "{folder}/out.nii.gz"], "asked for twice"),
    "stage and scores of one name": (["--stage", "{folder}/s.mha", "--scores", "{folder}/s.mha"], "asked for twice"),
    "output of unknown kind": (["-o", "{folder}/out.png"], "no extension that is written"),
    "stage of unknown kind": (["--stage", "{folder}/stage.csv"], "no extension that is written"),
    "scores in a folder that is not there": (["--scores", "{folder}/nowhere/scores.nrrd"], "does not exist"),
    "report of unknown kind": (["--report", "{folder}/out.txt"], "no extension that is written"),
    "output in a folder that is not there": (["-o", "{folder}/nowhere/out.nii.gz"], "does not exist"),
}


@pytest.mark.parametrize("kind", BAD_ARGUMENTS)
def test_a_bad_argument_is_one_error(
    tiny_bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    arguments, message = BAD_ARGUMENTS[kind]
    image = nifti()(tmp_path)
    content = image.read_bytes()
    code = main(
        ["segment", str(image), "-m", str(tiny_bundle.path), "-o", str(tmp_path / "out.nii.gz")]
        + [argument.format(folder=tmp_path) for argument in arguments]
    )
    assert_one_error(code, capfd.readouterr().err, message)
    assert list(tmp_path.iterdir()) == [image]
    assert image.read_bytes() == content


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that nobody can write to")
def test_an_unwritable_folder_is_one_error(
    tiny_bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = main(["segment", str(nifti()(tmp_path)), "-m", str(tiny_bundle.path), "-o", "/proc/out.nii.gz"])
    assert_one_error(code, capfd.readouterr().err, "/proc/out.nii.gz cannot be written")


def test_a_file_without_read_permission_is_one_error(
    tiny_bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    image = nifti()(tmp_path)
    image.chmod(0)
    if os.access(image, os.R_OK):
        pytest.skip("this user may read every file")
    code = main(["segment", str(image), "-m", str(tiny_bundle.path), "-o", str(tmp_path / "out.nii.gz")])
    assert_one_error(code, capfd.readouterr().err, f"{image} cannot be opened (Permission denied)")
    assert list(tmp_path.iterdir()) == [image]


@pytest.mark.parametrize("damage", ["tampered", "cut short"])
def test_damaged_weights_are_one_error(
    tiny_bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str], damage: str
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_bundle.path, model)
    weights = model / tiny_bundle.weights_path.relative_to(tiny_bundle.path)
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content if damage == "tampered" else content[:-100])
    code = main(["segment", str(nifti()(tmp_path)), "-m", str(model), "-o", str(tmp_path / "out.nii.gz")])
    assert_one_error(code, capfd.readouterr().err, str(weights))
    assert not (tmp_path / "out.nii.gz").exists()


WARNED = {
    "NaN and Inf": (nifti(with_values(np.nan, np.inf, -np.inf)), [], "T1: 3 voxels were NaN or infinite"),
    "smaller than a window": (nifti(VOXELS[:6, :7, :5]), [], "much smaller than the model's window"),
    "one axis shorter than a window": (
        nifti(VOXELS[:, :, :12]),
        [],
        "(40×36×24 mm) is smaller than the model's window",
    ),
    "two slices": (nifti(VOXELS[:, :, :2]), [], "much smaller than the model's window"),
    "coarse": (nifti(affine=np.diag([1.0, 1, 12, 1])), [], "T1: voxels are coarse (1×1×12 mm)"),
    "keep ratio": (nifti(), ["--keep-ratio", "0.1"], "outside the model's useful range"),
}


@pytest.mark.parametrize("kind", WARNED)
def test_odd_input_gives_a_result_with_a_warning(
    tiny_bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    make, arguments, message = WARNED[kind]
    image, output = make(tmp_path), tmp_path / "out.nii.gz"
    assert main(["segment", str(image), "-m", str(tiny_bundle.path), "-o", str(output), "--json", *arguments]) == 0
    out, err = capfd.readouterr()
    warnings = json.loads(out)["warnings"]
    assert any(message in warning for warning in warnings)
    assert all(f"scdseg: warning: {warning}" in err for warning in warnings)
    np.testing.assert_array_equal(nib.load(output).affine, nib.load(image).affine)
    assert nib.load(output).shape == nib.load(image).shape


def test_the_summary_says_what_was_found_and_written(
    tiny_bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    names = {"-o": "out.nrrd", "--importance": "importance.nii.gz", "--survival": "survival.mha", "--report": "r.json"}
    outputs = [part for option, name in names.items() for part in (option, str(tmp_path / name))]
    assert main(["segment", str(nifti()(tmp_path)), "-m", str(tiny_bundle.path), *outputs]) == 0
    out, err = capfd.readouterr()
    assert re.search(r"tiny: \d of 2 structures found, [\d.]+ ml in all\n[\d.]+ s, \d+ windows?, \w+", out)
    assert all(f"wrote {tmp_path / name}" in out for name in names.values())
    assert err == ""
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*names.values(), "in.nii.gz"])
    assert json.loads((tmp_path / "r.json").read_text())["seconds"]["write"] > 0


def test_stage_and_scores_are_written_on_the_grid_of_the_importance(
    tiny_bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    files = {name: tmp_path / f"{name}.nii.gz" for name in ("importance", "stage", "scores", "labels")}
    options = [part for name in ("importance", "stage", "scores") for part in (f"--{name}", str(files[name]))]
    command = ["segment", str(nifti()(tmp_path)), "-m", str(tiny_bundle.path), "-o", str(files["labels"])]
    assert main([*command, *options, "--json"]) == 0
    report = json.loads(capfd.readouterr().out)
    importance, stage, scores = (nib.load(files[name]) for name in ("importance", "stage", "scores"))
    assert stage.get_data_dtype() == np.uint8
    assert scores.get_data_dtype() == np.float32
    assert scores.shape == (*stage.shape, 2) == (*importance.shape, 2)
    for image in (stage, scores):
        np.testing.assert_array_equal(image.affine, importance.affine)
    came = [int((stage.get_fdata() >= number).sum()) for number in (1, 2)]
    assert [entry["in"] for entry in report["tokens"]["stages"]] == came
    assert report["tokens"]["count"] == came[0] > came[1]
    assert not np.isnan(scores.get_fdata()[..., 0]).any()


def test_debug_shows_the_traceback_before_or_after_the_command(
    tiny_bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["segment", str(tmp_path / "in.nii"), "-m", str(tiny_bundle.path), "-o", str(tmp_path / "out.nii")]
    for arguments in (["--debug", *command], [*command, "--debug"]):
        assert main(arguments) == 2
        assert "Traceback" in capfd.readouterr().err


def test_every_command_is_listed(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    listing = capfd.readouterr().out
    for command in ("segment", "sweep", "models", "import-checkpoint", "train", "export", "evaluate"):
        assert re.search(rf"^ +{command}\b", listing, re.MULTILINE)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal and POSIX signals")
def test_ctrl_c_stops_a_run_with_its_progress_bar_and_leaves_no_file(tiny_bundle: Bundle, tmp_path: Path) -> None:
    import pty

    image = nifti(np.random.default_rng(0).random((160, 160, 160)).astype(np.float32))(tmp_path)
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "scdseg.cli", "segment", str(image), "-m", str(tiny_bundle.path)]
    process = subprocess.Popen(
        [*command, "-o", str(tmp_path / "out.nii.gz")],
        stdout=subprocess.PIPE,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(terminal)
    seen = ""
    interrupted = 0.0
    while True:
        try:
            chunk = os.read(controller, 4096)
        except OSError:  # Linux says so when the other end has closed.
            break
        if not chunk:
            break
        seen += chunk.decode(errors="replace")
        if not interrupted and re.search(r"[1-9]\d*/\d+.*s left", seen):
            process.send_signal(signal.SIGINT)
            interrupted = time.monotonic()
    os.close(controller)
    out, _ = process.communicate(timeout=60)
    assert interrupted
    assert process.returncode == 130
    assert "scdseg: cancelled" in seen
    assert "Traceback" not in seen
    assert out == b""
    assert list(tmp_path.iterdir()) == [image]
