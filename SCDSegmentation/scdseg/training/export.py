"""From a training checkpoint to a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from scdseg.bundle import Bundle, Intensity, write_bundle
from scdseg.errors import InputError
from scdseg.networks import SCDUNETR
from scdseg.training.build import build_network
from scdseg.training.data import label_channels
from scdseg.training.label_entries import bundle_labels
from scdseg.training.recipe import load_recipe


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
        checkpoint: a checkpoint that ``scdseg train`` wrote; the run's ``recipe.yaml`` lies beside it.
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
    recipe = load_recipe(checkpoint.parent / "recipe.yaml")
    entries, channels = label_channels(recipe)
    activation = recipe.optimisation.activation
    try:
        network = build_network(recipe.network, channels).eval()
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
        prefix = "network."
        network.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
    except Exception as error:
        raise InputError(f"{checkpoint}: is not a checkpoint of the recipe beside it ({error})") from error
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
