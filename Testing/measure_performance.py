"""Measure what docs/performance.md says: takes ten minutes of a quiet machine, so it is run by hand.

python Testing/measure_performance.py [SECTION …] runs ``scdseg benchmark`` and the commands around it in processes of
their own, and writes the sections of docs/performance.md, each with its command. Training is in docs/results.md, by
measure_training_throughput.py. Extra: plot.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from results_page import markdown_table, write_section
from scdseg.benchmark.machine import Machine
from scdseg.resources import sample_volume

REPOSITORY = Path(__file__).resolve().parent.parent
PAGE = REPOSITORY / "docs" / "performance.md"
GROWTH = Path("docs") / "images" / "growth.png"
BENCHMARKS = {
    "The published configuration": "btcv --parts windows stages --keep-ratios 0.5 0.25 0.1 --rounds 4",
    "The model that ships": "brain-structures --keep-ratios 1 0.5 0.1 0.25 --rounds 7",
    "Growth": f"brain-structures --parts growth --rounds 3 --plot {GROWTH.as_posix()}",
}


def benchmark_section(arguments: str) -> str:
    """Tables and notes of one run of ``scdseg benchmark``."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tables.md"
        command = [sys.executable, "-m", "scdseg.cli", "benchmark", *arguments.split(), "--markdown", str(file)]
        subprocess.run(command, check=True, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
        text = file.read_text(encoding="utf-8")
    picture = f"![Seconds by keep ratio, classes and voxels]({GROWTH.relative_to('docs').as_posix()})\n\n"
    return f"{picture if '--plot' in arguments else ''}{text}\nCommand: `scdseg benchmark {arguments}`\n"


def file_to_file(runs: int = 5) -> str:
    """The command ``scdseg segment`` on the sample volume, from its start to its end."""
    walls, peaks, steps = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        labels, report = Path(folder) / "labels.nii.gz", Path(folder) / "report.json"
        outputs = ["-o", str(labels), "--report", str(report)]
        command = [sys.executable, "-m", "scdseg.cli", "segment", str(sample_volume()), "-m", "brain-structures"]
        for _ in range(runs):
            began = time.perf_counter()
            subprocess.run([*command, *outputs], check=True, stdout=subprocess.DEVNULL)
            walls.append(time.perf_counter() - began)
            found = json.loads(report.read_text(encoding="utf-8"))
            peaks.append(found["peak_memory_bytes"]["process"])
            steps.append(found["seconds"])
    rows = [
        ["start and end of the process", f"{median(w - s['total'] for w, s in zip(walls, steps, strict=True)):.2f}"]
    ]
    rows += [[name, f"{median(s[name] for s in steps):.2f}"] for name in steps[0] if name != "total"]
    rows.append(["**all**", f"{median(walls):.2f} ({min(walls):.2f}–{max(walls):.2f})"])
    return (
        f"Colin27, 181 × 217 × 181 voxels of 1 mm, labels and report written; the process takes at most "
        f"{max(peaks) / 1e9:.2f} GB. Medians of {runs} runs (least–most).\n\n"
        f"{markdown_table(['step', 'seconds'], rows)}\n{Machine.choose('cpu')}. "
        "Command: `scdseg segment SCDSegmentation/Resources/SampleData/colin27_t1.nii.gz -m brain-structures "
        "-o labels.nii.gz --report report.json`\n"
    )


def worker(runs: int = 5) -> str:
    """A worker process: until it is ready, its first window and result, and the second ones."""
    with tempfile.TemporaryDirectory() as folder:
        times = [_worker_times(Path(folder)) for _ in range(runs)]
    rows = [[name, f"{median(t[name] for t in times):.2f}"] for name in times[0]]
    packages = [[name, f"{seconds:.2f}", str(count)] for name, seconds, count in _imports()]
    return (
        f"Medians of {runs} processes, seconds.\n\n{markdown_table(['from … to', 'seconds'], rows)}\n"
        "What is imported before the first window, by package (seconds of its own modules, without those that they "
        "import from others); nothing is imported later, which a test holds:\n\n"
        f"{markdown_table(['package', 'seconds', 'modules'], packages)}\n{Machine.choose('cpu')}.\n"
    )


def _worker_times(folder: Path) -> dict[str, float]:
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "scdseg.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def wait_for(wanted: Callable[[dict[str, Any]], bool]) -> float:
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "error":
                raise RuntimeError(event["message"])
            if wanted(event):
                break
        return time.perf_counter()

    loaded = wait_for(lambda event: event["event"] == "loaded")
    times = {"start to ready for requests": loaded - began}
    for number, which in enumerate(("first", "second"), start=1):
        request = {
            "id": number, "request": "segment", "images": [str(sample_volume())], "model": "brain-structures",
            "outputs": {"labels": str(folder / "labels.nrrd")},
        }  # fmt: skip
        sent = time.perf_counter()
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        window = wait_for(lambda event: event.get("step") == "windows" and event["done"] == 1)
        result = wait_for(lambda event: event["event"] == "result")
        times[f"{which} request to its first window"] = window - sent
        times[f"{which} request to its result"] = result - sent
    process.stdin.close()
    process.wait()
    return times


def _imports() -> list[tuple[str, float, int]]:
    """Packages that a worker imports: own seconds and modules, those of a twentieth of a second and more."""
    program = "from scdseg.lean_imports import *\nleave_out_unused()\nfrom scdseg.worker.engine import Engine\nEngine()"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", program], check=True, capture_output=True, text=True
    )
    seconds: dict[str, float] = defaultdict(float)
    modules: dict[str, int] = defaultdict(int)
    for own, name in re.findall(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)", done.stderr):
        package = name.partition(".")[0]
        seconds[package] += int(own) / 1e6
        modules[package] += 1
    rest = [name for name, value in seconds.items() if value < 0.05]
    shown = sorted(((n, s, modules[n]) for n, s in seconds.items() if n not in rest), key=lambda row: -row[1])
    return [*shown, (f"{len(rest)} others", sum(seconds[n] for n in rest), sum(modules[n] for n in rest))]


def main(given: Sequence[str] | None = None) -> int:
    """Measure and write the sections."""
    sections: dict[str, Callable[[], str]] = {
        title: lambda arguments=arguments: benchmark_section(arguments) for title, arguments in BENCHMARKS.items()
    }
    sections |= {"File to file": file_to_file, "The worker": worker}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", default=list(sections), metavar="SECTION", help=", ".join(sections))
    parser.add_argument("--page", type=Path, default=PAGE, help="page to write the sections to")
    arguments = parser.parse_args(given)
    for title in arguments.sections:
        if title not in sections:
            parser.error(f"there is no section {title!r}: {', '.join(sections)}")
    os.chdir(REPOSITORY)
    for title in arguments.sections:
        print(title, file=sys.stderr, flush=True)
        write_section(title, sections[title](), arguments.page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
