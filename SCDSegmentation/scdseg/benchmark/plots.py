"""Plots of how cost grows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from scdseg.benchmark.scaling import Growth

# Of Okabe and Ito's palette, which colour-blind people can tell apart.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000")
_LABELS = {"keep ratio": "keep ratio", "classes": "classes of the logits", "voxels": "millions of voxels of the volume"}


def plot_growth(curves: Sequence[Growth], title: str, paths: Sequence[Path]) -> None:
    """Draw each curve's seconds beside the others.

    Args:
        curves: what to draw.
        title: of the figure: the model and the machine.
        paths: ``.png``, ``.svg`` or another format of matplotlib's.

    Raises:
        OSError: a file cannot be written.
    """
    figure = Figure(figsize=(4.2 * len(curves), 3.8), layout="constrained")
    for number, curve in enumerate(curves):
        axes = figure.add_subplot(1, len(curves), number + 1)
        x = [value / 1e6 for value in curve.x] if curve.of == "voxels" else curve.x
        for color, (name, seconds) in zip(_COLORS, curve.seconds.items(), strict=False):
            axes.plot(x, seconds, color=color, marker="o", markersize=3, linewidth=1.5, label=name)
        axes.set_xlabel(_LABELS[curve.of])
        axes.set_ylabel("seconds of a volume" if curve.of == "voxels" else "seconds of a window")
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False)
    figure.suptitle(title, fontsize=9)
    for path in paths:
        figure.savefig(path, dpi=120)
