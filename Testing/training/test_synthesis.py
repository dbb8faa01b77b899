"""Synthetic scans: image and labels show the same head, at the right place, size and side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion, map_coordinates
from torch import Tensor

from scdseg.training.label_maps import LabelMap, LabelScheme
from scdseg.training.recipe import load_recipe
from scdseg.training.synthesis import ScanSynthesiser, SynthesisSettings
from scdseg.training.synthetic import HeldOutScans, SyntheticScans, read_heads, whole_head_synthesiser

MEANS = {0: 0.0, 2: 0.8, 17: 0.5, 24: 0.2, 25: 0.8, 41: 0.8, 53: 0.5, 516: 0.6}
# No chance at all but the brightness of the whole scan.
STILL = SynthesisSettings(
    contrast={value: (mean, 0.0) for value, mean in MEANS.items()},
    random_contrast=0.0,
    tissue_deviation=(0.0, 0.0),
    rotation=0.0,
    scaling=0.0,
    shear=0.0,
    offset=0.0,
    displacement=0.0,
    mirror=0.0,
    bias_field=0.0,
    blur=(0.0, 0.0),
    noise=(0.0, 0.0),
    thick_slices=0.0,
    gamma=0.0,
    brain_extracted=0.0,
    fluid=(24,),
)
SPACING = (4.0, 4.0, 4.0)
DIM = 5  # a seed whose brightness stays below 1, where nothing is clipped


@pytest.fixture(scope="module")
def heads(tiny_recipe: Path) -> tuple[LabelScheme, LabelMap]:
    scheme, heads, _ = read_heads(load_recipe(tiny_recipe))
    return scheme, heads[0]


def seeded(seed: int = DIM) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def on_voxels(head: LabelMap, size: int) -> tuple[int, int, int]:
    """About ``size`` voxels an axis, such that the window's voxels lie on the head's."""
    x, y, z = (size + int((2 * c + size + 1) % 2) for c in head.centre.tolist())
    return x, y, z


def coordinates(head: LabelMap, window: tuple[int, ...], spacing: tuple[float, ...]) -> np.ndarray:
    """(3, *window) voxel coordinates in the head of a window around its brain."""
    return np.stack(
        np.meshgrid(
            *(
                c + (np.arange(n) - (n - 1) / 2) * mm / s
                for n, mm, s, c in zip(window, spacing, head.spacing.tolist(), head.centre.tolist(), strict=True)
            ),
            indexing="ij",
        )
    )


def means_of(scheme: LabelScheme, head: LabelMap) -> np.ndarray:
    return np.array([MEANS[value] for value in scheme.tissues], np.float32)[head.tissues]


def brightness(image: Tensor, labels: Tensor, channel: int = 1, mean: float = MEANS[2]) -> float:
    scale = float(image[0][labels == channel].median()) / mean
    assert image.max() < 1
    return scale


def test_without_chance_a_scan_is_the_label_maps_tissue_means(heads: tuple[LabelScheme, LabelMap]) -> None:
    scheme, head = heads
    window = on_voxels(head, 60)  # more than the head, so that there is an outside
    image, labels = ScanSynthesiser(scheme, window, SPACING, STILL)(head, seeded())
    low = [round(float(c) - (n - 1) / 2) for c, n in zip(head.centre, window, strict=True)]
    room = [
        (max(0, -start), max(0, start + n - size))
        for start, n, size in zip(low, window, head.tissues.shape, strict=True)
    ]

    def cut(array: np.ndarray) -> np.ndarray:
        padded = np.pad(array, room)
        return padded[tuple(slice(max(0, s), max(0, s) + n) for s, n in zip(low, window, strict=True))]

    assert image.shape == (1, *window)
    assert image.dtype == torch.float32
    assert labels.dtype == torch.int64
    assert np.array_equal(labels, cut(scheme.targets().numpy()[head.tissues]))
    scale = brightness(image, labels)
    np.testing.assert_allclose(image[0], scale * cut(means_of(scheme, head)), atol=1e-5)


def test_another_spacing_samples_the_head_in_mm(heads: tuple[LabelScheme, LabelMap]) -> None:
    scheme, head = heads
    window, spacing = (24, 16, 32), (5.3, 8.1, 2.7)
    image, labels = ScanSynthesiser(scheme, window, spacing, STILL)(head, seeded())
    points = coordinates(head, window, spacing)
    halves = (np.abs(points % 1 - 0.5) < 1e-3).any(0)
    assert halves.mean() < 0.1
    nearest = map_coordinates(scheme.targets().numpy()[head.tissues], np.rint(points), order=0, mode="constant")
    assert np.array_equal(labels.numpy()[~halves], nearest[~halves])
    # Half a voxel beyond the border differs by convention: SciPy cuts off where torch fades out.
    within = np.all([(p >= 0) & (p <= n - 1) for p, n in zip(points, head.tissues.shape, strict=True)], axis=0)
    linear = map_coordinates(means_of(scheme, head), points, order=1)
    np.testing.assert_allclose(image[0].numpy()[within], (brightness(image, labels) * linear)[within], atol=1e-4)


def test_image_and_labels_are_deformed_alike(heads: tuple[LabelScheme, LabelMap]) -> None:
    scheme, head = heads
    settings = replace(STILL, rotation=20.0, scaling=0.15, shear=0.08, offset=15.0, displacement=4.0, mirror=0.5)
    window, fine = (64, 64, 64), (2.5, 2.5, 2.5)
    synthesiser = ScanSynthesiser(scheme, window, fine, settings)
    rigid = ScanSynthesiser(scheme, window, fine, STILL)(head, seeded())[1]
    for seed in range(4):
        image, labels = synthesiser(head, seeded(seed))
        assert not torch.equal(labels, rigid)
        brightest = float(image.max())
        for channel, value in ((1, 2), (4, 41), (2, 17), (5, 53)):
            inner = torch.from_numpy(binary_erosion(labels == channel, np.ones((5, 5, 5))))
            assert inner.sum() > 20
            torch.testing.assert_close(
                image[0][inner] / brightest,
                torch.full((int(inner.sum()),), MEANS[value] / MEANS[2]),
                atol=2e-3 if brightest < 1 else 0.1,  # at full brightness white matter is clipped
                rtol=0,
            )


def test_a_mirrored_scan_is_flipped_and_its_sides_are_swapped(heads: tuple[LabelScheme, LabelMap]) -> None:
    scheme, head = heads
    window = on_voxels(head, 40)
    image, labels = ScanSynthesiser(scheme, window, SPACING, STILL)(head, seeded())
    flipped, swapped = ScanSynthesiser(scheme, window, SPACING, replace(STILL, mirror=1.0))(head, seeded())
    torch.testing.assert_close(flipped, image.flip(1), atol=1e-5, rtol=0)
    assert not torch.allclose(flipped, image, atol=0.1)
    assert torch.equal(swapped, torch.tensor([0, 4, 5, 3, 1, 2])[labels.flip(0)])
    # Left stays left: at low x in RAS+ order.
    for scan in (labels, swapped):
        x = [float(torch.nonzero(scan == channel)[:, 0].float().mean()) for channel in (2, 5)]
        assert x[0] < (window[0] - 1) / 2 < x[1]


def test_the_window_is_centred_on_the_brain_up_to_the_offset(heads: tuple[LabelScheme, LabelMap]) -> None:
    scheme, head = heads

    def off_centre(settings: SynthesisSettings, strength: float = 1.0) -> Tensor:
        synthesiser = ScanSynthesiser(scheme, (64, 64, 64), SPACING, settings)
        found = torch.nonzero(synthesiser(head, seeded(), strength)[1])
        return ((found.amin(0) + found.amax(0)) / 2 - 31.5).abs() * 4.0

    assert off_centre(STILL).max() <= 2.0  # mm: half a voxel
    moved = off_centre(replace(STILL, offset=30.0))
    assert 4.0 < moved.max() <= 32.0
    everything = replace(STILL, offset=30.0, rotation=20.0, scaling=0.15, shear=0.08, displacement=4.0)
    assert off_centre(everything, strength=0.0).max() <= 2.0


def test_brain_extraction_leaves_brain_alone(heads: tuple[LabelScheme, LabelMap]) -> None:
    scheme, head = heads
    window = on_voxels(head, 50)
    whole = ScanSynthesiser(scheme, window, SPACING, STILL)(head, seeded())[1]
    synthesiser = ScanSynthesiser(scheme, window, SPACING, replace(STILL, brain_extracted=1.0))
    kept = []
    for seed in range(8):
        image, labels = synthesiser(head, seeded(seed))
        fluid = bool((labels == 3).any())
        brain = (whole > 0) if fluid else (whole > 0) & (whole != 3)
        assert torch.equal(labels, torch.where(brain, whole, 0))
        assert torch.equal(image[0] > 1e-4, brain)
        kept.append(fluid)
    assert set(kept) == {True, False}


def test_both_sides_have_one_contrast_that_changes_between_scans(heads: tuple[LabelScheme, LabelMap]) -> None:
    scheme, head = heads
    synthesiser = ScanSynthesiser(scheme, on_voxels(head, 32), SPACING, replace(STILL, random_contrast=1.0))
    ratios = []
    for seed in range(3):
        image, labels = synthesiser(head, seeded(seed))
        left, right, deep_left, deep_right = (float(image[0][labels == c].median()) for c in (1, 4, 2, 5))
        assert left == pytest.approx(right, abs=1e-5)
        assert deep_left == pytest.approx(deep_right, abs=1e-5)
        ratios.append(deep_left / left)
    assert len({round(ratio, 2) for ratio in ratios}) == 3


def test_scans_depend_on_the_seed_alone(heads: tuple[LabelScheme, LabelMap]) -> None:
    scheme, head = heads
    synthesiser = ScanSynthesiser(scheme, (24, 24, 24), SPACING, SynthesisSettings())
    (image, labels), (again, labels_again) = synthesiser(head, seeded(1)), synthesiser(head, seeded(1))
    assert torch.equal(image, again)
    assert torch.equal(labels, labels_again)
    assert not torch.equal(image, synthesiser(head, seeded(2))[0])


def test_intensities_stay_between_0_and_1(heads: tuple[LabelScheme, LabelMap]) -> None:
    scheme, head = heads
    settings = SynthesisSettings(thick_slices=0.5, noise=(0.0, 0.3), bias_field=1.0)
    synthesiser = ScanSynthesiser(scheme, (16, 24, 16), (6.0, 6.0, 6.0), settings)
    for seed in range(12):
        image, labels = synthesiser(head, seeded(seed))
        assert image.shape == (1, 16, 24, 16)
        assert torch.isfinite(image).all()
        assert 0 <= image.min() < image.max() <= 1
        assert 0 < labels.max() < scheme.channels


def test_a_window_beside_the_head_is_all_air(heads: tuple[LabelScheme, LabelMap]) -> None:
    scheme, head = heads
    far = replace(head, centre=head.centre + 1000)
    for settings in (STILL, replace(STILL, noise=(0.005, 0.005))):
        image, labels = ScanSynthesiser(scheme, (16, 16, 16), SPACING, settings)(far, seeded())
        assert not labels.any()
        assert image.max() < 0.05


def test_a_corner_of_the_head_does_not_stop_the_series(heads: tuple[LabelScheme, LabelMap]) -> None:
    """A few bright voxels between the ones that the brightness is estimated from."""
    scheme, head = heads
    tissues = torch.zeros_like(head.tissues)
    tissues[20, 20, 20] = 1
    lone = replace(head, tissues=tissues, centre=torch.tensor([20.0, 20.0, 20.0]))
    image, labels = ScanSynthesiser(scheme, (17, 17, 17), SPACING, STILL)(lone, seeded())
    assert int(labels.sum()) == 1
    assert image[0, 8, 8, 8] > 0.5


def test_a_scan_depends_on_seed_and_number_alone(heads: tuple[LabelScheme, LabelMap]) -> None:
    scheme, head = heads
    synthesiser = ScanSynthesiser(scheme, (16, 16, 16), SPACING, SynthesisSettings())
    scans = SyntheticScans([head], synthesiser, 7, curriculum=4)
    forward, backward = [scans.sample(n)[0] for n in range(4)], [scans.sample(n)[0] for n in (3, 2, 1, 0)]
    assert torch.equal(torch.stack(forward), torch.stack(backward[::-1]))
    assert not torch.equal(forward[0], forward[1])
    assert not torch.equal(forward[0], SyntheticScans([head], synthesiser, 8, curriculum=4).sample(0)[0])


def test_an_inverted_scan_has_bright_fluid_and_dark_white_matter(heads: tuple[LabelScheme, LabelMap]) -> None:
    scheme, head = heads

    def means(inverted: float) -> dict[int, float]:
        synthesiser = ScanSynthesiser(scheme, (40, 48, 40), SPACING, replace(STILL, inverted=inverted))
        image, labels = SyntheticScans([head], synthesiser, 3).sample(0)
        return {channel: float(image[0][labels == channel].mean()) for channel in (1, 3)}

    plain, turned = means(0.0), means(1.0)
    assert plain[1] > plain[3]  # white matter above fluid
    assert turned[1] < turned[3]


def test_held_out_scans_are_fixed_and_hold_the_whole_brain(tiny_recipe: Path) -> None:
    recipe = load_recipe(tiny_recipe)
    scheme, _, held_out = read_heads(recipe)
    synthesiser = whole_head_synthesiser(recipe, scheme)
    scans = HeldOutScans(held_out, synthesiser, 2, recipe.seed)
    assert len(scans) == 2
    for index in range(2):
        image, labels = scans[index]
        assert torch.equal(image, scans[index][0])
        assert all(size % 8 == 0 for size in labels.shape)
        assert labels.unique().tolist()[0] == 0
        found = torch.nonzero(labels)
        assert found.amin() > 0
        assert (found.amax(0) < torch.tensor(labels.shape) - 1).all()
        left, right = (torch.nonzero(labels == channel)[:, 0].float().mean() for channel in (1, 4))
        assert left < right
    assert not torch.equal(scans[0][0], scans[1][0])
