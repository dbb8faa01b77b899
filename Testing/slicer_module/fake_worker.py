"""Workers that misbehave, for tests of the panel: python fake_worker.py MANNER."""

from __future__ import annotations

import json
import os
import sys
import time

# What the panel takes for the report of a run of the tiny model that found nothing.
FATE = {"tokens": 8, "importance": 0.5, "kept": [0.5, 0.25]}
REPORT = {
    "model": {"name": "tiny", "version": "0", "sha256": "0"},
    "device": {"type": "cpu", "name": "CPU"},
    "precision": "fp32",
    "versions": {},
    "keep_ratio": 0.5,
    "windows": {"count": 1, "size": [16, 16, 16], "overlap": 0.5},
    "tokens_per_stage": {"scored": [8, 4], "kept": [4, 2]},
    "tokens": {
        "stages": [
            {"after_block": 1, "in": 8, "kept": 4, "pruned": 4},
            {"after_block": 2, "in": 4, "kept": 2, "pruned": 2},
        ],
        "labels": [],
        "outside": FATE,
    },
    "labels": [],
    "warnings": [],
    "seconds": {},
}


def say(**message: object) -> None:
    print(json.dumps(message), flush=True)


def main(manner: str) -> None:
    if manner == "never starts":
        sys.exit("libtorch is missing")
    print("a line of the launcher, before the worker speaks", flush=True)
    say(event="ready", pid=os.getpid(), protocol=1, version="0")
    say(event="loaded", seconds=0.1)
    for line in sys.stdin:
        request = json.loads(line)
        number = request["id"]
        if request["request"] == "cancel" or request["request"] == "probe":
            continue  # deaf to it
        say(event="progress", id=number, step="windows", done=1, total=9, seconds_left=3.0)
        if manner == "garbage":
            sys.stdout.buffer.write(b"\xff\xfe segment fault at 0x00 \n")
            sys.stdout.flush()
        elif manner == "endless line":
            for _ in range(20):
                sys.stdout.write("x" * 1024 * 1024)
                sys.stdout.flush()
        elif manner == "exits":
            sys.exit("killed by the system")
        elif manner == "wrong event":
            say(event="result", id=number)
        elif manner == "no files":
            say(event="result", id=number, report=REPORT)
        elif manner == "internal error":
            say(event="error", id=number, code="internal", message="internal error: device-side assert")
        elif manner == "wrong row":
            say(event="result", id=number, partial=True, keep_ratio="dense", report={})
        elif manner == "wrong step":
            say(event="progress", id=number, step="windows", done="many", total=None)
        time.sleep(0.01)


if __name__ == "__main__":
    main(sys.argv[1])
