"""Writing a bundle: complete and checked, or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from scdseg import __version__
from scdseg.bundle.bundle import LICENSE_FILE, METADATA_FILE, README_FILE, Bundle, Intensity, read_bundle
from scdseg.bundle.labels import Label, label_to_json
from scdseg.bundle.schema import SCHEMA_VERSION
from scdseg.errors import ModelError

if TYPE_CHECKING:
    from scdseg.networks import SCDUNETR

WEIGHTS_FILE = "models/model.safetensors"
MONAI_SCHEMA = "https://project-monai.github.io/schema/meta_schema_20240725.json"


def write_bundle(
    directory: str | Path,
    network: SCDUNETR,
    *,
    name: str,
    description: str,
    channels: Sequence[str],
    labels: Sequence[Label],
    activation: str,
    orientation: str,
    spacing: Sequence[float],
    intensity: Sequence[Intensity],
    overlap: float,
    keep_ratio: float,
    keep_ratio_range: Sequence[float],
    crop_foreground: bool = False,
    half: bool = True,
    quality: Mapping[str, Any] | None = None,
    license: str | None = None,
    readme: str | None = None,
    version: str = "0.1.0",
    modality: str = "n/a",
    authors: str = "not stated",
    copyright: str = "not stated",
) -> Bundle:
    """Write a network and all that it takes to run it as a bundle.

    Args:
        directory: folder to write; it must not exist yet. Its name becomes the model's.
        network: the network; its weights are written as they are, its arguments come from ``network.config``.
        name: the model's name for people.
        description: what the model does, in words.
        channels: what each input channel holds.
        labels: one for each foreground channel of the logits.
        activation: ``"softmax"`` or ``"sigmoid"``.
        orientation: axes that the network sees, such as ``"RAS"``.
        spacing: voxel size that the network sees, mm.
        intensity: preprocessing steps in order.
        overlap: share of a window that its neighbour covers, 0…0.9.
        keep_ratio: share of tokens kept at each pruning stage by default.
        keep_ratio_range: lowest and highest keep ratio that the model is meant for.
        crop_foreground: whether to crop to the voxels brighter than the darkest before the windows.
        half: whether to store the weights as float16, half the size.
        quality: measured quality and speed, anything JSON can hold.
        license: text of the model's licence.
        readme: model card, Markdown.
        version: version of the model.
        modality: imaging modality, such as ``"MR"`` or ``"CT"``.
        authors: who made the model.
        copyright: who holds the rights.

    Returns:
        The bundle as read back from its folder.

    Raises:
        ModelError: if the folder exists, the entries do not fit each other or the network, or a weight cannot be
            stored.
    """
    target = Path(directory).absolute()
    if target.exists() or target.is_symlink():
        raise ModelError(f"{directory}: exists already; give a new folder or remove this one first")
    config = {key: list(value) if isinstance(value, tuple) else value for key, value in network.config.items()}
    metadata: dict[str, Any] = {
        "schema": MONAI_SCHEMA,
        "version": version,
        "monai_version": installed_version("monai"),
        "pytorch_version": installed_version("torch"),
        "numpy_version": installed_version("numpy"),
        "required_packages_version": {"scdseg": __version__, "safetensors": installed_version("safetensors")},
        "name": name,
        "task": f"Segmentation of {len(labels)} structures",
        "description": description,
        "authors": authors,
        "copyright": copyright,
        "network_data_format": _network_data_format(config, channels, labels, activation, modality),
        "scd": {
            "schema_version": SCHEMA_VERSION,
            "network": config,
            "preprocessing": {
                "orientation": orientation,
                "spacing": [float(size) for size in spacing],
                "intensity": [{"name": step.name, "arguments": dict(step.arguments)} for step in intensity],
                "crop_foreground": crop_foreground,
            },
            "inference": {
                "overlap": overlap,
                "keep_ratio": keep_ratio,
                "keep_ratio_range": list(keep_ratio_range),
            },
            "output": {"activation": activation},
            "channels": list(channels),
            "labels": [label_to_json(label) for label in labels],
            "quality": dict(quality or {}),
        },
    }
    # Beside the target, so that the rename stays on one file system; hidden, so that no search finds it half done.
    temporary = target.parent / f".{target.name}-{uuid4().hex[:8]}"
    try:
        for file in (METADATA_FILE, Path(WEIGHTS_FILE), README_FILE):
            (temporary / file).parent.mkdir(parents=True)
        metadata["scd"]["weights"] = _write_weights(network, temporary / WEIGHTS_FILE, half)
        text = json.dumps(metadata, indent=2, ensure_ascii=False, allow_nan=False)
        (temporary / METADATA_FILE).write_text(f"{text}\n", encoding="utf-8")
        for file, content in ((LICENSE_FILE, license), (README_FILE, readme)):
            if content is not None:
                (temporary / file).write_text(content, encoding="utf-8")
        # Loading checks the whole bundle, so that nothing is handed out that could not be used.
        read_bundle(temporary).load_network()
        temporary.rename(target)
    except ModelError as error:
        raise ModelError(str(error).replace(str(temporary), str(target))) from error
    except OSError as error:
        raise ModelError(
            f"{directory}: cannot be written ({error.strerror}); choose a folder that you may write to"
        ) from error
    except ValueError as error:
        raise ModelError(f"{directory}: not written, because an entry cannot be stored as JSON ({error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return read_bundle(target)


def _network_data_format(
    config: Mapping[str, Any], channels: Sequence[str], labels: Sequence[Label], activation: str, modality: str
) -> dict[str, Any]:
    """What MONAI's specification asks of a network's tensors."""
    common = {
        "type": "image",
        "spatial_shape": config["img_size"],
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": True,
    }
    outputs = {"0": "background"} if activation == "softmax" else {}
    outputs |= {str(label.channel): label.name for label in sorted(labels, key=lambda label: label.channel)}
    return {
        "inputs": {
            "image": {
                **common,
                "format": "hounsfield" if modality == "CT" else "magnitude",
                "modality": modality,
                "num_channels": config["in_channels"],
                "channel_def": {str(index): channel for index, channel in enumerate(channels)},
            }
        },
        "outputs": {
            "pred": {
                **common,
                "format": "labels" if activation == "softmax" else "classes",
                "num_channels": config["out_channels"],
                "channel_def": outputs,
            }
        },
    }


def _write_weights(network: SCDUNETR, path: Path, half: bool) -> dict[str, Any]:
    """Write the weights and return their entry in the metadata."""
    import torch
    from safetensors.torch import save

    from scdseg.bundle.weights import sha256

    dtype = torch.float16 if half else torch.float32
    tensors = {}
    for name, tensor in network.state_dict().items():
        stored = tensor.detach().to("cpu", dtype, copy=True).contiguous()
        if not torch.isfinite(stored).all():
            kind = (
                "float16, write float32 instead"
                if torch.isfinite(tensor).all()
                else "the network: it was not trained soundly"
            )
            raise ModelError(f"{path}: {name} has values that are infinite or not a number in {kind}")
        tensors[name] = stored
    # save_file would make a file that only its owner can read, whatever the umask: no use in a shared folder.
    path.write_bytes(save(tensors))
    return {"file": WEIGHTS_FILE, "sha256": sha256(path), "bytes": path.stat().st_size}
