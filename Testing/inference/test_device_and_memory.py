"""Devices that are not there are named, and memory is asked for before it is taken."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import psutil
import pytest
import torch
from torch import Tensor

from scdseg import segment
from scdseg.bundle import Bundle, Intensity
from scdseg.errors import DeviceError, ResourceError
from scdseg.inference import memory
from scdseg.inference.device import available_devices, resolve_device, resolve_precision
from scdseg.inference.memory import machine_errors, plan_windows
from scdseg.inference.preprocess import to_network_grid
from scdseg.inference.windows import band_order, band_voxels, sliding_windows, window_starts

CUDA = torch.device("cuda:0")
BRAIN = {"grid": (184, 224, 184), "window": (96, 96, 96), "channels": 1, "classes": 33, "feature_size": 16}


def test_automatic_choice_is_the_first_device_that_is_there() -> None:
    assert str(resolve_device("auto")) == available_devices()[0]
    assert available_devices()[-1] == "cpu"


@pytest.mark.parametrize("name", ["cuda:99", "tpu", "cpu:3"])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(DeviceError, match=rf"device '{name}' is not available: this machine has .*cpu"):
        resolve_device(name)


def test_precision_is_a_choice_of_three() -> None:
    cpu = torch.device("cpu")
    assert resolve_precision("fp32", cpu) == torch.float32
    assert resolve_precision("bf16", cpu) == torch.bfloat16
    with pytest.raises(DeviceError, match="bf16"):
        resolve_precision("fp8", cpu)
    with pytest.raises(DeviceError, match="not available on mps"):
        resolve_precision("bf16", torch.device("mps"))
    assert resolve_precision("auto", torch.device("mps")) == torch.float32


def free(monkeypatch: pytest.MonkeyPatch, host: float, device: float = 0) -> None:
    """A machine with so many bytes of free memory."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=host))
    monkeypatch.setattr(memory, "free_device_memory", lambda _: device)


def test_a_gpu_stitches_where_it_can_and_leaves_it_to_the_cpu_where_it_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 32e9, 40e9)
    large = plan_windows(CUDA, **BRAIN, input_voxels=10**7)
    assert large.stitch_device == CUDA
    assert large.batch_size == 8
    assert large.device_bytes < 40e9
    free(monkeypatch, 32e9, 1.6e9)
    small = plan_windows(CUDA, **BRAIN, input_voxels=10**7)
    assert small.stitch_device == torch.device("cpu")
    assert small.batch_size == 1
    assert small.device_bytes < 1.6e9
    assert small.host_bytes > large.host_bytes


# A CT of 512×512×1000 voxels on the model's grid, with the labels of a whole body.
BODY = {"grid": (512, 512, 1000), "window": (96, 96, 96), "channels": 1, "classes": 118, "feature_size": 16}


def test_logits_of_a_long_volume_are_held_across_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 64e9)
    cpu = torch.device("cpu")
    long = plan_windows(cpu, **BODY, input_voxels=512 * 512 * 1000)
    assert (long.order, long.stitch_dtype) == ((2, 0, 1), torch.float32)
    # Logits, weights and a channel that is moved: 97 slices of 512×512.
    assert 12.2e9 < 4 * 120 * 97 * 512 * 512 < long.host_bytes < 16.5e9
    # The same, whichever axis is the long one.
    for grid in ((1000, 512, 512), (512, 1000, 512)):
        assert plan_windows(cpu, **{**BODY, "grid": grid}, input_voxels=512 * 512 * 1000).host_bytes == long.host_bytes


