"""The cases of a cohort: found in a folder or named by a list, and judged by their headers before any work starts."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING

from scdseg.errors import InputError
from scdseg.inference.cohort_list import read_list
from scdseg.inference.cohort_result import is_result_folder
from scdseg.inference.images import read_headers
from scdseg.volumes import READABLE_EXTENSIONS

if TYPE_CHECKING:
    from scdseg.bundle import Bundle

# Headers whose voxels lie in another file, and the line that names it.
_DETACHED = {
    ".nhdr": re.compile(r"^data ?file: *(.+?)\s*$", re.MULTILINE | re.IGNORECASE),
    ".mhd": re.compile(r"^ElementDataFile *= *(.+?)\s*$", re.MULTILINE),
}
_HEADER_BYTES = 2**16
_DICOM_EXTENSIONS = (".dcm", ".ima")
# File systems hold 255 bytes a name; some are left for the temporary names of outputs.
_LONGEST_NAME = 200
_SHOWN = 5


@dataclass(frozen=True)
class Case:
    """One examination of a cohort.

    Args:
        name: of its folder in the output; unique, and fit for a file name.
        images: absolute paths, one for each channel of the model.
        fingerprint: SHA-256 of names, sizes and times of all its files: another one means other input.
        problem: why it cannot be used; mostly empty.
    """

    name: str
    images: tuple[Path, ...]
    fingerprint: str = ""
    problem: str = ""


def find_cases(
    source: Path, bundle: Bundle, output: Path, progress: Callable[[int, int], None] | None = None
) -> list[Case]:
    """All cases of a cohort, in an order that does not change between runs.

    Args:
        source: a folder, searched with its sub-folders for volumes and DICOM series, or a list of cases.
        bundle: the model that the cases are for.
        output: folder of results, in which nothing is looked for.
        progress: called with the cases that were checked and their number.

    Returns:
        The cases; a volume of a folder that cannot be used, or not under its name, is one with a problem.

    Raises:
        InputError: no case, one that would be written over, or one of a list that cannot be used or has no name of its
            own.
    """
    misnamed: list[Case] = []
    if source.is_dir():
        root = source.absolute()
        named, misnamed = _by_name(_in_folder(source, bundle, output), root)
    else:
        root = source.absolute().parent
        named = _in_list(source, bundle)
        _check_names([name for name, _ in named], source)
    if not named and not misnamed:
        raise InputError(
            f"{source} holds no case: give a folder with {', '.join(READABLE_EXTENSIONS)} files or DICOM series, "
            "or a list of such files"
        )
    _check_places(named, output)
    cases = []
    for number, (name, images) in enumerate(named):
        if progress is not None:
            progress(number, len(named))
        try:
            headers = read_headers(images, bundle)
        except InputError as error:
            cases.append(Case(name, images, problem=str(error)))
            continue
        files = [file for header in headers for file in (header.path, *map(Path, header.files))]
        cases.append(Case(name, images, _fingerprint(files, root)))
    problems = [case.problem for case in cases if case.problem]
    if problems and not source.is_dir():
        raise InputError(f"{source} names cases that cannot be used: {_some(problems)}")
    return [*cases, *misnamed]


def _in_folder(folder: Path, bundle: Bundle, output: Path) -> list[tuple[str, tuple[Path, ...]]]:
    if len(bundle.channels) != 1:
        raise InputError(
            f"model {bundle.name} takes {len(bundle.channels)} images a case ({', '.join(bundle.channels)}), which a "
            f"folder does not tell apart: give a list with the files of one case a line instead of {folder}"
        )
    if folder.resolve().is_relative_to(output.resolve()):
        raise InputError(f"output folder {output} holds the images of {folder}: choose another folder")
    root = folder.absolute()
    paths = sorted(_volumes(root, output.resolve()), key=lambda path: path.relative_to(root).parts)
    return [(_derived_name(path, root), (path,)) for path in paths]


def _volumes(root: Path, output: Path) -> Iterator[Path]:
    """Volume files and folders of DICOM series below a folder; no hidden ones, and no results."""
    seen = {output}
    for where, folders, files in os.walk(root, followlinks=True):
        here = Path(where)
        # Links may lead to a folder again and again.
        if here.resolve() in seen or is_result_folder(here):
            folders.clear()
            continue
        seen.add(here.resolve())
        # Of a folder and a link to it the one is taken that comes first, on every file system.
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
        shown = [file for file in files if not file.startswith(".")]
        yield from (here / file for file in shown if file.lower().endswith(READABLE_EXTENSIONS))
        if any(_is_dicom(here / file) for file in sorted(shown)):
            yield here


def _is_dicom(path: Path) -> bool:
    name = path.name.lower()
    if name.endswith(READABLE_EXTENSIONS):
        return False
    if name.endswith(_DICOM_EXTENSIONS):
        return True
    try:
        with path.open("rb") as file:
            file.seek(128)
            return name != "dicomdir" and file.read(4) == b"DICM"
    except OSError:
        return False


def _in_list(file: Path, bundle: Bundle) -> list[tuple[str, tuple[Path, ...]]]:
    root = file.absolute().parent
    named = []
    for given, images in read_list(file, bundle):
        paths = tuple(root / image for image in images)
        named.append((given or _derived_name(paths[0], root), paths))
    return named


def _derived_name(path: Path, root: Path) -> str:
    """A case's name from where its first image lies: ``sub-01/T1.nii.gz`` → ``sub-01_T1``."""
    below = path.relative_to(root).parts if path.is_relative_to(root) else ()
    name = path.name if not below or ".." in below else "_".join(below)
    ending = max((e for e in READABLE_EXTENSIONS if name.lower().endswith(e)), key=len, default="")
    return name[: len(name) - len(ending)]


