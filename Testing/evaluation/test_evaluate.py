"""``scdseg evaluate`` on a small untrained model, whose own labels are the reference."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from scdseg.bundle import Bundle
from scdseg.cli import main
from scdseg.errors import InputError
from scdseg.evaluation import evaluate
from scdseg.evaluation.mapping import read_mapping
from scdseg.inference import segment
from scdseg.networks.pruning import TOKEN_CHOICES
from tiny_model import write_tiny_model

AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])


@pytest.fixture(scope="module")
def model(tiny_bundle: Bundle) -> Path:
    return tiny_bundle.path


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "image.nii.gz"
    voxels = np.random.default_rng(0).normal(100, 20, (24, 20, 18)).astype(np.float32)
    nib.save(nib.Nifti1Image(voxels, AFFINE), path)
    return path


@pytest.fixture(scope="module")
def reference(model: Path, image: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the model itself says at keep ratio 0.5."""
    path = tmp_path_factory.mktemp("reference") / "reference.nii.gz"
    labels = segment(image, model=str(model), keep_ratio=0.5, device="cpu").labels.array
    assert {2, 17} <= set(np.unique(labels))
    nib.save(nib.Nifti1Image(labels, AFFINE), path)
    return path


def save_labels(path: Path, labels: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    nib.save(nib.Nifti1Image(labels.astype(np.uint8), affine), path)
    return path


def labels_of(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def test_own_labels_as_reference_agree_at_their_keep_ratio_only(model: Path, image: Path, reference: Path) -> None:
    evaluation = evaluate([image], model, reference, keep_ratios=(0.5, 0.1), device="cpu")
    assert [(row.keep_ratio, row.name) for row in evaluation.rows] == [
        (0.5, "white matter"), (0.5, "hippocampus"), (0.1, "white matter"), (0.1, "hippocampus"),
    ]  # fmt: skip
    assert evaluation.mean_dice(0.5) == 1
    assert evaluation.mean_dice(0.1) < 1
    first = evaluation.rows[0]
    assert first.hd95_mm == 0
    assert first.volume_ml == first.reference_ml == pytest.approx((labels_of(reference) == 2).sum() * 0.012)
    other = evaluate([image], model, reference, keep_ratios=[0.5], device="cpu", overlap=0.0)
    assert other.mean_dice(0.5) < 1
    with pytest.raises(InputError, match="overlap"):
        evaluate([image], model, reference, overlap=1.5, device="cpu")


def test_a_mapping_renames_the_reference_and_leaves_out_what_it_lacks(
    model: Path, image: Path, reference: Path, tmp_path: Path
) -> None:
    theirs = np.where(labels_of(reference) == 2, 77, np.where(labels_of(reference) == 17, 3, 0))
    renamed = save_labels(tmp_path / "renamed.nii.gz", theirs)
    evaluation = evaluate([image], model, renamed, {77: 2}, keep_ratios=[0.5], device="cpu")
    assert [(row.value, row.dice) for row in evaluation.rows] == [(2, 1.0)]


@pytest.mark.parametrize(
    ("make_reference", "mapping", "message"),
    [
        (lambda a: (a[:-1], AFFINE), None, "voxels"),
        (lambda a: (a, np.diag([2.0, 2.0, 3.1, 1.0])), None, "resample"),
        (lambda a: (a * 5, AFFINE), None, "none of the labels"),
        (lambda a: (a, AFFINE), {2: 4}, "no labels of the model"),
    ],
    ids=["other shape", "other spacing", "other values", "mapping to nowhere"],
)
def test_a_reference_that_does_not_fit_is_refused(
    model: Path, image: Path, reference: Path, tmp_path: Path, make_reference: Any, mapping: Any, message: str
) -> None:
    unfit = save_labels(tmp_path / "unfit.nii.gz", *make_reference(labels_of(reference)))
    with pytest.raises(InputError, match=message):
        evaluate([image], model, unfit, mapping, device="cpu")


def test_an_image_is_no_reference(model: Path, image: Path) -> None:
    with pytest.raises(InputError, match="label map"):
        evaluate([image], model, image, device="cpu")


@pytest.mark.parametrize("text", ["", "[1, 2]", '{"a": 1}', '{"0": 5}', "{}", '{"3": null}'])
def test_a_malformed_mapping_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mapping.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"mapping\.json"):
        read_mapping(path)


def test_the_command_writes_a_table_and_prints_json(
    model: Path, image: Path, reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "table.csv"
    arguments = [image, "-m", model, "--reference", reference, "--keep-ratios", 1, 0.5, "-o", table, "--json"]
    assert main(["evaluate", *map(str, arguments), "--device", "cpu"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["mean_dice"]["learned"]["0.5"] == 1
    assert document["model"]["name"] == "tiny"
    assert set(document["seconds"]["learned"]) == {"1.0", "0.5"}
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["keep_ratio"], row["name"]) for row in rows] == [
        ("1", "white matter"), ("1", "hippocampus"), ("0.5", "white matter"), ("0.5", "hippocampus"),
    ]  # fmt: skip
    assert float(rows[2]["dice"]) == 1
    assert not math.isnan(float(rows[0]["volume_ml"]))


def test_the_command_prints_a_table_that_a_person_reads(
    model: Path, image: Path, reference: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [image, "-m", model, "--reference", reference, "--keep-ratios", 0.5, "--device", "cpu"]
    assert main(["evaluate", *map(str, arguments)]) == 0
    output = capsys.readouterr().out
    assert "1.000 / 0.0" in output
    assert "mean Dice" in output


def test_tokens_chosen_in_other_ways_are_compared_with_the_models_own(
    model: Path, image: Path, reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "table.csv"
    arguments = [image, "-m", model, "--reference", reference, "--keep-ratios", 0.5, "--device", "cpu", "-o", table]
    assert main(["evaluate", *map(str, arguments), "--token-choice", "inverted", "learned", "cls_attention"]) == 0
    assert "tokens chosen by" in capsys.readouterr().out
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    dice = {choice: [float(row["dice"]) for row in rows if row["token_choice"] == choice] for choice in TOKEN_CHOICES}
    # The reference is what the model says with the tokens that it chooses itself.
    assert dice["learned"] == [1, 1]
    assert dice["random"] == []
    assert max(dice["inverted"] + dice["cls_attention"]) < 1


def test_a_choice_of_tokens_that_a_model_cannot_go_by_is_refused_by_the_models_name(
    image: Path, reference: Path, tmp_path: Path
) -> None:
    early = write_tiny_model(tmp_path / "early", prune_after=(0, 2)).path
    with pytest.raises(InputError, match=r"model early: .*cls_attention"):
        evaluate([image], early, reference, device="cpu", token_choices=["learned", "cls_attention"])
    with pytest.raises(InputError, match="nearest"):
        evaluate([image], early, reference, device="cpu", token_choices=["nearest"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--keep-ratios", "0"], "keep ratio"),
        (["--token-choice", "random", "random"], "twice"),
        (["--keep-ratios", "0.5", "0.5"], "twice"),
        (["-o", "nowhere/table.csv"], "nowhere"),
        (["-o", "table.txt"], ".csv"),
        (["--mapping", "missing.json"], "missing.json"),
        (["--reference", "missing.nii.gz"], "missing.nii.gz"),
        (["-m", "no-such-model"], "no-such-model"),
    ],
)
def test_bad_arguments_end_in_one_line_and_exit_code_2(
    model: Path, image: Path, reference: Path, change: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", str(image), "-m", str(model), "--reference", str(reference), "--device", "cpu", *change]
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert message in error[0]
