"""What the report says about tokens, against a loop over voxels."""

from __future__ import annotations

from typing import Any

import nibabel as nib
import numpy as np
import pytest

from scdseg.bundle import Code, Label
from scdseg.inference import token_report as module
from scdseg.inference.token_report import token_report

ANATOMY = Code("SCT", "123037004", "Anatomical Structure")
# 4 occurs nowhere; 255 is the largest value, and not the last label.
KNOWN = [
    Label(value, f"label {value}", (0, 0, 0), ANATOMY, ANATOMY, None, None, channel)
    for channel, value in enumerate((9, 255, 4, 17), start=1)
]
BLOCKS = (3, 6, 9)
SHAPE, GRID = (11, 9, 13), (4, 3, 5)
ROTATION = nib.eulerangles.euler2mat(0.3, -0.2, 0.35)
PERMUTED = np.array([[0, 0, 1.2, -5], [-1.8, 0, 0, 7], [0, 2.5, 0, 3], [0, 0, 0, 1]])
AFFINES = {
    "straight": np.diag([1.3, 2.1, 0.9, 1.0]),
    "flipped": np.array([[-1.3, 0, 0, 4], [0, -2.1, 0, -3], [0, 0, 0.9, 2], [0, 0, 0, 1]]),
    "permuted and flipped": PERMUTED,
    "oblique": np.block([[ROTATION * [1.7, 1.1, 2.0], np.array([[11.0], [-22.0], [33.0]])], [np.eye(4)[3:]]]),
    "oblique, permuted and flipped": np.block([[ROTATION @ PERMUTED[:3, :3], PERMUTED[:3, 3:]], [np.eye(4)[3:]]]),
}


def grid_around(affine: np.ndarray, size_mm: float) -> np.ndarray:
    """Affine of a token grid that lies straight in the patient, in the middle of the volume."""
    tokens = np.diag([size_mm, size_mm, size_mm, 1.0])
    middle = affine[:3, :3] @ ((np.array(SHAPE) - 1) / 2) + affine[:3, 3]
    # Off by an odd fraction, so that no voxel's centre lies on a border.
    tokens[:3, 3] = middle - size_mm * (np.array(GRID) - 1) / 2 + [0.123, -0.217, 0.071]
    return tokens


def random_run(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels in half of the volume, with a value that no label has, importance, and stages."""
    generator = np.random.default_rng(seed)
    labels = generator.choice(np.array([0, 0, 0, 9, 17, 255, 77], np.uint8), SHAPE)
    labels[:5] = 0
    importance = generator.random(GRID).astype(np.float32)
    return labels, importance, generator.integers(1, 5, GRID).astype(np.uint8)


def report_voxel_by_voxel(
    labels: np.ndarray, affine: np.ndarray, importance: np.ndarray, stage: np.ndarray, tokens: np.ndarray
) -> dict[int, dict[str, Any]]:
    """The rows of the labels by value, and under 0 that of the tokens without any."""
    importances: dict[int, list[float]] = {}
    held: dict[int, set[tuple[int, ...]]] = {}
    for index, value in np.ndenumerate(labels):
        if value in (9, 4, 17, 255):
            place = np.linalg.solve(tokens, affine @ [*index, 1])[:3]
            token = tuple(min(max(round(p), 0), n - 1) for p, n in zip(place, GRID, strict=True))
            importances.setdefault(int(value), []).append(float(importance[token]))
            held.setdefault(int(value), set()).add(token)
    outside = set(np.ndindex(*GRID)) - set().union(*held.values())
    held[0], importances[0] = outside, [float(importance[token]) for token in outside]
    return {
        value: {
            "tokens": len(held[value]),
            "importance": np.mean(importances[value]),
            "kept": [np.mean([stage[token] > number for token in held[value]]) for number in (1, 2, 3)],
        }
        for value in held
    }


@pytest.mark.parametrize("voxels", [1, 250, 2**20])
@pytest.mark.parametrize("size_mm", [8.0, 3.0], ids=["inside the grid", "partly outside"])
@pytest.mark.parametrize("name", AFFINES)
def test_every_voxel_counts_for_the_token_that_it_lies_in(
    monkeypatch: pytest.MonkeyPatch, name: str, size_mm: float, voxels: int
) -> None:
    monkeypatch.setattr(module, "_VOXELS", voxels)
    affine, (labels, importance, stage) = AFFINES[name], random_run()
    tokens = grid_around(affine, size_mm)
    report = token_report(labels, affine, importance, stage, tokens, KNOWN, BLOCKS)
    expected = report_voxel_by_voxel(labels, affine, importance, stage, tokens)
    # In the order of the labels, and without the one that does not occur.
    assert [(row["value"], row["name"]) for row in report["labels"]] == [
        (9, "label 9"), (255, "label 255"), (17, "label 17")
    ]  # fmt: skip
    for row, value in [(report["outside"], 0), *((row, row["value"]) for row in report["labels"])]:
        assert row["tokens"] == expected[value]["tokens"] > 0
        assert row["importance"] == pytest.approx(expected[value]["importance"], abs=1e-4)
        assert row["kept"] == pytest.approx(expected[value]["kept"], abs=1e-4)


def test_stages_say_what_came_in_was_kept_and_pruned() -> None:
    labels, importance, _ = random_run()
    stage = np.repeat(np.array([1, 2, 2, 4], np.uint8), 15).reshape(GRID)
    report = token_report(labels, np.eye(4), importance, stage, np.eye(4), KNOWN, BLOCKS)
    assert report["count"] == 60
    assert report["stages"] == [
        {"after_block": 3, "in": 60, "kept": 45, "pruned": 15},
        {"after_block": 6, "in": 45, "kept": 15, "pruned": 30},
        {"after_block": 9, "in": 15, "kept": 15, "pruned": 0},
    ]


def test_a_volume_without_labels_has_all_tokens_outside_and_one_full_of_them_none() -> None:
    _, importance, stage = random_run()
    arguments = (np.eye(4), importance, stage, np.diag([3.0, 3.0, 3.0, 1.0]), KNOWN, BLOCKS)
    nothing = token_report(np.zeros(SHAPE, np.uint8), *arguments)
    assert nothing["labels"] == []
    assert nothing["outside"] == {
        "tokens": 60,
        "importance": pytest.approx(importance.mean(), abs=1e-4),
        "kept": pytest.approx([(stage > number).mean() for number in (1, 2, 3)], abs=1e-4),
    }
    full = token_report(np.full((13, 9, 15), 17, np.uint8), *arguments)
    assert [row["tokens"] for row in full["labels"]] == [60]
    assert full["outside"] == {"tokens": 0, "importance": 0, "kept": [0, 0, 0]}
