"""Measure what a comparison of keep ratios saves over separate runs, in the embedded host on the sample volume.

python Testing/measure_sweep.py [--model NAME] [--keep-ratios R R …] [--repeats N] prints the machine and the seconds of
one sweep and of as many runs as it has keep ratios, from call to result, taken in turns with the model loaded.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY / "Testing"), str(REPOSITORY / "SCDSegmentation")]


def measure(model: str, keep_ratios: Sequence[float], repeats: int) -> dict[str, Any]:
    """Sweep and run separately by turns, and time both."""
    import embedded_slicer

    host = embedded_slicer.start()
    widget = host.load_module(REPOSITORY / "SCDSegmentation" / "SCDSegmentation.py")
    from SCDSegmentationLib import sample_data

    logic, volume = widget.logic, sample_data.load()
    # Loads the model and touches everything once, so that the first turn is like the others.
    results = logic.segment(volume, model=model, keepRatio=min(keep_ratios))
    nodes = {"segmentation": results.segmentation, "importance": results.importance}
    sweeps, separate = [], []
    for _ in range(repeats):
        began = time.perf_counter()
        logic.sweep(volume, model=model, keepRatios=keep_ratios)
        sweeps.append(time.perf_counter() - began)
        began = time.perf_counter()
        for ratio in keep_ratios:
            logic.segment(volume, model=model, keepRatio=ratio, **nodes)
        separate.append(time.perf_counter() - began)
    device = results.report["device"]["name"]
    host.close()
    return {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "device": device,
        "keep ratios": list(keep_ratios),
        "sweep, s": [round(seconds, 2) for seconds in sweeps],
        "separate runs, s": [round(seconds, 2) for seconds in separate],
        "ratio of the medians": round(median(sweeps) / median(separate), 3),
    }


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default="brain-structures")
    parser.add_argument("--keep-ratios", type=float, nargs="+", default=[1.0, 0.5, 0.25, 0.1, 0.05])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.model, arguments.keep_ratios, arguments.repeats), indent=2))


if __name__ == "__main__":
    main()
