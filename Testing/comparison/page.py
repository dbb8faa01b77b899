"""Tables and learning curves of a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from comparison.networks import ARMS
from comparison.training import CHOICES
from results_page import markdown_table

Records = Mapping[str, Sequence[dict[str, Any]]]
"""Of every network, by its short name, the records of its seeds."""


def quality_table(records: Records, reference: str) -> str:
    """A line a network; differences are taken seed by seed, to the network ``reference``."""
    header = [
        "", "mean Dice", f"difference to {ARMS[reference].title}", "HD95, mm", "GMACs a window", "weights, M",
        "steps", "training, steps/s", "training, s", "window, s",
    ]  # fmt: skip
    rows = []
    for name, found in records.items():
        differences = [ours["dice"] - theirs["dice"] for ours, theirs in zip(found, records[reference], strict=False)]
        rows.append(
            [
                ARMS[name].title,
                spread([record["dice"] for record in found], "{:.4f}"),
                "–" if name == reference or not differences else spread(differences, "{:+.4f}"),
                f"{fmean(record['hd95_mm'] for record in found):.2f}",
                f"{found[0]['macs'] / 1e9:.2f}",
                f"{found[0]['parameters'] / 1e6:.1f}",
                f"{fmean(record['curve'][-1]['step'] for record in found):.0f}",
                f"{fmean(record['steps_per_second'] for record in found):.2f}",
                f"{fmean(record['curve'][-1]['seconds'] for record in found):.0f}",
                f"{fmean(record['window_seconds'] for record in found):.3f}",
            ]
        )
    return markdown_table(header, rows)


def choice_table(records: Records) -> str:
    """Dice against truth by the way in which tokens are chosen at inference, for the networks that score them."""
    rows = []
    for name, found in records.items():
        scored = [record["choices"] for record in found if record["choices"]]
        if scored:
            gains = [[choices["learned"] - choices[other] for choices in scored] for other in CHOICES[1:]]
            rows.append(
                [ARMS[name].title]
                + [spread([choices[choice] for choices in scored], "{:.4f}") for choice in CHOICES]
                + [spread(gain, "{:+.4f}") for gain in gains]
            )
    header = ["", "learned", "random", "lowest scores", "learned over random", "learned over lowest"]
    return markdown_table(header, rows) if rows else ""


def spread(values: Sequence[float], form: str) -> str:
    """Mean, and the standard deviation where there are several values."""
    return form.format(fmean(values)) + (f" ± {stdev(values):.4f}" if len(values) > 1 else "")


def draw_curves(records: Records, path: Path, floor: float) -> None:
    """Mean Dice over the core's seconds of training, the mean of the seeds; what lies below ``floor`` is cut off."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for name, found in records.items():
        points = list(zip(*(record["curve"] for record in found), strict=False))
        seconds = [fmean(point["seconds"] for point in at) for at in points]
        dice = [fmean(point["dice"] for point in at) for at in points]
        axes.plot(seconds, dice, marker="o", markersize=3, label=ARMS[name].title)
    axes.set(xlabel="training, seconds of one core", ylabel="mean Dice, held-out cases")
    axes.set_ylim(bottom=floor)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    figure.savefig(path, dpi=110)
