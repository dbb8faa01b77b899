"""``scdseg demo``: the Slicer module at work without Slicer, on the sample volume."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from scdseg.errors import InputError, ScdsegError
from scdseg.resources import embedded_host, sample_volume, slicer_module


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "demo",
        help="the module in the embedded host on the sample volume",
        description="Segment a volume with the Slicer module's panel, in a host that needs no Slicer (extra: gui), "
        "and write the scene, the results and pictures of both.",
    )
    parser.add_argument("-o", "--output", default="scdseg-demo", metavar="DIR", help="folder (default: ./scdseg-demo)")
    parser.add_argument("--show", action="store_true", help="show the window, and leave it open")
    parser.add_argument("--image", metavar="FILE", help="volume to segment (default: the sample volume)")
    parser.add_argument("-m", "--model", help="a model that `scdseg models` lists (default: the panel's choice)")
    parser.add_argument(
        "--keep-ratio", type=float, metavar="R", help="share of tokens kept at each stage (default: the model's)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Start the host and drive the panel; 0 if all went well."""
    image = Path(args.image) if args.image else sample_volume()
    if not image.is_file():
        raise InputError(f"{image} is not there: give the path of a NIfTI, NRRD or MetaImage file")
    if not embedded_host().is_dir():
        raise InputError(
            f"{embedded_host()} is not there: the Slicer extension comes without the embedded host; install the Python "
            "package with its extra [gui]"
        )
    sys.path.insert(0, str(embedded_host().parent))
    demo = import_module("embedded_slicer.demo")
    try:
        demo.run_demo(slicer_module(), image, Path(args.output), args.model, args.keep_ratio, args.show)
    except (demo.DemoError, demo.MissingPackages) as error:
        raise ScdsegError(str(error)) from error
    return 0
