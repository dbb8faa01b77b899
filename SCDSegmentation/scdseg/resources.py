"""Files that ship with the engine: models and the sample volume."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def resource_dir() -> Path:
    """Folder with ``Models/`` and ``SampleData/``.

    A wheel carries them inside the package (``shipped``); in a checkout and in the Slicer extension they lie beside it
    (``Resources``).
    """
    shipped = _PACKAGE / "shipped"
    return shipped if shipped.is_dir() else _PACKAGE.parent / "Resources"


def sample_volume() -> Path:
    """Path of the sample volume: Colin27, a T1-weighted MRI of one person's head (181×217×181 voxels of 1 mm)."""
    return resource_dir() / "SampleData" / "colin27_t1.nii.gz"
