"""Several keep ratios on one image: what they cost, how well they agree, and which of them is suggested."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from scdseg import segment
from scdseg.bundle import Bundle
from scdseg.errors import Cancelled, InputError
from scdseg.inference import Result
from scdseg.inference.shared import SharedWork
from scdseg.inference.sweep import Sweep, SweepRow, label_dice, summary, sweep
from scdseg.suggestion import suggested_keep_ratio
from scdseg.window_cost import keep_counts

RATIOS = [0.25, 1.0, 0.5]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "patient_doe.nii.gz"
    voxels = np.random.default_rng(0).normal(100, 20, (24, 20, 18)).astype(np.float32)
    nib.save(nib.Nifti1Image(voxels, np.diag([2.0, 2.0, 3.0, 1.0])), path)
    return path


class Recorded:
    """A sweep with everything that it handed out on the way."""

    def __init__(self, image: Path, bundle: Bundle) -> None:
        self.steps: list[tuple[str, int, int, float | None]] = []
        self.results: list[tuple[Result, SweepRow]] = []
        self.sweep: Sweep = sweep(
            image,
            bundle.path,
            RATIOS,
            tolerance=0.9,
            device="cpu",
            precision="fp32",
            progress=lambda *step: self.steps.append(step),
            on_result=lambda *result: self.results.append(result),
        )


@pytest.fixture(scope="module")
def recorded(image: Path, tiny_bundle: Bundle) -> Recorded:
    return Recorded(image, tiny_bundle)


def dice_voxel_by_voxel(labels: np.ndarray, reference: np.ndarray, value: int) -> float | None:
    ours = {index for index, label in np.ndenumerate(labels) if label == value}
    theirs = {index for index, label in np.ndenumerate(reference) if label == value}
    return 2 * len(ours & theirs) / (len(ours) + len(theirs)) if ours or theirs else None


def row(keep_ratio: float, *dice: float, added: float = 1.0, total: float = 1.0) -> SweepRow:
    return SweepRow(keep_ratio, (1,), 1, 0.5, total, added, dict(enumerate(dice, start=1)))


def test_dice_is_that_of_the_voxels_for_labels_that_at_least_one_map_has() -> None:
    generator = np.random.default_rng(1)
    labels = generator.choice(np.array([0, 1, 2, 255], np.uint8), (7, 6, 5))
    # The other one lies in memory in another order, lacks 255 and has 9 beside.
    reference = np.asfortranarray(generator.choice(np.array([0, 1, 2, 9], np.uint8), (7, 6, 5)))
    found = label_dice(labels, reference, [1, 2, 9, 17, 255])
    assert found == {value: dice_voxel_by_voxel(labels, reference, value) for value in (1, 2, 9, 255)}
    assert 0 < found[1] < 1
    assert found[9] == found[255] == 0
    assert dice_voxel_by_voxel(labels, reference, 17) is None


def test_every_run_has_the_labels_of_a_run_of_its_own_and_its_dice_with_the_densest(
    recorded: Recorded, image: Path, tiny_bundle: Bundle
) -> None:
    assert [found.keep_ratio for found in recorded.sweep.rows] == [1.0, 0.5, 0.25]
    assert tuple(found for _, found in recorded.results) == recorded.sweep.rows
    densest = recorded.results[0][0].labels.array
    for result, found in recorded.results:
        alone = segment(image, tiny_bundle.path, found.keep_ratio, device="cpu", precision="fp32")
        np.testing.assert_array_equal(result.labels.array, alone.labels.array)
        np.testing.assert_array_equal(result.importance.array, alone.importance.array)
        np.testing.assert_array_equal(result.scores.array, alone.scores.array)
        assert result.report["keep_ratio"] == found.keep_ratio
        brute_force = {value: dice_voxel_by_voxel(result.labels.array, densest, value) for value in (2, 17)}
        assert found.dice == brute_force
        assert found.mean_dice == pytest.approx(sum(brute_force.values()) / 2)
    assert recorded.sweep.rows[0].dice == {2: 1.0, 17: 1.0}
    assert recorded.sweep.rows[2].mean_dice < 1


def test_without_room_to_keep_anything_a_sweep_gives_the_same(
    recorded: Recorded, image: Path, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    room: list[int] = []

    def no_room(self: SharedWork, limit: int) -> None:
        room.append(limit)
        self._limit = 0

    monkeypatch.setattr(SharedWork, "begin", no_room)
    found = Recorded(image, tiny_bundle)
    assert min(room) > 0
    for (result, row), (expected, expected_row) in zip(found.results, recorded.results, strict=True):
        np.testing.assert_array_equal(result.labels.array, expected.labels.array)
        np.testing.assert_array_equal(result.scores.array, expected.scores.array)
        assert row.dice == expected_row.dice
        assert row.seconds_windows == result.report["seconds"]["windows"], "something was kept"


def test_rows_count_tokens_of_a_window_kept_and_of_all_windows_scored(recorded: Recorded, tiny_bundle: Bundle) -> None:
    window = (tiny_bundle.network["img_size"][0] // tiny_bundle.network["patch_size"]) ** 3
    windows = recorded.sweep.common["windows"]["count"]
    assert windows > 1
    for found in recorded.sweep.rows:
        kept = keep_counts(window, [found.keep_ratio] * 2)
        assert list(found.tokens_kept) == kept
        assert found.tokens_scored == (window + kept[0]) * windows


def test_images_are_read_and_prepared_once_and_windows_of_all_runs_are_counted_together(recorded: Recorded) -> None:
    steps = [(step, done) for step, done, _, _ in recorded.steps if step != "windows"]
    assert steps == [("read", 0), ("preprocess", 0), ("preprocess", 1)]
    windows = [(done, total, left) for step, done, total, left in recorded.steps if step == "windows"]
    total = 3 * recorded.sweep.common["windows"]["count"]
    assert {told for _, told, _ in windows} == {total}
    assert [done for done, _, _ in windows] == sorted(done for done, _, _ in windows)
    assert windows[0] == (0, total, None)
    assert windows[-1] == (total, total, 0)


def test_seconds_count_what_runs_have_in_common_once_for_the_sweep_and_for_every_run_of_its_own(
    recorded: Recorded,
) -> None:
    reports = [result.report["seconds"] for result, _ in recorded.results]
    rows = recorded.sweep.rows
    saved = [found.seconds_windows - report["windows"] for report, found in zip(reports, rows, strict=True)]
    assert saved[0] == 0
    assert min(saved[1:]) > 0
    for report, found, seconds in zip(reports, rows, saved, strict=True):
        assert found.seconds_total == pytest.approx(report["total"] - report.get("load model", 0) + seconds)
    preparation = reports[0]["read"] + reports[0]["preprocess"]
    comparisons = [found.seconds_added - found.seconds_total for found in rows]
    assert comparisons[0] > 0
    for compared, seconds in zip(comparisons[1:], saved[1:], strict=True):
        # Reports are rounded to the millisecond.
        assert preparation + seconds + compared > -0.003
    seconds = recorded.sweep.to_json()["seconds"]
    assert seconds["sweep"] == pytest.approx(sum(found.seconds_added for found in rows), abs=1e-3)
    assert seconds["separate_runs"] == pytest.approx(sum(found.seconds_total for found in rows), abs=1e-3)


def test_the_summary_compares_the_sweep_with_separate_runs() -> None:
    rows = [row(1.0, 1.0, added=5.0, total=5.0), row(0.5, 0.99, added=2.0, total=4.0), row(0.1, 0.5, added=1, total=3)]
    told = summary(rows, 0.98)
    assert told["seconds"] == {"sweep": 8, "separate_runs": 12, "ratio": 0.6667}
    assert told["suggested_keep_ratio"] == 0.5
    assert [entry["agreement"] for entry in told["table"]] == [
        {"mean": 1.0, "labels": {"1": 1.0}},
        {"mean": 0.99, "labels": {"1": 0.99}},
        {"mean": 0.5, "labels": {"1": 0.5}},
    ]


def test_what_a_sweep_says_in_the_end_is_json_and_names_no_file(recorded: Recorded, tiny_bundle: Bundle) -> None:
    text = json.dumps(recorded.sweep.to_json(), allow_nan=False)
    assert "patient" not in text
    told = json.loads(text)
    assert told["model"]["sha256"] == tiny_bundle.weights_sha256
    assert told["labels"] == [{"value": 2, "name": "white matter"}, {"value": 17, "name": "hippocampus"}]
    assert told["tolerance"] == 0.9
    means = {row.keep_ratio: row.mean_dice for row in recorded.sweep.rows}
    assert told["suggested_keep_ratio"] == suggested_keep_ratio(means, 0.9)
    assert [entry["keep_ratio"] for entry in told["table"]] == [1.0, 0.5, 0.25]
    assert set(told["table"][0]["agreement"]["labels"]) == {"2", "17"}


SUGGESTIONS: dict[str, tuple[list[SweepRow], float]] = {
    "all agree": ([row(1.0, 1.0), row(0.5, 0.99), row(0.1, 0.98)], 0.1),
    "in any order": ([row(0.1, 0.97), row(1.0, 1.0), row(0.25, 0.98), row(0.5, 0.99)], 0.25),
    "none but the densest": ([row(0.9, 1.0), row(0.5, 0.979), row(0.1, 0.5)], 0.9),
    "a smaller one agrees again": ([row(1.0, 1.0), row(0.5, 0.97), row(0.25, 0.99)], 1.0),
    "only one": ([row(0.5, 1.0)], 0.5),
    "the mean counts": ([row(1.0, 1.0, 1.0), row(0.5, 0.9, 1.0), row(0.25, 0.97, 0.99)], 1.0),
    "nothing found": ([row(1.0), row(0.5)], 1.0),
}


@pytest.mark.parametrize("case", SUGGESTIONS)
def test_the_smallest_ratio_is_suggested_at_which_as_at_all_larger_ones_the_mean_is_within_tolerance(case: str) -> None:
    rows, suggested = SUGGESTIONS[case]
    assert suggested_keep_ratio({row.keep_ratio: row.mean_dice for row in rows}, 0.98) == suggested


def test_labels_that_no_run_found_leave_no_mean() -> None:
    assert label_dice(np.zeros((2, 2, 2), np.uint8), np.zeros((2, 2, 2), np.uint8), [1, 2]) == {}
    assert math.isnan(row(0.5).mean_dice)
    assert row(0.5).to_json()["agreement"] == {"mean": None, "labels": {}}


BAD_ARGUMENTS: dict[str, tuple[dict[str, Any], str]] = {
    "no ratio": ({"keep_ratios": []}, "no keep ratio given"),
    "ratio 0": ({"keep_ratios": [1, 0.0]}, "keep ratio 0.0 is out of range"),
    "one ratio twice": ({"keep_ratios": [0.5, 1, 0.5]}, "name one twice"),
    "ratios of one name": ({"keep_ratios": [0.1, 0.10000001]}, "name one twice"),
    "tolerance above 1": ({"tolerance": 98}, "tolerance 98 is out of range"),
    "tolerance NaN": ({"tolerance": math.nan}, "tolerance nan is out of range"),
    "overlap 1": ({"overlap": 1.0}, "overlap 1.0 is out of range"),
    "two images": ({"images": ["a.nii", "b.nii"]}, "takes 1 image"),
}


@pytest.mark.parametrize("case", BAD_ARGUMENTS)
def test_bad_arguments_are_refused_before_anything_is_read(image: Path, tiny_bundle: Bundle, case: str) -> None:
    changes, message = BAD_ARGUMENTS[case]
    steps: list[Any] = []
    with pytest.raises(InputError, match=message):
        sweep(**{"images": image, "model": tiny_bundle.path, "progress": lambda *step: steps.append(step), **changes})
    assert steps == []


def test_a_cancelled_sweep_has_handed_out_what_was_complete(image: Path, tiny_bundle: Bundle) -> None:
    complete: list[float] = []
    with pytest.raises(Cancelled):
        sweep(
            image,
            tiny_bundle.path,
            RATIOS,
            device="cpu",
            cancelled=lambda: len(complete) == 2,
            on_result=lambda _, found: complete.append(found.keep_ratio),
        )
    assert complete == [1.0, 0.5]
