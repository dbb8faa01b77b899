"""Segment many times in a row in one application, and tell how memory, files, threads and processes grow.

python Testing/soak.py [--runs N] [--settle N] [--model NAME] [-o FILE.json]

The module in the embedded host segments the sample volume with one worker process, at a keep ratio that changes from
run to run, into the same nodes; every twentieth run is cancelled on its way. Growth is that of the last runs over those
behind --settle, each the median of twenty: allocators need some runs until they hold what they will.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY / "Testing"), str(REPOSITORY / "SCDSegmentation")]
KEEP_RATIOS = (0.25, 0.5, 0.1, 1.0)
MEASURED = 20
CANCEL_EVERY = 20
LIMIT_PERCENT = 2.0


def soak(runs: int, settle: int, model: str) -> dict[str, Any]:
    """Run, and return what was measured."""
    import embedded_slicer

    host = embedded_slicer.start()
    widget = host.load_module(REPOSITORY / "SCDSegmentation" / "SCDSegmentation.py")
    import psutil
    import slicer

    from SCDSegmentationLib import sample_data
    from slicer_module.helpers import apply, choose, wait_until

    temporary = Path(slicer.app.temporaryPath)
    choose(widget, sample_data.load(), model)
    apply(widget, 600)
    worker = psutil.Process(widget.logic.worker._pid)
    processes = {"host": psutil.Process(), "worker": worker}
    series: list[dict[str, float]] = []
    began = time.perf_counter()
    for number in range(1, runs + 1):
        widget.panel.ui.keepRatioSlider.setValue(KEEP_RATIOS[number % len(KEEP_RATIOS)])
        if number % CANCEL_EVERY == 0:
            widget.panel.ui.applyButton.click()
            run = widget.logic.run
            wait_until(lambda run=run: "first window" in run.seconds or widget.logic.run is None, 600)
            widget.panel.ui.applyButton.click()
            wait_until(lambda: widget.logic.run is None, 10)
        else:
            message = apply(widget, 600)
            if not message.startswith("Found"):
                raise RuntimeError(f"run {number}: {message}")
        if widget.logic.worker._pid != worker.pid:
            raise RuntimeError(f"run {number}: another worker process")
        row: dict[str, float] = {"run": number}
        for name, process in processes.items():
            row[f"{name} MB"] = process.memory_info().rss / 1e6
            row[f"{name} files"] = process.num_fds() if hasattr(process, "num_fds") else process.num_handles()
            row[f"{name} threads"] = process.num_threads()
        row["processes"] = len(processes["host"].children(recursive=True))
        row["temporary files"] = len(list(temporary.iterdir()))
        row["nodes"] = slicer.mrmlScene.GetNumberOfNodes()
        series.append(row)
        if number % 10 == 0:
            print(json.dumps(row), file=sys.stderr, flush=True)
    host.close()
    seconds = time.perf_counter() - began
    return {"runs": runs, "settle": settle, "model": model, "seconds": seconds, **_growth(series, settle)}


def _growth(series: list[dict[str, float]], settle: int) -> dict[str, Any]:
    """Medians at both ends, and the growth in per cent of memory; of the rest, the difference."""

    def median(rows: list[dict[str, float]], name: str) -> float:
        return statistics.median(row[name] for row in rows)

    first, last = series[settle : settle + MEASURED], series[-MEASURED:]
    names = [name for name in series[0] if name != "run"]
    ends = {name: [round(median(first, name), 1), round(median(last, name), 1)] for name in names}
    growth = {
        name: round(100 * (after / before - 1), 2) if name.endswith("MB") else after - before
        for name, (before, after) in ends.items()
    }
    return {"from_to": ends, "growth": growth, "series": series}


def main() -> int:
    """Soak, print, and return 1 if something grew."""
    parser = argparse.ArgumentParser(description="Segment many times in a row, and tell what grows.")
    parser.add_argument("--runs", type=int, default=500, metavar="N", help="runs (default: 500)")
    parser.add_argument("--settle", type=int, default=30, metavar="N", help="runs before it counts (default: 30)")
    parser.add_argument("--model", default="brain-structures", metavar="NAME", help="model (default: brain-structures)")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.json", help="write all that was measured")
    args = parser.parse_args()
    if args.runs < args.settle + 2 * MEASURED:
        parser.error(f"--runs {args.runs} is too few: give at least --settle and {2 * MEASURED}")
    measured = soak(args.runs, args.settle, args.model)
    if args.output:
        args.output.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    print(f"{args.runs} runs of {args.model} in {measured['seconds']:.0f} s")
    grown = []
    for name, (before, after) in measured["from_to"].items():
        growth = measured["growth"][name]
        memory = name.endswith("MB")
        print(f"{name:16} {before:8g} → {after:8g}  {growth:+g}{' %' if memory else ''}")
        if growth >= LIMIT_PERCENT if memory else growth > 0:
            grown.append(name)
    if grown:
        print(f"grown: {', '.join(grown)}", file=sys.stderr)
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
