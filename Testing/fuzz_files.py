"""Read files and lines that were made to harm, by number, and tell what came of it.

python Testing/fuzz_files.py [TARGET …] [--cases N] [--first N] [--seed S] [--jobs N] [-o FILE.json]

Targets: metadata, safetensors, torch, checkpoint and archive (models); nifti, nrrd, metaimage and dicom (volumes);
requests (to the worker) and recipes. A case either is read or ends in one of the project's own errors. Anything else
counts: another exception, a case of more than five seconds, the process's end, a message that cannot be shown, code
that is run, a file that is changed outside the case's folder, and more than a gibibyte of memory. A case is the same
whenever its number and the seed are. Linux only.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from fuzzing.child import STATE, TARGETS

HANG_S = 5.0
_START_S = 120.0
_TESTING = Path(__file__).resolve().parent


@dataclass
class Outcome:
    """What came of a target's cases.

    Args:
        target: its name.
        cases: that were run.
        refused: that ended in one of the project's errors; the others were read.
        slowest_s: the longest case.
        peak_bytes: of a process's resident memory, libraries and all.
        seconds: of all cases.
        findings: what must not be: case, kind and text.
    """

    target: str
    cases: int = 0
    refused: int = 0
    slowest_s: float = 0.0
    peak_bytes: int = 0
    seconds: float = 0.0
    findings: list[dict[str, Any]] = field(default_factory=list)


def fuzz(target: str, first: int, last: int, seed: int) -> Outcome:
    """Run a target's cases; a case that ends its process or hangs is noted, and the next ones run in a new process."""
    outcome = Outcome(target)
    began = time.monotonic()
    while first < last:
        with tempfile.TemporaryDirectory(prefix="fuzz-", dir="/dev/shm") as folder:
            reached = _run_child(target, first, last, seed, Path(folder), outcome)
            beside = {path.name for path in Path(folder).iterdir()} - {"work", "state", "canary.raw"}
            if beside:
                outcome.findings.append({"case": reached, "kind": "violation", "text": f"files outside: {beside}"})
        outcome.cases += reached - first
        first = reached
    outcome.seconds = time.monotonic() - began
    return outcome


def _run_child(target: str, first: int, last: int, seed: int, folder: Path, outcome: Outcome) -> int:
    """Run cases in one process; returns the number behind the last one that was run."""
    (folder / "state").write_bytes(STATE.pack(first, 0.0))
    process = subprocess.Popen(
        [sys.executable, "-m", "fuzzing.child", target, str(first), str(last), str(seed), str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": f"{_TESTING}{os.pathsep}{_TESTING.parent / 'SCDSegmentation'}",
            "OMP_NUM_THREADS": "1",
        },
    )
    lines: Queue[bytes] = Queue()
    errors: list[bytes] = []
    readers = [
        threading.Thread(target=lambda: [lines.put(line) for line in process.stdout], daemon=True),
        threading.Thread(target=lambda: errors.extend(process.stderr), daemon=True),
    ]
    for reader in readers:
        reader.start()
    started = time.monotonic()
    ended = hung = False
    with (folder / "state").open("r+b") as file:
        state = mmap.mmap(file.fileno(), STATE.size)
    while process.poll() is None:
        time.sleep(0.05)
        _, case_began = STATE.unpack(state[:])
        limit, since = (HANG_S, case_began) if case_began else (_START_S, started)
        if time.monotonic() - since > limit:
            hung = True
            process.send_signal(signal.SIGKILL)
            process.wait()
    for reader in readers:
        reader.join()
    while True:
        try:
            told = json.loads(lines.get_nowait())
        except Empty:
            break
        if told["kind"] == "end":
            ended = True
            outcome.refused += told["refused"]
            outcome.slowest_s = max(outcome.slowest_s, told["slowest"])
            outcome.peak_bytes = max(outcome.peak_bytes, told["peak_bytes"])
        else:
            outcome.findings.append(told)
    case, case_began = STATE.unpack(state[:])
    if ended:
        return last
    last_words = b"".join(errors[-3:]).decode(errors="replace").strip()
    if not case_began:
        raise RuntimeError(f"{target}: the cases could not be prepared: {last_words}")
    text = f"more than {HANG_S:g} s" if hung else f"the process ended with {process.returncode}: {last_words}"
    outcome.findings.append({"case": case, "kind": "hang" if hung else "crash", "text": text})
    return case + 1


def main() -> int:
    """Run, print a table, and return 1 if anything was found."""
    parser = argparse.ArgumentParser(description="Read files that were made to harm.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)} (default: all)")
    parser.add_argument("--cases", type=int, default=110_000, metavar="N", help="in all (default: 110000)")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="number of the first case")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="other cases by another seed")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="targets at once")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.json", help="write what was found")
    args = parser.parse_args()
    unknown = [target for target in args.targets if target not in TARGETS]
    if unknown:
        parser.error(f"unknown target {unknown[0]!r}: give {', '.join(TARGETS)}")
    targets = args.targets or list(TARGETS)
    each = -(-args.cases // len(targets))
    with ThreadPoolExecutor(args.jobs) as pool:
        outcomes = list(pool.map(lambda target: fuzz(target, args.first, args.first + each, args.seed), targets))
    print(f"{'target':12} {'cases':>7} {'refused':>8} {'slowest, s':>10} {'peak, MB':>9} {'found':>6}")
    for o in outcomes:
        print(
            f"{o.target:12} {o.cases:7} {o.refused:8} {o.slowest_s:10.2f} {o.peak_bytes / 1e6:9.0f} {len(o.findings):6}"
        )
        for finding in o.findings[:20]:
            print(f"  case {finding['case']}: {finding['kind']}: {finding['text']}")
    found = sum(len(o.findings) for o in outcomes)
    print(f"{sum(o.cases for o in outcomes)} cases, {found} findings, seed {args.seed}")
    if args.output:
        args.output.write_text(json.dumps([asdict(o) for o in outcomes], indent=2) + "\n", encoding="utf-8")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
