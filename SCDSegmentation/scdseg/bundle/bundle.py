"""One model on disk: reading its metadata, with every check that needs no weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scdseg.bundle.labels import Label, check_labels, label_from_json
from scdseg.bundle.schema import validate
from scdseg.errors import ModelError
from scdseg.strict_json import read_json

if TYPE_CHECKING:
    from scdseg.networks import SCDUNETR

METADATA_FILE = Path("configs") / "metadata.json"
LICENSE_FILE = Path("docs") / "license.txt"
README_FILE = Path("docs") / "README.md"
# Fixed positions are worked out, not stored, so no file's size bounds them; a window of 96³ has 1.3 million numbers.
_MOST_POSITIONS = 1 << 25


@dataclass(frozen=True)
class Intensity:
    """One step of intensity preprocessing, from a closed vocabulary.

    Args:
        name: ``"clip_range"`` (arguments ``a_min``, ``a_max``, ``b_min``, ``b_max``), ``"percentiles"`` (``lower``,
            ``upper`` in percent, ``b_min``, ``b_max``, ``nonzero``) or ``"zscore"`` (``nonzero``). All work on each
            channel by itself.
        arguments: numbers and switches of that step.
    """

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Bundle:
    """A model whose metadata was read and found valid; its weights are not yet loaded.

    Args:
        path: the bundle's folder.
        metadata: the whole of ``configs/metadata.json``.
        network: constructor arguments of ``SCDUNETR``.
        channels: what each input channel holds, such as ``("T1",)``.
        activation: ``"softmax"`` (one label a voxel) or ``"sigmoid"`` (channels painted in the order of the labels).
        labels: what the model segments.
        orientation: axes that the network sees, such as ``"RAS"``.
        spacing: voxel size that the network sees, mm.
        intensity: preprocessing steps in order.
        crop_foreground: whether to crop to the voxels brighter than the darkest before the windows.
        overlap: share of a window that its neighbour covers, 0…0.9.
        keep_ratio: share of tokens kept at each pruning stage by default.
        keep_ratio_range: lowest and highest keep ratio that the model is meant for.
        weights_path: file with the weights.
        weights_sha256: its SHA-256 as recorded in the metadata.
        quality: measured quality and speed, as recorded in the metadata; ``{}`` if nothing was.
    """

    path: Path
    metadata: dict[str, Any]
    network: dict[str, Any]
    channels: tuple[str, ...]
    activation: str
    labels: tuple[Label, ...]
    orientation: str
    spacing: tuple[float, float, float]
    intensity: tuple[Intensity, ...]
    crop_foreground: bool
    overlap: float
    keep_ratio: float
    keep_ratio_range: tuple[float, float]
    weights_path: Path
    weights_sha256: str
    quality: dict[str, Any]

    @property
    def name(self) -> str:
        """The folder's name, by which the model is asked for."""
        return self.path.name

    @property
    def title(self) -> str:
        """The model's name for people; the folder's name if the metadata gives none."""
        return str(self.metadata.get("name", self.name))

    @property
    def version(self) -> str:
        """Version of the model."""
        return str(self.metadata["version"])

    @property
    def description(self) -> str:
        """What the model does, in words."""
        return str(self.metadata["description"])

    @property
    def license_path(self) -> Path | None:
        """The text of the model's licence, if it came with one."""
        path = self.path / LICENSE_FILE
        return path if path.is_file() and not path.is_symlink() and not path.parent.is_symlink() else None

    @property
    def bytes(self) -> int:
        """Size of the weights on disk, bytes."""
        return int(self.metadata["scd"]["weights"]["bytes"])

    def load_network(self) -> SCDUNETR:
        """Verify the weights and load them.

        Returns:
            The network in evaluation mode, float32, on the CPU.

        Raises:
            ModelError: if the file does not match its recorded SHA-256 or its tensors do not fit the network's
                arguments. The hash is compared before the file is parsed, and the sizes before memory is taken.
        """
        from scdseg.bundle.weights import load_network

        return load_network(self)


