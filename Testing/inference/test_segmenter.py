"""The whole engine on small volumes with a network of random weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from scdseg import segment
from scdseg.bundle import Bundle
from scdseg.errors import Cancelled, DeviceError, InputError
from scdseg.inference import Segmenter, memory
from scdseg.inference.windows import Order

AFFINE = np.array([[-1.5, 0, 0, 20], [0, 2, 0, -30], [0, 0, 1, 10], [0, 0, 0, 1]])


def blobs(shape: tuple[int, int, int] = (34, 26, 43)) -> np.ndarray:
    """A volume with some structure, so that random weights give more than one label."""
    noise = np.random.default_rng(0).random(shape)
    smooth = np.fft.ifftn(np.fft.fftn(noise) * np.exp(-200 * sum(f**2 for f in np.meshgrid(
        *(np.fft.fftfreq(n) for n in shape), indexing="ij"))))  # fmt: skip
    values = np.real(smooth)
    return (100 * (values - values.min()) / np.ptp(values) + 1).astype(np.float32)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "patient_doe.nii.gz"
    nib.save(nib.Nifti1Image(blobs(), AFFINE), path)
    return path


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 0, 1)])
def test_labels_are_the_same_along_whichever_axis_bands_follow_each_other(
    tiny_bundle: Bundle, image: Path, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = segment(image, tiny_bundle.path, precision="fp32")
    monkeypatch.setattr(memory, "band_order", lambda shape, window: order)
    found = segment(image, tiny_bundle.path, precision="fp32")
    assert len(np.unique(expected.labels.array)) > 1
    np.testing.assert_array_equal(found.labels.array, expected.labels.array)
    np.testing.assert_array_equal(found.stage.array, expected.stage.array)
    np.testing.assert_allclose(found.importance.array, expected.importance.array, atol=1e-6)


def test_results_have_the_inputs_geometry_the_token_grid_and_a_full_report(
    tiny_bundle: Bundle, image: Path, tmp_path: Path
) -> None:
    steps: list[tuple[str, int, int]] = []
    result = segment(
        image, tiny_bundle.path, progress=lambda step, done, total, left: steps.append((step, done, total))
    )
    files = {"labels": "labels.nii.gz", "importance": "importance.nii.gz", "report": "report.json"}
    result.save(**{name: tmp_path / file for name, file in files.items()})
    original, labels = nib.load(image), nib.load(tmp_path / "labels.nii.gz")
    assert labels.shape == original.shape
    np.testing.assert_array_equal(labels.affine, original.affine)
    values = np.unique(np.asarray(labels.dataobj))
    assert set(values) <= {0, 2, 17}
    assert len(values) > 1

    importance = nib.load(tmp_path / "importance.nii.gz")
    assert importance.header.get_zooms() == pytest.approx((16, 16, 16))
    assert importance.get_data_dtype() == np.float32
    for volume in (result.importance.array, result.survival.array):
        assert volume.min() >= 0
        assert 0 < volume.max() <= 1
    # The tokens cover the input: its corners lie within half a token of the token grid.
    corners = np.array([[i, j, k, 1] for i in (0, 33) for j in (0, 25) for k in (0, 42)])
    index = corners @ AFFINE.T @ np.linalg.inv(importance.affine).T
    assert (index[:, :3] > -0.51).all()
    assert (index[:, :3] < np.array(importance.shape) - 0.49).all()

    report = json.loads((tmp_path / "report.json").read_text())
    assert report["model"] == {"name": "tiny", "version": "0.1.0", "sha256": tiny_bundle.weights_sha256}
    assert report["keep_ratio"] == 0.5
    assert report["tokens_per_stage"] == {"scored": [8, 4], "kept": [4, 2]}
    assert report["windows"]["size"] == [16, 16, 16]
    assert steps[-1] == ("windows", report["windows"]["count"], report["windows"]["count"])
    seconds = report["seconds"]
    steps_of_a_run = {"load model", "read", "preprocess", "windows", "restore", "stitch", "tokens", "write"}
    assert set(seconds) == {*steps_of_a_run, "total"}
    assert seconds["total"] == pytest.approx(sum(s for step, s in seconds.items() if step != "total"), abs=0.01)
    assert report["peak_memory_bytes"]["process"] > 1e8
    array = np.asarray(labels.dataobj)
    for entry in report["labels"]:
        assert entry["voxels"] == np.count_nonzero(array == entry["value"])
        assert entry["ml"] == pytest.approx(entry["voxels"] * 3 / 1000)
    assert "doe" not in json.dumps(report)


@pytest.mark.parametrize(
    ("axes", "flips"), [((0, 1, 2), (0,)), ((0, 1, 2), (0, 1)), ((2, 0, 1), ()), ((1, 2, 0), (1, 2))]
)
def test_the_same_volume_stored_with_other_axes_gets_the_same_labels(
    tiny_bundle: Bundle, image: Path, tmp_path: Path, axes: tuple[int, ...], flips: tuple[int, ...]
) -> None:
    source = nib.load(image)
    orientation = np.array([[axis, -1 if axis in flips else 1] for axis in axes])
    nib.save(source.as_reoriented(orientation), tmp_path / "stored.nii.gz")
    expected = segment(image, tiny_bundle.path, precision="fp32").labels
    labels = segment(tmp_path / "stored.nii.gz", tiny_bundle.path, precision="fp32").labels
    back = nib.Nifti1Image(expected.array, source.affine).as_reoriented(orientation)
    agreement = np.mean(np.asarray(back.dataobj) == labels.array)
    assert agreement > 0.999


def test_turning_the_patient_does_not_change_labels(tiny_bundle: Bundle, image: Path, tmp_path: Path) -> None:
    turned = np.eye(4)
    turned[:3, :3] = nib.eulerangles.euler2mat(0.2, 0.1, -0.3)
    nib.save(nib.Nifti1Image(blobs(), turned @ AFFINE), tmp_path / "oblique.nii.gz")
    expected = segment(image, tiny_bundle.path, precision="fp32").labels.array
    labels = segment(tmp_path / "oblique.nii.gz", tiny_bundle.path, precision="fp32").labels.array
    assert np.mean(labels == expected) > 0.99


def test_a_prepared_image_can_be_run_again_with_other_keep_ratios(tiny_bundle: Bundle, image: Path) -> None:
    segmenter = Segmenter(tiny_bundle, device="cpu", precision="fp32")
    prepared = segmenter.prepare(image)
    before = prepared.image.as_tensor().clone()
    first = segmenter.run(prepared, keep_ratio=0.5)
    sparse = segmenter.run(prepared, keep_ratio=[0.5, 0.24])
    again = segmenter.run(prepared, keep_ratio=0.5)
    torch.testing.assert_close(prepared.image.as_tensor(), before, rtol=0, atol=0)
    np.testing.assert_array_equal(first.labels.array, again.labels.array)
    assert sparse.report["tokens_per_stage"]["kept"] == [4, 0]
    assert sparse.report["warnings"] == [
        "keep ratio [0.5, 0.24] is outside the model's useful range 0.25 to 1: expect worse labels"
    ]


def test_windows_of_nothing_are_skipped_and_change_nothing_where_something_is(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = np.zeros((120, 40, 40), dtype=np.float32)
    array[4:30, 4:36, 4:36] = np.random.default_rng(0).uniform(50, 300, (26, 32, 32))
    nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / "image.nii.gz")
    segmenter = Segmenter(tiny_bundle, device="cpu", precision="fp32")
    prepared = segmenter.prepare(tmp_path / "image.nii.gz")
    told: list[int] = []
    result = segmenter.run(prepared, progress=lambda step, done, total, left: told.append(total))
    monkeypatch.setattr("scdseg.inference.segmenter.worth_computing", lambda image, starts, window: starts)
    every = segmenter.run(prepared)
    windows, all_windows = result.report["windows"], every.report["windows"]
    assert windows["skipped"] > 0
    assert (windows["count"] + windows["skipped"], all_windows["skipped"]) == (all_windows["count"], 0)
    assert set(told) == {windows["count"]}
    # A window reaches 32 mm.
    np.testing.assert_array_equal(result.labels.array[:30], every.labels.array[:30])
    assert not result.labels.array[70:].any()
    far = result.importance.array[-1]
    assert not far.any()
    assert (result.stage.array[-1] == 1).all()
    assert np.isnan(result.scores.array[-1]).all()
    np.testing.assert_array_equal(result.importance.array[:2], every.importance.array[:2])


def test_tokens_of_the_report_are_those_of_the_maps(tiny_bundle: Bundle, image: Path) -> None:
    result = segment(image, tiny_bundle.path, keep_ratio=0.5, precision="fp32")
    importance, stage, scores = result.importance.array, result.stage.array, result.scores.array
    assert result.report["windows"]["count"] > 1
    assert scores.shape == (*stage.shape, 2)
    for volume in (result.survival, result.stage, result.scores):
        np.testing.assert_array_equal(volume.affine, result.importance.affine)
    tokens = result.report["tokens"]
    assert tokens["count"] == stage.size
    assert tokens["stages"] == [
        {"after_block": block, "in": int((stage >= s).sum()), "kept": int((stage > s).sum()),
         "pruned": int((stage == s).sum())}
        for s, block in ((1, 1), (2, 2))
    ]  # fmt: skip
    # Every window scores all of its tokens at the first stage, and the stage says whether most of them went on.
    assert not np.isnan(scores[..., 0]).any()
    assert not np.isnan(scores[stage > 1]).any()
    assert np.isnan(scores[..., 1]).any()

    labels = result.labels.array
    index = np.stack(np.meshgrid(*(np.arange(n) for n in labels.shape), indexing="ij"), axis=-1)
    to_token = np.linalg.inv(result.importance.affine) @ AFFINE
    # Some voxels' centres lie on the border of two tokens, which belongs to the second.
    token = np.floor(index @ to_token[:3, :3].T + to_token[:3, 3] + 0.5 + 1e-6).astype(int)
    assert len(tokens["labels"]) == 2
    for row in tokens["labels"]:
        at = tuple(token[labels == row["value"]].T)
        held = np.zeros(stage.shape, bool)
        held[at] = True
        assert row["tokens"] == held.sum()
        assert row["importance"] == pytest.approx(importance[at].mean(), abs=1e-4)
        assert row["kept"] == pytest.approx([(stage[held] > s).mean() for s in (1, 2)], abs=1e-4)


def test_scores_that_are_not_numbers_are_an_error_that_names_the_device(tiny_bundle: Bundle, image: Path) -> None:
    segmenter = Segmenter(tiny_bundle, device="cpu", precision="fp32")
    segmenter.network.encoder.blocks[1].mlp[2].bias.data.fill_(torch.nan)
    with pytest.raises(DeviceError, match="scores are not numbers on cpu"):
        segmenter.run(segmenter.prepare(image))


def test_cancelling_between_windows_raises(tiny_bundle: Bundle, image: Path) -> None:
    done = 0

    def progress(step: str, windows: int, total: int, left: float | None) -> None:
        nonlocal done
        done = windows if step == "windows" else 0

    with pytest.raises(Cancelled):
        segment(image, tiny_bundle.path, progress=progress, cancelled=lambda: done >= 2)
    assert done == 2


def test_bfloat16_and_float32_agree(tiny_bundle: Bundle, image: Path) -> None:
    exact = segment(image, tiny_bundle.path, keep_ratio=1.0, precision="fp32")
    fast = segment(image, tiny_bundle.path, keep_ratio=1.0, precision="bf16")
    assert fast.report["precision"] == "bf16"
    assert np.mean(exact.labels.array == fast.labels.array) > 0.95


@pytest.mark.gpu
def test_cuda_gives_the_labels_of_the_cpu(tiny_bundle: Bundle, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # TF32 rounds to 10 bits, which is no longer the CPU's float32.
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    expected = segment(image, tiny_bundle.path, device="cpu", precision="fp32").labels.array
    result = segment(image, tiny_bundle.path, device="cuda", precision="fp32")
    assert result.report["device"]["type"].startswith("cuda")
    assert np.mean(result.labels.array == expected) > 0.999


def test_wrong_number_of_images_keep_ratios_and_overlap_are_refused(tiny_bundle: Bundle, image: Path) -> None:
    with pytest.raises(InputError, match=r"takes 1 image \(T1\), but 2 given"):
        segment([image, image], tiny_bundle.path)
    with pytest.raises(InputError, match="prunes 2 times"):
        segment(image, tiny_bundle.path, keep_ratio=[0.5, 0.5, 0.5])
    with pytest.raises(InputError, match="overlap"):
        segment(image, tiny_bundle.path, overlap=0.95)


def test_results_are_never_written_over_an_input(tiny_bundle: Bundle, image: Path) -> None:
    before = image.read_bytes()
    result = segment(image, tiny_bundle.path)
    with pytest.raises(InputError, match="overwrite an input"):
        result.save(labels=image)
    assert image.read_bytes() == before


def test_outside_a_foreground_crop_there_is_background(tiny_bundle: Bundle, tmp_path: Path) -> None:
    voxels = np.zeros((60, 60, 60), dtype=np.float32)
    voxels[4:24, 4:24, 4:24] = blobs((20, 20, 20))
    nib.save(nib.Nifti1Image(voxels, np.diag([2.0, 2, 2, 1])), tmp_path / "corner.nii.gz")
    segmenter = Segmenter(replace(tiny_bundle, crop_foreground=True))
    prepared = segmenter.prepare(tmp_path / "corner.nii.gz")
    assert tuple(prepared.image.shape) == (1, 24, 24, 24)
    labels = segmenter.run(prepared).labels.array
    assert labels.any()
    assert not labels[30:].any()
