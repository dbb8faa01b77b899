"""``scdseg train``: train a model from a recipe."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from scdseg.errors import InputError

_TOP = ("name", "seed", "start")  # keys of a recipe that lie in no section


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "train",
        help="train a model from a recipe",
        description="Train a model from a recipe: a YAML file, or the name of one that ships. Any value of the recipe "
        "can be given anew behind it, such as --data.root FOLDER, --optimisation.steps 20000 or --start WEIGHTS.",
    )
    add_run_options(parser, "checkpoints and logs")
    parser.set_defaults(run=run, takes_overrides=True)


def add_run_options(parser: ArgumentParser, written: str) -> None:
    """Options for a recipe, the folder that its run writes, and what to train on."""
    parser.add_argument("recipe", help="recipe file, or the name of a shipped one such as brain-structures")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help=f"folder for {written}")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in the output folder")
    parser.add_argument("--device", default="auto", choices=("auto", "cuda", "mps", "cpu"), help="default: auto")
    parser.add_argument("--devices", type=int, default=1, metavar="N", help="devices of a machine (default: 1)")
    parser.add_argument("--nodes", type=int, default=1, metavar="N", help="machines (default: 1)")
    parser.add_argument(
        "--strategy",
        default="auto",
        choices=("auto", "ddp", "fsdp"),
        help="ddp: the whole network on every device; fsdp: its weights shared out over GPUs (default: ddp if several)",
    )


def run(args: Namespace) -> int:
    """Train, and say where the checkpoint is."""
    overrides = recipe_overrides(args.rest, "train")
    try:
        from scdseg.training.devices import Devices
        from scdseg.training.recipe import load_recipe
        from scdseg.training.train import train
    except ModuleNotFoundError as error:
        raise InputError(f"training needs the package {error.name!r}: pip install 'scdseg[train]'") from error
    devices = Devices(args.device, args.devices, args.nodes, args.strategy)
    last = train(load_recipe(args.recipe, overrides), args.output, args.resume, devices)
    print(f"{last} is trained; make it a model with: scdseg export {last} BUNDLE_DIR")
    return 0


def recipe_overrides(rest: list[str], command: str) -> dict[str, str]:
    """``--data.root X --optimisation.steps=5`` → {"data.root": "X", "optimisation.steps": "5"}."""
    overrides: dict[str, str] = {}
    items = iter(rest)
    for item in items:
        key, equals, value = item.removeprefix("--").partition("=")
        if not item.startswith("--") or ("." not in key and key not in _TOP):
            raise InputError(
                f"{item}: is no option of scdseg {command}; values of the recipe are given as --SECTION.KEY VALUE"
            )
        given = value if equals else next(items, None)
        if given is None:
            raise InputError(f"--{key}: its value is missing")
        overrides[key] = given
    return overrides
