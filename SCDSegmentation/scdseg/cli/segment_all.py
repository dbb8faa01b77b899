"""``scdseg segment-all``: labels and token maps of many images."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from scdseg.cli.segment import add_run_options
from scdseg.errors import InputError

_EPILOG = """\
DIR gets a folder for each case, with labels.nii.gz, the maps that are asked for and report.json, and summary.csv, which
is written anew after each case and has one row a case:
  case           name of the case and of its folder
  status         done, skipped (it was done before) or failed
  error          what went wrong
  seconds        that it took; loading the model counts in a process's first case
  keep_ratio     share of tokens kept at each pruning stage
  windows        that the network computed
  warnings       what the report warns of
  ml_VALUE_NAME  volume of each label, ml

The same command again goes on where the last one stopped: a case is skipped if its files are there and were made with
the same model, keep ratio, overlap, precision and input files; otherwise it is segmented again.
An error in one case does not stop the others. Exit code: 0 if all cases are segmented, 1 if any failed, 2 if nothing
could be started, 130 if interrupted.
How cases are named, lists of cases, Ray clusters: docs/cohort.md.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "segment-all",
        help="segment all images of a folder or a list, on many machines if wanted (extra: ray)",
        description="Segment all images of a folder or a list. What is done already is skipped.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "source",
        metavar="FOLDER|LIST",
        type=Path,
        help="folder that is searched for NIfTI, NRRD, MetaImage files and DICOM series; or a list: text, CSV or JSON",
    )
    parser.add_argument("-m", "--model", required=True, help="a model that `scdseg models` lists, or the folder of one")
    parser.add_argument(
        "-o", "--output", required=True, type=Path, metavar="DIR", help="folder to write to; made if it is not there"
    )
    for name, text in (
        ("importance", "how important each token was, 0…1"),
        ("survival", "the share of pruning stages that each token survived"),
        ("stage", "the stage at which each token was pruned, from 1; one more if none did"),
        ("scores", "how each token ranked at each stage, 0…1; NaN where it was pruned before"),
    ):
        parser.add_argument(f"--{name}", action="append_const", const=name, dest="maps", help=f"also write {text}")
    add_run_options(parser)
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="share the cases among the workers of a Ray cluster: auto, ray://HOST:PORT or HOST:PORT; local: start one "
        "on this machine",
    )
    parser.add_argument(
        "--cpus-per-worker",
        type=int,
        metavar="N",
        help="CPUs of the Ray cluster for each worker, of which there is one a GPU if it has GPUs (default: 4)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Segment as the arguments ask; 0 if all went well, 1 if a case failed."""
    from scdseg.cli.progress import progress_bar
    from scdseg.inference.cohort import TABLE, segment_all

    if args.cpus_per_worker is not None and args.ray is None:
        raise InputError("--cpus-per-worker is for the workers of a Ray cluster: give --ray, too, or leave it away")
    try:
        with progress_bar() as progress:
            outcomes = segment_all(
                args.source,
                args.model,
                args.output,
                keep_ratio=args.keep_ratio,
                device=args.device,
                overlap=args.overlap,
                precision=args.precision,
                maps=args.maps or (),
                ray=args.ray,
                cpus_per_worker=4 if args.cpus_per_worker is None else args.cpus_per_worker,
                progress=progress,
                threads=args.threads,
                log=lambda line: print(line, flush=True),
            )
    except KeyboardInterrupt:
        print(
            "scdseg: interrupted: the cases that are done are complete; the same command goes on with the others",
            file=sys.stderr,
        )
        raise
    counts = {status: sum(outcome.status == status for outcome in outcomes) for status in ("done", "skipped", "failed")}
    print(", ".join(f"{count} {status}" for status, count in counts.items()))
    print(f"wrote {args.output / TABLE}")
    return 1 if counts["failed"] else 0
