"""``scdseg sweep`` on good and bad input: all files at once, or one clear error and none."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import nibabel as nib
import numpy as np
import pytest

from scdseg.bundle import Bundle
from scdseg.cli import main

AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])
FILES = ["sweep.csv", "sweep.json", "sweep.png", "sweep.svg"]


def save_image(folder: Path, shape: tuple[int, int, int] = (24, 20, 18)) -> Path:
    voxels = np.random.default_rng(0).normal(100, 20, shape).astype(np.float32)
    nib.save(nib.Nifti1Image(voxels, AFFINE), folder / "in.nii.gz")
    return folder / "in.nii.gz"


def command(image: Path, bundle: Bundle, output: Path, *arguments: str) -> list[str]:
    return ["sweep", str(image), "-m", str(bundle.path), "-o", str(output), "--device", "cpu", *arguments]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def numbers(row: dict[str, str], columns: Sequence[str]) -> list[float]:
    return [float(row[column]) for column in columns]


def test_table_document_and_pictures_say_the_same_and_are_all_that_is_written(
    tiny_bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "sweep"
    arguments = ("--keep-ratios", "0.25", "1", "0.5", "--tolerance", "0.9", "--threads", "1")
    assert main(command(save_image(tmp_path), tiny_bundle, output, *arguments)) == 0
    assert names(output) == FILES

    document = json.loads((output / "sweep.json").read_text(encoding="utf-8"))
    with (output / "sweep.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "keep_ratio", "tokens_kept_1", "tokens_kept_2", "tokens_scored", "seconds_windows", "seconds_total",
        "dice_mean", "dice_2_white_matter", "dice_17_hippocampus",
    ]  # fmt: skip
    assert [row["keep_ratio"] for row in rows] == ["1", "0.5", "0.25"]
    assert document["threads"] == {"least": 1, "most": 1, "automatic": False}
    for row, entry in zip(rows, document["table"], strict=True):
        assert numbers(row, ["keep_ratio", "tokens_scored", "seconds_windows", "seconds_total"]) == [
            entry[name] for name in ("keep_ratio", "tokens_scored", "seconds_windows", "seconds_total")
        ]
        assert numbers(row, ["tokens_kept_1", "tokens_kept_2"]) == entry["tokens_kept"]
        agreement = entry["agreement"]
        assert numbers(row, ["dice_mean", "dice_2_white_matter", "dice_17_hippocampus"]) == pytest.approx(
            [agreement["mean"], agreement["labels"]["2"], agreement["labels"]["17"]], rel=1e-5
        )

    out, err = capfd.readouterr()
    assert err == ""
    assert f"suggested keep ratio: {document['suggested_keep_ratio']:g} (mean Dice of at least 0.9)\n" in out
    assert re.search(r"^[\d.]+ s, \d+% of the [\d.]+ s of separate runs", out, re.MULTILINE)
    for row in rows:
        assert re.search(rf"\b{re.escape(row['keep_ratio'])} .*{float(row['dice_mean']):.4f}", out)
    assert all(f"wrote {output / name}\n" in out for name in FILES)


def test_both_pictures_are_whole_and_name_every_ratio(tiny_bundle: Bundle, tmp_path: Path) -> None:
    from matplotlib.image import imread

    assert main(command(save_image(tmp_path), tiny_bundle, tmp_path, "--keep-ratios", "0.25", "0.75")) == 0
    pixels = imread(tmp_path / "sweep.png")
    assert pixels.shape[0] > 400
    assert pixels.shape[1] > 800
    assert pixels.std() > 0
    texts = (tmp_path / "sweep.svg").read_text(encoding="utf-8")
    assert ElementTree.fromstring(texts).tag.endswith("svg")
    # matplotlib writes the text of what it draws as a comment.
    for text in ("0.25", "0.75", "Dice with keep ratio 0.75", "tolerance 0.98", "seconds of all windows", "tiny on "):
        assert f"<!-- {text}" in texts


def test_labels_of_every_ratio_are_those_of_scdseg_segment(tiny_bundle: Bundle, tmp_path: Path) -> None:
    image, output = save_image(tmp_path), tmp_path / "sweep"
    arguments = ("--keep-ratios", "1", "0.25", "--precision", "fp32", "--overlap", "0")
    assert main(command(image, tiny_bundle, output, *arguments, "--save-labels")) == 0
    assert names(output) == sorted([*FILES, "keep_1_labels.nii.gz", "keep_0.25_labels.nii.gz"])
    for ratio in ("1", "0.25"):
        alone = tmp_path / "alone.nii.gz"
        options = ["--keep-ratio", ratio, "--precision", "fp32", "--overlap", "0", "--device", "cpu"]
        assert main(["segment", str(image), "-m", str(tiny_bundle.path), "-o", str(alone), *options]) == 0
        swept = nib.load(output / f"keep_{ratio}_labels.nii.gz")
        np.testing.assert_array_equal(np.asarray(swept.dataobj), np.asarray(nib.load(alone).dataobj))
        np.testing.assert_array_equal(swept.affine, AFFINE)


def test_what_was_there_before_is_replaced_and_other_files_stay(tiny_bundle: Bundle, tmp_path: Path) -> None:
    output = tmp_path / "sweep"
    output.mkdir()
    for name in ("sweep.csv", "notes.txt"):
        (output / name).write_text("old", encoding="utf-8")
    assert main(command(save_image(tmp_path), tiny_bundle, output, "--keep-ratios", "0.5")) == 0
    assert names(output) == sorted([*FILES, "notes.txt"])
    assert (output / "sweep.csv").read_text(encoding="utf-8").startswith("keep_ratio,")
    assert (output / "notes.txt").read_text(encoding="utf-8") == "old"


def test_warnings_of_all_ratios_are_told_once(
    tiny_bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    image = save_image(tmp_path, (6, 7, 5))
    assert main(command(image, tiny_bundle, tmp_path, "--keep-ratios", "1", "0.5", "0.1")) == 0
    warnings = [line for line in capfd.readouterr().err.splitlines() if line.startswith("scdseg: warning: ")]
    assert len(warnings) == 2
    assert "much smaller than the model's window" in warnings[0]
    assert "keep ratio 0.1 is outside the model's useful range" in warnings[1]
    document = json.loads((tmp_path / "sweep.json").read_text(encoding="utf-8"))
    assert [f"scdseg: warning: {warning}" for warning in document["warnings"]] == warnings


def assert_one_error(code: int, captured: tuple[str, str], message: str) -> None:
    out, err = captured
    assert code == 2
    assert out == ""
    assert err.startswith("scdseg: error: ")
    assert err.count("\n") == 1
    assert message in err


BAD_ARGUMENTS = {
    "two images": (["{folder}/in.nii.gz"], "takes 1 image"),
    "keep ratio 0": (["--keep-ratios", "1", "0"], "keep ratio 0.0 is out of range"),
    "keep ratio twice": (["--keep-ratios", "0.5", "0.5"], "name one twice"),
    "tolerance in percent": (["--tolerance", "98"], "tolerance 98.0 is out of range"),
    "overlap 1": (["--overlap", "1"], "overlap 1.0 is out of range"),
    "more threads than cores": (["--threads", "9999"], "9999 threads cannot be used"),
    "absent device": (["--device", "cuda:99"], "device 'cuda:99' is not available"),
    "unknown model": (["-m", "no-such-model"], "no-such-model"),
    "output is a file": (["-o", "{folder}/in.nii.gz"], "in.nii.gz cannot be made (File exists)"),
    "output in a folder that is not there": (["-o", "{folder}/no/where"], "create {folder}/no first"),
}


@pytest.mark.parametrize("kind", BAD_ARGUMENTS)
def test_a_bad_argument_is_one_error_and_no_folder(
    tiny_bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    arguments, message = BAD_ARGUMENTS[kind]
    image = save_image(tmp_path)
    line = command(image, tiny_bundle, tmp_path / "sweep")
    changes = [argument.format(folder=tmp_path) for argument in arguments]
    code = main([line[0], *changes, *line[1:]] if kind == "two images" else [*line, *changes])
    assert_one_error(code, capfd.readouterr(), message.format(folder=tmp_path))
    assert list(tmp_path.iterdir()) == [image]


def test_an_image_that_turns_out_to_be_damaged_is_an_error_and_no_folder(
    tiny_bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    image = save_image(tmp_path)
    image.write_bytes(image.read_bytes()[:-1000])
    code = main(command(image, tiny_bundle, tmp_path / "sweep"))
    assert_one_error(code, capfd.readouterr(), "damaged or cut short")
    assert list(tmp_path.iterdir()) == [image]


def test_an_image_that_labels_would_overwrite_is_an_error(
    tiny_bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    image = save_image(tmp_path).rename(tmp_path / "keep_1_labels.nii.gz")
    content = image.read_bytes()
    code = main(command(image, tiny_bundle, tmp_path, "--save-labels"))
    assert_one_error(code, capfd.readouterr(), "would overwrite an input")
    assert list(tmp_path.iterdir()) == [image]
    assert image.read_bytes() == content


def test_without_matplotlib_the_extra_is_named_before_any_work(
    tiny_bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = save_image(tmp_path)
    monkeypatch.delitem(sys.modules, "scdseg.cli.sweep_plot", raising=False)
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code = main(command(image, tiny_bundle, tmp_path / "sweep"))
    assert_one_error(
        code, capfd.readouterr(), "needs matplotlib: pip install matplotlib, or install scdseg with its extra [plot]"
    )
    assert list(tmp_path.iterdir()) == [image]


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_ctrl_c_ends_a_sweep_with_130_and_leaves_nothing(tiny_bundle: Bundle, tmp_path: Path) -> None:
    image = save_image(tmp_path, (80, 80, 54))
    output = tmp_path / "sweep"
    process = subprocess.Popen(
        [sys.executable, "-m", "scdseg.cli", *command(image, tiny_bundle, output, "--save-labels")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUTF8": "1"},
    )
    # The first labels are there under a hidden name: the second run comes or is under way.
    end = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < end:
        if output.is_dir() and any(name.endswith("-keep_1_labels.nii.gz") for name in names(output)):
            break
        time.sleep(0.01)
    hidden = names(output)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert len(hidden) == 1
    assert process.returncode == 130
    assert err.decode() == "scdseg: cancelled\n"
    assert out == b""
    assert list(tmp_path.iterdir()) == [image]