def read_bundle(path: str | Path) -> Bundle:
    """Read the metadata of a bundle and check all that can be checked without its weights.

    Args:
        path: the bundle's folder.

    Raises:
        ModelError: naming the file and what is wrong in it.
    """
    # Absolute, so that "." has a name and a later change of the working folder does no harm; links stay as the user
    # set them.
    folder = Path(path).absolute()
    if not folder.is_dir():
        raise ModelError(
            f"{path}: no such folder; give a model's name, or a folder with {METADATA_FILE.as_posix()} in it"
        )
    metadata_path = folder / METADATA_FILE
    _refuse_links(metadata_path)
    metadata = read_json(metadata_path)
    validate(metadata, "metadata", metadata_path)
    scd = metadata["scd"]
    preprocessing, inference, weights = scd["preprocessing"], scd["inference"], scd["weights"]
    bundle = Bundle(
        path=folder,
        metadata=metadata,
        network=as_arguments(scd["network"]),
        channels=tuple(scd["channels"]),
        activation=scd["output"]["activation"],
        labels=tuple(label_from_json(entry) for entry in scd["labels"]),
        orientation=preprocessing["orientation"],
        spacing=tuple(preprocessing["spacing"]),
        intensity=tuple(Intensity(step["name"], step["arguments"]) for step in preprocessing["intensity"]),
        crop_foreground=preprocessing["crop_foreground"],
        overlap=inference["overlap"],
        keep_ratio=inference["keep_ratio"],
        keep_ratio_range=tuple(inference["keep_ratio_range"]),
        weights_path=folder / weights["file"],
        weights_sha256=weights["sha256"],
        quality=scd.get("quality", {}),
    )
    _check_consistency(bundle, metadata_path)
    _check_weights_file(bundle)
    return bundle


def as_arguments(network: Mapping[str, Any]) -> dict[str, Any]:
    """Constructor arguments of ``SCDUNETR`` from their JSON form."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in network.items()}


def _check_consistency(bundle: Bundle, source: Path) -> None:
    """Check that the entries fit each other, as far as the network does not check it itself when it is built."""

    def refuse(problem: str) -> None:
        raise ModelError(f"{source}: {problem}; get the model again or correct it")

    network = bundle.network
    if len(bundle.channels) != network["in_channels"]:
        refuse(f"scd.channels names {len(bundle.channels)} channels, but the network takes {network['in_channels']}")
    tokens = math.prod(size // network["patch_size"] for size in network["img_size"])
    if tokens * network["assembly_size"] > _MOST_POSITIONS:
        refuse(f"scd.network has {tokens} tokens of {network['assembly_size']} numbers, more than any window needs")
    if network.get("decode_box") and bundle.activation == "sigmoid":
        refuse("scd.network.decode_box needs a background channel, which a model of regions (sigmoid) has not")
    lowest, highest = bundle.keep_ratio_range
    if not lowest <= bundle.keep_ratio <= highest:
        refuse(f"scd.inference.keep_ratio {bundle.keep_ratio} is outside keep_ratio_range {lowest}…{highest}")
    for step in bundle.intensity:
        arguments = step.arguments
        for low, high in (("a_min", "a_max"), ("b_min", "b_max"), ("lower", "upper")):
            if low in arguments and not arguments[low] < arguments[high]:
                refuse(
                    f"scd.preprocessing.intensity: {step.name} has {low} {arguments[low]} not below {high} "
                    f"{arguments[high]}"
                )
    check_labels(bundle.labels, network["out_channels"], bundle.activation, f"{source}: scd.labels")


def _check_weights_file(bundle: Bundle) -> None:
    """Check that the weights are a file of the recorded size."""
    path = bundle.weights_path
    _refuse_links(path)
    if not path.is_file():
        raise ModelError(f"{path}: the weights are missing; get the model again")
    size = path.stat().st_size
    if size != bundle.bytes:
        raise ModelError(f"{path}: has {size} bytes, but the metadata records {bundle.bytes}; get the model again")


def _refuse_links(file: Path) -> None:
    """A link could point anywhere: what is read, hashed and loaded would not be the bundle's."""
    for part in (file.parent, file):
        if part.is_symlink():
            raise ModelError(f"{part}: is a symbolic link; a model's files must lie inside its folder")
