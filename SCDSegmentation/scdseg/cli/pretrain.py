"""``scdseg pretrain``: train a recipe's vision transformer on images without labels."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from scdseg.cli.train import add_run_options, recipe_overrides
from scdseg.errors import InputError


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "pretrain",
        help="pre-train a recipe's encoder on images without labels",
        description="Pre-train the vision transformer of a recipe's network as a masked autoencoder on the recipe's "
        "images; label maps are not looked at, unless images are made from them. The section pretraining of the recipe "
        "says how. Any value of the recipe can be given anew behind it, such as --data.training test or "
        "--pretraining.steps 50000. Training starts from the result with: scdseg train RECIPE --start DIR ...",
    )
    add_run_options(parser, "encoder.safetensors, checkpoints and logs")
    parser.set_defaults(run=run, takes_overrides=True)


def run(args: Namespace) -> int:
    """Pre-train, and say where the weights are."""
    overrides = recipe_overrides(args.rest, "pretrain")
    try:
        from scdseg.training.devices import Devices
        from scdseg.training.pretraining import pretrain
        from scdseg.training.recipe import load_recipe
    except ModuleNotFoundError as error:
        raise InputError(f"pre-training needs the package {error.name!r}: pip install 'scdseg[train]'") from error
    devices = Devices(args.device, args.devices, args.nodes, args.strategy)
    encoder = pretrain(load_recipe(args.recipe, overrides), args.output, args.resume, devices)
    print(f"{encoder} is trained; start from it with: scdseg train {args.recipe} --start {encoder} -o DIR")
    return 0
