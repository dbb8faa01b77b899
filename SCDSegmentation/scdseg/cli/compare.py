"""``scdseg compare``: training runs in one table."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from scdseg.errors import InputError

if TYPE_CHECKING:
    from scdseg.training.compare import Comparison

_EPILOG = """\
Dice is the last validation's up to the run's last checkpoint; a * marks runs whose validation cases, their grids or
their windows' overlap differ from the first run's. Everything else is measured now, on this machine: a training step
(forward pass, loss, backward pass, optimiser) at the run's batch size, and the forward pass of one window. The runs
take turns in an order drawn anew in every round; each × is over the first dense run, or the first run where none is
dense.

The CSV has a row a run with Dice by label, medians and quartiles; seconds are of a step or of a window, memory is in
bytes. The JSON has all of it; the Markdown file has the printed table and its notes.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "compare",
        help="compare training runs: quality, cost, throughput, memory",
        description="Compare runs of scdseg train: quality as they were validated, and what their networks cost.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder that scdseg train wrote")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        action="append",
        default=[],
        metavar="TABLE",
        help="write the table as .csv, .md or .json; may be given several times",
    )
    parser.add_argument("--device", default="auto", help="auto, cuda, mps or cpu (default: auto)")
    parser.add_argument(
        "--precision",
        choices=("auto", "bf16", "fp32"),
        default="auto",
        help="number format of the networks (default: auto)",
    )
    parser.add_argument(
        "--rounds", type=_rounds, default=5, metavar="N", help="how often everything is timed (default: 5)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compare, print and write."""
    try:
        from scdseg.training.compare import EXTENSIONS, compare_runs
    except ModuleNotFoundError as error:
        raise InputError(f"comparing runs needs the package {error.name!r}: pip install 'scdseg[train]'") from error
    from scdseg.cli.progress import progress_bar
    from scdseg.volumes import check_outputs, staged

    check_outputs([(path, EXTENSIONS) for path in args.output], [])
    with progress_bar() as progress:

        def show(done: int, total: int) -> None:
            progress("measuring", done, total, None)

        comparison = compare_runs(args.runs, args.device, args.precision, args.rounds, show)
    with staged(args.output) as temporary:
        for path in args.output:
            comparison.save(temporary[path])
    _print(comparison)
    for path in args.output:
        print(f"wrote {path}")
    return 0


def _rounds(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"should be a whole number from 1, not {text}")
    return int(text)


def _print(comparison: Comparison) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    header, *rows = comparison.cells()
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for number, column in enumerate(zip(header, *rows, strict=True)):
        longest = max(len(word) for cell in column for word in cell.split())
        table.add_column(column[0], justify="left" if number < 2 else "right", no_wrap=number == 0, min_width=longest)
    for row in rows:
        table.add_row(*map(escape, row))
    Console().print(table)
    for note in comparison.notes():
        print(f"scdseg: {'warning: ' if note.startswith('*') else ''}{note}", file=sys.stderr)
