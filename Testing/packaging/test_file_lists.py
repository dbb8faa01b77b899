"""What the module's CMakeLists.txt lists is what the extension needs on a user's computer: no more, no less."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Configure = Callable[..., subprocess.CompletedProcess[str]]

# Files of the module's folder that nothing needs once the extension is installed. All others are installed: the command
# line imports each of its commands, also those that only make sense in a checkout.
NOT_INSTALLED = {
    "CMakeLists.txt",  # builds the package
    "Resources/Models/README.md",  # tells readers of the repository what the folder is for
    "scdseg/py.typed",  # tells type checkers that the package is typed
}

MINIMAL_PROJECT = """
cmake_minimum_required(VERSION 3.16.3...3.28)
project(Minimal NONE)
find_package(Slicer REQUIRED)
include(${Slicer_USE_FILE})
"""


@pytest.fixture
def needed(repository: Path) -> set[str]:
    """Files of the module's folder that must be installed: what git tracks or would track, but ``NOT_INSTALLED``."""
    folder = repository / "SCDSegmentation"
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout.decode().split("\0")
    present = {name for name in names if name and (folder / name).is_file()}
    assert present >= NOT_INSTALLED
    return present - NOT_INSTALLED


def test_every_file_that_is_needed_is_listed_and_no_other(records: dict[str, list[str]], needed: set[str]) -> None:
    listed = {*records["MODULE_SCRIPTS"], *records["MODULE_RESOURCES"]}
    missing, surplus = sorted(needed - listed), sorted(listed - needed)
    assert not missing, f"list in SCDSegmentation/CMakeLists.txt: {' '.join(missing)}"
    assert not surplus, f"SCDSegmentation/CMakeLists.txt lists what git ignores or nothing needs: {' '.join(surplus)}"


def test_python_files_are_scripts_which_slicer_compiles_and_others_resources(records: dict[str, list[str]]) -> None:
    assert {Path(name).suffix for name in records["MODULE_SCRIPTS"]} == {".py"}
    assert ".py" not in {Path(name).suffix for name in records["MODULE_RESOURCES"]}


def test_files_are_installed_beside_each_other_as_in_the_repository(
    installed: Path, repository: Path, needed: set[str]
) -> None:
    found = {file.relative_to(installed).as_posix(): file for file in installed.rglob("*") if file.is_file()}
    assert set(found) == needed
    different = [
        name for name in found if found[name].read_bytes() != (repository / "SCDSegmentation" / name).read_bytes()
    ]
    assert different == []


def test_the_module_is_built_under_the_extensions_name(records: dict[str, list[str]]) -> None:
    assert records["MODULE_NAME"] == ["SCDSegmentation"]
    assert records["GENERATED_CONFIG"] == ["SCDSegmentationConfig.cmake"]


def test_slicer_runs_its_own_tests_and_the_modules_when_tests_are_built(
    configure: Configure, records: dict[str, list[str]], repository: Path, tmp_path: Path
) -> None:
    assert records["MODULE_WITH_GENERIC_TESTS"] == ["TRUE"]
    assert records["UNITTEST_SCRIPT"] == ["SCDSegmentation.py"]
    assert configure(repository, tmp_path, "-DBUILD_TESTING=OFF").returncode == 0
    assert not (tmp_path / "records" / "UNITTEST_SCRIPT").exists()


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        ("slicerMacroBuildScriptedModule(NAME Minimal SCRIPTS Minimal.py)", None),
        ("slicerMacroBuildScriptedModule(NAME Minimal SCRIPTS Minimal.py Other.py)", "no file 'Other.py'"),
        ("slicerMacroBuildScriptedModule(NAME Minimal SCRIPTS Minimal.py RESOURCES icon.png)", "no file 'icon.png'"),
        ("slicerMacroBuildScriptedModule(NAME Minimal SCRIPTS notes.txt)", "'notes.txt', which is no Python file"),
        ("slicerMacroBuildScriptedModule(NAME Minimal SCRIPTS Minimal.py Minimal.py)", "'Minimal.py' is listed twice"),
        ("slicerMacroBuildScriptedModule(Minimal.py NAME Minimal)", "unknown arguments: Minimal.py"),
        ("slicerMacroBuildScriptedModule(SCRIPTS Minimal.py)", "NAME is missing"),
        ("slicer_add_python_unittest(SCRIPT Minimal.py)", None),
        ("slicer_add_python_unittest(SCRIPT Test.py)", "'Test.py' is not a file of this folder"),
        ("slicer_add_python_unittest(Minimal.py)", "unknown arguments: Minimal.py"),
    ],
)
def test_the_stand_in_for_slicers_macros_is_strict(
    configure: Configure, tmp_path: Path, call: str, complaint: str | None
) -> None:
    (tmp_path / "CMakeLists.txt").write_text(MINIMAL_PROJECT + call, encoding="utf-8")
    for name in ("Minimal.py", "notes.txt"):
        (tmp_path / name).touch()
    process = configure(tmp_path, tmp_path / "build")
    if complaint is None:
        assert process.returncode == 0, process.stderr
    else:
        assert process.returncode != 0
        assert complaint in " ".join(process.stderr.split())
