"""What developers need to know of a computer to find an error on it, without anything about its user or a patient.

Shared by ``scdseg diagnose`` and the panel in Slicer, so nothing here imports more than the standard library.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from scdseg import __version__
from scdseg.redaction import redact

LEFT_OUT = (
    "Left out: names of volumes, nodes, files, computer and user; names of folders, but for those of models; paths; "
    "text of image headers; images. The names of models, which are their folders', are in this text. "
    "Where one stood in a message, <name>, <path>, <text> or <number> stands now."
)
MAX_BYTES = 100_000
_MAX_SECTION_BYTES = 20_000
_MAX_STEPS_BYTES = 40_000  # the only section that grows as long as the application runs
_MAX_LINE = 1000
_PACKAGES = (
    "torch", "torchvision", "monai", "numpy", "scipy", "SimpleITK", "nibabel", "safetensors", "jsonschema",
    "platformdirs", "psutil", "rich", "lightning", "ray", "vtk", "slicer-core", "PySide6-Essentials",
)  # fmt: skip


def compose(sections: Mapping[str, Sequence[str]], steps: Sequence[str] | None = None) -> str:
    """The text, shorter than ``MAX_BYTES``.

    Args:
        sections: lines by title.
        steps: what happened, in order, for a section of their own; of too many the last are kept.
    """
    parts = [_section(title, _first(lines, _MAX_SECTION_BYTES)) for title, lines in sections.items()]
    if steps is not None:
        parts.append(_section("Steps", _last(steps, _MAX_STEPS_BYTES)))
    text = "\n".join(["Diagnostic information of SCDSegmentation, for its developers", "", *parts])
    end = f"\n{LEFT_OUT}\n"
    # Only a hundred models with the longest of names could come near this.
    room = MAX_BYTES - len(end.encode()) - 1
    return text.encode()[:room].decode(errors="ignore") + end


def software(application: Sequence[str] = ()) -> list[str]:
    """Versions: of this program, the application around it, Python and the system."""
    return [
        f"SCDSegmentation {__version__}",
        *application,
        f"Python {platform.python_version()} ({platform.python_implementation()})",
        f"{platform.system()} {platform.release()} on {platform.machine()}",
    ]


def packages() -> list[str]:
    """Installed versions of all packages that matter, found out without importing them."""
    return [f"{name} {_version(name)}" for name in _PACKAGES]


def hardware(temporary_folder: Path) -> list[str]:
    """Processors, memory, and room for temporary files."""
    lines = [f"processors: {os.cpu_count()}"]
    try:
        import psutil

        memory = psutil.virtual_memory()
        lines.append(f"memory: {_gigabytes(memory.available)} free of {_gigabytes(memory.total)}")
    except ImportError:
        lines.append("memory: not known (psutil is not installed)")
    try:
        disk = shutil.disk_usage(temporary_folder)
        lines.append(f"disk of the temporary folder: {_gigabytes(disk.free)} free of {_gigabytes(disk.total)}")
    except OSError:
        lines.append("disk of the temporary folder: not known (the folder cannot be used)")
    return lines


def environment() -> list[str]:
    """The environment variables that matter; of folders only their number."""
    folders = [folder for folder in os.environ.get("SCDSEG_MODELS", "").split(os.pathsep) if folder]
    lines = [f"SCDSEG_MODELS: {f'set, {len(folders)} in all' if folders else 'not set'}"]
    for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        value = os.environ.get(name)
        # Numbers, and identifiers of GPUs; anything else is of no use and may be anything.
        known = value is not None and re.fullmatch(r"[\d,\s-]*|(?:GPU|MIG)-[\w,-]*", value, re.ASCII)
        lines.append(f"{name}: {'not set' if value is None else value if known else 'set to something unusual'}")
    return lines


def devices(probed: Mapping[str, Any] | None) -> list[str]:
    """What a probe of the devices found; None: there was none."""
    if probed is None:
        return ["not looked for yet"]
    lines = []
    for device in probed.get("devices", []):
        line = f"{plain_name(device.get('name'))}: {plain_name(device.get('title'))}"
        if device.get("free_bytes") is not None and device.get("total_bytes") is not None:
            line += f", {_gigabytes(device['free_bytes'])} free of {_gigabytes(device['total_bytes'])}"
        precisions = probed.get("precision", {}).get(device.get("name"), [])
        works = f", works, precisions {plain_name(', '.join(precisions))}" if device.get("works") else ", does not work"
        lines.append(line + works)
        if device.get("problem"):
            lines.append(f"    {redact(str(device['problem']))}")
    versions = ", ".join(plain_name(f"{name} {number}") for name, number in probed.get("versions", {}).items())
    return [*lines, f"in the process that computes: {versions}"] if versions else lines


def model(name: str, model_version: str, sha256: str) -> str:
    """A model in one line: what it is called, and which weights it has."""
    return f"{plain_name(name)} {plain_name(model_version)}, weights {plain_name(sha256)[:12]}"


def plain_name(name: Any) -> str:
    """A name from outside as one short piece of plain text."""
    return re.sub(r"[^\w .,:()+@-]", "?", str(name)).strip()[:80]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _section(title: str, lines: Sequence[str]) -> str:
    return "\n".join([title, *(f"  {line}" for line in lines or ["none"]), ""])


def _first(lines: Sequence[str], room: int) -> list[str]:
    """The first lines that fit into some bytes."""
    kept = _last(list(reversed(lines)), room, "further")
    return kept[::-1]


def _last(lines: Sequence[str], room: int, which: str = "earlier") -> list[str]:
    """The last lines that fit into some bytes."""
    kept: list[str] = []
    for line in reversed(lines):
        room -= len(line[:_MAX_LINE].encode()) + 3
        if room < 0:
            return [f"… {len(lines) - len(kept)} {which} lines are left out", *reversed(kept)]
        kept.append(line[:_MAX_LINE])
    return kept[::-1]


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB"
