"""Recipes: everything a training run depends on, in one YAML file."""

from __future__ import annotations

from dataclasses import MISSING, asdict, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import yaml

from scdseg.errors import InputError
from scdseg.strict_json import walk
from scdseg.training.settings import (
    AugmentationSettings,
    DataSettings,
    ExportSettings,
    ImageListSettings,
    OptimisationSettings,
    PretrainingSettings,
    ValidationSettings,
)
from scdseg.training.synthesis import SynthesisSettings
from scdseg.volumes import staged

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Recipe:
    """One training run. ``directory`` is the recipe file's folder, which its relative file names start from."""

    name: str
    seed: int
    network: dict[str, Any]
    data: DataSettings | ImageListSettings
    synthesis: SynthesisSettings
    augmentation: AugmentationSettings
    optimisation: OptimisationSettings
    pretraining: PretrainingSettings
    validation: ValidationSettings
    export: ExportSettings
    directory: Path
    start: str = ""

    @property
    def root(self) -> Path:
        """Folder of the data."""
        return self.directory / Path(self.data.root).expanduser()

    @property
    def start_path(self) -> Path | None:
        """Weights to start from, if any."""
        return self.directory / Path(self.start).expanduser() if self.start else None


_MAX_VALUES = 20_000


def _safe_load(text: str) -> Any:
    """YAML as data, of bounded size: aliases of aliases make any number of values of a few lines."""
    content = yaml.safe_load(text)
    if any(count == _MAX_VALUES for count, _ in enumerate(walk(content))):
        raise yaml.YAMLError(f"it holds more than {_MAX_VALUES} values: write fewer aliases")
    return content


def load_recipe(path: str | Path, overrides: dict[str, str] | None = None) -> Recipe:
    """Read a recipe file, or a shipped one by its name; ``overrides`` maps dotted keys (``data.root``) to YAML values.

    A relative ``data.root`` or ``start`` in the file starts from the file's folder, one in ``overrides`` from the
    working folder.

    Raises:
        InputError: for a file that is not there or not a recipe, and for unknown or missing keys, which it names.
    """
    file = Path(path)
    if not file.is_file() and (RECIPES / f"{path}.yaml").is_file():
        file = RECIPES / f"{path}.yaml"
    if not file.is_file():
        shipped = ", ".join(sorted(known.stem for known in RECIPES.glob("*.yaml")))
        raise InputError(f"{path}: there is no such recipe file; recipes that ship: {shipped}")
    try:
        content = _safe_load(file.read_text(encoding="utf-8"))
    except (OSError, RecursionError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path}: cannot be read as a YAML recipe ({error})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: a recipe is a YAML mapping; see the shipped recipes in {RECIPES}")
    for key, text in (overrides or {}).items():
        try:
            value = _safe_load(text)
        except (RecursionError, ValueError, yaml.YAMLError) as error:
            raise InputError(f"--{key} {text}: is not a YAML value ({error})") from error
        if key == "start" and value is None:
            value = ""  # --start "" takes back what the recipe says
        if key in ("data.root", "start") and isinstance(value, str) and value:
            value = str(Path(value).expanduser().absolute())
        _override(content, key, value, file)
    content["directory"] = file.resolve().parent
    return recipe_from_dict(content, str(path))


def recipe_from_dict(content: dict[str, Any], origin: str) -> Recipe:
    """A recipe from nested mappings, as read from YAML; ``origin`` names them in errors."""
    data = content.get("data")
    sections = {
        "data": ImageListSettings if isinstance(data, dict) and "list" in data else DataSettings,
        "synthesis": SynthesisSettings,
        "augmentation": AugmentationSettings,
        "optimisation": OptimisationSettings,
        "pretraining": PretrainingSettings,
        "validation": ValidationSettings,
        "export": ExportSettings,
    }
    values = dict(content)
    for name, section in sections.items():
        values[name] = _build(section, values.get(name) or {}, f"{origin}: {name}")
    return _build(Recipe, values, origin)


