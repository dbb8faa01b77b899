"""The extension is configured and installed by CMake with a stand-in for Slicer's build tree (``slicer/``)."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

SLICER = Path(__file__).parent / "slicer"
# Nothing is compiled, so a machine without compilers will do: CMake is told not to try what it is given as such.
WITHOUT_COMPILER = tuple(
    f"-DCMAKE_{language}_COMPILER_{check}=ON" for language in ("C", "CXX") for check in ("FORCED", "ID_RUN")
)

Configure = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The extension's source."""
    return Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def cmake() -> str:
    """Path of the command; the extra ``test`` installs it."""
    command = shutil.which("cmake", path=sysconfig.get_path("scripts")) or shutil.which("cmake")
    assert command, "cmake is missing: pip install -c constraints.txt -e '.[train,test]'"
    return command


@pytest.fixture(scope="session")
def configure(cmake: str) -> Configure:
    """Runs CMake's configuration step: ``configure(source, build, *options)``."""

    def run(source: Path, build: Path, *options: str) -> subprocess.CompletedProcess[str]:
        tools = [f"-DCMAKE_{tool}={cmake}" for tool in ("MAKE_PROGRAM", "C_COMPILER", "CXX_COMPILER")]
        where = ["-S", str(source), "-B", str(build), f"-DSlicer_DIR={SLICER}"]
        command = [cmake, *where, "-G", "Unix Makefiles", *tools, *WITHOUT_COMPILER, *options]
        return subprocess.run(command, capture_output=True, text=True, encoding="utf-8")

    return run


@pytest.fixture(scope="session")
def build(configure: Configure, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The extension's build folder, configured with tests."""
    folder = tmp_path_factory.mktemp("build")
    process = configure(repository, folder, "-DBUILD_TESTING=ON")
    assert process.returncode == 0, process.stderr
    return folder


@pytest.fixture(scope="session")
def records(build: Path) -> dict[str, list[str]]:
    """What the extension asked of Slicer's build system: lines by name of macro argument or variable."""
    return read_records(build)


@pytest.fixture(scope="session")
def installed(cmake: str, build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of scripted modules that the extension's package puts on a user's computer."""
    prefix = tmp_path_factory.mktemp("installed")
    command = [cmake, "--install", str(build), "--prefix", str(prefix)]
    process = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    assert process.returncode == 0, process.stderr
    return prefix / "qt-scripted-modules"


def read_records(build: Path) -> dict[str, list[str]]:
    """The records of a build folder."""
    return {file.name: file.read_text(encoding="utf-8").splitlines() for file in (build / "records").iterdir()}
