"""Measure the memory that logits of a whole-body CT take while they are added up and brought back to labels.

python Testing/measure_memory.py [--page FILE] writes the section "A whole body" of docs/performance.md. A stand-in for
the network gives logits that cost little; the first band is run, each row in a process of its own, and no band
after them holds more. Needs 10 GB of free memory and minutes, so it is run by hand.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from results_page import PAGE, markdown_table, write_section

CLASSES, WINDOW = 118, (96, 96, 96)
SPACING = 1.5
INPUT = (512, 512, 1000)
# Spacing of the CT in mm, axis of the bands, precision of the sums.
CASES = [(1.5, 0, "float32"), (1.5, 2, "float32"), (1.5, 2, "float16"), (0.98, 0, "float32"), (0.98, 2, "float32")]
# What may be taken of a machine whose memory others need, too.
MEASURABLE = 8e9
_WHAT_IT_SAYS = (
    "Logits are added up in bands as deep as a window, across the axis along which they hold least, mostly the "
    "longest. Where single precision does not fit, half precision is used, and the report says so: on the sample "
    "volume that gives 544 of seven million voxels another label (mean Dice 0.9998), so it is not used where single "
    "precision fits. A machine with 16 GB takes a whole-body CT that is brought to 1.5 mm. One that has 512×512×1000 "
    "voxels of 1.5 mm already fits while logits are added up, but the estimate for its preparation, 13.6 GB, does "
    "not."
)


def grid_of(spacing: float) -> tuple[int, int, int]:
    """Voxels of the network's grid, in whole patches; slices are 1 mm apart where voxels are finer than the grid's."""
    slices = SPACING if spacing == SPACING else 1.0
    x, y, z = (-8 * round(-n * s / SPACING // 8) for n, s in zip(INPUT, (spacing, spacing, slices), strict=True))
    return x, y, z


def planned(grid: Sequence[int], axis: int, item: int) -> int:
    """Bytes of the sums, the weights and a channel that is worked on."""
    from scdseg.inference.windows import band_voxels

    return (item * CLASSES + (8 if item == 4 else 12)) * band_voxels(grid, WINDOW, axis)


def child(spacing: float, axis: int, dtype: str) -> None:
    """Add up and restore one band, and print the bytes that the process held at most, beyond those before."""
    import resource

    from scdseg.threads import limit_spinning

    limit_spinning()
    import numpy as np
    import torch

    from scdseg.allocator import keep_freed_memory
    from scdseg.bundle.labels import Code, Label
    from scdseg.inference.restore import LabelRestorer
    from scdseg.inference.windows import Order, sliding_windows, window_starts
    from scdseg.threads import Threads

    keep_freed_memory()
    grid = grid_of(spacing)
    first, second = (other for other in range(3) if other != axis)
    order: Order = (axis, first, second)
    code = Code("SCT", "0", "any")
    labels = tuple(Label(n, str(n), (1, 2, 3), code, code, None, None, n) for n in range(1, CLASSES))
    slices = SPACING if spacing == SPACING else 1.0
    affine, grid_affine = np.diag([spacing, spacing, slices, 1.0]), np.diag([SPACING] * 3 + [1.0])
    # Blocks of 32 voxels: labels with borders between them, as organs have.
    image = torch.rand(1, *(-(-n // 32) for n in grid))
    for dim, n in enumerate(grid, start=1):
        image = image.repeat_interleave(32, dim).narrow(dim, 0, n)
    image = image.contiguous()
    centres = torch.linspace(0, 1, CLASSES).view(1, -1, 1, 1, 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with torch.inference_mode(), Threads():
        restorer = LabelRestorer(
            INPUT, affine, tuple(grid[n] for n in order), grid_affine[:, [*order, 3]], labels, "softmax", CLASSES
        )
        starts = window_starts(grid, WINDOW, 8, 0.0)
        bands = sliding_windows(
            image, starts, set(starts), WINDOW, CLASSES, 1, torch.device("cpu"),
            lambda windows, _: 10 - (windows - centres).abs(), order, getattr(torch, dtype),
        )  # fmt: skip
        for rows in islice(bands, 1):
            restorer.add(rows)
    if len(np.unique(restorer.array)) < CLASSES // 2:
        raise RuntimeError("hardly any label was found")
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)


def section() -> str:
    """The table: planned for every way, measured where it is known to fit."""
    rows = []
    for spacing, axis, dtype in CASES:
        grid = grid_of(spacing)
        bytes_planned = planned(grid, axis, 4 if dtype == "float32" else 2)
        found = "–"
        if bytes_planned < MEASURABLE:
            command = [sys.executable, __file__, "--child", str(spacing), str(axis), dtype]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found = f"{int(done.stdout) / 1e9:.1f}"
        rows.append(["×".join(map(str, grid)), "XYZ"[axis], dtype, f"{bytes_planned / 1e9:.1f}", found])
        print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    header = ["network's grid at 1.5 mm", "bands along", "sums", "sums planned, GB", "held at most, GB"]
    return f"{_WHAT_IT_SAYS}\n\n{markdown_table(header, rows)}\n" + (
        f"- A CT of {'×'.join(map(str, INPUT))} voxels, {CLASSES} classes, windows of 96×96×96. Held: measured as the "
        "process's peak over what it had before, with one window's logits, whose stand-in takes less than a network, "
        "and the labels on the CT's grid. What a run is planned with counts all that and a network's window.\n"
        "- The smaller grid is that of a CT of 0.98×0.98×1 mm.\n\n"
        "Command: `python Testing/measure_memory.py`\n"
    )


def main(given: Sequence[str] | None = None) -> int:
    """Measure and write the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, default=PAGE.with_name("performance.md"), help="page to write to")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args(given)
    if arguments.child:
        spacing, axis, dtype = arguments.child
        child(float(spacing), int(axis), dtype)
        return 0
    write_section("A whole body", section(), arguments.page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
