"""``python -m scdseg.worker [--parent PID]``."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import suppress

from scdseg import __version__
from scdseg.allocator import keep_freed_memory
from scdseg.lean_imports import leave_out_unused
from scdseg.threads import limit_spinning
from scdseg.worker import PROTOCOL
from scdseg.worker.channel import Channel, take_stdout
from scdseg.worker.service import Service


def main() -> int:
    """Serve requests from stdin until it closes, the parent ends, or a request or a signal asks to quit."""
    parser = argparse.ArgumentParser(
        prog="python -m scdseg.worker", description="Segments for a user interface: requests on stdin, events on stdout"
    )
    parser.add_argument("--parent", type=int, metavar="PID", help="end with this process, too")
    args = parser.parse_args()
    limit_spinning()
    keep_freed_memory()
    leave_out_unused()
    channel = Channel(take_stdout())
    channel.send("ready", pid=os.getpid(), protocol=PROTOCOL, version=__version__)
    return Service(channel, sys.stdin.buffer, args.parent).serve()


if __name__ == "__main__":
    code = main()
    with suppress(OSError):  # nobody may read it any more
        sys.stderr.flush()
    # The interpreter's own end would wait for the thread that reads stdin.
    os._exit(code)