def _by_name(
    named: Sequence[tuple[str, tuple[Path, ...]]], root: Path
) -> tuple[list[tuple[str, tuple[Path, ...]]], list[Case]]:
    """The volumes of a folder that can have a folder of their own; the others are cases named after their files."""
    groups = _same_names([name for name, _ in named])
    good, bad = [], []
    for name, images in named:
        if not _is_fit(name):
            problem = f"{_printable(name)!r} is no name for a folder"
        elif len(groups[_folded(name)]) > 1:
            problem = f"{len(groups[_folded(name)])} cases have the name {name!r}"
        else:
            good.append((name, images))
            continue
        bad.append((images, f"{problem}: rename the file, or give it another name in a list (docs/cohort.md)"))
    taken = {name for name, _ in good}
    misnamed = []
    for images, problem in bad:
        name = _printable(images[0].relative_to(root).as_posix() if images[0] != root else root.name)
        misnamed.append(Case(f"./{name}" if name in taken else name, images, problem=problem))
    return good, misnamed


def _check_names(names: Sequence[str], source: Path) -> None:
    """Check that every case can have a folder of its own, on any file system."""
    for name in names:
        if not _is_fit(name):
            raise InputError(
                f"{source} has a case named {name!r}, which is no name for a folder: give it another name in a list"
            )
    same = [" and ".join(sorted(group)) for group in _same_names(names).values() if len(group) > 1]
    if same:
        raise InputError(
            f"{source} has cases of one name: {_some(same)}; give each a name of its own in a list (docs/cohort.md)"
        )


def _is_fit(name: str) -> bool:
    """Whether a folder can have the name on any file system."""
    # Bytes that are no text, which Linux allows in names, come as surrogates: they fit nowhere else.
    if not name or any(c in '/\\:*?"<>|' or ord(c) < 32 or "\ud800" <= c <= "\udfff" for c in name):
        return False
    return name == name.strip() and name[0] != "." and name[-1] != "." and len(name.encode()) <= _LONGEST_NAME


def _same_names(names: Sequence[str]) -> dict[str, list[str]]:
    """Names that would be the same folder."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_folded(name), []).append(name)
    return groups


def _folded(name: str) -> str:
    """A name as file systems see it to which upper and lower case, and composed letters, are the same."""
    return unicodedata.normalize("NFC", name).casefold()


def _printable(text: str) -> str:
    """Text with escapes for what a terminal or a file cannot show."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _check_places(named: Sequence[tuple[str, tuple[Path, ...]]], output: Path) -> None:
    """Check that no input lies where the results of a case go."""
    folders = {output.resolve() / name for name, _ in named}
    for _, images in named:
        for image in images:
            place = image.resolve()
            if place in folders or place.parent in folders:
                raise InputError(f"{image} lies where results go: choose another output folder than {output}")


def _fingerprint(files: Sequence[Path], root: Path) -> str:
    """SHA-256 of names, sizes and times of files, which stays as it is when the root is moved with all its files."""
    digest = hashlib.sha256()
    for path in files:
        for part in _parts(path):
            state = part.stat()
            size = state.st_size if part.is_file() else 0
            modified = state.st_mtime_ns if part.is_file() else 0
            name = part.relative_to(root.absolute()) if part.is_relative_to(root.absolute()) else part
            digest.update(f"{name.as_posix()}\0{size}\0{modified}\n".encode())
    return digest.hexdigest()


def _parts(path: Path) -> list[Path]:
    """The files of a volume: its file or folder, and for a header what has the same name and the file it points to."""
    pattern = _DETACHED.get(path.suffix.lower())
    if pattern is None:
        return [path]
    parts = {path, *path.parent.glob(f"{escape(path.stem)}.*")}
    with path.open("rb") as file:
        found = pattern.search(file.read(_HEADER_BYTES).decode(errors="surrogateescape"))
    # "LOCAL", "LIST" and numbered names are no files.
    if found is not None and (voxels := path.parent / found[1]).is_file():
        parts.add(voxels)
    return sorted(parts)


def _some(texts: Sequence[str]) -> str:
    rest = len(texts) - _SHOWN
    return "; ".join(texts[:_SHOWN]) + (f"; and {rest} more" if rest > 0 else "")
