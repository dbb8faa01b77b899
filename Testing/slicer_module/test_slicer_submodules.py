"""Submodules of the package slicer are imported where they are used: the application loads none of them by itself."""

from __future__ import annotations

import ast
from pathlib import Path

MODULE = Path(__file__).resolve().parents[2] / "SCDSegmentation"
# All of Slicer's package but `util`, which the application imports at its start.
SUBMODULES = {"ScriptedLoadableModule", "cli", "i18n", "logic", "packaging", "parameterNodeWrapper", "testing"}


def unimported(source: str) -> set[str]:
    """Submodules that a file uses as attributes of ``slicer`` and does not import."""
    used, imported = set(), set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "slicer":
            used.add(node.attr)
        elif isinstance(node, ast.Import):
            imported |= {name.name.removeprefix("slicer.") for name in node.names if name.name.startswith("slicer.")}
    return (used & SUBMODULES) - imported


def test_every_file_imports_what_it_uses() -> None:
    files = [MODULE / "SCDSegmentation.py", *(MODULE / "SCDSegmentationLib").rglob("*.py")]
    assert len(files) > 30
    assert {file.name: unimported(file.read_text(encoding="utf-8")) for file in files} == {f.name: set() for f in files}


def test_one_that_is_not_imported_is_found() -> None:
    assert unimported("import slicer\nslicer.packaging.pip_check('x'); slicer.util.x") == {"packaging"}
    assert unimported("import slicer.packaging\nslicer.packaging.pip_check('x')") == set()
