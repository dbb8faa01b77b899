"""Influence of tokens on labels: true to first order, of the label asked for, and nothing else is changed by asking."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import Tensor

from brightness_model import AFFINE, BRIGHT, SHAPE, TOKEN, cube_in_token, write_brightness_model
from scdseg.bundle import Bundle
from scdseg.errors import Cancelled, DeviceError, InputError, ResourceError
from scdseg.inference import Prepared, Segmenter, influence, memory
from scdseg.inference.influence import (
    _margin_gradient,
    _shares,
    backward_bytes,
    normalised,
    raw_influence,
    token_influence,
    with_influence,
)
from scdseg.inference.windows import window_starts


@pytest.fixture(scope="module")
def segmenter(tiny_bundle: Bundle) -> Segmenter:
    return Segmenter(tiny_bundle, device="cpu", precision="fp32", threads=1)


def prepared_noise(segmenter: Segmenter, folder: Path, shape: tuple[int, int, int]) -> Prepared:
    path = folder / "image.nii.gz"
    voxels = np.random.default_rng(0).normal(100, 20, shape) + np.indices(shape)[0] * 3
    nib.save(nib.Nifti1Image(voxels.astype(np.float32), np.diag([2.0, 2.0, 2.0, 1.0])), path)
    return segmenter.prepare(path)


def test_margins_change_by_the_gradient_times_the_change_of_a_token(segmenter: Segmenter, tmp_path: Path) -> None:
    prepared = prepared_noise(segmenter, tmp_path, (16, 16, 16))
    gradients: list[Tensor] = []

    def keep(gradient: Tensor, tokens: Tensor) -> Tensor:
        gradients.append(gradient)
        return gradient.norm(dim=-1)

    found = raw_influence(segmenter, prepared, [1, 2], measure=keep)
    assert found.shape == (2, 2, 2)
    step, network = 1e-3, segmenter.network
    (gradient,) = gradients
    label = []

    def margins(moved: int | None) -> float:
        """Of the voxels that had a label of these before."""

        def move(module: object, images: object, tokens: Tensor) -> Tensor:
            tokens = tokens.clone()
            if moved is not None:
                tokens[0, 1 + moved] += step * gradient[moved] / gradient[moved].norm()
            return tokens

        hook = network.encoder.embedding.register_forward_hook(move)
        logits = network(prepared.image.as_tensor()[None]).detach()[0].double()
        hook.remove()
        label.append(logits.topk(2, dim=0).indices)
        winner, second = (logits.gather(0, row[None])[0] for row in label[0])
        return float((winner - second)[label[0][0] > 0].sum())

    before = margins(None)
    measured = [(margins(token) - before) / step for token in range(8)]
    np.testing.assert_allclose(measured, found.flatten(), rtol=0.05)


def test_windows_share_every_voxel_and_no_more() -> None:
    starts = window_starts((32, 24, 24), (16, 16, 16), 8, 0.5)
    blend = torch.rand(16, 16, 16) + 0.1
    total = torch.zeros(32, 24, 24)
    for x, y, z in starts:
        total[x : x + 16, y : y + 16, z : z + 16] += _shares((x, y, z), starts, blend)
    assert len(starts) > 4
    torch.testing.assert_close(total, torch.ones_like(total))


def test_labels_that_overlap_have_margins_above_zero_by_themselves() -> None:
    logits = torch.tensor([1.0, -1.0, 2.0]).reshape(1, 3, 1, 1, 1)
    weight = torch.full((1, 1, 1), 0.5)
    assert _margin_gradient(logits, [0, 1, 2], "sigmoid", weight).flatten().tolist() == [0.5, 0, 0.5]
    assert _margin_gradient(logits, [2], "sigmoid", weight).flatten().tolist() == [0, 0, 0.5]
    assert _margin_gradient(logits, [1, 2], "softmax", weight).flatten().tolist() == [-0.5, 0, 0.5]
    assert not _margin_gradient(logits, [1], "softmax", weight).any()


def test_a_label_that_one_token_alone_makes_is_moved_by_what_lies_there(tmp_path: Path) -> None:
    bundle = write_brightness_model(tmp_path / "brightness")
    nib.save(nib.Nifti1Image(cube_in_token(SHAPE, AFFINE, bundle, TOKEN), AFFINE), tmp_path / "cube.nii")
    segmenter = Segmenter(bundle, device="cpu", precision="fp32", threads=1)
    prepared = segmenter.prepare(tmp_path / "cube.nii")
    result = segmenter.run(prepared)
    by_name = token_influence(segmenter, prepared, "bright")
    by_value = token_influence(segmenter, prepared, BRIGHT)
    np.testing.assert_array_equal(by_name.array, by_value.array)
    np.testing.assert_array_equal(by_name.affine, result.importance.affine)
    assert by_name.array.shape == result.importance.array.shape
    assert (by_name.array.dtype, by_name.array.max()) == (np.float32, 1)
    # The head's logits are interpolated between a token and its neighbours.
    moved = np.argwhere(by_name.array > 0)
    assert np.abs(moved - TOKEN).max() == 1
    assert np.unravel_index(by_name.array.argmax(), by_name.array.shape) == TOKEN
    every = token_influence(segmenter, prepared).array
    assert (every > 0).sum() > len(moved)
    after = segmenter.run(prepared)
    np.testing.assert_array_equal(result.labels.array, after.labels.array)


def test_half_precision_tells_nearly_the_same(tiny_bundle: Bundle, segmenter: Segmenter, tmp_path: Path) -> None:
    prepared = prepared_noise(segmenter, tmp_path, (30, 26, 28))
    half = Segmenter(tiny_bundle, device="cpu", precision="bf16", threads=1)
    maps = [token_influence(each, prepared).array for each in (segmenter, half)]
    assert np.corrcoef(*(each.flatten() for each in maps))[0, 1] > 0.95


def test_one_that_stands_out_does_not_leave_the_others_dark() -> None:
    raw = np.arange(1000.0).reshape(10, 10, 10)
    raw[0, 0, 1] = 1e9
    found = normalised(raw)
    assert found.max() == 1
    assert found[5, 0, 0] == pytest.approx(0.5, abs=0.01)
    assert not normalised(np.zeros((2, 2, 2))).any()


def test_cancelling_between_windows_leaves_the_network_as_it_was(segmenter: Segmenter, tmp_path: Path) -> None:
    prepared = prepared_noise(segmenter, tmp_path, (30, 26, 28))
    told: list[tuple[str, int]] = []

    def progress(step: str, done: int, total: int, left: float | None) -> None:
        told.append((step, done))

    with pytest.raises(Cancelled):
        token_influence(segmenter, prepared, progress=progress, cancelled=lambda: len(told) == 3)
    assert told == [("influence", 0), ("influence", 1), ("influence", 2)]
    assert not segmenter.network.encoder.embedding._forward_hooks


def test_the_report_tells_of_the_backward_pass_too(
    segmenter: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepared_noise(segmenter, tmp_path, (16, 16, 16))
    before = segmenter.run(prepared)
    before.report["threads"] = {"least": 2, "most": 3, "automatic": False}
    monkeypatch.setattr(influence, "peak_memory", lambda _: {"process": 5})
    report = with_influence(segmenter, prepared, before, None).report
    assert report["peak_memory_bytes"] == {"process": 5}
    assert report["threads"] == {"least": 1, "most": 3, "automatic": False}


def test_influence_that_a_result_has_not_is_refused_before_anything_is_written(
    segmenter: Segmenter, tmp_path: Path
) -> None:
    result = segmenter.run(prepared_noise(segmenter, tmp_path, (16, 16, 16)))
    with pytest.raises(InputError, match=r"influence\.nrrd: this result has no influence"):
        result.save(labels=tmp_path / "labels.nrrd", influence=tmp_path / "influence.nrrd")
    assert [path.name for path in tmp_path.iterdir()] == ["image.nii.gz"]


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_tokens_count_in_the_estimate_and_too_little_memory_is_said(
    device: str, segmenter: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = torch.device(device)
    narrow, wide = (backward_bytes({**segmenter.bundle.network, "hidden_size": n}, target) for n in (48, 96))
    layers = segmenter.bundle.network["num_layers"]
    assert wide - narrow == 4 * 14 * 8 * 48 * layers
    prepared = prepared_noise(segmenter, tmp_path, (16, 16, 16))
    monkeypatch.setattr(memory, f"free_{'host' if device == 'cpu' else 'device'}_memory", lambda *_: 1000)
    monkeypatch.setattr(segmenter, "device", target)
    with pytest.raises(ResourceError, match=f"influence needs about .* {'memory' if device == 'cpu' else device}, but"):
        token_influence(segmenter, prepared)


def test_what_cannot_be_asked_is_said(tiny_bundle: Bundle, segmenter: Segmenter, tmp_path: Path) -> None:
    prepared = prepared_noise(segmenter, tmp_path, (16, 16, 16))
    for label in ("nose", 3, ""):
        with pytest.raises(InputError, match=rf"model tiny has no label {label!r}"):
            token_influence(segmenter, prepared, label)
    with pytest.raises(InputError, match="keep ratio"):
        token_influence(segmenter, prepared, keep_ratio=2)
    broken = Segmenter(tiny_bundle, device="cpu", precision="fp32", threads=1)
    broken.network.encoder.blocks[1].mlp[2].bias.data.fill_(torch.nan)
    with pytest.raises(DeviceError, match="not numbers on cpu"):
        token_influence(broken, prepared)
