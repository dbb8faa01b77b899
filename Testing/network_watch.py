"""Run processes that end when they touch the network, or where there is none.

A process that gets the environment of :func:`watched` has an audit hook in every Python below it. At the first attempt
to look up a name, connect, send or bind it leaves a note and ends, so that no ``except`` can hide the attempt. The hook
sees what is done in Python; what compiled code does, a namespace without interfaces (:func:`cut_off`) keeps from
succeeding.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

EXIT_CODE = 97
_FOLDER = "SCDSEG_NETWORK_WATCH"
_ATTEMPTS, _PROCESSES = "attempts.txt", "processes.txt"
_EVENTS = {
    "ftplib.connect",
    "http.client.connect",
    "imaplib.open",
    "poplib.connect",
    "smtplib.connect",
    "socket.bind",
    "socket.connect",
    "socket.getaddrinfo",
    "socket.gethostbyaddr",
    "socket.gethostbyname",
    "socket.getnameinfo",
    "socket.sendmsg",
    "socket.sendto",
    "urllib.Request",
}


def watched(folder: Path) -> dict[str, str]:
    """An environment whose Python processes are watched.

    Args:
        folder: exists and is of the watch's own.
    """
    (folder / "sitecustomize.py").write_text("import network_watch\n\nnetwork_watch.watch()\n", encoding="utf-8")
    paths = [str(folder), str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUTF8": "1", _FOLDER: str(folder)}


def attempts(folder: Path) -> str:
    """What watched processes tried, and where in the code; empty if nothing."""
    path = folder / _ATTEMPTS
    return path.read_text(encoding="utf-8") if path.exists() else ""


def processes(folder: Path) -> set[int]:
    """Numbers of all processes that were watched."""
    return {int(line) for line in (folder / _PROCESSES).read_text(encoding="utf-8").split()}


def cut_off() -> list[str]:
    """What to put before a command so that it has no network: Linux's unshare; empty where that is not allowed."""
    unshare = shutil.which("unshare")
    for options in ("-rn", "-n"):
        if (
            unshare
            and subprocess.run([unshare, options, sys.executable, "-c", ""], capture_output=True).returncode == 0
        ):
            return [unshare, options]
    return []


def watch() -> None:
    """Watch this process; every Python below :func:`watched` calls it as it starts."""
    folder = os.environ[_FOLDER]
    _append(folder, _PROCESSES, f"{os.getpid()}\n")

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _EVENTS and not _is_local(arguments):
            import traceback

            _append(folder, _ATTEMPTS, f"{event} {arguments!r}\n{''.join(traceback.format_stack(limit=20))}\n")
            os._exit(EXIT_CODE)

    sys.addaudithook(hook)


def _is_local(arguments: tuple[Any, ...]) -> bool:
    """Whether it is about a socket between processes of this machine, which has no address on any network."""
    import _socket

    return hasattr(_socket, "AF_UNIX") and getattr(arguments[0], "family", None) == _socket.AF_UNIX


def _append(folder: str, name: str, text: str) -> None:
    with (Path(folder) / name).open("a", encoding="utf-8") as file:
        file.write(text)
