"""``scdseg install-model``: take a model over from a ZIP archive."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "install-model",
        help="take a model over from a ZIP archive",
        description="Check a model that lies in a ZIP archive, and put it where models are looked for. Nothing else of "
        "the archive is ever written, and nothing of it is run.",
    )
    parser.add_argument("archive", type=Path, metavar="FILE.zip", help="archive with one model bundle in it")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="folder of models (default: the user's own)")
    parser.set_defaults(run=run)


def run(args: Namespace) -> int:
    """Install and say where the model is."""
    from scdseg.bundle import install_bundle

    bundle = install_bundle(args.archive, args.folder)
    print(f"{bundle.path}: {len(bundle.labels)} labels, {bundle.bytes / 1e6:.1f} MB of weights")
    return 0
