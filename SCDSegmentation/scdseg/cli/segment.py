"""``scdseg segment``: labels and token maps of an image."""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

from scdseg.errors import InputError


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "segment",
        help="segment an image",
        description="Segment an image. Labels have its geometry, all other maps that of the token grid.",
    )
    parser.add_argument(
        "images",
        metavar="IMAGE",
        nargs="+",
        help="NIfTI, NRRD or MetaImage file or DICOM folder; one for each channel of the model",
    )
    parser.add_argument("-m", "--model", required=True, help="a model that `scdseg models` lists, or the folder of one")
    parser.add_argument(
        "-o", "--output", required=True, metavar="LABELS", help="label map: .nii.gz, .nii, .nrrd or .mha"
    )
    parser.add_argument("--importance", metavar="FILE", help="write how important each token was, 0…1")
    parser.add_argument("--survival", metavar="FILE", help="write the share of pruning stages that each token survived")
    parser.add_argument(
        "--stage", metavar="FILE", help="write the stage at which each token was pruned, from 1; one more if none did"
    )
    parser.add_argument(
        "--scores",
        metavar="FILE",
        help="write how each token ranked at each stage, 0…1; NaN where it was pruned before",
    )
    parser.add_argument("--influence", metavar="FILE", help="write how much each token moved the labels, 0…1")
    parser.add_argument(
        "--influence-label",
        metavar="LABEL",
        help="name or value of the structure that influence is about (default: all structures)",
    )
    parser.add_argument("--report", metavar="FILE", help="write the report, .json")
    add_run_options(parser)
    parser.add_argument(
        "--cpu-fallback", action="store_true", help="begin again on the CPU if another device fails or has no memory"
    )
    parser.add_argument("--json", action="store_true", help="print the report instead of a summary")
    parser.set_defaults(run=run, only_segments=True)


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Register how a model runs, for every command that segments at one keep ratio."""
    parser.add_argument(
        "--keep-ratio",
        type=float,
        metavar="R",
        help="share of tokens kept at each stage, above 0 to 1 (default: the model's)",
    )
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


def add_threads_option(parser: argparse.ArgumentParser) -> None:
    """Register the number of threads."""
    parser.add_argument(
        "--threads", type=int, metavar="N", help="of the CPU, from 1 to its cores (default: as many as are free)"
    )


def run(args: argparse.Namespace) -> int:
    """Segment as the arguments ask; 0 if all went well."""
    from scdseg.bundle import find_bundle
    from scdseg.cli.progress import progress_bar
    from scdseg.inference import segment
    from scdseg.inference.influence import labels_asked_for, with_influence
    from scdseg.inference.result import check_result_paths, output_paths

    wanted = {"labels": args.output}
    names = ("importance", "survival", "stage", "scores", "influence", "report")
    wanted |= {name: getattr(args, name) for name in names}
    outputs = output_paths(wanted)
    check_result_paths(outputs, [Path(image) for image in args.images])
    if args.influence_label is not None and args.influence is None:
        raise InputError("--influence-label says what --influence is about: give a file for that, too")
    if args.influence is not None:
        labels_asked_for(find_bundle(args.model), args.influence_label)
    with progress_bar() as progress:
        result = segment(
            args.images,
            args.model,
            keep_ratio=args.keep_ratio,
            device=args.device,
            overlap=args.overlap,
            precision=args.precision,
            progress=progress,
            cpu_fallback=args.cpu_fallback,
            threads=args.threads,
            then=partial(with_influence, label=args.influence_label, progress=progress) if args.influence else None,
        )
    result.save(**wanted)
    for warning in result.report["warnings"]:
        print(f"scdseg: warning: {warning}", file=sys.stderr)
    print(json.dumps(result.report, indent=2) if args.json else _summary(result.report, list(outputs.values())))
    return 0


def _summary(report: dict[str, Any], outputs: list[Path]) -> str:
    """What a person wants to know of a report first."""
    found = [label for label in report["labels"] if label["voxels"]]
    windows, device = report["windows"]["count"], report["device"]
    skipped = f" ({report['windows']['skipped']} empty ones skipped)" if report["windows"]["skipped"] else ""
    lines = [
        f"{report['model']['name']}: {len(found)} of {len(report['labels'])} structures found, "
        f"{sum(label['ml'] for label in found):.1f} ml in all",
        f"{report['seconds']['total']:.1f} s, {windows} window{'s' * (windows != 1)}{skipped}, "
        f"{device['type']} ({device['name']}), {report['precision']}, keep ratio {report['keep_ratio']:g}",
        *(f"wrote {path}" for path in outputs),
    ]
    return "\n".join(lines)
