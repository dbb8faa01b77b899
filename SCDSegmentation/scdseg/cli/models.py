"""``scdseg models``: list the models that are found, with what they segment."""

from __future__ import annotations

import argparse
import json
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "models",
        help="list the models found, with what they segment",
        description="List the models in the folders that SCDSEG_MODELS names, in the user's folder and among those "
        "that ship.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the models, and what keeps unreadable ones from being used."""
    from scdseg.bundle import find_bundles, model_folders

    bundles, problems = find_bundles()
    if args.json:
        listing = {
            "models": [_as_json(bundle) for bundle in bundles],
            "problems": [str(problem) for problem in problems],
            "folders": [str(folder) for folder in model_folders()],
        }
        print(json.dumps(listing, indent=2))
        return 0
    _print_models(bundles, problems, model_folders())
    return 0


def _as_json(bundle: Any) -> dict[str, Any]:
    lowest, highest = bundle.keep_ratio_range
    return {
        "name": bundle.name,
        "title": bundle.title,
        "version": bundle.version,
        "description": bundle.description,
        "labels": [{"value": label.value, "name": label.name} for label in bundle.labels],
        "channels": list(bundle.channels),
        "keep_ratio": bundle.keep_ratio,
        "keep_ratio_range": [lowest, highest],
        "bytes": bundle.bytes,
        "path": str(bundle.path),
    }


def _print_models(bundles: list[Any], problems: list[Any], folders: list[Any]) -> None:
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console()
    for bundle in bundles:
        lowest, highest = bundle.keep_ratio_range
        ratios = f"{lowest:g}" if lowest == highest else f"{lowest:g}–{highest:g}, default {bundle.keep_ratio:g}"
        # Text, not str: names come from files, and rich would read square brackets in them as mark-up.
        console.print(Text(bundle.name, style="bold"))
        for line in (
            bundle.description,
            f"inputs: {', '.join(bundle.channels)}; keep ratio: {ratios}; {bundle.bytes / 1e6:.1f} MB",
            f"{len(bundle.labels)} labels: " + ", ".join(label.name for label in bundle.labels),
        ):
            console.print(Padding(Text(line), (0, 0, 0, 2)))
        # Unbroken, so that it can be copied.
        console.print(Text(f"  {bundle.path}"), soft_wrap=True)
    if not bundles:
        console.print(Text("No models found. Searched: " + ", ".join(str(folder) for folder in folders)))
    if problems:
        console.print(Text("\nFolders that look like models but cannot be used:"))
        for problem in problems:
            console.print(Text(f"  {problem}"))
