"""Whose image it is stays in the image: no result, report, message or name of a file has it, whatever happens."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from nibabel.nifti1 import Nifti1Extension

from scdseg.bundle import Bundle
from scdseg.cli import main

SECRETS = ("SECRETNAME", "JOHN", "SECRETID123", "19620304", "SECRETPRIVATE", "SECRETTEXT")
VOXELS = np.random.default_rng(0).random((20, 18, 16)).astype(np.float32) * 100
UID = "1.2.826.0.1.3680043.2.1125.7"
# Elements of a data set: group, element and length, all little-endian.
NAME = b"\x10\x00\x10\x00\x10\x00\x00\x00SECRETNAME"
PRIVATE = b"".join(b"\x09\x00" + element + b"\x0e\x00\x00\x00SECRETPRIVATE " for element in (b"\x10\x00", b"\x01\x10"))

Make = Callable[[Path, np.ndarray], Path]


def dicom(folder: Path, voxels: np.ndarray, missing: bool = False, position: str = "") -> Path:
    """A series whose header says all about a patient, also in private tags; one slice may be missing."""
    series = folder / "series"
    series.mkdir()
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for number in range(voxels.shape[2]):
        if missing and number == voxels.shape[2] // 2:
            continue
        image = sitk.GetImageFromArray(voxels[:, :, number].T.astype(np.int16))
        image.SetSpacing((2.0, 2.0))
        values = {
            "0008|0060": "MR",
            "0008|0016": "1.2.840.10008.5.1.4.1.1.4",
            "0008|0018": f"{UID}.{number + 1}",
            "0008|0080": "SECRETTEXT",
            "0008|103e": "SECRETTEXT",
            "0010|0010": "SECRETNAME^JOHN",
            "0010|0020": "SECRETID123",
            "0010|0030": "19620304",
            "0010|4000": "SECRETTEXT",
            "0020|000d": f"{UID}.0",
            "0020|000e": UID,
            "0020|0013": str(number + 1),
            "0020|0032": position or f"0\\0\\{2 * number}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
        }
        for tag, value in values.items():
            image.SetMetaData(tag, value)
        file = series / f"{number}.dcm"
        writer.SetFileName(str(file))
        writer.Execute(image)
        content = file.read_bytes()
        # GDCM writes no private tags: before the patient's name is their place.
        assert content.count(NAME) == 1
        file.write_bytes(content.replace(NAME, PRIVATE + NAME))
    return series


def dicom_with_a_gap(folder: Path, voxels: np.ndarray) -> Path:
    return dicom(folder, voxels, missing=True)


def nifti(folder: Path, voxels: np.ndarray) -> Path:
    image = nib.Nifti1Image(voxels, np.diag([2.0, 2.0, 2.0, 1.0]))
    image.header["descrip"] = b"SECRETTEXT of SECRETNAME^JOHN"
    image.header["aux_file"] = b"SECRETID123"
    image.header["intent_name"] = b"SECRETNAME"
    image.header["db_name"] = b"SECRETNAME"
    image.header.extensions.append(Nifti1Extension("comment", b"SECRETNAME^JOHN, born 19620304"))
    nib.save(image, folder / "in.nii")
    assert b"SECRETNAME" in (folder / "in.nii").read_bytes()
    return folder / "in.nii"


def itk(name: str) -> Make:
    def write(folder: Path, voxels: np.ndarray) -> Path:
        image = sitk.GetImageFromArray(voxels.T.copy())
        image.SetSpacing((2.0, 2.0, 2.0))
        for key in ("PatientName", "Comment", "0010|0010", "Comments", "content"):
            image.SetMetaData(key, "SECRETNAME JOHN")
        sitk.WriteImage(image, str(folder / name), useCompression=False)
        assert b"SECRETNAME" in (folder / name).read_bytes()
        return folder / name

    return write


def metaimage(folder: Path, voxels: np.ndarray) -> Path:
    path = itk("in.mha")(folder, voxels)
    # SimpleITK writes no Comment line, which the format has for people's words.
    path.write_bytes(path.read_bytes().replace(b"NDims = 3\n", b"NDims = 3\nComment = SECRETTEXT of SECRETNAME\n"))
    return path


KINDS: dict[str, Make] = {"DICOM": dicom, "NIfTI": nifti, "NRRD": itk("in.nrrd"), "MetaImage": metaimage}


def cut(path: Path) -> None:
    """Take the last third of every file's bytes away."""
    for file in path.iterdir() if path.is_dir() else [path]:
        file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])


def header_damaged(path: Path) -> None:
    """Overwrite what is read first, and leave the text that says whose image it is."""
    for file in path.iterdir() if path.is_dir() else [path]:
        content = file.read_bytes()
        for good, bad in (
            (b"PatientName:=", b"PatientName: "),
            (b"DimSize = ", b"DimSize = SECRETTEXT "),
            (b"\x28\x00\x10\x00", b"\x28\x00\x10\xff"),
        ):
            content = content.replace(good, bad)
        file.write_bytes(b"\xff" * 48 + content[48:] if file.suffix == ".nii" else content)


def assert_no_secret(folder: Path, inputs: Path, *texts: str) -> None:
    """Neither in these texts nor in names or bytes of files, but for the inputs."""
    contents = {"text": "\n".join(texts).encode()}
    for path in folder.rglob("*"):
        if path == inputs or inputs in path.parents:
            continue
        contents[f"the name of {path}"] = path.name.encode()
        if path.is_file():
            content = path.read_bytes()
            contents[str(path)] = gzip.decompress(content) if path.suffix == ".gz" else content
    for where, content in contents.items():
        assert not [secret for secret in SECRETS if secret.encode() in content], where


