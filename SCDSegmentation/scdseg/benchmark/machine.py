"""What a measurement ran on."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from scdseg.bundle import Bundle
from scdseg.inference import Segmenter
from scdseg.inference.device import device_name, resolve_device, resolve_precision
from scdseg.inference.report import versions
from scdseg.threads import usable_cores


@dataclass(frozen=True)
class Machine:
    """A device and a number format, as they were asked for.

    Args:
        device: that computes.
        dtype: of matrix products.
    """

    device: torch.device
    dtype: torch.dtype

    @classmethod
    def choose(cls, device: str = "auto", precision: str = "auto") -> Machine:
        """The machine for words of the command line.

        Raises:
            DeviceError: the device or the precision is not available.
        """
        target = resolve_device(device)
        return cls(target, resolve_precision(precision, target))

    @property
    def precision(self) -> str:
        """``"bf16"`` or ``"fp32"``."""
        return "bf16" if self.dtype == torch.bfloat16 else "fp32"

    def segmenter(self, bundle: Bundle) -> Segmenter:
        """A model on it, with the threads that :meth:`to_json` tells of instead of as many as are free."""
        threads = min(torch.get_num_threads(), usable_cores())
        return Segmenter(bundle, str(self.device), self.precision, threads)

    def to_json(self) -> dict[str, Any]:
        """All that figures depend on."""
        return {
            "device": str(self.device),
            "name": device_name(self.device),
            "processor": processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "precision": self.precision,
            "versions": versions(),
        }

    def __str__(self) -> str:
        """The same for people, without a stop."""
        if self.device.type == "cpu":
            threads = torch.get_num_threads()
            name = f"{processor()}, {os.cpu_count()} cores, {threads} thread{'s' * (threads > 1)}"
        else:
            name = device_name(self.device)
        return f"{name}, PyTorch {torch.__version__.partition('+')[0]}, {self.precision}"


def processor() -> str:
    """The processor's product name, where the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        found = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text(encoding="utf-8"))
        if found:
            return found.group(1).strip()
    return platform.processor() or platform.machine()
