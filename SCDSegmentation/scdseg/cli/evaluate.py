"""``scdseg evaluate``: Dice, 95 % Hausdorff distance and volumes against reference labels."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from scdseg.evaluation import Evaluation


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "evaluate",
        help="compare a model's labels with reference labels at several keep ratios",
        description="Segment an image at several keep ratios and compare each result with reference labels.",
    )
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="one for each channel of the model")
    parser.add_argument("-m", "--model", required=True, help="name of a model, or the folder of a bundle")
    parser.add_argument("--reference", required=True, type=Path, metavar="LABELS", help="label map on the image's grid")
    parser.add_argument(
        "--mapping",
        type=Path,
        metavar="FILE.json",
        help='reference values to model values, as {"37": 17, "38": 53}; without it they are the same',
    )
    parser.add_argument("--keep-ratios", nargs="+", type=float, default=[1.0, 0.5, 0.25, 0.1], metavar="R")
    parser.add_argument(
        "--overlap", type=float, metavar="O", help="overlap of windows, 0 to 0.9 (default: the model's)"
    )
    parser.add_argument(
        "--token-choice",
        nargs="+",
        choices=("learned", "random", "inverted", "cls_attention"),
        default=["learned"],
        help="how tokens are chosen, one or several to compare (default: learned, as the model does it)",
    )
    parser.add_argument("-o", "--output", type=Path, metavar="TABLE.csv", help="write the table")
    parser.add_argument("--device", default="auto", help="auto, cuda, mps or cpu")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from rich.console import Console

    from scdseg.evaluation.evaluate import check_table, evaluate
    from scdseg.evaluation.mapping import read_mapping

    if arguments.output is not None:
        check_table(arguments.output, [*arguments.images, arguments.reference])
    mapping = read_mapping(arguments.mapping) if arguments.mapping is not None else None
    with Console(stderr=True).status("Segmenting …"):
        evaluation = evaluate(
            arguments.images,
            arguments.model,
            arguments.reference,
            mapping,
            arguments.keep_ratios,
            arguments.device,
            overlap=arguments.overlap,
            token_choices=arguments.token_choice,
        )
    if arguments.output is not None:
        evaluation.save(arguments.output)
    if arguments.json:
        print(json.dumps(evaluation.to_json(), indent=2))
    else:
        _print_table(evaluation)
    return 0


def _print_table(evaluation: Evaluation) -> None:
    from rich.console import Console

    console = Console()
    for choice in evaluation.seconds:
        console.print(_table_of(evaluation, choice))
    if len(evaluation.seconds) > 1:
        console.print(_table_of_choices(evaluation))


def _table_of(evaluation: Evaluation, choice: str) -> Table:
    """All labels by keep ratio, with tokens chosen in one way."""
    from rich.table import Table

    seconds = evaluation.seconds[choice]
    chosen = "" if choice == "learned" else f", tokens chosen by: {choice}"
    table = Table(title=f"{evaluation.model['name']}: Dice / HD95 in mm by keep ratio{chosen}")
    table.add_column("label")
    for ratio in seconds:
        table.add_column(f"{ratio:g}", justify="right")
    cells: dict[str, list[str]] = {}
    for row in evaluation.rows:
        if row.token_choice == choice:
            cells.setdefault(row.name, []).append(f"{row.dice:.3f} / {row.hd95_mm:.1f}")
    for name, columns in cells.items():
        table.add_row(name, *columns)
    table.add_section()
    table.add_row("mean Dice", *(f"{evaluation.mean_dice(ratio, choice):.3f}" for ratio in seconds))
    table.add_row("seconds", *(f"{value:.1f}" for value in seconds.values()))
    return table


def _table_of_choices(evaluation: Evaluation) -> Table:
    """Mean Dice by the way in which tokens are chosen, and keep ratio."""
    from rich.table import Table

    table = Table(title=f"{evaluation.model['name']}: mean Dice by choice of tokens and keep ratio")
    table.add_column("tokens chosen by")
    for ratio in next(iter(evaluation.seconds.values())):
        table.add_column(f"{ratio:g}", justify="right")
    for choice, seconds in evaluation.seconds.items():
        table.add_row(choice, *(f"{evaluation.mean_dice(ratio, choice):.4f}" for ratio in seconds))
    return table
