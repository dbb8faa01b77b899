"""A file's geometry survives reading and writing, whatever its format and its axes."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from scdseg.errors import InputError
from scdseg.volumes import Volume, read_header, read_volume, require_same_grid, write_volume

VOXELS = np.random.default_rng(0).integers(0, 200, (7, 8, 9)).astype(np.int16)
ROTATION = nib.eulerangles.euler2mat(0.3, -0.2, 0.5)
AFFINES = {
    "RAS": np.diag([1.0, 1.5, 2.0, 1.0]),
    "LPS": np.array([[-1.1, 0, 0, 30], [0, -0.9, 0, 40], [0, 0, 2, -50], [0, 0, 0, 1.0]]),
    "permuted": np.array([[0, 0, 1.2, -5], [-0.8, 0, 0, 7], [0, 2.5, 0, 3], [0, 0, 0, 1.0]]),
    "oblique": np.block([[ROTATION * [0.7, 1.3, 3.0], np.array([[11.0], [-22.0], [33.0]])], [np.eye(4)[3:]]]),
}
SHEARED = np.array([[1, 0, 0.3, 0], [0, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1.0]])


@pytest.mark.parametrize("name", AFFINES)
@pytest.mark.parametrize("extension", [".nii.gz", ".nii"])
def test_a_label_map_has_the_same_shape_and_bit_for_bit_the_same_affine(
    tmp_path: Path, name: str, extension: str
) -> None:
    source = tmp_path / f"in{extension}"
    nib.save(nib.Nifti1Image(VOXELS, AFFINES[name]), source)
    volume = read_volume(source)
    np.testing.assert_array_equal(volume.array, VOXELS)
    labels = (volume.array > 100).astype(np.uint8)
    write_volume(Volume(labels, volume.affine, volume.stored), tmp_path / f"out{extension}")
    written, original = nib.load(tmp_path / f"out{extension}"), nib.load(source)
    assert written.shape == original.shape
    assert written.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(written.affine, original.affine)
    for field in ("sform_code", "qform_code", "srow_x", "quatern_b", "pixdim"):
        np.testing.assert_array_equal(written.header[field], original.header[field])
    np.testing.assert_array_equal(np.asarray(written.dataobj), labels)


def test_descriptions_of_the_input_are_not_taken_over(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VOXELS, AFFINES["RAS"])
    image.header["descrip"] = b"Jane Doe"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Jane Doe"))
    nib.save(image, tmp_path / "in.nii")
    volume = read_volume(tmp_path / "in.nii")
    write_volume(volume, tmp_path / "out.nii")
    assert b"Jane" not in (tmp_path / "out.nii").read_bytes()


@pytest.mark.parametrize("name", AFFINES)
@pytest.mark.parametrize("extension", [".nrrd", ".mha"])
def test_an_itk_file_keeps_spacing_origin_and_direction(tmp_path: Path, name: str, extension: str) -> None:
    write_volume(Volume(VOXELS, AFFINES[name]), tmp_path / f"in{extension}")
    volume = read_volume(tmp_path / f"in{extension}")
    np.testing.assert_allclose(volume.affine, AFFINES[name], atol=1e-9)
    np.testing.assert_array_equal(volume.array, VOXELS)
    write_volume(volume, tmp_path / f"out{extension}")
    first, second = (sitk.ReadImage(str(tmp_path / f"{stem}{extension}")) for stem in ("in", "out"))
    assert first.GetSize() == second.GetSize()
    np.testing.assert_allclose(second.GetSpacing(), first.GetSpacing(), rtol=1e-14)
    np.testing.assert_allclose(second.GetOrigin(), first.GetOrigin(), rtol=1e-14)
    np.testing.assert_allclose(second.GetDirection(), first.GetDirection(), atol=1e-14)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", ["permuted", "oblique"])
@pytest.mark.parametrize("extension", [".nii.gz", ".nrrd", ".mha"])
def test_several_values_a_voxel_keep_their_order_and_place(
    tmp_path: Path, extension: str, name: str, count: int
) -> None:
    """As scores of tokens have them, which are not a number where a token was not scored."""
    values = np.random.default_rng(0).random((4, 5, 6, count)).astype(np.float32)
    values[1:3, ..., -1] = np.nan
    path = tmp_path / f"scores{extension}"
    write_volume(Volume(values, AFFINES[name]), path)
    if extension == ".nii.gz":
        image = nib.load(path)
        assert image.shape == (4, 5, 6, count)
        assert image.get_data_dtype() == np.float32
        np.testing.assert_array_equal(np.asarray(image.dataobj), values)
        np.testing.assert_allclose(image.affine, AFFINES[name], atol=1e-5)
        np.testing.assert_allclose(image.get_qform(), AFFINES[name], atol=1e-5)
        return
    vectors = sitk.ReadImage(str(path))
    assert vectors.GetSize() == (4, 5, 6)
    assert vectors.GetNumberOfComponentsPerPixel() == count
    for index in ((0, 0, 0), (3, 1, 2), (2, 4, 5)):
        np.testing.assert_array_equal(np.atleast_1d(vectors[index]), values[index])
        world = AFFINES[name] @ [*index, 1]
        np.testing.assert_allclose(vectors.TransformIndexToPhysicalPoint(index), world[:3] * [-1, -1, 1], atol=1e-9)
    array = sitk.GetArrayFromImage(vectors).reshape(6, 5, 4, count)
    np.testing.assert_array_equal(array.transpose(2, 1, 0, 3), values)


def test_nifti_and_nrrd_of_one_volume_lie_at_the_same_place_as_itk_says(tmp_path: Path) -> None:
    for extension in (".nii.gz", ".nrrd"):
        write_volume(Volume(VOXELS, AFFINES["oblique"]), tmp_path / f"v{extension}")
    images = [sitk.ReadImage(str(tmp_path / f"v{extension}")) for extension in (".nii.gz", ".nrrd")]
    points = [image.TransformIndexToPhysicalPoint((6, 7, 8)) for image in images]
    np.testing.assert_allclose(points[0], points[1], atol=1e-4)
    world = AFFINES["oblique"] @ [6, 7, 8, 1]
    np.testing.assert_allclose(points[1], world[:3] * [-1, -1, 1], atol=1e-9)


@pytest.mark.parametrize("extension", [".nii.gz", ".nrrd", ".mha"])
def test_sheared_axes_are_kept_with_a_warning(tmp_path: Path, extension: str) -> None:
    write_volume(Volume(VOXELS, SHEARED), tmp_path / f"tilted{extension}")
    volume = read_volume(tmp_path / f"tilted{extension}")
    np.testing.assert_allclose(volume.affine, SHEARED, atol=1e-6)
    assert any("right angles" in warning for warning in volume.warnings)


def test_the_sform_wins_over_a_different_qform_with_a_warning(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VOXELS, AFFINES["RAS"])
    image.set_sform(AFFINES["RAS"], code=1)
    image.set_qform(AFFINES["oblique"], code=1)
    image.header["pixdim"][1:4] = [1, 1.5, 2]
    nib.save(image, tmp_path / "both.nii.gz")
    header = read_header(tmp_path / "both.nii.gz")
    np.testing.assert_allclose(header.affine, AFFINES["RAS"])
    assert header.warnings == ("qform and sform disagree: the sform was used",)


def test_a_qform_that_is_no_rotation_and_an_unknown_unit_do_no_harm_beside_an_sform(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VOXELS, AFFINES["RAS"])
    image.set_sform(AFFINES["RAS"], code=1)
    image.header["qform_code"] = 1
    image.header["quatern_b"] = image.header["quatern_c"] = 1
    image.header["xyzt_units"] = 7
    (tmp_path / "odd.nii").write_bytes(image.header.binaryblock + bytes(4) + VOXELS.tobytes(order="F"))
    volume = read_volume(tmp_path / "odd.nii")
    np.testing.assert_allclose(volume.affine, AFFINES["RAS"])
    assert volume.warnings == ("qform and sform disagree: the sform was used",)
    write_volume(volume, tmp_path / "copy.nii")
    np.testing.assert_array_equal(nib.load(tmp_path / "copy.nii").affine, volume.affine)


def test_a_header_without_orientation_is_a_warning(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VOXELS, AFFINES["RAS"])
    image.set_sform(None, code=0)
    image.set_qform(None, code=0)
    nib.save(image, tmp_path / "analyze.nii")
    assert "left and right" in read_header(tmp_path / "analyze.nii").warnings[0]


def test_micrometres_become_millimetres(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VOXELS, np.diag([1000.0, 1500, 2000, 1]))
    image.header.set_xyzt_units("micron")
    nib.save(image, tmp_path / "micron.nii")
    volume = read_volume(tmp_path / "micron.nii")
    assert volume.spacing == pytest.approx((1, 1.5, 2))
    assert any("micron" in warning for warning in volume.warnings)


def test_channels_on_different_grids_are_refused(tmp_path: Path) -> None:
    moved = AFFINES["RAS"].copy()
    moved[0, 3] = 0.02
    far = AFFINES["RAS"].copy()
    far[0, 3] = 3
    for name, affine, array in (
        ("a", AFFINES["RAS"], VOXELS),
        ("rounded", moved, VOXELS),
        ("far", far, VOXELS),
        ("short", AFFINES["RAS"], VOXELS[:-1]),
    ):
        nib.save(nib.Nifti1Image(array, affine), tmp_path / f"{name}.nii")
    headers = {name: read_header(tmp_path / f"{name}.nii") for name in ("a", "rounded", "far", "short")}
    require_same_grid([headers["a"], headers["rounded"]], ["T1", "T2"])
    with pytest.raises(InputError, match=r"far\.nii \(T2\).* 3 mm away"):
        require_same_grid([headers["a"], headers["far"]], ["T1", "T2"])
    with pytest.raises(InputError, match=r"6×8×9 voxels, but .*a\.nii has 7×8×9"):
        require_same_grid([headers["a"], headers["short"]], ["T1", "T2"])


@pytest.mark.parametrize("name", ["series.nrrd", "series.mha", "series.nii.gz"])
def test_a_series_of_one_volume_is_a_volume(tmp_path: Path, name: str) -> None:
    if name.endswith(".nii.gz"):
        nib.save(nib.Nifti1Image(VOXELS[..., None], AFFINES["oblique"]), tmp_path / name)
    else:
        write_volume(Volume(VOXELS, AFFINES["oblique"]), tmp_path / "3d.nrrd")
        joined = sitk.JoinSeries(sitk.ReadImage(str(tmp_path / "3d.nrrd")))
        assert joined.GetSize() == (7, 8, 9, 1)
        sitk.WriteImage(joined, str(tmp_path / name))
    volume = read_volume(tmp_path / name)
    np.testing.assert_array_equal(volume.array, VOXELS)
    np.testing.assert_allclose(volume.affine, AFFINES["oblique"], atol=1e-5)
    write_volume(volume, tmp_path / f"copy_{name}")
    np.testing.assert_allclose(read_header(tmp_path / f"copy_{name}").affine, volume.affine, atol=1e-9)