def save_recipe(recipe: Recipe, directory: Path) -> None:
    """Write ``recipe.yaml`` and its labels into a run's folder, so that the folder says all about the run.

    Raises:
        ResourceError: the disk is full or a file cannot be written; the folder is then as it was.
    """
    content = {key: value for key, value in asdict(recipe).items() if key != "directory"}
    content["data"]["labels"] = "labels.json"
    content["data"]["root"] = str(recipe.root.absolute())  # the run's folder is another one
    content["start"] = str(recipe.start_path.absolute()) if recipe.start_path else ""
    texts = {
        directory / "labels.json": (recipe.directory / recipe.data.labels).read_text(encoding="utf-8"),
        directory / "recipe.yaml": yaml.safe_dump(_lists(content), sort_keys=False),
    }
    with staged(list(texts)) as temporary:
        for path, text in texts.items():
            temporary[path].write_text(text, encoding="utf-8")


def differences(old: Recipe, new: Recipe) -> list[str]:
    """What two recipes set differently, as ``key: old → new``, but for where their files lie."""

    def flat(value: Any, key: str) -> dict[str, Any]:
        if isinstance(value, dict):
            return {k: v for name, item in value.items() for k, v in flat(item, f"{key}.{name}").items()}
        return {key.lstrip("."): value}

    before, after = (flat(_lists(asdict(recipe)), "") for recipe in (old, new))
    ignored = {"directory", "data.root", "data.labels", "start"}
    return [
        f"{key}: {before.get(key)} → {after.get(key)}"
        for key in {**before, **after}
        if key not in ignored and before.get(key) != after.get(key)
    ]


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lists(item) for key, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, list | tuple) else value


T = TypeVar("T")


def _build(kind: type[T], values: Any, where: str) -> T:
    if not isinstance(values, dict):
        raise InputError(f"{where}: should be a mapping, not {values!r:.200}")
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(known))
    if unknown:
        near = get_close_matches(unknown[0], known, 1)
        hint = f"did you mean {near[0]!r}? Known" if near else "known"
        raise InputError(
            f"{where}: unknown key {unknown[0]!r:.200}; {hint} are {', '.join(sorted(set(known) - {'directory'}))}"
        )
    required = [n for n, f in known.items() if f.default is MISSING and f.default_factory is MISSING]
    missing = [name for name in required if name not in values]
    if missing:
        raise InputError(f"{where}: {missing[0]!r} is missing")
    types = get_type_hints(kind)
    converted = {name: _convert(value, types[name], f"{where}: {name!r}") for name, value in values.items()}
    try:
        return kind(**converted)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from error


def _convert(value: Any, kind: Any, where: str) -> Any:
    """A YAML value as the type of its field. YAML has no tuples, and reads 1e-3 and quoted keys as text."""
    items = get_args(kind)
    if get_origin(kind) is tuple:
        if not isinstance(value, list | tuple) or (items[-1] is not ... and len(value) != len(items)):
            number = "" if items[-1] is ... else f"{len(items)} "
            raise InputError(f"{where} should be a list of {number}values, not {value!r:.200}")
        kinds = [items[0]] * len(value) if items[-1] is ... else items
        return tuple(_convert(item, kind, where) for item, kind in zip(value, kinds, strict=True))
    if get_origin(kind) is dict:
        if not isinstance(value, dict):
            raise InputError(f"{where} should be a mapping, not {value!r:.200}")
        return {_convert(k, items[0], where): _convert(v, items[1], f"{where}: {k!r}") for k, v in value.items()}
    if NoneType in items:
        return None if value is None else _convert(value, items[0], where)
    if kind in (int, float):
        try:
            if isinstance(value, bool) or (kind is int and isinstance(value, float)):
                raise ValueError
            return kind(value)
        except (TypeError, ValueError) as error:
            noun = "whole number" if kind is int else "number"
            raise InputError(f"{where} should be a {noun}, not {value!r:.200}") from error
    if kind is not Any and not isinstance(value, kind):
        noun = {str: "text", bool: "true or false"}.get(kind, kind.__name__)
        raise InputError(f"{where} should be {noun}, not {value!r:.200}")
    return value


def _override(content: dict[str, Any], key: str, value: Any, file: Path) -> None:
    *parents, last = key.split(".")
    place: Any = content
    for parent in parents:
        if isinstance(place, dict) and place.get(parent) is None:
            place[parent] = {}  # the recipe leaves all of the section to the defaults
        place = place.get(parent) if isinstance(place, dict) else None
    if not isinstance(place, dict):
        raise InputError(f"{file}: has no section for --{key}")
    place[last] = value
