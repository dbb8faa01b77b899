"""Errors that a user can act on.

Every message names the input, says what is wrong with it and what to do. The command line turns each into one line
and exit code 2, the worker into an ``error`` event with the class's ``code``.
"""

from __future__ import annotations


class ScdsegError(Exception):
    """Base of all errors that are the input's or the machine's fault, not the program's."""

    code = "error"


class InputError(ScdsegError):
    """An image, an argument or an output path cannot be used."""

    code = "input"


class ModelError(ScdsegError):
    """A model bundle or checkpoint is missing, malformed or does not match its hash."""

    code = "model"


class DeviceError(ScdsegError):
    """The requested compute device is not there or does not work."""

    code = "device"


class ResourceError(ScdsegError):
    """The machine has too little memory or disk space for the request."""

    code = "resource"


class Cancelled(ScdsegError):
    """The user asked to stop; no result was written."""

    code = "cancelled"