def test_logits_are_added_up_in_half_precision_where_single_precision_does_not_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cpu = torch.device("cpu")
    free(monkeypatch, 14e9)  # of 16 GB
    plan = plan_windows(cpu, **BODY, input_voxels=512 * 512 * 1000)
    assert plan.stitch_dtype == torch.float16
    assert 9e9 < plan.host_bytes < 0.9 * 14e9
    # The same CT at 0.98×0.98×1 mm, brought to 1.5 mm, with its voxels read and prepared.
    voxels, grid = 512 * 512 * 1000, (334, 334, 667)
    reserved = 4 * (voxels + math.prod(grid))
    assert memory.preparation_bytes(1, voxels, math.prod(grid)) < 0.9 * 14e9
    usual = plan_windows(cpu, **{**BODY, "grid": grid}, input_voxels=voxels, reserved=reserved)
    assert usual.stitch_dtype == torch.float32
    free(monkeypatch, 9e9)
    with pytest.raises(ResourceError, match="this volume needs about"):
        plan_windows(cpu, **BODY, input_voxels=512 * 512 * 1000)


def test_too_little_memory_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 32e9, 0.5e9)
    with pytest.raises(ResourceError, match=r"one window needs about .* GB on cuda:0, but 0\.[45] GB .* 'cpu'"):
        plan_windows(CUDA, **BRAIN, input_voxels=10**7)
    free(monkeypatch, 1e9)
    with pytest.raises(ResourceError, match=r"needs about .* GB of memory, but 0\.9 GB can be used"):
        plan_windows(torch.device("cpu"), **BRAIN, input_voxels=10**7)


