"""Run what has to pass before a change lands: style, types and the tests that need neither a GPU nor much time."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

REPOSITORY = Path(__file__).resolve().parent.parent
# Qt and PyTorch do not share a process in Slicer, nor here.
GUI_TESTS = ("Testing/host", "Testing/slicer_module")
TESTS = ("pytest", "-m", "not slow and not gpu")
ENGINE_CHECK = (*TESTS, *(f"--ignore={folder}" for folder in GUI_TESTS))
OTHER_CHECKS = ((*TESTS, *GUI_TESTS), ("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",))


def main() -> int:
    """Run every check, so that one run shows all that is wrong; the exit code is 1 if any failed.

    The checks run beside each other: most of the time the tests wait for processes of their own.
    """
    # Two runs on two cores: threads that wait for each other would only be in each other's way.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        beside = []
        for number, check in enumerate(OTHER_CHECKS):
            output = Path(folder) / f"{number}.txt"
            with output.open("wb") as file:
                beside.append((check, output, _started(check, environment, file)))
        print(f"\n== {' '.join(ENGINE_CHECK)}", flush=True)
        if _started(ENGINE_CHECK, environment).wait():
            failed.append(" ".join(ENGINE_CHECK))
        for check, output, process in beside:
            code = process.wait()
            print(f"\n== {' '.join(check)}\n{output.read_text(encoding='utf-8', errors='replace')}", flush=True)
            if code:
                failed.append(" ".join(check))
    if failed:
        print(f"\nFailed: {'; '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _started(check: Sequence[str], environment: dict[str, str], output: IO[bytes] | None = None) -> subprocess.Popen:
    command = [sys.executable, "-m", *check]
    return subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=output, stderr=output)


if __name__ == "__main__":
    sys.exit(main())
