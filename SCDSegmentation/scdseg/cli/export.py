"""``scdseg export``: a training checkpoint becomes a model bundle."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

from scdseg.errors import InputError


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "export",
        help="write a training checkpoint as a model bundle",
        description="Write the network of a training checkpoint, with what its recipe says of it, as a model bundle.",
    )
    parser.add_argument("checkpoint", type=Path, metavar="CKPT", help="checkpoint of scdseg train, or the run's folder")
    parser.add_argument("bundle", type=Path, metavar="BUNDLE_DIR", help="folder to write; its name becomes the model's")
    parser.add_argument("--quality", type=Path, metavar="FILE.json", help="measured quality and speed to record")
    parser.add_argument("--card", type=Path, metavar="FILE.md", help="model card")
    parser.add_argument("--license", type=Path, metavar="FILE", help="the model's licence")
    parser.add_argument("--version", default="0.1.0", metavar="V", help="version of the model (default: 0.1.0)")
    parser.set_defaults(run=run)


def run(args: Namespace) -> int:
    """Export and say how large the model is."""
    quality = _read(args.quality)
    card, license_text = _read(args.card), _read(args.license)
    try:
        measured = json.loads(quality) if quality is not None else None
    except json.JSONDecodeError as error:
        raise InputError(f"{args.quality}: is not JSON ({error})") from error
    if measured is not None and not isinstance(measured, dict):
        raise InputError(f'{args.quality}: should be a JSON object, such as {{"dice": 0.8}}')
    try:
        from scdseg.training.export import export
    except ModuleNotFoundError as error:
        raise InputError(f"exporting needs the package {error.name!r}: pip install 'scdseg[train]'") from error
    bundle = export(
        args.checkpoint, args.bundle, quality=measured, readme=card, license=license_text, version=args.version
    )
    print(f"{bundle.path}: {len(bundle.labels)} labels, {bundle.bytes / 1e6:.1f} MB of weights")
    return 0


def _read(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text ({error})") from error
