"""Draw the extension's icon: a brain on a grid of tokens, of which few are kept, in the colours of their importance.

python docs/draw_icon.py [-o SCDSegmentation/Resources/Icons/SCDSegmentation.png]
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, Polygon
from matplotlib.typing import ColorType

ICON = Path("SCDSegmentation/Resources/Icons/SCDSegmentation.png")
SIZE = 128  # pixels, as the Extensions Manager shows icons
BACKGROUND = "#17122b"
DROPPED = "#3a3157"
OUTLINE = "#d9d2ec"
# From the brain's own coordinates (x to the right, y to the front, outline at about 1) to shares of the icon.
SCALE = 0.42
STEP = 0.225  # from token to token
GAP = 0.16  # between tokens, as a share of the step
KEPT = 0.3  # importance from which a token is lit
PEAKS = ((0.3, 0.28, 0.25), (-0.36, -0.36, 0.155))  # of importance: x, y, reach


def main() -> None:
    """Draw the icon and write it as PNG."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=ICON)
    args = parser.parse_args()
    args.output.parent.mkdir(parents=True, exist_ok=True)
    draw(args.output)


def draw(path: Path) -> None:
    """Write the icon.

    Args:
        path: PNG file, SIZE×SIZE pixels.
    """
    figure = plt.figure(figsize=(1, 1), dpi=SIZE)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.axis("off")
    axes.add_patch(_box(0.5, 0.5, 0.96, rounding=0.2, color=BACKGROUND))
    _draw_tokens(axes)
    axes.add_patch(Polygon(0.5 + SCALE * _outline(), fill=False, edgecolor=OUTLINE, linewidth=2.4, joinstyle="round"))
    # The version of matplotlib is no part of the picture.
    figure.savefig(path, facecolor="none", metadata={"Software": None})
    plt.close(figure)


def _draw_tokens(axes: Axes) -> None:
    """Tokens that lie inside the brain: lit by their importance, or dim where they were dropped."""
    inferno = matplotlib.colormaps["inferno"]
    middles = (np.arange(-4, 4) + 0.5) * STEP
    for x, y in product(middles, middles):
        if np.hypot(x, y) > _radius(np.arctan2(y, x)) - 0.14:
            continue
        importance = max(np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * reach**2)) for px, py, reach in PEAKS)
        color = inferno(0.3 + 0.65 * importance) if importance >= KEPT else DROPPED
        axes.add_patch(_box(0.5 + SCALE * x, 0.5 + SCALE * y, SCALE * STEP * (1 - GAP), rounding=0.012, color=color))


def _radius(angle: np.ndarray) -> np.ndarray:
    """Distance of the brain's outline from its middle, seen from above: longer than wide, notched at the fissure."""
    ellipse = 1 / np.hypot(np.cos(angle) / 0.86, np.sin(angle) / 1.04)
    notches = sum(np.exp(-(((angle - fissure) / 0.13) ** 2)) for fissure in (np.pi / 2, -np.pi / 2))
    return ellipse - 0.13 * notches


def _outline() -> np.ndarray:
    """The brain's outline as points (N, 2)."""
    angle = np.linspace(-np.pi, np.pi, 721)
    return _radius(angle)[:, None] * np.column_stack((np.cos(angle), np.sin(angle)))


def _box(x: float, y: float, side: float, *, rounding: float, color: ColorType) -> FancyBboxPatch:
    """A square around (x, y) with round corners."""
    straight = side - 2 * rounding
    return FancyBboxPatch(
        (x - straight / 2, y - straight / 2),
        straight,
        straight,
        boxstyle=f"round,pad={rounding},rounding_size={rounding}",
        facecolor=color,
        edgecolor="none",
    )


if __name__ == "__main__":
    main()
