"""What this machine can compute on, found out by computing."""

from __future__ import annotations

from typing import Any

import psutil
import torch
from torch.nn import functional

from scdseg.errors import DeviceError
from scdseg.inference.device import PRECISIONS, available_devices, device_name, resolve_precision
from scdseg.inference.memory import free_device_memory
from scdseg.inference.report import versions


def probe() -> dict[str, Any]:
    """Devices, fastest first, with the precisions that each computes in, and the versions of all libraries."""
    devices = [describe_device(name) for name in available_devices()]
    return {
        "devices": devices,
        "precision": {device["name"]: _precisions(device["name"]) for device in devices if device["works"]},
        "versions": versions(),
    }


def describe_device(name: str) -> dict[str, Any]:
    """What a device is called, its free and total memory in bytes, whether it works, and if not, why."""
    description: dict[str, Any] = {
        "name": name,
        "title": name,
        "free_bytes": None,
        "total_bytes": None,
        "works": True,
        "problem": None,
    }
    try:
        device = torch.device(name)
        description["title"] = device_name(device)
        description["free_bytes"], description["total_bytes"] = _memory(device)
        _compute(device)
    except Exception as error:  # drivers and libraries that do not fit each other fail in many ways
        text = next(iter(str(error).splitlines()), type(error).__name__)
        description |= {"works": False, "problem": f"{text}; update its driver and PyTorch, or use another device"}
    return description


def _memory(device: torch.device) -> tuple[int, int]:
    """Free and total bytes."""
    if device.type == "cuda":
        return free_device_memory(device), torch.cuda.get_device_properties(device).total_memory
    if device.type == "mps":
        return free_device_memory(device), torch.mps.recommended_max_memory()
    memory = psutil.virtual_memory()
    return memory.available, memory.total


def _compute(device: torch.device) -> None:
    """Run what the networks consist of, small, and compare it with the CPU.

    Raises:
        RuntimeError: from PyTorch, or because the result is wrong.
    """
    generator = torch.Generator().manual_seed(0)
    image, kernel = torch.rand(1, 2, 8, 8, 8, generator=generator), torch.rand(4, 2, 3, 3, 3, generator=generator)

    def work(image: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
        maps = functional.conv3d(image, kernel, padding=1).flatten(2)
        return (maps @ maps.transpose(1, 2)).cpu()

    # Reduced-precision formats such as TF32 keep about three digits.
    if not torch.allclose(work(image.to(device), kernel.to(device)), work(image, kernel), rtol=0.02):
        raise RuntimeError("it computes a small convolution wrongly")


def _precisions(name: str) -> list[str]:
    """The precisions that a run on this device may ask for."""
    allowed = []
    for precision in PRECISIONS:
        try:
            resolve_precision(precision, torch.device(name))
        except DeviceError:
            continue
        allowed.append(precision)
    return allowed
