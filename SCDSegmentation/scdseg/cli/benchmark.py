"""``scdseg benchmark``: how fast this machine is, and what it gains by sparse tokens."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from scdseg.benchmark import PARTS, PEERS
from scdseg.errors import InputError

_EPILOG = """\
Networks take turns in an order drawn anew in every round. Ours are the dense UNETR, once with fused attention and once
with MONAI's transformer blocks, and SCD-UNETR at each keep ratio; the others are MONAI's as its users set them up. All
have as many channels and classes as the model, and fresh weights, on which time does not depend.

  scdseg benchmark                                     the model that ships, its volume, its stages
  scdseg benchmark btcv --training --peers             the published configuration against its baseline alone
  scdseg benchmark --parts growth --plot growth.png    cost by keep ratio, classes and volume
"""


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "benchmark",
        help="measure speed and memory on this machine, beside other networks",
        description="Measure one window, a whole volume, and where the time goes.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model",
        nargs="?",
        default="brain-structures",
        help="a model that `scdseg models` lists, the folder of one, or btcv or brats, the paper's configurations "
        "(default: brain-structures)",
    )
    parser.add_argument(
        "--image",
        type=Path,
        action="append",
        default=[],
        help="volume for the part 'volume', one for each channel (default: the sample volume, for brain-structures; "
        "btcv and brats have no preprocessing for any)",
    )
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, help="what to measure (default: all but growth, which takes minutes)"
    )
    parser.add_argument(
        "--peers", nargs="*", choices=PEERS, default=PEERS, help="other networks (default: all; none without a name)"
    )
    parser.add_argument(
        "--keep-ratios",
        nargs="+",
        type=float,
        metavar="R",
        help="each in (0, 1], for all parts but growth; stages are measured at the last (default: the model's)",
    )
    parser.add_argument("--training", action="store_true", help="time training steps, too")
    parser.add_argument("--device", default="auto", help="auto, cuda, mps or cpu (default: auto)")
    parser.add_argument(
        "--precision", choices=("auto", "bf16", "fp32"), default="auto", help="number format (default: auto)"
    )
    parser.add_argument("--threads", type=_count, metavar="N", help="of the CPU (default: all cores)")
    parser.add_argument("--rounds", type=_count, default=5, metavar="N", help="how often all is timed (default: 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything as .json")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables as .md")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the part 'growth', .png, .svg or .pdf")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure, print and write."""
    import torch

    from scdseg.benchmark.report import markdown
    from scdseg.benchmark.run import benchmark
    from scdseg.cli.progress import progress_bar
    from scdseg.volumes import check_outputs, staged

    outputs = {args.json: (".json",), args.markdown: (".md",), args.plot: (".png", ".svg", ".pdf")}
    paths = [path for path in outputs if path is not None]
    check_outputs([(path, outputs[path]) for path in paths], args.image)
    if args.plot and "growth" not in (args.parts or ()):
        raise InputError(f"{args.plot}: only the part 'growth' is drawn: add --parts growth, or leave --plot away")
    if args.plot:
        try:
            from scdseg.benchmark.plots import plot_growth
        except ModuleNotFoundError as error:
            raise InputError(
                "the plot needs matplotlib: pip install matplotlib, or install scdseg with its extra [plot]"
            ) from error
    if args.threads:
        torch.set_num_threads(args.threads)
    with progress_bar() as progress:
        found = benchmark(
            args.model,
            args.image or _sample(args.model),
            args.parts,
            args.peers,
            args.keep_ratios,
            args.training,
            args.device,
            args.precision,
            args.rounds,
            lambda part, done, total: progress(part, done, total, None),
        )
    with staged(paths) as temporary:
        if args.json:
            temporary[args.json].write_text(json.dumps(found.to_json(), indent=2) + "\n", encoding="utf-8")
        if args.markdown:
            text = "\n".join(markdown(table) for table in found.tables())
            notes = "".join(f"- {note}\n" for note in found.notes())
            temporary[args.markdown].write_text(f"{text}\n{notes}", encoding="utf-8")
        if args.plot:
            plot_growth(found.growth, f"{found.model} on {found.machine}", [temporary[args.plot]])
    _print(found)
    for path in paths:
        print(f"wrote {path}")
    return 0


def _sample(model: str) -> list[Path]:
    from scdseg.resources import sample_volume

    return [sample_volume()] if model == "brain-structures" else []


def _print(found: Any) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    for title, (header, *lines) in found.tables():
        table = Table(title=escape(title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        for number, name in enumerate(header):
            table.add_column(escape(name), justify="right" if number else "left", no_wrap=number > 0)
        for line in lines:
            table.add_row(*map(escape, line))
        console.print(table)
    for note in found.notes():
        print(note)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"should be a whole number from 1, not {text}")
    return int(text)
