"""Taking a model over from a ZIP archive: complete, checked and loadable, or not at all."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NoReturn
from uuid import uuid4

from scdseg.archives import open_archive
from scdseg.bundle.bundle import LICENSE_FILE, METADATA_FILE, README_FILE, Bundle, as_arguments, read_bundle
from scdseg.bundle.schema import validate
from scdseg.bundle.search import candidates, user_models
from scdseg.errors import ModelError, ResourceError
from scdseg.strict_json import MAX_BYTES, read_json

_PIECE_BYTES = 1 << 20
_UNFIT_IN_NAMES = set('/\\:*?"<>|')


def install_bundle(archive: str | Path, folder: str | Path | None = None) -> Bundle:
    """Take a model over into a folder in which models are looked for.

    Of the archive, only a model's own files are read, each under a name that is ours: its metadata, the weights that
    these name with the size that they record, its licence and its card. Nothing else is ever written.

    Args:
        archive: ZIP file with a bundle in it, either in one folder, whose name becomes the model's, or at its top,
            where the archive's name does.
        folder: models lie in; None: the user's own.

    Returns:
        The installed model.

    Raises:
        ModelError: the archive is damaged, holds no model or an unsound one, or a model of this name is there already.
        ResourceError: the disk is full or may not be written to.
    """
    path = Path(archive)
    if not path.is_file():
        raise ModelError(f"{archive}: no such file; give the ZIP archive of a model")
    target_folder = Path(folder) if folder is not None else user_models()
    try:
        with open_archive(path) as opened:
            return _Archive(path, opened).install(target_folder)
    except (OSError, zipfile.BadZipFile, ValueError, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise ModelError(f"{archive}: cannot be read as a ZIP archive ({error}); get the model again") from error


class _Archive:
    """An open archive with a model in it."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self._path, self._archive = path, archive
        self._members: dict[PurePosixPath, zipfile.ZipInfo] = {}
        for member in archive.infolist():
            if not member.filename:
                self._refuse("it has a file without a name")
            name = PurePosixPath(member.filename)
            if name in self._members and not member.is_dir():
                self._refuse(f"it has two files {member.filename!r:.100}")
            self._members[name] = member
        wanted = PurePosixPath(METADATA_FILE.as_posix())
        roots = [n.parent.parent for n in self._members if PurePosixPath(*n.parts[-2:]) == wanted and len(n.parts) <= 3]
        if len(roots) != 1:
            self._refuse(f"it has {len(roots)} files {wanted} where a model has one")
        self._root = roots[0]

    def install(self, folder: Path) -> Bundle:
        """Write the model into a folder."""
        from scdseg.bundle.weights import check_size, without_weights

        name = self._root.name or self._path.stem
        if name.strip(". ") != name or not name.isprintable() or _UNFIT_IN_NAMES & set(name):
            self._refuse(f"{name!r:.100} is no name for a model's folder: rename it")
        target = folder.absolute() / name
        there = candidates().get(name, target)
        if there != target or target.exists() or target.is_symlink():
            # It would hide the other one, or be hidden by it.
            raise ModelError(f"{there}: a model of this name is there already; remove it first, or rename the new one")
        with _folder_beside(target) as temporary:
            self._write(METADATA_FILE, temporary, MAX_BYTES)
            metadata = read_json(temporary / METADATA_FILE)
            validate(metadata, "metadata", Path(f"{self._path}:{METADATA_FILE.as_posix()}"))
            weights = metadata["scd"]["weights"]
            network = without_weights(as_arguments(metadata["scd"]["network"]), self._path)
            check_size(network, weights["bytes"], self._path)
            if weights["bytes"] > shutil.disk_usage(temporary).free:
                raise ResourceError(
                    f"{folder}: has no room for the {weights['bytes']} bytes of {self._path}: free space"
                )
            self._write(Path(weights["file"]), temporary, weights["bytes"])
            for file in (LICENSE_FILE, README_FILE):
                if self._root / file.as_posix() in self._members:
                    self._write(file, temporary, MAX_BYTES)
            # Loading checks all that is left to check.
            read_bundle(temporary).load_network()
            temporary.rename(target)
        return read_bundle(target)

    def _write(self, file: Path, folder: Path, most: int) -> None:
        """Write one of the model's files, of at most this size whatever the archive says of it."""
        member = self._members.get(self._root / file.as_posix())
        if member is None:
            self._refuse(f"it lacks {file.as_posix()}")
        if stat.S_ISLNK(member.external_attr >> 16) or member.is_dir():
            self._refuse(f"{member.filename!r:.100} is no file")
        if member.flag_bits & 1:
            self._refuse("it is encrypted")
        # Of these alone, Python reads no more at a time than it is asked for.
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            self._refuse("it is compressed in an unusual way")
        (folder / file).parent.mkdir(exist_ok=True)
        left = most
        with self._archive.open(member) as source, (folder / file).open("xb") as target:
            while piece := source.read(min(_PIECE_BYTES, left + 1)):
                left -= len(piece)
                if left < 0:
                    self._refuse(f"{member.filename!r:.100} is larger than {most} bytes")
                target.write(piece)

    def _refuse(self, problem: str) -> NoReturn:
        raise ModelError(f"{self._path}: {problem}; get the model again")


@contextmanager
def _folder_beside(target: Path) -> Iterator[Path]:
    """A folder for files on their way to the target, gone afterwards; hidden, so that no search finds a half model."""
    temporary = target.with_name(f".{uuid4().hex[:8]}-{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        yield temporary
    except ModelError as error:
        raise ModelError(str(error).replace(str(temporary), str(target))) from error
    except OSError as error:
        raise ResourceError(
            f"{target}: cannot be written ({error.strerror or error}); nothing was kept: free space, or choose a "
            "folder that you may write to"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
