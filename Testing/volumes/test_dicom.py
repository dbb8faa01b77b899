"""A DICOM series is one volume, placed by its slices' positions; anything else in a folder is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from dicom_series import STEP, VOXELS, write_series
from scdseg.errors import InputError
from scdseg.volumes import read_header, read_volume


def test_slices_are_sorted_by_position(tmp_path: Path) -> None:
    write_series(tmp_path, [np.array([10.0, 20, 30]) + i * STEP for i in range(5)])
    (tmp_path / "notes.txt").write_text("not DICOM")
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, VOXELS)
    expected = np.array([[-0.8, 0, 0, -10], [0, -0.9, 0, -20], [0, 0, 2.5, 30], [0, 0, 0, 1]])
    np.testing.assert_allclose(volume.affine, expected)
    assert volume.warnings == ()


def test_a_tilted_gantry_is_kept_as_shear(tmp_path: Path) -> None:
    tilt = np.array([0.0, 0.5, 2.5])
    write_series(tmp_path, [i * tilt for i in range(5)])
    header = read_header(tmp_path)
    np.testing.assert_allclose(header.affine[:3, 2], [0, -0.5, 2.5])
    assert any("right angles" in warning for warning in header.warnings)


def test_mixed_series_are_refused(tmp_path: Path) -> None:
    write_series(tmp_path, [i * STEP for i in range(5)])
    write_series(tmp_path, [i * STEP for i in range(5)], uid="1.2.826.0.1.3680043.2.1125.2", prefix="other")
    with pytest.raises(InputError, match="holds 2 DICOM series"):
        read_header(tmp_path)


def test_a_missing_slice_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path, [i * STEP for i in (0, 1, 2, 4)])
    with pytest.raises(InputError, match="lacks slices: two neighbours are 5 mm apart"):
        read_header(tmp_path)


def test_a_series_over_time_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path, [(i // 2) * STEP for i in range(6)])
    with pytest.raises(InputError, match="several slices at one position"):
        read_header(tmp_path)


def test_slightly_uneven_slices_are_a_warning(tmp_path: Path) -> None:
    write_series(tmp_path, [np.array([0, 0, z]) for z in (0.0, 2.5, 5.0, 7.8, 10.2)])
    assert "evenly spaced" in read_header(tmp_path).warnings[0]


def test_a_folder_without_dicom_is_refused(tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(b"\x89PNG")
    with pytest.raises(InputError, match="holds no DICOM series"):
        read_header(tmp_path)


def write_frames(path: Path, uid: str = "1.2.826.0.1.3680043.2.1125.9") -> np.ndarray:
    """A file of five frames; returns its voxels (x, y, z)."""
    voxels = (VOXELS // 4).astype(np.uint8)
    image = sitk.GetImageFromArray(voxels.T.copy())
    image.SetSpacing((0.8, 0.9, 2.5))
    image.SetOrigin((10, 20, 30))
    for tag, value in {"0008|0060": "OT", "0020|000d": f"{uid}.0", "0020|000e": uid}.items():
        image.SetMetaData(tag, value)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetFileName(str(path))
    writer.Execute(image)
    return voxels


def test_a_file_of_many_frames_is_a_volume(tmp_path: Path) -> None:
    voxels = write_frames(tmp_path / "frames.dcm")
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, voxels)
    expected = np.array([[-0.8, 0, 0, -10], [0, -0.9, 0, -20], [0, 0, 2.5, 30], [0, 0, 0, 1]])
    np.testing.assert_allclose(volume.affine, expected)


def test_several_files_of_many_frames_are_refused(tmp_path: Path) -> None:
    write_frames(tmp_path / "a.dcm")
    write_frames(tmp_path / "b.dcm")
    with pytest.raises(InputError, match="several files with many frames each"):
        read_header(tmp_path)
