"""Run what has to pass before a change lands: style, types and the tests that need neither a GPU nor much time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
# Qt and PyTorch do not share a process in Slicer, nor here.
GUI_TESTS = ("Testing/host", "Testing/slicer_module")
TESTS = ("pytest", "-m", "not slow and not gpu")
STYLE_CHECKS = (("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",))
TEST_RUNS = ((*TESTS, *(f"--ignore={folder}" for folder in GUI_TESTS)), (*TESTS, *GUI_TESTS))


def main() -> int:
    """Run every check, so that one run shows all that is wrong; the exit code is 1 if any failed."""
    # They need one core and little of that; the tests, which mostly wait for processes of their own, leave it to them.
    style = [
        subprocess.Popen(
            [sys.executable, "-m", *check], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for check in STYLE_CHECKS
    ]
    failed = []
    for check in TEST_RUNS:
        print(f"\n== {' '.join(check)}", flush=True)
        if subprocess.run([sys.executable, "-m", *check], cwd=REPOSITORY).returncode:
            failed.append(" ".join(check))
    for check, process in zip(STYLE_CHECKS, style, strict=True):
        print(f"\n== {' '.join(check)}\n{process.communicate()[0]}", flush=True)
        if process.returncode:
            failed.append(" ".join(check))
    if failed:
        print(f"\nFailed: {'; '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
