"""Headers of NRRD and MetaImage files, looked through before ITK believes them.

Whatever path stands in a header is opened by ITK, so a header from somebody else could read any file of the user's, or
a device that never ends; patterns of file names go to C's ``printf``; and some fields end the process. What is let
through is what writers of such files write.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

from scdseg.errors import InputError
from scdseg.volumes.checks import check_file_size
from scdseg.volumes.meta_header import read_meta_header
from scdseg.volumes.nrrd_header import read_nrrd_header

_MAX_HEADER_BYTES = 1 << 20


def check_itk_header(path: Path) -> int:
    """Check that a NRRD or MetaImage header is one that ITK can be given.

    Args:
        path: of the header.

    Returns:
        Size in bytes of the header and its files together.

    Raises:
        InputError: a field is wrong, it names a file outside its own folder, one that is missing or too short, or it is
            larger than any header.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(_MAX_HEADER_BYTES)
    nrrd = path.name.lower().endswith((".nrrd", ".nhdr"))
    if len(content) == _MAX_HEADER_BYTES and nrrd and not any(end in content for end in (b"\n\n", b"\n\r\n")):
        raise InputError(f"{path} has a header of more than {_MAX_HEADER_BYTES} bytes: export the volume again")
    files = (read_nrrd_header if nrrd else read_meta_header)(path, content)
    size = path.stat().st_size
    targets = [_beside(path, name) for name in files.names] or [path]
    for target in targets:
        if files.raw_bytes is not None:
            check_file_size(path, files.raw_bytes, target.stat().st_size - files.offset, compressed=False)
    return size + sum(target.stat().st_size for target in targets if files.names)


def _beside(path: Path, name: str) -> Path:
    """The file of a name in the header's folder; names themselves are not told, they could be anybody's."""
    if "\0" in name:
        raise InputError(f"{path} takes its voxels from a file whose name is none: export the volume again")
    parts = (PurePosixPath(name), PureWindowsPath(name))
    lead_out = any(part.is_absolute() or part.drive or part.root or ".." in part.parts for part in parts)
    folder = path.parent.resolve()
    if lead_out or not (target := (path.parent / name).resolve()).is_relative_to(folder):
        raise InputError(
            f"{path} takes its voxels from outside its own folder: put their file beside it and correct the header, or "
            "export the volume as one file"
        )
    if not target.is_file():
        raise InputError(f"{path} takes its voxels from a file that is not there: copy it, too, or export it again")
    return target
