"""Run what has to pass before a change lands: style, types and the tests that need neither a GPU nor much time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("pytest", "-m", "not slow and not gpu"),
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
