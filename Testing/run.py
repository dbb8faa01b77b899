"""Run what has to pass before a change lands: style, types and the tests that need neither a GPU nor much time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
# Qt and PyTorch do not share a process in Slicer, nor here.
GUI_TESTS = ("Testing/host", "Testing/slicer_module")
TESTS = ("pytest", "-m", "not slow and not gpu")
CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    (*TESTS, *(f"--ignore={folder}" for folder in GUI_TESTS)),
    (*TESTS, *GUI_TESTS),
)


def main() -> int:
    """Run every check, so that one run shows all that is wrong; the exit code is 1 if any failed."""
    failed = []
    for check in CHECKS:
        print(f"\n== {' '.join(check)}", flush=True)
        if subprocess.run([sys.executable, "-m", *check], cwd=REPOSITORY).returncode:
            failed.append(" ".join(check))
    if failed:
        print(f"\nFailed: {'; '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