def segment(image: Path, bundle: Bundle, folder: Path, ending: str) -> int:
    names = ("labels", "importance", "survival", "stage", "scores")
    labels, *maps = (str(folder / f"{name}{ending}") for name in names)
    outputs = [part for name, path in zip(names[1:], maps, strict=True) for part in (f"--{name}", path)]
    report = str(folder / "report.json")
    command = ["segment", str(image), "-m", str(bundle.path), "-o", labels, *outputs, "--report", report]
    return main([*command, "--device", "cpu"])


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("kind", KINDS)
def test_results_have_nothing_of_the_headers_text(
    tiny_bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str, ending: str
) -> None:
    image = KINDS[kind](tmp_path, VOXELS)
    assert segment(image, tiny_bundle, tmp_path, ending) == 0
    assert len(list(tmp_path.iterdir())) == 7
    assert_no_secret(tmp_path, image, *capfd.readouterr())


FAILING: dict[str, tuple[Callable[[Path], None] | None, np.ndarray]] = {
    "cut short": (cut, VOXELS),
    "header damaged": (header_damaged, VOXELS),
    "constant": (None, np.full_like(VOXELS, 7)),
}


@pytest.mark.parametrize("failure", FAILING)
@pytest.mark.parametrize("kind", KINDS)
def test_errors_have_nothing_of_the_headers_text(
    tiny_bundle: Bundle,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    kind: str,
    failure: str,
) -> None:
    damage, voxels = FAILING[failure]
    image = KINDS[kind](tmp_path, voxels)
    if damage is not None:
        damage(image)
    assert segment(image, tiny_bundle, tmp_path, ".nii.gz") == 2
    assert_no_secret(tmp_path, image, *capfd.readouterr())


def test_a_field_of_nrrd_that_cannot_be_read_is_not_quoted(
    tiny_bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    image = KINDS["NRRD"](tmp_path, VOXELS)
    image.write_bytes(image.read_bytes().replace(b"dimension: 3", b"dimension: SECRETTEXT"))
    assert segment(image, tiny_bundle, tmp_path, ".nii.gz") == 2
    assert_no_secret(tmp_path, image, *capfd.readouterr())


@pytest.mark.parametrize("position", ["SECRETTEXT", "0\\SECRETTEXT", "0\\0\\SECRETTEXT"])
def test_a_position_of_dicom_that_cannot_be_read_is_not_quoted(
    tiny_bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str], position: str
) -> None:
    image = dicom(tmp_path, VOXELS, position=position)
    assert segment(image, tiny_bundle, tmp_path, ".nii.gz") == 2
    assert_no_secret(tmp_path, image, *capfd.readouterr())


def test_a_missing_slice_is_told_without_the_patient(
    tiny_bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    image = dicom_with_a_gap(tmp_path, VOXELS)
    assert segment(image, tiny_bundle, tmp_path, ".nii.gz") == 2
    out, err = capfd.readouterr()
    assert "lacks slices" in err
    assert_no_secret(tmp_path, image, out, err)


def test_a_cohorts_files_and_table_have_nothing_of_the_headers_text(
    tiny_bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in"
    for name, make in KINDS.items():
        (source / name).mkdir(parents=True)
        make(source / name, VOXELS)
    (source / "bad").mkdir()
    cut(nifti(source / "bad", VOXELS))
    output = tmp_path / "out"
    listing = [f"{path.parent.name}: {path.name}" for path in source.glob("*/*")]
    assert len(listing) == 5
    code = main(["segment-all", str(source), "-m", str(tiny_bundle.path), "-o", str(output), "--device", "cpu"])
    assert code == 1
    assert (output / "summary.csv").is_file()
    assert_no_secret(tmp_path, source, *capfd.readouterr())


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "scdseg.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUTF8": "1"},
    )
    yield process
    process.kill()
    process.wait()


def test_the_worker_says_and_writes_nothing_of_the_headers_text(
    tiny_bundle: Bundle, tmp_path: Path, worker: subprocess.Popen[bytes]
) -> None:
    """All kinds, good and failing ones, one after the other."""
    source, output = tmp_path / "in", tmp_path / "out"
    output.mkdir()
    images: list[Path] = []
    for name, make in {**KINDS, "gap": dicom_with_a_gap}.items():
        for failure, (damage, voxels) in {"good": (None, VOXELS), **FAILING}.items():
            folder = source / name / failure
            folder.mkdir(parents=True)
            images.append(make(folder, voxels))
            if damage is not None:
                damage(images[-1])
    lines: list[bytes] = []
    for number, image in enumerate(images, start=1):
        outputs = {name: str(output / f"{number}_{name}.nrrd") for name in ("labels", "importance", "scores")}
        outputs["report"] = str(output / f"{number}.json")
        request = {"id": number, "request": "segment", "images": [str(image)], "model": str(tiny_bundle.path)}
        request |= {"device": "cpu", "outputs": outputs, "compress": False}
        worker.stdin.write(json.dumps(request).encode() + b"\n")
        worker.stdin.flush()
        while True:
            lines.append(worker.stdout.readline())
            event = json.loads(lines[-1])
            if event["event"] in ("result", "error") and event["id"] == number:
                break
    worker.stdin.close()
    out, err = worker.stdout.read(), worker.stderr.read()
    results = [line for line in lines if b'"result"' in line]
    assert len(results) == len(KINDS)
    assert_no_secret(output, source, b"".join(lines).decode(), out.decode(), err.decode())
