"""What reading a hostile file must never do, seen by Python's audit events."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

_RUNS_CODE = (
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "os.startfile", "pty.spawn"),
    *("subprocess.Popen", "exec", "compile", "import", "marshal.loads", "marshal.load", "pickle.find_class"),
    *("ctypes.dlopen", "ctypes.dlsym", "code.__new__", "function.__new__"),
    *("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto", "urllib.Request"),
    *("sys.settrace", "sys.setprofile", "signal.pthread_kill", "os.kill", "webbrowser.open"),
)
# Events that change files: where their paths stand among the arguments, and the folders that these start from.
_CHANGES = {
    **dict.fromkeys(("os.remove", "os.rmdir"), ((0, 1),)),
    **dict.fromkeys(("os.mkdir", "os.chmod"), ((0, 2),)),
    "os.chown": ((0, 3),),
    **dict.fromkeys(("os.truncate", "shutil.rmtree"), ((0, None),)),
    **dict.fromkeys(("os.rename", "os.link"), ((0, 2), (1, 3))),
    "os.symlink": ((1, 2),),
    **dict.fromkeys(("shutil.move", "shutil.copyfile"), ((0, None), (1, None))),
}
# The engine gives freed memory back by these; type hints of its own dataclasses are compiled.
_OWN_LIBRARY_CALLS = {"malloc_trim", "mallopt"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Guard:
    """Notes what is done outside a folder, and all code that is run.

    Args:
        folder: in which files may be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = os.path.realpath(folder)
        self._armed = False
        self.violations: list[str] = []
        sys.addaudithook(self._hook)

    def arm(self) -> None:
        """Watch from now on; everything that the readers import must be there already."""
        self._armed = True

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._armed:
            return
        if event == "open":
            path, mode, flags = arguments
            writes = set(mode or "") & set("wax+") or (flags or 0) & _WRITES
            if writes and isinstance(path, (str, bytes)) and self._outside(path):
                self._note(event, path)
        elif event in _CHANGES:
            for at, start in _CHANGES[event]:
                folder = arguments[start] if start is not None and len(arguments) > start else -1
                if isinstance(arguments[at], (str, bytes, os.PathLike)) and self._outside(arguments[at], folder):
                    self._note(event, arguments[at])
        elif event in _RUNS_CODE and not _is_own(event, arguments):
            self._note(event, arguments)

    def _outside(self, path: Any, folder: int = -1) -> bool:
        """Whether a path, that may start from an open folder, leads out of the folder that may be written to."""
        self._armed = False
        try:
            start = Path(f"/proc/self/fd/{folder}").readlink() if folder >= 0 else Path()
            real = os.path.realpath(start / os.fsdecode(path))
        finally:
            self._armed = True
        return real != self._folder and not real.startswith(self._folder + os.sep)

    def _note(self, event: str, what: Any) -> None:
        self.violations.append(f"{event}: {what!r:.200}")


def _is_own(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether code that is run is not the file's doing."""
    if event == "import":
        return arguments[0] in sys.modules
    if event == "ctypes.dlopen":
        return arguments[0] is None
    if event == "ctypes.dlsym":
        return arguments[1] in _OWN_LIBRARY_CALLS
    return event in ("compile", "exec") and Path(sys._getframe(2).f_code.co_filename).name == "typing.py"
