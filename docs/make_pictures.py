"""Make the README's pictures: the sample head MRI, what the shipped model finds in it and where it looked, and what the
keep ratio changes.

python docs/make_pictures.py [-m MODEL] [-o docs/images]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np
from matplotlib.colors import ListedColormap
from nibabel.processing import resample_from_to

from scdseg import segment
from scdseg.bundle import find_bundle
from scdseg.inference import Result
from scdseg.resources import sample_volume

COLUMNS = ("image", "segmentation", "token importance", "stages survived")
# mm from the middle of the anatomy: planes that show the basal ganglia, and one hemisphere rather than the gap between
PLANES = ((2, -2), (1, 0), (0, 12))
KEEP_RATIOS = (1.0, 0.5, 0.25, 0.1)


def main() -> None:
    """Segment the sample and draw three planes of it, four ways; then one plane at four keep ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default="brain-structures")
    parser.add_argument("-k", "--keep-ratio", type=float)
    parser.add_argument("-i", "--image", type=Path, default=sample_volume())
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "images")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    result = segment(args.image, model=args.model, keep_ratio=args.keep_ratio)
    draw(args.image, args.model, result, args.output / "brain_structures.png")
    draw_keep_ratios(args.image, args.model, args.output / "keep_ratio.png")


def draw(image: Path, model: str, result: Result, output: Path) -> None:
    """Three planes through the middle of the segmented anatomy: image, labels, importance, survival."""
    scan = nib.as_closest_canonical(nib.load(image))
    layers = {
        "segmentation": on_scan_grid(result.labels.array, result.labels.affine, scan),
        "token importance": on_scan_grid(result.importance.array, result.importance.affine, scan),
        "stages survived": on_scan_grid(result.survival.array, result.survival.affine, scan),
    }
    labels = layers["segmentation"]
    centre = np.round(np.argwhere(labels > 0).mean(axis=0)).astype(int)
    voxels = scan.get_fdata(dtype=np.float32)
    window = (0.0, float(np.percentile(voxels[voxels > 0], 99)))
    figure, axes = plt.subplots(3, 4, figsize=(11, 9), facecolor="black")
    for row, (axis, offset) in enumerate(PLANES):
        position = centre[axis] + offset
        grey = np.take(voxels, position, axis).T
        for column, title in enumerate(COLUMNS):
            ax = axes[row, column]
            ax.imshow(grey, cmap="gray", vmin=window[0], vmax=window[1], origin="lower")
            if title in layers:
                plane = np.take(layers[title], position, axis).T
                if title == "segmentation":
                    shown = np.ma.masked_equal(plane, 0)
                    ax.imshow(
                        shown, cmap=colors(model), vmin=0, vmax=255, origin="lower", interpolation="nearest", alpha=0.7
                    )
                else:
                    ax.imshow(
                        plane, cmap="inferno", vmin=0, vmax=1, origin="lower", interpolation="nearest", alpha=0.55
                    )
            ax.set_axis_off()
            if row == 0:
                ax.set_title(title, color="white", fontsize=13)
    figure.subplots_adjust(left=0, right=1, bottom=0, top=0.95, wspace=0.02, hspace=0.02)
    figure.savefig(output, dpi=80, facecolor="black")


def draw_keep_ratios(image: Path, model: str, output: Path) -> None:
    """One plane at four keep ratios: the stages that each token survived, above the labels that came of it."""
    scan = nib.as_closest_canonical(nib.load(image))
    voxels = scan.get_fdata(dtype=np.float32)
    white = float(np.percentile(voxels[voxels > 0], 99))
    figure, axes = plt.subplots(2, len(KEEP_RATIOS), figsize=(12, 7), facecolor="black")
    reference: np.ndarray | None = None
    for column, keep_ratio in enumerate(KEEP_RATIOS):
        result = segment(image, model=model, keep_ratio=keep_ratio)
        labels = on_scan_grid(result.labels.array, result.labels.affine, scan)
        reference = labels if reference is None else reference
        position = round(float(np.argwhere(reference > 0)[:, 2].mean())) + 12
        layers = (result.survival, "inferno", 1, 0.55), (result.labels, colors(model), 255, 0.7)
        for ax, (volume, table, highest, alpha) in zip(axes[:, column], layers, strict=True):
            ax.imshow(voxels[:, :, position].T, cmap="gray", vmin=0, vmax=white, origin="lower")
            plane = np.ma.masked_equal(on_scan_grid(volume.array, volume.affine, scan)[:, :, position].T, 0)
            ax.imshow(plane, cmap=table, vmin=0, vmax=highest, origin="lower", interpolation="nearest", alpha=alpha)
            ax.set_axis_off()
        tokens = result.report["tokens_per_stage"]
        left = " → ".join(str(count) for count in (tokens["scored"][0], *tokens["kept"]))
        axes[0, column].set_title(f"keep ratio {keep_ratio:g}\n{left} tokens", color="white", fontsize=13)
        agreement = mean_dice(reference, labels)
        axes[1, column].set_title(f"mean Dice with keep ratio 1: {agreement:.3f}", color="white", fontsize=11)
    figure.subplots_adjust(left=0, right=1, bottom=0, top=0.9, wspace=0.02, hspace=0.1)
    figure.savefig(output, dpi=80, facecolor="black")


def mean_dice(first: np.ndarray, second: np.ndarray) -> float:
    """Mean over the labels of both of the Dice overlap."""
    labels = np.union1d(first, second)
    overlaps = []
    for label in labels[labels > 0]:
        one, other = first == label, second == label
        overlaps.append(2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other)))
    return float(np.mean(overlaps))


def on_scan_grid(array: np.ndarray, affine: np.ndarray, scan: nib.Nifti1Image) -> np.ndarray:
    """An array on the scan's grid by nearest value, so that tokens stay visible; NaN outside."""
    source = nib.Nifti1Image(array.astype(np.float32), affine)
    return np.asarray(resample_from_to(source, scan, order=0, cval=np.nan).dataobj)


def colors(model: str) -> ListedColormap:
    """The model's own label colours, by label value."""
    table = np.zeros((256, 3))
    for label in find_bundle(model).labels:
        table[label.value] = np.array(label.color) / 255
    return ListedColormap(table)


if __name__ == "__main__":
    main()
