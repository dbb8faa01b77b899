"""slicer.i18n: the host speaks English. Checked against Slicer's Base/Python/slicer/i18n.py."""

from __future__ import annotations

from pathlib import Path


def translate(context: str, text: str) -> str:
    """Return the text in the application's language."""
    return text


def tr(text: str) -> str:
    """Return the text in the application's language."""
    return text


def getContext(sourceFile: str) -> str:
    """Return the name under which texts of a source file are translated."""
    path = Path(sourceFile)
    return f"{path.parent.name}.{path.stem}" if (path.parent / "__init__.py").is_file() else path.stem
