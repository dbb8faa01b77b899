"""``scdseg train``: train a model from a recipe."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from scdseg.errors import InputError


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "train",
        help="train a model from a recipe",
        description="Train a model from a recipe: a YAML file, or the name of one that ships. Any value of the recipe "
        "can be given anew behind it, such as --data.root FOLDER or --optimisation.steps 20000.",
    )
    parser.add_argument("recipe", help="recipe file, or the name of a shipped one such as brain-structures")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="folder for checkpoints and logs"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in the output folder")
    parser.add_argument("--device", default="auto", choices=("auto", "cuda", "mps", "cpu"), help="default: auto")
    parser.set_defaults(run=run, takes_overrides=True)


def run(args: Namespace) -> int:
    """Train, and say where the checkpoint is."""
    overrides = _overrides(args.rest)
    try:
        from scdseg.training.recipe import load_recipe
        from scdseg.training.train import train
    except ModuleNotFoundError as error:
        raise InputError(f"training needs the package {error.name!r}: pip install 'scdseg[train]'") from error
    last = train(load_recipe(args.recipe, overrides), args.output, args.resume, args.device)
    print(f"{last} is trained; make it a model with: scdseg export {last} BUNDLE_DIR")
    return 0


def _overrides(rest: list[str]) -> dict[str, str]:
    """``--data.root X --optimisation.steps=5`` → {"data.root": "X", "optimisation.steps": "5"}."""
    overrides: dict[str, str] = {}
    items = iter(rest)
    for item in items:
        key, equals, value = item.removeprefix("--").partition("=")
        if not item.startswith("--") or "." not in key:
            raise InputError(
                f"{item}: is no option of scdseg train; values of the recipe are given as --SECTION.KEY VALUE"
            )
        if not equals:
            value = next(items, "")
        if not value:
            raise InputError(f"--{key}: its value is missing")
        overrides[key] = value
    return overrides
