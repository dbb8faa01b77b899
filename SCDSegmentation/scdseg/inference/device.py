"""The compute device and the number format that work runs in."""

from __future__ import annotations

import platform

import torch

from scdseg.errors import DeviceError

DEVICES = ("auto", "cuda", "mps", "cpu")
PRECISIONS = ("auto", "bf16", "fp32")


def available_devices() -> list[str]:
    """Names of the devices that this machine has, fastest first."""
    devices = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        devices.append("mps")
    return [*devices, "cpu"]


def resolve_device(name: str = "auto") -> torch.device:
    """The device of a request.

    Args:
        name: ``"auto"`` takes CUDA before MPS before the CPU; else ``"cuda"``, ``"cuda:1"``, ``"mps"`` or ``"cpu"``.

    Raises:
        DeviceError: this machine does not have it, or the name means nothing.
    """
    available = available_devices()
    if name == "auto":
        return torch.device(available[0])
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in available:
        raise DeviceError(f"device {name!r} is not available: this machine has {', '.join(available)}; or use 'auto'")
    return torch.device(wanted)


def resolve_precision(name: str, device: torch.device) -> torch.dtype:
    """Number format of the network's matrix products: bfloat16 where the hardware computes in it, else float32.

    Raises:
        DeviceError: bfloat16 is asked for on a device that cannot autocast to it, or the name means nothing.
    """
    if name not in PRECISIONS:
        raise DeviceError(f"precision {name!r} is unknown: use {', '.join(PRECISIONS)}")
    if name == "fp32":
        return torch.float32
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        # Matrix units, or dot products of a vector: twice as fast as float32 and more on the processors that have them.
        fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    else:
        fast = False
    if name == "bf16" and device.type == "mps":
        raise DeviceError("precision 'bf16' is not available on mps: use 'auto' or 'fp32'")
    return torch.bfloat16 if fast or name == "bf16" else torch.float32


def device_name(device: torch.device) -> str:
    """What a person calls the device: the GPU's product name, or the processor's architecture."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return f"Apple GPU ({platform.machine()})"
    threads = torch.get_num_threads()
    return f"{platform.processor() or platform.machine()} CPU, {threads} thread{'s' * (threads > 1)}"
