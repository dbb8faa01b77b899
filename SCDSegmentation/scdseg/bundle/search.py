"""Where models are found: folders that ``SCDSEG_MODELS`` names, the user's folder, and those that ship."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_data_path

from scdseg.bundle.bundle import METADATA_FILE, Bundle, read_bundle
from scdseg.errors import ModelError
from scdseg.resources import resource_dir


def model_folders() -> list[Path]:
    """Folders that are searched, in order; a model in an earlier one hides those of the same name in later ones.

    ``SCDSEG_MODELS`` holds folders separated like those in ``PATH``.
    """
    return [*_named_folders(), user_models(), resource_dir() / "Models"]


def user_models() -> Path:
    """The folder of the user's own models; it need not exist."""
    return user_data_path("scdseg", appauthor=False) / "models"


def find_bundles() -> tuple[list[Bundle], list[ModelError]]:
    """Find all models.

    Returns:
        The readable models in search order, and one error for each model or folder of models that cannot be used. An
        unreadable model still hides those of the same name behind it, so that no other model is taken for it silently.
    """
    problems: list[ModelError] = []
    bundles: list[Bundle] = []
    for path in candidates(problems).values():
        try:
            bundles.append(read_bundle(path))
        except ModelError as error:
            problems.append(error)
    return bundles, problems


def find_bundle(name_or_path: str | Path) -> Bundle:
    """Find one model.

    Args:
        name_or_path: a model's name as ``find_bundles`` knows it, or the path of a bundle's folder.

    Raises:
        ModelError: if there is no such model (the message lists those there are) or it cannot be used.
    """
    text = str(name_or_path)
    found = candidates()
    if text in found:
        return read_bundle(found[text])
    if (Path(text) / METADATA_FILE).is_file() or Path(text).name != text:
        return read_bundle(text)
    raise ModelError(
        f"unknown model {text!r}; there are: {', '.join(found) or 'none'}. Give one of these or the path of a "
        f"bundle's folder; searched: {', '.join(str(folder) for folder in model_folders())}"
    )


def candidates(problems: list[ModelError] | None = None) -> dict[str, Path]:
    """Folders that look like models, by name, the first found of each name.

    Args:
        problems: gets an error for each folder that cannot be searched.
    """
    found: dict[str, Path] = {}
    for folder in model_folders():
        try:
            for path in sorted(folder.iterdir()):
                # Hidden folders are bundles that are just being written.
                if not path.name.startswith(".") and (path / METADATA_FILE).is_file():
                    found.setdefault(path.name, path)
            continue
        except FileNotFoundError:
            # The user's folder need not exist; one that was named should.
            if folder not in _named_folders():
                continue
            problem = ModelError(f"{folder}: no such folder; correct SCDSEG_MODELS")
        except OSError as error:
            problem = ModelError(f"{folder}: cannot be searched for models ({error.strerror}); check its permissions")
        if problems is not None:
            problems.append(problem)
    return found


def _named_folders() -> list[Path]:
    return [Path(folder) for folder in os.environ.get("SCDSEG_MODELS", "").split(os.pathsep) if folder]
