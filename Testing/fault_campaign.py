"""Strike faults by number at the module in the embedded host and its real worker, and tell what survived.

python Testing/fault_campaign.py [--only N … | --each] [--seed S] [-o FILE.json] [--markdown FILE.md]

A fault is survived when the application goes on, the user is told what happened and what to do, the scene holds either
what it held before or the complete new result, no process and no temporary file is left, and the next Apply gives what
it gave before the fault. Linux; the faults of a small disk need the right to mount one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from typing import Any
from uuid import uuid4

import psutil

TESTING = Path(__file__).resolve().parent
_STUCK_S = 240.0
_MARK = "SCDSEG_CAMPAIGN"
_COLUMNS = {"lost": ("lost", "between"), "orphans": ("orphan",), "leftovers": ("leftover",), "crashes": ("crash",)}


def strike(seed: int, folder: Path, disk: Path | None, only: list[str]) -> tuple[list[dict[str, Any]], int]:
    """Strike all faults, or those of some numbers.

    Returns:
        What came of each, and how many faults the catalogue has.
    """
    mark = uuid4().hex
    environment = {
        **os.environ,
        _MARK: mark,
        "QT_QPA_PLATFORM": "offscreen",
        "PYTHONPATH": f"{TESTING}{os.pathsep}{TESTING.parent / 'SCDSegmentation'}",
    }
    files = folder / "files"
    subprocess.run(
        [sys.executable, "-m", "faults.make_files", str(files), str(seed)],
        env=environment,
        check=True,
        cwd=folder,
        stderr=subprocess.DEVNULL,  # the libraries' own words on what they read
    )
    results: dict[int, dict[str, Any]] = {}
    total, first = 0, 0
    while True:
        command = [sys.executable, "-m", "faults.bench", str(first), str(seed), str(folder), str(files)]
        command += ["" if disk is None else str(disk), *only]
        last: dict[str, Any] = {}
        ended = False
        for told in _lines(command, environment, folder):
            if told.get("end"):
                ended = True
            elif "family" in told:
                last, total = told, told["total"]
            elif "violation" in told:
                results[told["number"]] = {**last, **told}
                _print(results[told["number"]])
        if ended:
            break
        if not last:
            raise RuntimeError("the application did not start; run python -m faults.bench by hand")
        if last["number"] not in results:
            text = "the application ended or hung"
            results[last["number"]] = {**last, "message": "", "violation": ["crash", text], "seconds": 0}
            _print(results[last["number"]])
        first = last["number"] + 1
        _end_marked(mark)
        if first >= total:
            break
    time.sleep(1)
    left = _end_marked(mark)
    if left:
        results[max(results)]["violation"] = ["orphan", f"behind all: {left}"]
    return [results[number] for number in sorted(results)], total


def _lines(command: list[str], environment: dict[str, str], folder: Path) -> Iterator[dict[str, Any]]:
    """What an application tells, until it ends or is silent for too long and is ended."""
    with (folder / "stderr").open("ab") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment, cwd=folder)
    lines: Queue[bytes | None] = Queue()

    def read() -> None:
        for line in process.stdout or ():
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    try:
        while (line := lines.get(timeout=_STUCK_S)) is not None:
            yield json.loads(line)
    except Empty:
        process.kill()
    process.wait()


def _end_marked(mark: str) -> list[str]:
    """End every process of the campaign that is left, and name them."""
    left = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(_MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                left.append(" ".join(process.cmdline()[-4:]))
                process.kill()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return left


def _print(result: dict[str, Any]) -> None:
    verdict = "survived" if result["violation"] is None else ": ".join(result["violation"])
    print(
        f"{result['number']:4} {result['seconds']:6.1f} s  {result['family']}: {result['name']}: {verdict}", flush=True
    )


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """A small disk, where this user may mount one."""
    from faults.disk import DISK_BYTES

    disk = folder / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(disk)]
    if subprocess.run(command, capture_output=True).returncode:
        print("no small disk could be mounted: its faults are left out", file=sys.stderr)
        yield None
        return
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


def table(results: list[dict[str, Any]]) -> str:
    """Families of faults and what became of them, as Markdown."""
    families: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        families.setdefault(result["family"], []).append(result)
    families["**all**"] = results
    rows = ["| family | faults | survived | lost results | orphan processes | leftover files | crashes of the GUI |"]
    rows += ["|---|---:|---:|---:|---:|---:|---:|"]
    for family, members in families.items():
        kinds = [member["violation"][0] for member in members if member["violation"]]
        counts = [sum(kind in names for kind in kinds) for names in _COLUMNS.values()]
        rows.append(f"| {family} | {len(members)} | {len(members) - len(kinds)} | {' | '.join(map(str, counts))} |")
    return "\n".join(rows)


def main() -> int:
    """Strike, print the table, and return 1 if a fault was not survived."""
    parser = argparse.ArgumentParser(description="Strike faults, and tell what survived.")
    parser.add_argument("--only", nargs="+", default=[], metavar="N", help="numbers of faults")
    parser.add_argument("--each", action="store_true", help="the first fault of each family")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="other moments and files by another seed")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.json", help="write what came of every fault")
    parser.add_argument("--markdown", type=Path, metavar="FILE.md", help="write the table")
    args = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="campaign-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with small_disk(folder) as disk:
            results, total = strike(args.seed, folder, disk, ["each"] if args.each else args.only)
    text = table(results)
    seconds = time.monotonic() - began
    failed = [result for result in results if result["violation"]]
    print(
        f"\n{text}\n\n{len(results)} of {total} faults in {seconds:.0f} s, {len(failed)} not survived, seed {args.seed}"
    )
    for result in failed:
        _print(result)
    if args.output:
        args.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if args.markdown:
        args.markdown.write_text(f"{text}\n", encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
