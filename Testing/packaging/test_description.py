"""CMakeLists.txt, SCDSegmentation.json and SCDSegmentation.s4ext describe one extension, and what they name exists."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

import pytest

NAME = "SCDSegmentation"
RAW_FILES = "https://raw.githubusercontent.com/SCDSegmentation/SlicerSCDSegmentation/main/"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def variables(records: dict[str, list[str]]) -> dict[str, str]:
    """CMake's ``EXTENSION_…`` variables, by the rest of their names."""
    return {
        name.removeprefix("EXTENSION_"): lines[0] for name, lines in records.items() if name.startswith("EXTENSION_")
    }


@pytest.fixture
def entry(repository: Path) -> dict[str, Any]:
    """The entry for the Extensions Index."""
    content: dict[str, Any] = json.loads((repository / f"{NAME}.json").read_text(encoding="utf-8"))
    return content


@pytest.fixture
def s4ext(repository: Path) -> dict[str, str]:
    """The older description: keyword and value."""
    lines = (repository / f"{NAME}.s4ext").read_text(encoding="utf-8").splitlines()
    pairs = [line.split(" ", 1) for line in lines if line and not line.startswith("#")]
    assert len(dict(pairs)) == len(pairs), "a keyword occurs twice"
    return dict(pairs)


def test_the_project_is_named_as_the_descriptions_files_are(variables: dict[str, str]) -> None:
    assert variables["NAME"] == NAME


@pytest.mark.parametrize(
    "keyword", ["homepage", "category", "contributors", "description", "iconurl", "screenshoturls", "depends"]
)
def test_the_s4ext_says_the_same_as_cmake(keyword: str, variables: dict[str, str], s4ext: dict[str, str]) -> None:
    assert s4ext[keyword] == variables[keyword.upper()]


def test_the_index_entry_says_the_same_as_cmake(variables: dict[str, str], entry: dict[str, Any]) -> None:
    assert entry["category"] == variables["CATEGORY"]
    assert entry["build_dependencies"] == variables["DEPENDS"].split()
    assert entry["scm_url"] == variables["HOMEPAGE"]


def test_the_index_entry_says_the_same_as_the_s4ext(entry: dict[str, Any], s4ext: dict[str, str]) -> None:
    assert entry["category"] == s4ext["category"]
    assert entry["build_dependencies"] == s4ext["depends"].split()
    for key, keyword in (("scm_url", "scmurl"), ("scm_revision", "scmrevision"), ("tier", "tier")):
        assert str(entry[key]) == s4ext[keyword]
    assert entry["build_subdirectory"] == s4ext["build_subdirectory"]


def test_the_names_are_those_that_the_index_accepts(entry: dict[str, Any]) -> None:
    assert not NAME.lower().startswith("slicer")
    assert entry["scm_url"].rsplit("/", 1)[1].startswith("Slicer")


@pytest.mark.parametrize("variable", ["HOMEPAGE", "ICONURL", "SCREENSHOTURLS", "DESCRIPTION", "DEPENDS"])
def test_the_index_can_read_a_value_from_the_text_of_cmakelists(
    variable: str, variables: dict[str, str], repository: Path
) -> None:
    text = (repository / "CMakeLists.txt").read_text(encoding="utf-8")
    assert re.findall(rf'set\(EXTENSION_{variable} "([^"$]+)"\)', text) == [variables[variable]]


@pytest.mark.parametrize("variable", ["ICONURL", "SCREENSHOTURLS"])
def test_every_picture_lies_in_the_repository(variable: str, variables: dict[str, str], repository: Path) -> None:
    for url in variables[variable].split():
        assert url.startswith(RAW_FILES)
        picture = repository / url.removeprefix(RAW_FILES)
        assert picture.is_file(), f"{url}: the repository has no such file"
        assert picture.read_bytes().startswith(PNG_SIGNATURE)


def test_the_icon_has_the_size_that_the_extensions_manager_shows(variables: dict[str, str], repository: Path) -> None:
    header = (repository / variables["ICONURL"].removeprefix(RAW_FILES)).read_bytes()[16:24]
    assert struct.unpack(">II", header) == (128, 128)


def test_licence_and_readme_are_the_extensions_own(variables: dict[str, str], repository: Path) -> None:
    assert Path(variables["LICENSE_FILE"]) == repository / "LICENSE"
    assert Path(variables["README_FILE"]) == repository / "README.md"


def test_lines_end_as_the_index_wants_them(repository: Path) -> None:
    for name in (f"{NAME}.json", f"{NAME}.s4ext"):
        assert b"\r" not in (repository / name).read_bytes()
