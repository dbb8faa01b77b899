"""From a training checkpoint to a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scdseg.bundle import Bundle, Intensity, write_bundle
from scdseg.bundle.schema import validate
from scdseg.errors import InputError, ModelError
from scdseg.networks import SCDUNETR
from scdseg.training.build import build_network
from scdseg.training.checkpoint import load_checkpoint
from scdseg.training.label_entries import bundle_labels, logit_channels, read_label_entries
from scdseg.training.recipe import Recipe, load_recipe


def export(
    checkpoint: Path,
    directory: Path,
    *,
    quality: Mapping[str, Any] | None = None,
    readme: str | None = None,
    license: str | None = None,
    version: str = "0.1.0",
) -> Bundle:
    """Write the network of a training checkpoint as a bundle.

    Args:
        checkpoint: a checkpoint that ``scdseg train`` wrote, the run's ``recipe.yaml`` beside it; or the run's folder.
        directory: bundle folder to write; it must not exist yet.
        quality: measured quality and speed for the metadata.
        readme: model card, Markdown.
        license: text of the model's licence.
        version: version of the model.

    Raises:
        InputError: if the checkpoint cannot be read, does not belong to the recipe beside it or is of the dense
            baseline, which is no product.
        ModelError: if the folder exists.
    """
    checkpoint = checkpoint / "last.ckpt" if checkpoint.is_dir() else checkpoint
    recipe = load_recipe(checkpoint.parent / "recipe.yaml")
    activation = recipe.optimisation.activation
    entries = read_label_entries(recipe.directory / recipe.data.labels, activation)
    try:
        network = build_network(recipe.network, logit_channels(entries, activation)).eval()
        load_checkpoint(checkpoint, network)
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{checkpoint}: is not a checkpoint of the recipe beside it ({reason})") from error
    if not isinstance(network, SCDUNETR):
        raise InputError(f"{recipe.name}: network: the dense baseline is there to compare with; models are of kind scd")
    if isinstance(network.keep_ratio, Sequence):
        raise InputError(f"{recipe.name}: network: a model has one keep_ratio for all stages, not {network.keep_ratio}")
    return write_bundle(
        directory,
        network,
        name=recipe.name,
        description=recipe.export.description,
        channels=recipe.export.channels,
        labels=bundle_labels(entries, activation),
        activation=activation,
        orientation="RAS",
        spacing=recipe.data.spacing,
        intensity=[Intensity(**step) for step in recipe.export.intensity],
        overlap=recipe.export.overlap,
        keep_ratio=network.keep_ratio,
        keep_ratio_range=recipe.export.keep_ratio_range,
        crop_foreground=recipe.export.crop_foreground,
        quality=quality,
        readme=readme,
        license=license,
        version=version,
        modality=recipe.export.modality,
        authors=recipe.export.authors,
        copyright=recipe.export.copyright,
    )


def check_export(recipe: Recipe) -> None:
    """Hold what a recipe says for its bundle against what bundles can say, long before one is written.

    Raises:
        InputError: naming the first value that no bundle may have.
    """
    settings = recipe.export
    preprocessing = {
        "orientation": "RAS",
        "spacing": list(recipe.data.spacing),
        "intensity": [dict(step) for step in settings.intensity],
        "crop_foreground": settings.crop_foreground,
    }
    low, high = settings.keep_ratio_range
    inference = {"overlap": settings.overlap, "keep_ratio": high, "keep_ratio_range": [low, high]}
    try:
        validate(preprocessing, "preprocessing", Path(f"{recipe.name}: data or export"))
        validate(inference, "inference", Path(f"{recipe.name}: export"))
    except ModelError as error:
        raise InputError(str(error)) from error
