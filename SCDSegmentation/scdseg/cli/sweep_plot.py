"""The plot of ``scdseg sweep``: agreement against time and tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from scdseg.suggestion import suggested_keep_ratio

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from scdseg.inference.sweep import Sweep

# Of Okabe and Ito's palette, which colour-blind people can tell apart.
_BLUE, _VERMILION, _GREY = "#0072B2", "#D55E00", "0.75"


def plot(sweep: Sweep, paths: Sequence[Path]) -> None:
    """Draw mean agreement against seconds and against tokens, with that of every label faintly behind.

    Args:
        sweep: what to draw.
        paths: ``.png``, ``.svg`` or another format of matplotlib's.

    Raises:
        OSError: a file cannot be written.
    """
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    by_time, by_tokens = figure.subplots(1, 2, sharey=True)
    _draw(by_time, sweep, [row.seconds_windows for row in sweep.rows])
    tokens = [sum(row.tokens_kept) for row in sweep.rows]
    _draw(by_tokens, sweep, tokens)
    if min(tokens) > 0:
        # Keep ratios are mostly chosen as fractions of one another.
        by_tokens.set_xscale("log")
        by_tokens.xaxis.set_major_formatter("{x:g}")
    by_time.set_xlabel("seconds of all windows")
    by_tokens.set_xlabel("tokens kept of a window, summed over its pruning stages")
    by_time.set_ylabel(f"Dice with keep ratio {sweep.rows[0].keep_ratio:g}")
    by_tokens.legend(loc="lower right", frameon=False)
    device = sweep.common["device"]["name"]
    figure.suptitle(f"{sweep.common['model']['name']} on {device}, {sweep.common['precision']}")
    for path in paths:
        figure.savefig(path, dpi=120)


def _draw(axes: Axes, sweep: Sweep, x: Sequence[float]) -> None:
    for number, value in enumerate(sweep.labels):
        dice = [row.dice.get(value, math.nan) for row in sweep.rows]
        axes.plot(x, dice, color=_GREY, linewidth=0.7, label="" if number else "each label")
    means = [row.mean_dice for row in sweep.rows]
    axes.axhline(sweep.tolerance, color=_VERMILION, linestyle="--", linewidth=1, label=f"tolerance {sweep.tolerance:g}")
    axes.plot(x, means, color=_BLUE, linewidth=2, marker="o", label="mean over labels")
    suggested = suggested_keep_ratio({row.keep_ratio: row.mean_dice for row in sweep.rows}, sweep.tolerance)
    for number, (place, mean, row) in enumerate(zip(x, means, sweep.rows, strict=True)):
        if row.keep_ratio == suggested:
            axes.plot(place, mean, "o", markersize=14, fillstyle="none", color=_VERMILION, label="suggested keep ratio")
        # Above and below in turn: neighbours may be close.
        axes.annotate(
            f"{row.keep_ratio:g}",
            (place, mean),
            (0, -16 if number % 2 else 16),
            textcoords="offset points",
            ha="center",
            va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1},
        )
    axes.spines[["top", "right"]].set_visible(False)
