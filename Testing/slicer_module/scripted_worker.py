"""A worker that says what it is told to: python scripted_worker.py SCRIPT.json.

The script has a ``greeting``, an ``answer`` to requests for a segmentation, and another one, ``cpu``, to those for that
device; all are lists of what to do:
``{"say": LINE}``, ``{"write": TEXT}`` without an end of the line, ``{"flood": LINE, "times": N, "stream": "stdout"}``
(thousands; without ``times`` for ever), ``{"copy": FOLDER}`` the files of a result to where the request wants them,
``{"exit": N}``.
``@ID@`` stands for the request's id, ``@PID@`` for the process's, ``@FOLDER@`` for where a sweep's files go.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from itertools import repeat
from pathlib import Path
from typing import Any


def do(actions: Iterable[Mapping[str, Any]], request: Mapping[str, Any]) -> None:
    for action in actions:
        if "copy" in action:
            for path in map(Path, request["outputs"].values()):
                shutil.copy(Path(action["copy"]) / path.name, path)
        elif "exit" in action:
            sys.stdout.flush()
            os._exit(action["exit"])
        else:
            stream = getattr(sys, action.get("stream", "stdout")).buffer
            text = action.get("say", action.get("write", action.get("flood")))
            text = text.replace("@FOLDER@", str(request.get("outputs", {}).get("folder")))
            line = text.replace("@ID@", str(request.get("id"))).replace("@PID@", str(os.getpid())).encode("utf-8")
            line += b"" if "write" in action else b"\n"
            blocks = [line]
            if "flood" in action:
                many = line * 1000
                blocks = repeat(many, action["times"] // 1000) if "times" in action else repeat(many)
            for block in blocks:
                stream.write(block)
            stream.flush()


def main(path: Path) -> None:
    script = json.loads(path.read_text(encoding="utf-8"))
    with path.with_name("pids").open("a", encoding="utf-8") as file:
        file.write(f"{os.getpid()}\n")
    do(script["greeting"], {})
    for line in sys.stdin:
        request = json.loads(line)
        if request["request"] in ("segment", "sweep"):
            do(script["cpu" if request["device"] == "cpu" else "answer"], request)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
