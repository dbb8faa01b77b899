"""``scdseg train``: train a model from a recipe."""

from __future__ import annotations

import argparse
from pathlib import Path

from scdseg.errors import InputError


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "train",
        help="train a model from a recipe",
        description="Train a model from a recipe (a YAML file, or the name of one that ships). Any value of the recipe can be"
        " given anew: --data.root FOLDER, --optimisation.steps 20000.",
    )
    parser.add_argument("recipe", help="recipe file or the name of a shipped one, such as brain-structures")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder for checkpoints and logs")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in the output folder")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "gpu", "mps"), help="where to train (default: auto)")
    parser.set_defaults(run=run, unknown="overrides")


def run(args: argparse.Namespace) -> int:
    """Train and say where the checkpoint is."""
    overrides = parse_overrides(args.rest)
    try:
        from scdseg.training.recipe import load_recipe
        from scdseg.training.train import train
    except ModuleNotFoundError as error:
        raise InputError(f"training needs the package {error.name!r}: pip install 'scdseg[train]'") from error
    last = train(load_recipe(args.recipe, overrides), args.output, args.resume, args.device)
    print(f"{last}: make it a model with scdseg export {last} BUNDLE_DIR")
    return 0


def parse_overrides(rest: list[str]) -> dict[str, str]:
    """``--data.root X --optimisation.steps=5`` → {"data.root": "X", "optimisation.steps": "5"}."""
    overrides: dict[str, str] = {}
    items = iter(rest)
    for item in items:
        key, equals, value = item.removeprefix("--").partition("=")
        if not item.startswith("--") or "." not in key:
            raise InputError(f"{item}: not an option; recipe values are given as --section.key VALUE")
        if not equals:
            value = next(items, "")
        if not value:
            raise InputError(f"--{key}: a value is missing")
        overrides[key] = value
    return overrides
