"""Measure how runs with one thread, with all cores' and with an automatic number compare, with and without other work.

python Testing/measure_threads.py [--rounds N] [--page FILE] writes the section "Threads" of docs/performance.md. Each
way of running is a process of its own that stays loaded; they take turns, so that all see the same other work. The
busy processes do nothing but count, as many as there are cores. Minutes, so it is run by hand.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from results_page import PAGE, markdown_table, write_section

CORES = os.cpu_count() or 1
ONE, SPINNING, ALL, AUTOMATIC = "1 thread", f"{CORES} threads, spinning", f"{CORES} threads", "automatic"
# Threads, and whether the process leaves PyTorch's threads spinning as they do by themselves.
WAYS = {ONE: (1, False), SPINNING: (CORES, True), ALL: (CORES, False), AUTOMATIC: (0, False)}
SIZES = ("small", "large")
_WHAT_IT_SAYS = (
    "PyTorch's threads meet at the end of nearly every operation, hundreds of times a window. By themselves they wait "
    "there by spinning, for up to some ten milliseconds. Where another program has taken a core, the thread there "
    "comes late, and the spinning ones keep it from coming at all: two threads are then many times slower than one. "
    "So commands and the worker end the spinning after a fraction of a millisecond (`GOMP_SPINCOUNT=3000`, elsewhere "
    "`OMP_WAIT_POLICY=PASSIVE`, set before PyTorch is loaded). That is enough where few others compute; where more "
    "programs want cores than there are, each meeting still waits for a thread's turn. So a run also has no more "
    "threads than there are free cores, counted from the idle time of all and what it used itself, and anew between "
    "windows. On a machine whose cores are all taken that is one thread, as fast as one. `--threads` sets a number. "
    "Labels do not depend on it but for rounding: of the sample volume's seven million voxels, two differ between one "
    "thread and two in float32, and none in bfloat16."
)


def child(threads: int, spinning: bool, folder: Path) -> None:
    """Run one segmentation for every line on stdin, of the size that it names, and print the seconds it took."""
    if not spinning:
        from scdseg.threads import limit_spinning

        limit_spinning()
    import nibabel as nib
    import numpy as np

    from scdseg.bundle import find_bundle
    from scdseg.inference import Segmenter
    from tiny_model import write_tiny_model

    bundles = {"small": write_tiny_model(folder / "tiny"), "large": find_bundle("brain-structures")}
    images = {}
    for size, bundle in bundles.items():
        # One window, so that nothing is learnt about the load on the way.
        noise = np.random.default_rng(0).random(bundle.network["img_size"]).astype(np.float32)
        images[size] = folder / f"{size}.nii"
        nib.save(nib.Nifti1Image(noise, np.diag([*bundle.spacing, 1.0])), images[size])
    segmenters = {size: Segmenter(bundle, "cpu", threads=threads or None) for size, bundle in bundles.items()}
    print("ready", flush=True)
    for line in sys.stdin:
        segmenter, image = segmenters[line.strip()], images[line.strip()]
        began = time.perf_counter()
        threads_used = segmenter.run(segmenter.prepare(image)).report["threads"]["most"]
        print(time.perf_counter() - began, threads_used, flush=True)


@contextmanager
def children() -> Iterator[dict[str, subprocess.Popen[str]]]:
    """A loaded process for each way of running."""
    with tempfile.TemporaryDirectory() as folder:
        processes = {}
        for number, (way, (threads, spinning)) in enumerate(WAYS.items()):
            own = Path(folder) / str(number)
            own.mkdir()
            processes[way] = subprocess.Popen(
                [sys.executable, __file__, "--child", str(threads), str(int(spinning)), str(own)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
        try:
            for process in processes.values():
                assert process.stdout is not None
                if process.stdout.readline() != "ready\n":
                    raise RuntimeError("a process ended before it was ready")
            yield processes
        finally:
            for process in processes.values():
                process.kill()
                process.wait()


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that compute all the time."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def run(process: subprocess.Popen[str], size: str) -> tuple[float, int]:
    """Seconds and threads of one run."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{size}\n")
    process.stdin.flush()
    seconds, threads = process.stdout.readline().split()
    return float(seconds), int(threads)


def section(rounds: int) -> str:
    """The table: medians over the rounds, ratios round by round."""
    import psutil

    from scdseg.benchmark.machine import Machine

    rows = []
    psutil.cpu_percent()
    time.sleep(2)
    others = psutil.cpu_percent() / 100 * CORES
    with children() as processes:
        for size in SIZES:
            for process in processes.values():
                run(process, size)
        for count in (0, CORES):
            with busy(count):
                time.sleep(1)
                for size in SIZES:
                    rows.append(row(processes, size, count, rounds))
                    print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    header = ["one window", "busy processes", f"{ONE}, seconds", *(f"{way}, ×" for way in WAYS if way != ONE)]
    header.append("threads chosen")
    return f"{_WHAT_IT_SAYS}\n\n{markdown_table(header, rows)}\n" + (
        f"- {Machine.choose('cpu')}. A run from file to labels with a loaded model, medians (quartiles) of {rounds} "
        "rounds, by turns. × is seconds over those of one thread, round by round.\n"
        f"- Other programs of the machine used {others:.1f} of its {CORES} cores before the first row.\n"
        "- Small: the tests' model, windows of 16×16×16 voxels. Large: `brain-structures`, 64×80×64.\n"
        "- Spinning: as PyTorch's threads wait by themselves, which no command leaves so.\n\n"
        f"Command: `python Testing/measure_threads.py --rounds {rounds}`\n"
    )


def row(processes: dict[str, subprocess.Popen[str]], size: str, count: int, rounds: int) -> list[str]:
    """One line of the table."""
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    chosen = set()
    for _ in range(rounds):
        for way in random.sample(list(WAYS), len(WAYS)):
            took, threads = run(processes[way], size)
            seconds[way].append(took)
            if way == AUTOMATIC:
                chosen.add(threads)
    ratios = {way: [a / b for a, b in zip(seconds[way], seconds[ONE], strict=True)] for way in WAYS}
    cells = [f"{median(seconds[ONE]):.3f}", *(with_quartiles(ratios[way]) for way in WAYS if way != ONE)]
    return [size, str(count), *cells, "–".join(map(str, sorted({min(chosen), max(chosen)})))]


def with_quartiles(values: Sequence[float]) -> str:
    """A median with the quartiles."""
    ordered = sorted(values)
    low, high = ordered[len(ordered) // 4], ordered[-1 - len(ordered) // 4]
    return f"{median(values):.2f} ({low:.2f}–{high:.2f})"


def main(given: Sequence[str] | None = None) -> int:
    """Measure and write the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, metavar="N", help="how often all is timed (default: 9)")
    parser.add_argument("--page", type=Path, default=PAGE.with_name("performance.md"), help="page to write to")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args(given)
    if arguments.child:
        threads, spinning, folder = arguments.child
        child(int(threads), spinning == "1", Path(folder))
        return 0
    write_section("Threads", section(arguments.rounds), arguments.page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