def test_a_volume_that_does_not_fit_is_refused_by_its_header(
    monkeypatch: pytest.MonkeyPatch, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    path = tmp_path / "large.nii"
    nib.save(nib.Nifti1Image(np.zeros((8, 8, 8), np.uint8), np.eye(4)), path)
    # A terabyte of nothing: it must be judged before the voxels are asked for.
    header = nib.load(path).header
    header.set_data_shape((10000, 10000, 10000))
    path.write_bytes(header.binaryblock + bytes(4))
    os.truncate(path, 352 + 10**12)
    with pytest.raises(ResourceError, match=r"large\.nii at the model's spacing needs about"):
        segment(path, tiny_bundle.path)


def peak_of(work: Callable[[], object]) -> int:
    """Most bytes of tensors at a time that the work allocates."""
    with torch.profiler.profile(profile_memory=True) as profile, torch.inference_mode():
        work()
    held = peak = 0
    for event in sorted(profile.profiler.kineto_results.events(), key=lambda e: e.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


@pytest.mark.parametrize(("channels", "spacing"), [(1, 1.0), (1, 4.0), (4, 2.0)])
def test_the_estimate_covers_what_preparation_takes(tiny_bundle: Bundle, channels: int, spacing: float) -> None:
    bundle = replace(tiny_bundle, channels=("T1",) * channels, intensity=(Intensity("zscore", {"nonzero": True}),))
    voxels = np.random.default_rng(0).random((channels, 40, 40, 40)).astype(np.float32)
    affine = np.diag([-spacing, -spacing, spacing, 1.0])
    grid = to_network_grid(voxels, affine, bundle).shape[1:]
    # The caller holds all channels, and the last one as it was read.
    peak = voxels.nbytes + voxels[0].nbytes + peak_of(lambda: to_network_grid(voxels, affine, bundle))
    estimate = memory.preparation_bytes(channels, 40**3, math.prod(grid))
    assert estimate / 2 < peak < estimate


def test_the_estimate_covers_what_a_run_takes(tiny_bundle: Bundle) -> None:
    network = tiny_bundle.load_network()
    window = torch.zeros(1, 1, 16, 16, 16)
    peak = peak_of(lambda: network(window))
    estimate = memory.window_bytes((16, 16, 16), feature_size=4, channels=1, classes=3, device=torch.device("cpu"))
    assert estimate / 2 < peak < estimate


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_stitching_takes_its_sums_and_one_window_s_logits(dtype: torch.dtype) -> None:
    grid, window, classes = (24, 24, 48), (16, 16, 16), 40
    starts, order = window_starts(grid, window, 8, 0.5), band_order(grid, window)
    predicted = 4 * classes * math.prod(window)

    def stitch() -> None:
        def predict(windows: Tensor, at: object) -> Tensor:
            return windows.repeat(1, classes, 1, 1, 1)

        cpu = torch.device("cpu")
        for rows in sliding_windows(image, starts, starts, window, classes, 1, cpu, predict, order, dtype):
            del rows

    image = torch.rand(1, *grid)
    # As the plan has it: weights, and what a channel is divided by and in, stay in single precision.
    sums = (dtype.itemsize * (classes - 2) + 4 * 4) * band_voxels(grid, window, order[0])
    assert sums < peak_of(stitch) < sums + 1.2 * predicted


def test_running_out_of_memory_is_one_sentence() -> None:
    with pytest.raises(ResourceError, match="memory ran out"), machine_errors(torch.device("cpu")):
        torch.empty(2**62, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="size"), machine_errors(torch.device("cpu")):
        torch.zeros(2) + torch.zeros(3)


@pytest.mark.parametrize(
    ("device", "text"),
    [
        ("cuda", "CUDA error: unspecified launch failure"),
        ("cuda", "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        ("cuda", "GET was unable to find an engine: CUDNN_STATUS_NOT_SUPPORTED"),
        ("cuda", "cublas failed: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
        ("cuda", "cusolver error: CUSOLVER_STATUS_INTERNAL_ERROR"),
        ("cuda", "HIP error: invalid device function"),
        ("mps", "MPS backend failed to synchronize"),
    ],
)
def test_a_gpu_that_fails_is_one_sentence(device: str, text: str) -> None:
    message = f"device {device} failed while computing .*choose device 'cpu'"
    with pytest.raises(DeviceError, match=message), machine_errors(torch.device(device)):
        raise RuntimeError(text)
    with pytest.raises(RuntimeError, match="CUDA"), machine_errors(torch.device("cpu")):
        raise RuntimeError("a word about CUDA in an error of the CPU")


@pytest.mark.parametrize(
    "text",
    [
        "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!",
        "Input type (torch.cuda.FloatTensor) and weight type (torch.FloatTensor) should be the same",
        "Could not run 'aten::x' with arguments from the 'CUDA' backend",
        "attempts to name a device: mps:0",
    ],
)
def test_an_error_of_the_program_that_names_a_device_is_none_of_the_device(text: str) -> None:
    for device in ("cuda:0", "mps"):
        with pytest.raises(RuntimeError, match=re.escape(text)), machine_errors(torch.device(device)):
            raise RuntimeError(text)


@pytest.mark.parametrize("allowed", [False, True])
def test_another_device_gives_way_to_the_cpu_only_if_that_is_allowed(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: bool
) -> None:
    path = tmp_path / "image.nii.gz"
    nib.save(nib.Nifti1Image(np.random.default_rng(0).random((20, 20, 20), np.float32), np.diag([2, 2, 2, 1.0])), path)
    expected = segment(path, tiny_bundle.path, device="cpu", precision="fp32")
    put = torch.nn.Module.to

    def put_on(module: torch.nn.Module, device: torch.device) -> torch.nn.Module:
        if device.type == "cuda":
            raise RuntimeError("CUDA error: the launch timed out and was terminated")
        return put(module, device)

    # A GPU that is there by its name alone.
    monkeypatch.setattr(torch.nn.Module, "to", put_on)
    monkeypatch.setattr("scdseg.inference.device.available_devices", lambda: ["cuda:0", "cpu"])
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda **_: False)
    if not allowed:
        with pytest.raises(DeviceError, match="device cuda:0 failed"):
            segment(path, tiny_bundle.path, precision="fp32")
        return
    result = segment(path, tiny_bundle.path, precision="fp32", cpu_fallback=True)
    assert np.array_equal(result.labels.array, expected.labels.array)
    assert result.report["device"]["type"] == "cpu"
    assert "the CPU was used, as allowed, because cuda:0 failed" in result.report["warnings"][-1]
