"""``scdseg diagnose``: what developers need to know of this computer, to paste into an e-mail or an issue."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "diagnose",
        help="tell versions, devices and models, for the developers",
        description="Tell what the developers need to know of this computer to find an error: versions, devices, "
        "memory, models. The names of models, which are their folders', are in it; no other names of files or "
        "folders, no paths, nothing of images.",
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="write the text into a file instead of printing it")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print or write the text."""
    from scdseg import diagnostics
    from scdseg.errors import InputError

    text = diagnostics.compose(
        {
            "Versions": diagnostics.software(),
            "Packages": diagnostics.packages(),
            "Hardware": diagnostics.hardware(Path(tempfile.gettempdir())),
            "Devices": _devices(),
            "Environment variables": diagnostics.environment(),
            "Models": _models(),
        }
    )
    if args.output is None:
        print(text, end="")
        return 0
    path = Path(args.output)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error}): choose another file") from error
    print(f"wrote {path}")
    return 0


def _devices() -> list[str]:
    from scdseg.diagnostics import devices
    from scdseg.redaction import redact

    try:
        from scdseg.worker.probe import probe

        return devices(probe())
    except Exception as error:  # a broken installation, which this command is there to tell of, fails in many ways
        return [f"cannot be looked for: {redact(f'{type(error).__name__}: {error}')}"]


def _models() -> list[str]:
    from scdseg.diagnostics import model
    from scdseg.redaction import redact

    try:
        from scdseg.bundle import find_bundles, model_folders

        bundles, problems = find_bundles()
    except Exception as error:
        return [f"cannot be looked for: {redact(f'{type(error).__name__}: {error}')}"]
    folders = model_folders()
    lines = [model(bundle.name, bundle.version, bundle.weights_sha256) for bundle in bundles]
    return [*lines, *(f"cannot be used: {redact(str(problem), paths=folders)}" for problem in problems)]
