"""Files that ship with the engine: models, the sample volume, and the Slicer module with its embedded host."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def module_dir() -> Path:
    """Folder of the Slicer module, with ``SCDSegmentation.py`` and ``Resources/``.

    A wheel carries it inside the package (``shipped``); in a checkout and in the Slicer extension it holds the package.
    """
    shipped = _PACKAGE / "shipped"
    return shipped if shipped.is_dir() else _PACKAGE.parent


def resource_dir() -> Path:
    """Folder with ``Models/`` and ``SampleData/``."""
    return module_dir() / "Resources"


def sample_volume() -> Path:
    """Path of the sample volume: Colin27, a T1-weighted MRI of one person's head (181×217×181 voxels of 1 mm)."""
    return resource_dir() / "SampleData" / "colin27_t1.nii.gz"


def slicer_module() -> Path:
    """Path of the Slicer module's file."""
    return module_dir() / "SCDSegmentation.py"


def embedded_host() -> Path:
    """Folder of the package ``embedded_slicer``, which runs the module without Slicer.

    Not part of the Slicer extension, which has no need of it.
    """
    shipped = _PACKAGE / "shipped" / "embedded_slicer"
    return shipped if shipped.is_dir() else _PACKAGE.parents[1] / "Testing" / "embedded_slicer"
