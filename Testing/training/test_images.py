"""Lists of images: what is trained on is what the product prepares, and a bad case is named before training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from scdseg.errors import InputError
from scdseg.training.data import TrainingData, label_channels, open_data
from scdseg.training.images import PrepareCase
from scdseg.training.recipe import Recipe, load_recipe
from scdseg.training.settings import ImageListSettings
from small_datasets import write_btcv, write_msd_braintumour

SMALL = {"network.img_size": "[32, 32, 32]", "data.workers": "0", "data.spacing": "[3.0, 3.0, 4.0]"}


@pytest.fixture(scope="module")
def btcv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_btcv(tmp_path_factory.mktemp("btcv")).parent


@pytest.fixture(scope="module")
def brain_tumour(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_msd_braintumour(tmp_path_factory.mktemp("tumour")).parent


def recipe_of(name: str, root: Path, **changes: str) -> Recipe:
    overrides = {key.replace("__", "."): value for key, value in changes.items()}
    return load_recipe(name, {**SMALL, "data.root": str(root), **overrides})


def opened(recipe: Recipe, **arguments: Any) -> TrainingData:
    return open_data(recipe, recipe.network["img_size"], **arguments)


def test_a_held_out_case_is_the_file_on_the_networks_grid(btcv: Path) -> None:
    image, target = opened(recipe_of("btcv", btcv)).held_out[0]
    stored = nib.load(btcv / "imagesTr" / "img0005.nii.gz").get_fdata()
    label = nib.load(btcv / "labelsTr" / "label0005.nii.gz").get_fdata()
    low = [(a - b) // 2 for a, b in zip(image.shape[1:], stored.shape, strict=True)]
    inner = tuple(slice(start, start + size) for start, size in zip(low, stored.shape, strict=True))
    expected = np.clip((stored + 958) / (326 + 958), 0, 1) * 2 - 1
    np.testing.assert_allclose(image[0][inner].numpy(), expected, atol=1e-3)
    assert np.array_equal(target[inner].numpy(), label)
    assert image[0].min() == pytest.approx(-1)  # the padding is air


def test_windows_hold_organs_where_they_should(btcv: Path) -> None:
    samples = opened(recipe_of("btcv", btcv, data__positive="1.0")).samples
    for number in range(8):
        image, target = samples.sample(number)
        assert image.shape == (1, 32, 32, 32)
        assert target.shape == (32, 32, 32)
        assert target.max() > 0
        # Organ n is brighter than organ n - 1, whatever was flipped and turned.
        means = [float(image[0][target == organ].mean()) for organ in target.unique().tolist() if organ]
        assert means == sorted(means)


def test_a_window_depends_on_its_number_alone(btcv: Path) -> None:
    recipe = recipe_of("btcv", btcv)
    one, other = opened(recipe).samples, opened(recipe).samples
    backwards = {number: other.sample(number) for number in reversed(range(10))}
    for number in range(10):
        image, target = one.sample(number)
        assert torch.equal(image, backwards[number][0])
        assert torch.equal(target, backwards[number][1])
    assert not torch.equal(one.sample(0)[0], one.sample(1)[0])


def test_cases_are_prepared_once_and_kept(btcv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    prepare = PrepareCase.__call__
    monkeypatch.setattr(PrepareCase, "__call__", lambda self, case: read.append(case.name) or prepare(self, case))
    samples = opened(recipe_of("btcv", btcv)).samples
    assert sorted(read) == [f"img{number:04d}" for number in range(1, 6)]
    for number in range(20):
        samples.sample(number)
    assert len(read) == 5


def test_every_case_is_visited_once_an_epoch(btcv: Path) -> None:
    recipe = recipe_of("btcv", btcv, data__crops="1", data__cache_rate="0.5")
    samples: Any = opened(recipe).samples
    visits = [samples._case(visit)["image"].mean().item() for visit in range(8)]
    assert len(set(visits[:4])) == len(set(visits[4:])) == 4
    assert set(visits[:4]) == set(visits[4:])


def test_regions_are_nested_and_have_their_own_channels(brain_tumour: Path) -> None:
    recipe = recipe_of("msd_braintumour", brain_tumour, data__spacing="[3.0, 3.0, 3.0]")
    data = opened(recipe)
    assert label_channels(recipe)[0] == ("Tumor core", "Whole tumor", "Enhancing tumor")
    assert len(data.held_out) == 1  # type: ignore[arg-type]
    image, target = data.held_out[0]
    core, whole, enhancing = (target > 0).unbind(0)
    assert image.shape[0] == 4
    assert 0 < enhancing.sum() < core.sum() < whole.sum()
    assert (whole | ~core).all()
    assert (core | ~enhancing).all()
    inside = image[:, image.abs().sum(0) > 0]
    assert torch.allclose(inside.mean(1), torch.zeros(4), atol=0.05)
    assert torch.allclose(inside.std(1), torch.ones(4), atol=0.05)


def test_unlabelled_images_give_windows_without_targets(brain_tumour: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(brain_tumour, tmp_path / "data"))
    content = json.loads((root / "dataset.json").read_text())
    content["training"] = [entry["image"] for entry in content["training"]]
    (root / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"BRATS_00\d\.nii\.gz: has no key 'label' in dataset\.json"):
        opened(recipe_of("msd_braintumour", root))
    image, target = opened(recipe_of("msd_braintumour", root), labelled=False).samples.sample(0)
    assert image.shape == (4, 32, 32, 32)
    assert target.numel() == 0


def _list(root: Path, **change: Any) -> None:
    content = json.loads((root / "dataset.json").read_text())
    (root / "dataset.json").write_text(json.dumps(content | change))


def _image(path: Path, array: np.ndarray, shift: float = 0.0) -> None:
    affine = nib.load(path).affine.copy()
    affine[0, 3] += shift
    nib.save(nib.Nifti1Image(array, affine), path)


def no_file(root: Path) -> str:
    (root / "labelsTr" / "label0003.nii.gz").unlink()
    return r"label0003\.nii\.gz: is in the list dataset\.json but not there"


def strange_label(root: Path) -> str:
    path = root / "labelsTr" / "label0003.nii.gz"
    array = np.asarray(nib.load(path).dataobj).copy()
    array[0, 0, 0] = 77
    _image(path, array)
    return r"label0003\.nii\.gz: .*not among the recipe's labels: 77; .*data\.background"


def other_grid(root: Path) -> str:
    path = root / "labelsTr" / "label0004.nii.gz"
    _image(path, np.asarray(nib.load(path).dataobj)[:-1])
    return r"label0004\.nii\.gz \(label\) has 55×40×36 voxels, but .*img0004\.nii\.gz has 56×40×36"


def moved(root: Path) -> str:
    path = root / "labelsTr" / "label0002.nii.gz"
    _image(path, np.asarray(nib.load(path).dataobj), shift=5.0)
    return r"label0002\.nii\.gz \(label\) has a position, spacing or orientation up to 5 mm away"


def stretched(root: Path) -> str:
    path = root / "labelsTr" / "label0002.nii.gz"
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), image.affine @ np.diag([1.05, 1, 1, 1])), path)
    return r"label0002\.nii\.gz \(label\) has a position, spacing or orientation up to"


def truncated(root: Path) -> str:
    path = root / "imagesTr" / "img0001.nii.gz"
    path.write_bytes(path.read_bytes()[:-3000])
    return r"img0001\.nii\.gz is damaged or cut short"


def two_channels(root: Path) -> str:
    path = root / "imagesTr" / "img0002.nii.gz"
    array = np.asarray(nib.load(path).dataobj)
    _image(path, np.stack([array, array], axis=-1))
    return r"img0002\.nii\.gz: has 2 channels, the recipe has 1 \(CT\)"


def in_both_lists(root: Path) -> str:
    _list(root, validation=json.loads((root / "dataset.json").read_text())["training"][:1])
    return r"img0001\.nii\.gz is in the lists for training and for validation"


def no_list(root: Path) -> str:
    (root / "dataset.json").write_text("{")
    return r"dataset\.json: cannot be read as a JSON list of cases.*--data\.root"


def other_key(root: Path) -> str:
    content = json.loads((root / "dataset.json").read_text())
    content["cases"] = content.pop("training")
    (root / "dataset.json").write_text(json.dumps(content))
    return r"dataset\.json: has no list 'training'"


@pytest.mark.parametrize(
    "spoil",
    [no_file, strange_label, other_grid, moved, stretched, truncated, two_channels, in_both_lists, no_list, other_key],
)
def test_a_bad_case_is_named_before_training(btcv: Path, tmp_path: Path, spoil: Any) -> None:
    root = Path(shutil.copytree(btcv, tmp_path / "data"))
    message = spoil(root)
    with pytest.raises(InputError, match=message):
        opened(recipe_of("btcv", root, data__cache_rate="0.5"))


def test_labels_without_a_channel_of_their_own_can_count_as_background(btcv: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(btcv, tmp_path / "data"))
    strange_label(root)
    assert opened(recipe_of("btcv", root, data__background="[77]"))


def test_label_values_of_any_size_have_their_channel(btcv: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(btcv, tmp_path / "data"))
    for path in (root / "labelsTr").iterdir():
        image = nib.load(path)
        array = np.asarray(image.dataobj).astype(np.int16)
        nib.save(nib.Nifti1Image(np.where(array > 0, array + 1000, 0).astype(np.int16), image.affine), path)
    entries = json.loads((load_recipe("btcv").directory / "btcv.labels.json").read_text())
    for entry in entries:
        entry["source"] = [entry["value"] + 1000]
    (tmp_path / "labels.json").write_text(json.dumps(entries))
    plain = opened(recipe_of("btcv", btcv)).held_out[0][1]
    other = opened(recipe_of("btcv", root, data__labels=str(tmp_path / "labels.json"))).held_out[0][1]
    assert torch.equal(plain, other)


def test_a_file_in_metres_is_read_as_the_product_reads_it(btcv: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(btcv, tmp_path / "data"))
    for path in root.glob("*Tr/*0005.nii.gz"):
        image = nib.load(path)
        stored = nib.Nifti1Image(np.asarray(image.dataobj), np.diag([1e-3, 1e-3, 1e-3, 1]) @ image.affine)
        stored.header.set_xyzt_units("meter")
        nib.save(stored, path)
    millimetres, metres = (opened(recipe_of("btcv", folder)).held_out[0] for folder in (btcv, root))
    assert torch.allclose(millimetres[0], metres[0], atol=1e-4)
    assert torch.equal(millimetres[1], metres[1])


def test_turning_needs_a_window_that_can_be_turned(btcv: Path) -> None:
    with pytest.raises(InputError, match=r"set augmentation\.rotate90 to 0"):
        opened(recipe_of("btcv", btcv, network__img_size="[32, 40, 32]"))


def test_the_shipped_recipes_say_what_they_are() -> None:
    for name in ("btcv", "msd_braintumour", "template"):
        settings = load_recipe(name).data
        assert isinstance(settings, ImageListSettings)
        assert (load_recipe(name).directory / settings.labels).is_file()
