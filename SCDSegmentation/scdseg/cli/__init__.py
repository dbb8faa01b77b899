"""The command ``scdseg``: one file a command, heavy packages imported only by the command that needs them."""

from __future__ import annotations

import argparse
import sys
import traceback
import warnings
from collections.abc import Sequence
from importlib import import_module

from scdseg import __version__
from scdseg.allocator import keep_freed_memory
from scdseg.errors import Cancelled, ScdsegError
from scdseg.lean_imports import leave_out_unused
from scdseg.threads import limit_spinning

_COMMANDS = (
    "segment",
    "segment_all",
    "sweep",
    "models",
    "install_model",
    "diagnose",
    "import_checkpoint",
    "pretrain",
    "train",
    "export",
    "evaluate",
    "compare",
    "benchmark",
    "demo",
)
_EXIT_INTERNAL = 1
_EXIT_BAD_INPUT = 2
_EXIT_CANCELLED = 130


def build_parser() -> argparse.ArgumentParser:
    """Parser of all commands; every one also takes ``--debug``."""
    parser = argparse.ArgumentParser(
        prog="scdseg", description="Medical image segmentation with sparse-token vision transformers."
    )
    parser.add_argument("--version", action="version", version=f"scdseg {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        import_module(f"scdseg.cli.{command}").add_parser(subparsers)
    for subparser in subparsers.choices.values():
        # Without a default, a --debug before the command is not reset by the command's parser.
        subparser.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
        )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: without the program's name; None: the process's own.

    Returns:
        Exit code: 0, 1 for an error of the program or in one of many cases, 2 for one of the input or the machine,
        130 if cancelled.
    """
    parser = build_parser()
    args, rest = parser.parse_known_args(arguments)
    args.rest = rest
    if rest and not getattr(args, "takes_overrides", False):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if not args.debug:
        # Libraries warn of their own internals; what concerns the user is in reports and messages.
        warnings.simplefilter("ignore")
    if arguments is None:
        limit_spinning()
        keep_freed_memory()
        if getattr(args, "only_segments", False):
            leave_out_unused()
    try:
        return int(args.run(args))
    except (KeyboardInterrupt, Exception) as error:
        if args.debug:
            traceback.print_exc()
        message, code = _describe(error)
        print(f"scdseg: {message}", file=sys.stderr)
        return code


def _describe(error: BaseException) -> tuple[str, int]:
    """What to tell the user of an error, and the exit code."""
    if isinstance(error, KeyboardInterrupt | Cancelled):
        return str(error) or "cancelled", _EXIT_CANCELLED
    if isinstance(error, ScdsegError):
        return f"error: {error}", _EXIT_BAD_INPUT
    return f"internal error: {type(error).__name__}: {error} (--debug shows where)", _EXIT_INTERNAL
