"""``scdseg sweep``: what keep ratios change, in labels and in time."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from scdseg.cli.segment import add_threads_option
from scdseg.errors import InputError

if TYPE_CHECKING:
    from scdseg.inference.result import Result
    from scdseg.inference.sweep import Sweep, SweepRow

_EPILOG = """\
sweep.csv has one row a keep ratio, from the densest on:
  keep_ratio           share of tokens kept at each pruning stage
  tokens_kept_STAGE    tokens of a window that the stage keeps
  tokens_scored        tokens scored, summed over stages and windows
  seconds_windows      seconds that the network takes in a run by itself
  seconds_total        seconds of this run by itself, with a loaded model and without writing
  dice_mean            mean over the labels that this run or the densest found
  dice_VALUE_NAME      Dice of a label with the densest run's; empty if neither found it

sweep.json has all of it, with model, device, versions, warnings, the suggested keep ratio, and the seconds of the sweep
beside those of separate runs that would each read and prepare the images.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "sweep",
        help="compare keep ratios on an image, and suggest one (extra: plot)",
        description="Segment an image at several keep ratios, preparing it once, and compare the labels with those of "
        "the densest run. Writes sweep.csv, sweep.json, sweep.png and sweep.svg.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="one for each channel of the model")
    parser.add_argument("-m", "--model", required=True, help="a model that `scdseg models` lists, or the folder of one")
    parser.add_argument(
        "-o", "--output", required=True, type=Path, metavar="DIR", help="folder to write to; made if it is not there"
    )
    parser.add_argument(
        "--keep-ratios",
        nargs="+",
        type=float,
        default=[1.0, 0.5, 0.25, 0.1],
        metavar="R",
        help="shares of tokens kept at each stage, above 0 to 1 (default: 1 0.5 0.25 0.1)",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.98,
        metavar="T",
        help="mean Dice with the densest run that the suggested keep ratio reaches (default: 0.98)",
    )
    parser.add_argument("--save-labels", action="store_true", help="also write keep_R_labels.nii.gz for every ratio")
    parser.add_argument("--device", default="auto", metavar="DEVICE", help="auto, cuda, mps or cpu (default: auto)")
    parser.add_argument(
        "--overlap", type=float, metavar="O", help="overlap of windows, 0 to 0.9 (default: the model's)"
    )
    parser.add_argument(
        "--precision",
        choices=("auto", "bf16", "fp32"),
        default="auto",
        help="number format of the network (default: auto)",
    )
    add_threads_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Sweep as the arguments ask; 0 if all went well."""
    try:
        from scdseg.cli.sweep_plot import plot
    except ModuleNotFoundError as error:
        raise InputError(
            "the plot of a sweep needs matplotlib: pip install matplotlib, or install scdseg with its extra [plot]"
        ) from error
    from scdseg.cli.progress import progress_bar
    from scdseg.inference.sweep import densest_first, sweep
    from scdseg.volumes import check_outputs, staged, write_volume

    table, report, *pictures = (args.output / f"sweep.{kind}" for kind in ("csv", "json", "png", "svg"))
    ratios = densest_first(args.keep_ratios)
    labels = {ratio: args.output / f"keep_{ratio:g}_labels.nii.gz" for ratio in ratios if args.save_labels}
    outputs = [table, report, *pictures, *labels.values()]
    with _folder(args.output):
        check_outputs([(path, (path.suffix,)) for path in outputs], args.images)
        with staged(outputs) as temporary:

            def write_labels(result: Result, row: SweepRow) -> None:
                if row.keep_ratio in labels:
                    write_volume(result.labels, temporary[labels[row.keep_ratio]])

            with progress_bar() as progress:
                measured = sweep(
                    args.images,
                    args.model,
                    ratios,
                    args.tolerance,
                    device=args.device,
                    overlap=args.overlap,
                    precision=args.precision,
                    progress=progress,
                    on_result=write_labels,
                    threads=args.threads,
                )
            _write_table(measured, temporary[table])
            temporary[report].write_text(json.dumps(measured.to_json(), indent=2) + "\n", encoding="utf-8")
            plot(measured, [temporary[picture] for picture in pictures])
    for warning in measured.warnings:
        print(f"scdseg: warning: {warning}", file=sys.stderr)
    _print(measured)
    for path in outputs:
        print(f"wrote {path}")
    return 0


@contextmanager
def _folder(folder: Path) -> Iterator[None]:
    """A folder to write to; if it was not there before, it stays only if the block ends without an error."""
    from scdseg.volumes.output import make_output_folder

    made = not folder.exists()
    make_output_folder(folder)
    try:
        yield
    except BaseException:
        if made:
            with suppress(OSError):
                folder.rmdir()
        raise


def _write_table(sweep: Sweep, path: Path) -> None:
    stages = range(1, len(sweep.rows[0].tokens_kept) + 1)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            [
                "keep_ratio",
                *(f"tokens_kept_{stage}" for stage in stages),
                "tokens_scored",
                "seconds_windows",
                "seconds_total",
                "dice_mean",
                *(f"dice_{value}_{name.replace(' ', '_')}" for value, name in sweep.labels.items()),
            ]
        )
        for row in sweep.rows:
            dice = [row.mean_dice if row.dice else None, *(row.dice.get(value) for value in sweep.labels)]
            writer.writerow(
                [
                    f"{row.keep_ratio:g}",
                    *row.tokens_kept,
                    row.tokens_scored,
                    f"{row.seconds_windows:.3f}",
                    f"{row.seconds_total:.3f}",
                    *("" if value is None else f"{value:.6g}" for value in dice),
                ]
            )


def _print(sweep: Sweep) -> None:
    """The table, the suggestion, and what the sweep saved."""
    from rich.console import Console
    from rich.table import Table

    densest, document = sweep.rows[0].keep_ratio, sweep.to_json()
    table = Table(title=f"{sweep.common['model']['name']}: seconds, and Dice with keep ratio {densest:g}")
    for column in ("keep ratio", "tokens kept", "windows s", "in all s", "mean Dice", "lowest"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in sweep.rows:
        table.add_row(
            f"{row.keep_ratio:g}",
            " → ".join(map(str, row.tokens_kept)),
            f"{row.seconds_windows:.2f}",
            f"{row.seconds_total:.2f}",
            *((f"{row.mean_dice:.4f}", f"{min(row.dice.values()):.4f}") if row.dice else ("nothing", "found")),
        )
    Console().print(table)
    reason = f"mean Dice of at least {sweep.tolerance:g}" if sweep.rows[0].dice else "no label was found to compare"
    print(f"suggested keep ratio: {document['suggested_keep_ratio']:g} ({reason})")
    seconds = document["seconds"]
    print(
        f"{seconds['sweep']:.1f} s, {seconds['ratio']:.0%} of the {seconds['separate_runs']:.1f} s of "
        "separate runs with a loaded model"
    )
