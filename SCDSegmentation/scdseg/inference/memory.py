"""How much memory a segmentation will take, asked before it is taken."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import psutil
import torch

from scdseg.allocator import give_back_freed_memory
from scdseg.errors import DeviceError, ResourceError
from scdseg.inference.restore import CHUNK_BYTES
from scdseg.inference.windows import Order, band_order, band_voxels

_FLOAT = 4
_MAX_BATCH = 8
_MAX_SPARE = 4 * 2**30
# Leave some of what is free to allocators, libraries and the rest of the machine.
_USABLE = 0.9


@dataclass(frozen=True)
class MemoryPlan:
    """How windows are run so that they fit.

    Args:
        batch_size: windows at once.
        stitch_device: where logits are added up: the compute device, or the CPU where that is too small.
        host_bytes: peak expected in main memory.
        device_bytes: peak expected on the compute device; 0 if that is the CPU.
        order: of the axes in the bands in which logits are added up.
        stitch_dtype: of the sums: float32, or float16 where that does not fit.
    """

    batch_size: int
    stitch_device: torch.device
    host_bytes: int
    device_bytes: int
    order: Order
    stitch_dtype: torch.dtype = torch.float32


def window_bytes(window: Sequence[int], feature_size: int, channels: int, classes: int, device: torch.device) -> int:
    """Upper estimate of the activations of one window, bytes.

    The decoder's maps at full resolution dominate. The peaks measured on the CPU in float32, with feature sizes 4 to
    32, 2 to 40 classes and windows of 16 to 96 voxels, lay below this; bfloat16 took less.
    """
    maps = 10 * feature_size + 5 * classes + 2 * channels + 30
    if device.type == "cpu" and not _convolves_directly(window, feature_size):
        maps += 27 * 2 * feature_size
    return _FLOAT * math.prod(window) * maps


def _convolves_directly(window: Sequence[int], feature_size: int) -> bool:
    """False if PyTorch copies every voxel's 27 neighbours to convolve on the CPU: without oneDNN, and for small maps.

    The limit is ``use_mkldnn`` of PyTorch's ``aten/src/ATen/native/Convolution.cpp``.
    """
    return torch.backends.mkldnn.is_available() and feature_size * window[0] * window[1] > 20480


def preparation_bytes(channels: int, input_voxels: int, grid_voxels: int) -> int:
    """Upper estimate of reading, resampling and normalising, bytes.

    The input is there twice, with one channel as it was read; the grid as three images and, for resampling, the place
    of every voxel. The peaks measured with 1 and 4 channels and grids of an eighth to eight times the input's voxels
    lay 2 to 30 % below this.
    """
    return _FLOAT * ((2 * channels + 1) * input_voxels + (3 * channels + 7) * grid_voxels)


def plan_windows(
    device: torch.device,
    grid: Sequence[int],
    window: Sequence[int],
    channels: int,
    classes: int,
    feature_size: int,
    input_voxels: int,
    reserved: int = 0,
) -> MemoryPlan:
    """Decide how many windows run at once, and where and in what precision their logits are added up.

    Args:
        device: that computes.
        grid: (3,) voxels of the network's image.
        window: (3,) voxels.
        channels: of the image.
        classes: channels of the logits.
        feature_size: decoder width at full resolution.
        input_voxels: of the label map to be made.
        reserved: bytes of main memory that will be taken before windows run.

    Raises:
        ResourceError: not even one window at a time fits.
    """
    one = window_bytes(window, feature_size, channels, classes, device)
    # One window's depth of rows plus the row that bands share: of each class, the weights, and a channel being moved.
    order = band_order(grid, window)
    held = band_voxels(grid, window, order[0])
    stitch = _FLOAT * (classes + 2) * held
    # Rows of the grid are interpolated between two by two at least, however wide they are.
    restore = 4 * CHUNK_BYTES + 4 * _FLOAT * classes * grid[order[1]] * grid[order[2]]
    host = reserved + input_voxels
    free_host = int(_USABLE * free_host_memory())
    if device.type == "cpu":
        plan = MemoryPlan(1, device, host + one + stitch + restore, 0, order)
    else:
        free = int(_USABLE * free_device_memory(device))
        require_memory(one, "one window", device)
        # MPS has no double precision for the places of voxels, and a too small GPU needs its memory for the windows.
        stitch_here = device.type == "cuda" and one + stitch + restore <= free
        taken = stitch + restore if stitch_here else 0
        batch = max(1, min(_MAX_BATCH, (free - taken) // one)) if device.type == "cuda" else 1
        cpu = torch.device("cpu")
        plan = MemoryPlan(
            batch, device if stitch_here else cpu, host + (0 if stitch_here else stitch + restore), batch * one + taken,
            order,
        )  # fmt: skip
    if plan.host_bytes > free_host and plan.stitch_device.type == "cpu":
        # A few voxels of a million on borders get another label; that is better than no labels.
        # Weights and what a channel is divided by and in stay in single precision.
        saved = (_FLOAT - torch.float16.itemsize) * (classes - 2) * held
        plan = replace(plan, host_bytes=plan.host_bytes - saved, stitch_dtype=torch.float16)
    if plan.host_bytes > free_host:
        raise ResourceError(
            f"this volume needs about {gigabytes(plan.host_bytes)} of memory, but {gigabytes(free_host)} can be used: "
            "close other programs, crop the volume, or use a machine with more memory"
        )
    return plan


def spare_bytes(device: torch.device, plan: MemoryPlan) -> int:
    """Bytes on the compute device that may be kept beside a run as planned, and beside others that follow."""
    if device.type == "cpu":
        free = int(_USABLE * free_host_memory()) - plan.host_bytes
    else:
        free = int(_USABLE * free_device_memory(device)) - plan.device_bytes
    return max(0, min(_MAX_SPARE, free // 2))


def require_memory(needed: int, purpose: str, device: torch.device | None = None) -> None:
    """Check that a device, or main memory, holds ``needed`` bytes.

    Raises:
        ResourceError: it does not.
    """
    if device is not None and device.type != "cpu":
        free = int(_USABLE * free_device_memory(device))
        if needed > free:
            raise ResourceError(
                f"{purpose} needs about {gigabytes(needed)} on {device}, but {gigabytes(free)} can be used there: "
                "end other programs that use it, or choose device 'cpu'"
            )
        return
    free = int(_USABLE * free_host_memory())
    if needed > free:
        raise ResourceError(
            f"{purpose} needs about {gigabytes(needed)} of memory, but {gigabytes(free)} can be used: "
            "close other programs, crop the volume, or use a machine with more memory"
        )


def free_host_memory() -> int:
    """Bytes of main memory that can still be taken, those among them that this process keeps though they are free."""
    give_back_freed_memory()
    return int(psutil.virtual_memory().available)


def free_device_memory(device: torch.device) -> int:
    """Bytes that can still be taken on a CUDA or MPS device."""
    if device.type == "cuda":
        # What PyTorch holds in its cache without using it is free for our purpose, too.
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()


def peak_memory(device: torch.device) -> dict[str, int]:
    """Highest memory use so far, bytes: of this process in main memory, and of PyTorch on a CUDA device."""
    if sys.platform == "win32":
        peak = psutil.Process().memory_info().peak_wset
    else:
        import resource

        # Kilobytes, but bytes on macOS.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    memory = {"process": peak}
    if device.type == "cuda":
        memory["device"] = torch.cuda.max_memory_allocated(device)
    return memory


@contextmanager
def machine_errors(device: torch.device) -> Iterator[None]:
    """Turn running out of memory, which an estimate cannot exclude, and a device that fails into one sentence.

    Raises:
        ResourceError: instead of PyTorch's and numpy's errors of memory.
        DeviceError: instead of PyTorch's errors of a GPU and its libraries.
    """
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise ResourceError(_OUT_OF_MEMORY.format(device=device)) from error
    except RuntimeError as error:
        # PyTorch's CPU allocator has no error class of its own.
        if "DefaultCPUAllocator" in str(error) or "out of memory" in str(error):
            raise ResourceError(_OUT_OF_MEMORY.format(device=device)) from error
        if isinstance(error, torch.AcceleratorError) or (device.type != "cpu" and _OF_A_GPU.search(str(error))):
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise DeviceError(
                f"device {device} failed while computing ({reason}): choose device 'cpu', or start again after the "
                "driver was restarted"
            ) from error
        raise


# What PyTorch says of drivers and their libraries in errors that have no class of their own. A device's name alone
# is in errors of the program, too, such as tensors on two devices.
_OF_A_GPU = re.compile("CUDA error|cuDNN error|CUBLAS_STATUS|CUDNN_STATUS|CUSOLVER_STATUS|MPS backend|HIP error")
_OUT_OF_MEMORY = (
    "memory ran out while computing on {device}: close other programs, crop the volume, or choose another device"
)


def gigabytes(count: int) -> str:
    """Bytes as text in GB."""
    return f"{count / 1e9:.1f} GB"
