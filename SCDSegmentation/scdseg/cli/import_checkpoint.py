"""``scdseg import-checkpoint``: turn an authors' checkpoint into a bundle."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scdseg.errors import InputError

if TYPE_CHECKING:
    from scdseg.bundle import Intensity, Label

# What the shapes do not tell: option → what it is for, in the words of the error that asks for it.
_NEEDED = {
    "img_size": "--img-size",
    "heads": "--heads",
    "prune_after": "--prune-after",
    "keep_ratio": "--keep-ratio",
    "channels": "--channels",
    "activation": "--activation",
    "labels": "--labels",
    "spacing": "--spacing",
    "intensity": "--clip-range, --percentiles or --zscore",
}


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "import-checkpoint",
        help="turn a checkpoint of the paper's authors into a model",
        description="Turn a checkpoint (.pth.tar) of the paper's authors into a model that `scdseg segment` takes. "
        "Widths, depths, patch size, channels and decoder follow from the file; a preset or the options below give "
        "the rest. Options override the preset.",
    )
    parser.add_argument("checkpoint", metavar="FILE", help="the authors' checkpoint, .pth.tar")
    parser.add_argument(
        "bundle", metavar="BUNDLE_DIR", help="folder to write; must not exist yet; its name becomes the model's"
    )
    parser.add_argument("--preset", choices=("btcv", "brats"), help="a configuration published with the paper")
    network = parser.add_argument_group("network")
    network.add_argument("--img-size", type=int, nargs=3, metavar=("X", "Y", "Z"), help="window in voxels")
    network.add_argument("--heads", type=int, metavar="N", help="attention heads of the encoder")
    network.add_argument(
        "--assembly-heads", type=int, metavar="N", help="attention heads of the token assembly (default: as --heads)"
    )
    network.add_argument(
        "--prune-after",
        type=int,
        nargs="+",
        metavar="BLOCK",
        help="blocks, counted from 1, after which tokens are pruned",
    )
    network.add_argument(
        "--keep-ratio", type=float, metavar="R", help="share of tokens kept at each stage: 1 - prune ratio"
    )
    network.add_argument(
        "--keep-ratio-range",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="keep ratios that the model is known to work with (default: only the one that it was trained with)",
    )
    data = parser.add_argument_group("data")
    data.add_argument("--channels", nargs="+", metavar="NAME", help="what each input channel holds, such as FLAIR T1")
    data.add_argument("--modality", metavar="NAME", help="imaging modality, such as CT or MR (default: not stated)")
    data.add_argument(
        "--labels", metavar="FILE", help="JSON file: the list of labels as it stands in a model's metadata"
    )
    data.add_argument("--activation", choices=("softmax", "sigmoid"), help="one label a voxel, or overlapping regions")
    data.add_argument("--orientation", metavar="AXES", help="axes that the network was trained on (default: RAS)")
    data.add_argument("--spacing", type=float, nargs=3, metavar=("X", "Y", "Z"), help="voxel size in training, mm")
    intensity = data.add_mutually_exclusive_group()
    intensity.add_argument(
        "--clip-range",
        type=float,
        nargs=4,
        metavar=("A_MIN", "A_MAX", "B_MIN", "B_MAX"),
        help="map intensities A_MIN…A_MAX to B_MIN…B_MAX and clip",
    )
    intensity.add_argument(
        "--percentiles",
        type=float,
        nargs=4,
        metavar=("LOWER", "UPPER", "B_MIN", "B_MAX"),
        help="map the percentiles LOWER…UPPER of the non-zero voxels to B_MIN…B_MAX and clip",
    )
    intensity.add_argument("--zscore", action="store_true", help="zero mean and unit deviation of the non-zero voxels")
    data.add_argument(
        "--overlap", type=float, default=0.5, help="share of a window that its neighbour covers (default: 0.5)"
    )
    bundle = parser.add_argument_group("model")
    bundle.add_argument("--title", help="the model's name for people (default: the folder's name)")
    bundle.add_argument("--description", help="what the model does")
    bundle.add_argument("--license", metavar="FILE", help="text file with the licence of the checkpoint")
    bundle.add_argument("--full-precision", action="store_true", help="store float32 weights instead of float16")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Read, convert and write; print what was written."""
    settings = _settings(args)
    target = Path(args.bundle)
    if target.exists():
        raise InputError(f"{args.bundle}: exists already; give a new folder or remove this one first")
    license_text = _read_text(args.license) if args.license else None

    from scdseg.bundle import write_bundle
    from scdseg.checkpoints import from_official, read_official

    network = from_official(
        read_official(args.checkpoint),
        img_size=settings["img_size"],
        num_heads=settings["heads"],
        assembly_heads=args.assembly_heads or settings["heads"],
        prune_after=settings["prune_after"],
        keep_ratio=settings["keep_ratio"],
    )
    bundle = write_bundle(
        target,
        network,
        name=settings["title"] or target.absolute().name,
        description=settings["description"] or f"Imported from {Path(args.checkpoint).name}.",
        channels=settings["channels"],
        labels=settings["labels"],
        activation=settings["activation"],
        orientation=args.orientation or "RAS",
        spacing=settings["spacing"],
        intensity=settings["intensity"],
        overlap=args.overlap,
        keep_ratio=settings["keep_ratio"],
        keep_ratio_range=args.keep_ratio_range or (settings["keep_ratio"], settings["keep_ratio"]),
        half=not args.full_precision,
        license=license_text,
        modality=settings["modality"] or "n/a",
        authors="Zhou, Liu, Bae, He, Samaras, Prasanna" if args.preset else "not stated",
    )
    print(f"{bundle.path}: {bundle.title}, {len(bundle.labels)} labels, {bundle.bytes / 1e6:.1f} MB of weights")
    return 0


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    """Options over the preset's values.

    Raises:
        InputError: naming all options that are still needed.
    """
    from scdseg.published import PUBLISHED

    settings: dict[str, Any] = dict.fromkeys([*_NEEDED, "title", "description", "modality"])
    if args.preset:
        preset = PUBLISHED[args.preset]
        settings |= {key: getattr(preset, key) for key in settings if key != "heads"}
        settings["heads"] = preset.num_heads
    for key in settings:
        given = getattr(args, key, None)
        if given is not None:
            settings[key] = given
    if args.labels:
        settings["labels"] = _read_labels(args.labels)
    if intensity := _intensity(args):
        settings["intensity"] = intensity
    missing = [option for key, option in _NEEDED.items() if settings[key] is None]
    if missing:
        raise InputError(
            f"{args.checkpoint}: a checkpoint does not tell everything; also give {', '.join(missing)}, or a --preset"
        )
    return settings


def _intensity(args: argparse.Namespace) -> tuple[Intensity, ...]:
    from scdseg.bundle import Intensity

    if args.clip_range:
        return (Intensity("clip_range", dict(zip(("a_min", "a_max", "b_min", "b_max"), args.clip_range, strict=True))),)
    if args.percentiles:
        values = dict(zip(("lower", "upper", "b_min", "b_max"), args.percentiles, strict=True))
        return (Intensity("percentiles", {**values, "nonzero": True}),)
    return (Intensity("zscore", {"nonzero": True}),) if args.zscore else ()


def _read_labels(path: str) -> tuple[Label, ...]:
    from scdseg.bundle.labels import label_from_json
    from scdseg.bundle.schema import validate
    from scdseg.strict_json import read_json

    entries = read_json(Path(path))
    validate(entries, "labels", Path(path))
    return tuple(label_from_json(entry) for entry in entries)


def _read_text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text ({error}); give a UTF-8 text file") from error
