"""The models that the panel offers, read from their metadata alone.

Whether a model may be used is decided by the worker, which validates it and checks its hash. This here must work before
anything is installed, so it reads what it shows with the standard library and lists what it cannot read as a problem.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import qt

from scdseg.errors import ModelError
from scdseg.resources import resource_dir
from scdseg.strict_json import read_json
from scdseg.window_cost import dense_window_macs, window_macs
from SCDSegmentationLib.token_choice import TokenChoice, readTokenChoices

MAX_CHANNELS = 4
_MAX_LABELS = 255
# No less than the worker allows (``scdseg.bundle.schema``).
_LARGEST_SIZE, _MOST_LAYERS, _MOST_STAGES = 16384, 64, 16
_BODY_SUBSTANCE = "91720002"  # SNOMED CT


@dataclass(frozen=True)
class Label:
    """A structure that a model segments.

    Args:
        value: in the label map.
        name: for people.
        color: red, green and blue, 0…1.
        terminology: as ``vtkSegment`` takes it.
        solid: False for fluids and the like, whose surface would hide what lies in them.
    """

    value: int
    name: str
    color: tuple[float, float, float]
    terminology: str
    solid: bool


@dataclass(frozen=True)
class Model:
    """A model as the panel shows it.

    Args:
        path: the bundle's folder.
        title: name for people.
        description: one sentence.
        channels: what each input is.
        labels: what it segments.
        keepRatio: its default.
        keepRatioRange: lowest and highest useful keep ratio.
        overlap: its default overlap of windows.
        network: arguments of the network.
        sha256: of the weights.
        version: of the model; "" if the metadata gives none.
        tokenChoices: what the choice of tokens decides, by keep ratio; none if that was not measured.
    """

    path: Path
    title: str
    description: str
    channels: tuple[str, ...]
    labels: tuple[Label, ...]
    keepRatio: float
    keepRatioRange: tuple[float, float]
    overlap: float
    network: dict[str, Any]
    sha256: str
    version: str = ""
    tokenChoices: tuple[TokenChoice, ...] = ()

    @property
    def name(self) -> str:
        """The folder's name, by which the model is known."""
        return self.path.name

    def matches(self, words: str) -> bool:
        """Whether every word of a search occurs in the model's name, description, inputs or structures."""
        text = " ".join((self.name, self.title, self.description, *self.channels, *(la.name for la in self.labels)))
        return all(word in text.lower() for word in words.lower().split())


def modelFolders() -> list[Path]:
    """Folders that are searched; the engine searches the same (``scdseg.bundle.model_folders``)."""
    named = [Path(folder) for folder in os.environ.get("SCDSEG_MODELS", "").split(os.pathsep) if folder]
    data = qt.QStandardPaths.writableLocation(qt.QStandardPaths.GenericDataLocation)
    return [*named, Path(data) / "scdseg" / "models", resource_dir() / "Models"]


def findModels(folders: Sequence[Path] | None = None) -> tuple[list[Model], list[str]]:
    """Models in search order, an earlier one hiding later ones of the same name; and a sentence for each that cannot be
    shown.
    """
    models: dict[str, Model | None] = {}
    problems: list[str] = []
    for folder in modelFolders() if folders is None else folders:
        try:
            candidates = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        except OSError:
            continue  # the user's folder need not exist; the worker tells if a named one does not
        for path in candidates:
            if path.name in models or not (path / "configs" / "metadata.json").is_file():
                continue
            try:
                models[path.name] = readModel(path)
            except ModelError as error:
                models[path.name] = None
                problems.append(str(error))
    return [model for model in models.values() if model is not None], problems


def readModel(path: Path) -> Model:
    """Read what the panel shows of a bundle.

    Raises:
        ModelError: the metadata is not that of a model.
    """
    file = path / "configs" / "metadata.json"
    metadata = read_json(file)
    try:
        return _model(path, metadata)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ModelError(
            f"{file}: is not the metadata of a model ({type(error).__name__}: {str(error)[:200]}); get the model again"
        ) from error


def _model(path: Path, metadata: Any) -> Model:
    scd = metadata["scd"]
    inference = scd["inference"]
    low, high = (float(ratio) for ratio in inference["keep_ratio_range"])
    channels = tuple(str(channel) for channel in scd["channels"])
    if len(channels) > MAX_CHANNELS:
        raise ValueError(f"it takes {len(channels)} images, and the panel has room for {MAX_CHANNELS}")
    if len(scd["labels"]) > _MAX_LABELS:
        raise ValueError(f"it has {len(scd['labels'])} labels, more than a label map can hold")
    if not 0 < low <= high <= 1 or not 0 < float(inference["keep_ratio"]) <= 1:
        raise ValueError("its keep ratios are not above 0 and at most 1")
    return Model(
        path=path,
        title=str(metadata.get("name", path.name)),
        description=str(metadata["description"]),
        channels=channels,
        labels=tuple(_label(entry) for entry in scd["labels"]),
        keepRatio=float(inference["keep_ratio"]),
        keepRatioRange=(low, high),
        overlap=float(inference["overlap"]),
        network=_network(scd["network"]),
        sha256=str(scd["weights"]["sha256"]),
        version=str(metadata.get("version", "")),
        tokenChoices=readTokenChoices(scd.get("quality", {})),
    )


def _network(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments that the panel can compute with: what a window costs is told while the user moves a slider."""
    for name, value in arguments.items():
        values = value if isinstance(value, list) else [value]
        most = _MOST_LAYERS if name.endswith("_layers") else _LARGEST_SIZE
        if len(values) > _MOST_STAGES or not all(isinstance(v, str) or 0 <= v <= most for v in values):
            raise ValueError(f"the network's {name} is out of range")
    dense_window_macs(arguments)
    window_macs(arguments, 1.0)
    return dict(arguments)


def _label(entry: dict[str, Any]) -> Label:
    red, green, blue = (int(value) / 255 for value in entry["color"])
    return Label(
        int(entry["value"]),
        str(entry["name"]),
        (red, green, blue),
        _terminology(entry),
        solid=entry["category"]["value"] != _BODY_SUBSTANCE,
    )


def _terminology(entry: dict[str, Any]) -> str:
    """The seven parts that Slicer joins by tildes: context, category, type, modifier, and the same of the region."""

    def code(key: str) -> str:
        value = entry.get(key)
        return "^".join(str(value[part]) for part in ("scheme", "value", "meaning")) if value else "^^"

    return "~".join(
        (
            "Segmentation category and type - DICOM master list",
            code("category"),
            code("type"),
            code("type_modifier"),
            "Anatomic codes - DICOM master list",
            code("region"),
            "^^",
        )
    )
