"""``scdseg segment-all``: every case complete or not at all, what is done is skipped, an error stops no other case."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from scdseg.bundle import Bundle
from scdseg.cli import main

AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])
COLUMNS = [
    "case", "status", "error", "seconds", "keep_ratio", "windows", "warnings",
    "ml_2_white_matter", "ml_17_hippocampus",
]  # fmt: skip


def save(path: Path, seed: int = 0, shape: tuple[int, int, int] = (18, 17, 16)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.random.default_rng(seed).normal(100, 20, shape).astype(np.float32)
    nib.save(nib.Nifti1Image(voxels, AFFINE), path)
    return path


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


def run(source: Path, bundle: Bundle, output: Path, *arguments: str) -> int:
    return main(["segment-all", str(source), "-m", str(bundle.path), "-o", str(output), "--device", "cpu", *arguments])


def summary(output: Path) -> dict[str, dict[str, str]]:
    with (output / "summary.csv").open(newline="", encoding="utf-8") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def statuses(output: Path) -> dict[str, str]:
    return {name: row["status"] for name, row in summary(output).items()}


def files(output: Path) -> list[str]:
    return sorted(path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file())


def written(output: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in output.glob("*/report.json")}


def test_cases_are_those_of_segment_and_an_error_stops_none(
    tiny_bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, seed in (("a", 0), ("b", 1), ("c", 2)):
        save(tmp_path / "in" / f"{name}.nii.gz", seed)
    truncate(tmp_path / "in" / "b.nii.gz")
    output = tmp_path / "in" / "out"
    options = ("--keep-ratio", "0.25", "--overlap", "0", "--precision", "fp32")
    assert run(tmp_path / "in", tiny_bundle, output, "--importance", "--stage", *options) == 1

    names = ("importance.nii.gz", "labels.nii.gz", "report.json", "stage.nii.gz")
    assert files(output) == [*(f"a/{name}" for name in names), *(f"c/{name}" for name in names), "summary.csv"]
    assert not (output / "b").exists()
    rows = summary(output)
    assert [*rows] == ["a", "b", "c"]
    assert list(rows["a"]) == COLUMNS
    assert statuses(output) == {"a": "done", "b": "failed", "c": "done"}
    assert "damaged or cut short" in rows["b"]["error"]
    assert [value for name, value in rows["b"].items() if name not in ("case", "status", "error")] == [""] * 6
    for name in ("a", "c"):
        alone = [str(tmp_path / f"alone{ending}") for ending in (".nii.gz", ".json")]
        image = str(tmp_path / "in" / f"{name}.nii.gz")
        command = ["segment", image, "-m", str(tiny_bundle.path), "-o", alone[0], "--report", alone[1]]
        assert main([*command, *options, "--device", "cpu"]) == 0
        labels = nib.load(output / name / "labels.nii.gz")
        np.testing.assert_array_equal(np.asarray(labels.dataobj), np.asarray(nib.load(alone[0]).dataobj))
        np.testing.assert_array_equal(labels.affine, AFFINE)
        report = json.loads(Path(alone[1]).read_text(encoding="utf-8"))
        assert [float(rows[name][column]) for column in COLUMNS[-2:]] == [label["ml"] for label in report["labels"]]
        assert rows[name]["keep_ratio"] == "0.25"
        assert int(rows[name]["windows"]) == report["windows"]["count"]
        assert rows[name]["warnings"] == "; ".join(report["warnings"])
        assert float(rows[name]["seconds"]) > 0
    out, _ = capfd.readouterr()
    assert "3 cases, 3 to segment\n" in out
    assert "2 done, 0 skipped, 1 failed\n" in out
    assert f"wrote {output / 'summary.csv'}\n" in out


def test_the_same_command_skips_what_is_done_and_does_what_is_not(
    tiny_bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    images = [save(tmp_path / "in" / f"{name}.nii") for name in "abcd"]
    output = tmp_path / "out"
    assert run(tmp_path / "in", tiny_bundle, output, "--overlap", "0") == 0
    before, ml = written(output), {name: row["ml_2_white_matter"] for name, row in summary(output).items()}
    (output / "b" / "labels.nii.gz").unlink()
    os.utime(images[2], ns=(0, 0))
    (output / "d" / "report.json").write_text("{", encoding="utf-8")
    save(tmp_path / "in" / "e.nii")
    capfd.readouterr()
    assert run(tmp_path / "in", tiny_bundle, output, "--overlap", "0") == 0
    assert statuses(output) == {"a": "skipped", "b": "done", "c": "done", "d": "done", "e": "done"}
    after = written(output)
    assert [name for name in "abcd" if after[name] == before[name]] == ["a"]
    assert {name: row["ml_2_white_matter"] for name, row in summary(output).items() if name != "e"} == ml
    out, _ = capfd.readouterr()
    assert "b: will be segmented again: labels.nii.gz is missing\n" in out
    assert "c: will be segmented again: other input\n" in out
    assert "d: will be segmented again: its report cannot be read\n" in out
    assert "1 skipped" in out


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--keep-ratio", "0.25"], "other keep ratio"),
        (["--overlap", "0.25"], "other overlap"),
        (["--precision", "fp32"], "other precision"),
        (["--scores"], "scores.nii.gz is missing"),
    ],
)
def test_other_settings_make_a_case_anew_without_what_belonged_to_the_old_ones(
    tiny_bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str], options: list[str], reason: str
) -> None:
    source, output = save(tmp_path / "in" / "a.nii").parent, tmp_path / "out"
    assert run(source, tiny_bundle, output, "--survival") == 0
    (output / "a" / "notes.txt").write_text("mine", encoding="utf-8")
    assert run(source, tiny_bundle, output, *options) == 0
    assert f"a: will be segmented again: {reason}\n" in capfd.readouterr().out
    scores = ["a/scores.nii.gz"] if "--scores" in options else []
    assert files(output) == ["a/labels.nii.gz", "a/notes.txt", "a/report.json", *scores, "summary.csv"]
    assert run(source, tiny_bundle, output, *options) == 0
    assert statuses(output) == {"a": "skipped"}


def test_a_model_of_other_settings_but_the_same_weights_makes_a_case_anew(
    tiny_bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import shutil

    source, output, model = save(tmp_path / "in" / "a.nii").parent, tmp_path / "out", tmp_path / "tiny"
    assert run(source, tiny_bundle, output) == 0
    shutil.copytree(tiny_bundle.path, model)
    command = ["segment-all", str(source), "-m", str(model), "-o", str(output), "--device", "cpu"]
    assert main(command) == 0
    assert statuses(output) == {"a": "skipped"}
    metadata = json.loads((model / "configs" / "metadata.json").read_text(encoding="utf-8"))
    metadata["scd"]["preprocessing"]["spacing"] = [3.0, 3.0, 3.0]
    (model / "configs" / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    assert main(command) == 0
    assert "a: will be segmented again: other model\n" in capfd.readouterr().out


def test_neither_names_nor_files_of_a_case_are_in_its_report(tiny_bundle: Bundle, tmp_path: Path) -> None:
    save(tmp_path / "Doe_Jane" / "scan.nii")
    assert run(tmp_path / "Doe_Jane", tiny_bundle, tmp_path / "out") == 0
    assert "scan" not in (text := (tmp_path / "out" / "scan" / "report.json").read_text(encoding="utf-8"))
    assert "Doe" not in text


BAD = {
    "unknown option": (["--importanse"], "unrecognized arguments: --importanse"),
    "keep ratio": (["--keep-ratio", "2"], "keep ratio 2.0 is out of range"),
    "overlap": (["--overlap", "1"], "overlap 1.0 is out of range"),
    "threads": (["--threads", "0"], "0 threads cannot be used"),
    "threads with Ray": (["--ray", "local", "--threads", "1"], "give --cpus-per-worker"),
    "device": (["--device", "abacus"], "device 'abacus' is not available"),
    "model": (["-m", "no-such-model"], "no-such-model"),
    "parent of the output": (["-o", "{folder}/no/where"], "cannot be made: create"),
    "output is a file": (["-o", "{folder}/in/a.nii"], "cannot be made"),
    "output holds the input": (["-o", "{folder}"], "holds the images"),
    "CPUs without Ray": (["--cpus-per-worker", "2"], "give --ray"),
    "no CPUs": (["--ray", "local", "--cpus-per-worker", "0"], "0 CPUs per worker are too few"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_argument_is_one_error_before_any_work(
    tiny_bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    arguments, message = BAD[kind]
    save(tmp_path / "in" / "a.nii")
    before = sorted(tmp_path.rglob("*"))
    try:
        code = run(
            tmp_path / "in", tiny_bundle, tmp_path / "out", *(text.format(folder=tmp_path) for text in arguments)
        )
    except SystemExit as end:
        code = int(end.code or 0)
    out, err = capfd.readouterr()
    assert code == 2
    assert message in err
    assert "a: " not in out
    assert sorted(tmp_path.rglob("*")) == before


def test_damaged_weights_are_one_error_before_the_output_folder_is_made(
    tiny_bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import shutil

    save(tmp_path / "in" / "a.nii")
    shutil.copytree(tiny_bundle.path, tmp_path / "tiny")
    weights = tmp_path / "tiny" / tiny_bundle.weights_path.relative_to(tiny_bundle.path)
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    command = ["segment-all", str(tmp_path / "in"), "-m", str(tmp_path / "tiny"), "-o", str(tmp_path / "out")]
    assert main(command) == 2
    assert str(weights) in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_ray_the_error_says_how_to_install_it(
    tiny_bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "scdseg.inference.cohort_ray", raising=False)
    assert run(save(tmp_path / "in" / "a.nii").parent, tiny_bundle, tmp_path / "out", "--ray", "local") == 2
    assert "pip install 'scdseg[ray]'" in capfd.readouterr().err


def test_without_a_cluster_at_the_address_nothing_is_made(
    tiny_bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray", reason="needs the extra [ray]")
    source = save(tmp_path / "in" / "a.nii").parent
    assert run(source, tiny_bundle, tmp_path / "out", "--device", "auto", "--ray", "host-without-port") == 2
    assert "there is no Ray cluster at 'host-without-port'" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_internal_error_fails_a_case_that_another_process_may_do_and_its_place_in_the_program_is_told(
    tiny_bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from scdseg.inference.segmenter import Segmenter

    def break_down(self: Segmenter, *arguments: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(Segmenter, "run", break_down)
    assert run(save(tmp_path / "in" / "a.nii").parent, tiny_bundle, tmp_path / "out") == 1
    error = "internal error: RuntimeError: CUDA error: an illegal memory access was encountered"
    assert summary(tmp_path / "out")["a"]["error"] == error
    out, _ = capfd.readouterr()
    assert f"a: failed: {error}\nTraceback (most recent call last):\n" in out
    assert "in break_down" in out


def test_what_a_killed_run_left_half_written_goes_and_other_files_stay(tiny_bundle: Bundle, tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.nii")
    (tmp_path / "out" / "a").mkdir(parents=True)
    for name in (".0123abcd-labels.nii.gz", ".89abcdef-report.json", ".0123abcd-mine.nii.gz"):
        (tmp_path / "out" / "a" / name).write_bytes(b"half")
    assert run(tmp_path / "in", tiny_bundle, tmp_path / "out") == 0
    assert files(tmp_path / "out") == ["a/.0123abcd-mine.nii.gz", "a/labels.nii.gz", "a/report.json", "summary.csv"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_leaves_complete_cases_says_how_to_go_on_and_nothing_of_it_needed_ray(
    tiny_bundle: Bundle, tmp_path: Path
) -> None:
    save(tmp_path / "in" / "a.nii")
    save(tmp_path / "in" / "b.nii", shape=(160, 160, 100))
    output = tmp_path / "out"
    program = (
        "import sys; from scdseg.cli import main; code = main(sys.argv[1:]); print('ray' in sys.modules); exit(code)"
    )
    arguments = ["segment-all", str(tmp_path / "in"), "-m", str(tiny_bundle.path), "-o", str(output), "--device", "cpu"]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 120
        while not (output / "b").exists() and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "a: done" in out
    assert out.endswith("False\n")
    assert "the same command goes on with the others" in err
    assert err.endswith("scdseg: cancelled\n")
    assert files(output) == ["a/labels.nii.gz", "a/report.json", "summary.csv"]
    assert not (output / "b").exists()
    assert statuses(output) == {"a": "done"}
