"""Files of PyTorch's from anyone: looked through before PyTorch reads them, and read without running anything.

``torch.load(weights_only=True)`` calls nothing but constructors that it knows, but some of these take any amount of
memory (``bytearray(10**12)``), a compressed archive grows when it is read, and a key built of tuples of the same tuples
takes forever to hash. Files that PyTorch itself writes have none of that. What is looked through must be what PyTorch
reads, so archives that two readers could understand in two ways are refused, too.
"""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

import torch

from scdseg.archives import is_canonical, open_archive

MAX_PICKLE_BYTES = 32 << 20
"""Size of the largest pickle that is looked through; that of a network with a thousand tensors has 0.2 MB."""

_MAX_OPERATIONS = 400_000
_MAX_DEPTH = 50
_MAX_VALUES = 1_000_000
# Some of what is called copies its arguments: so many values in all calls of a pickle.
_MAX_CALLED = 2_000_000
# What may be called: each makes no more than it is given.
_CALLABLE = {
    "collections OrderedDict",
    "collections Counter",
    "torch Size",
    "torch device",
    "torch._utils _rebuild_tensor",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    "torch._utils _rebuild_parameter_with_state",
}
# A file of before PyTorch 1.6 is a row of pickles with the numbers behind them: magic number, protocol, system,
# content, and the keys of its storages.
_LEGACY_PICKLES = 5


def load(path: Path) -> Any:
    """Read a file that ``torch.save`` wrote, mapped where its format allows it.

    Raises:
        Exception: ValueError for what :func:`inspect` refuses; else whatever ``torch.load`` answers a malformed file.
    """
    inspect(path)
    return torch.load(path, map_location="cpu", weights_only=True, mmap=is_archive(path))


def is_archive(path: Path) -> bool:
    """Whether PyTorch takes a file for one of its archives, which it has written since 1.6."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def inspect(path: Path) -> None:
    """Look through a file of PyTorch's without building anything of what it holds.

    Raises:
        ValueError: it is compressed or damaged, or holds what no file of tensors needs.
        OSError, zipfile.BadZipFile: it cannot be read.
    """
    if not is_archive(path):
        with path.open("rb") as file:
            for _ in range(_LEGACY_PICKLES):
                _Reading().follow(file)
        return
    if not is_canonical(path):
        raise ValueError("it is an archive with something before or behind it, as PyTorch's own files never are")
    with open_archive(path) as archive:
        members = archive.infolist()
        names = {member.filename.casefold() for member in members}
        if len(names) < len(members) or len({name.partition("/")[0] for name in names}) != 1:
            raise ValueError("its files are not of one folder with names of their own")
        # Any compression could make a thousand times as much of it.
        if any(m.compress_type != zipfile.ZIP_STORED or m.file_size != m.compress_size for m in members):
            raise ValueError("it is compressed, as PyTorch's own files never are")
        pickles = [member for member in members if PurePosixPath(member.filename).name.casefold() == "data.pkl"]
        if len(pickles) != 1:
            raise ValueError(f"it has {len(pickles)} members data.pkl instead of one")
        if pickles[0].file_size > MAX_PICKLE_BYTES:
            raise ValueError(f"its data.pkl is larger than {MAX_PICKLE_BYTES} bytes")
        with archive.open(pickles[0]) as file:
            _Reading().follow(file)


def share_too_much(tensors: Iterable[torch.Tensor]) -> bool:
    """Whether tensors have many more numbers than are stored: a single storage can be the values of any number of them.

    Tied weights, of which two tensors have the same numbers, are usual; more than four are not.
    """
    stored: dict[int, int] = {}
    total = 0
    for tensor in tensors:
        storage = tensor.untyped_storage()
        stored[storage.data_ptr()] = storage.nbytes()
        total += tensor.numel() * tensor.element_size()
    return total > 4 * sum(stored.values())


def has_names(mapping: Mapping[Any, Any]) -> bool:
    """Whether all keys are text; others can be anything that a pickle makes."""
    return all(isinstance(key, str) for key in mapping)


def fits_its_storage(tensor: torch.Tensor) -> bool:
    """Whether every number of a tensor is in memory once: strides of 0 make any shape of a single number."""
    plain = tensor.layout == torch.strided and not tensor.is_meta
    return plain and tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


class _Value(NamedTuple):
    """A value that unpickling would make: how many values it is when walked through, how deep, and its name."""

    values: int = 1
    depth: int = 0
    name: str = ""


_MARK = _Value(0, 0, "(mark)")
_ATOM = _Value()


class _Reading:
    """One pickle, followed operation by operation with sizes in place of values."""

    def __init__(self) -> None:
        self._stack: list[_Value] = []
        self._memo: dict[int, _Value] = {}
        self._called = 0

    def follow(self, file: IO[bytes]) -> None:
        """Go on to the pickle's end.

        Raises:
            ValueError: it is damaged, or holds what no file of tensors needs.
        """
        for number, (operation, argument, _) in enumerate(pickletools.genops(file)):
            if number > _MAX_OPERATIONS:
                raise ValueError("it holds more than tensors")
            try:
                self._step(operation, argument)
            except (IndexError, KeyError) as error:
                raise ValueError("its pickle is damaged") from error

    def _step(self, operation: pickletools.OpcodeInfo, argument: Any) -> None:
        name, stack = operation.name, self._stack
        if name in ("REDUCE", "NEWOBJ"):
            arguments, function = stack.pop(), stack.pop()
            if function.name not in _CALLABLE:
                raise ValueError(f"it calls {function.name or 'what is no function'}, which no tensor needs")
            self._called += arguments.values
            if self._called > _MAX_CALLED:
                raise ValueError("it makes more values than any tensors need")
            self._push(arguments)
        elif name == "GLOBAL":
            stack.append(_Value(name=argument))
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self._memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(self._memo[argument])
        elif name in ("PROTO", "STOP"):
            pass
        elif not operation.stack_before:
            stack.append(_ATOM)
        elif name in _MADE_OF_OTHERS:
            self._push(*self._taken(operation))
        else:
            raise ValueError(f"it has the operation {name}, which no tensor needs")

    def _taken(self, operation: pickletools.OpcodeInfo) -> list[_Value]:
        """Take from the stack what an operation consumes."""
        taken = []
        if pickletools.markobject in operation.stack_before:
            while (value := self._stack.pop()) is not _MARK:
                taken.append(value)
        # What lies below the mark, or all of it.
        for _ in range(sum(part not in _OF_A_MARK for part in operation.stack_before)):
            taken.append(self._stack.pop())
        return taken

    def _push(self, *parts: _Value) -> None:
        """Put a value on the stack that is made of others."""
        made = _Value(1 + sum(part.values for part in parts), 1 + max((part.depth for part in parts), default=0))
        if made.values > _MAX_VALUES or made.depth > _MAX_DEPTH:
            raise ValueError("it nests values in values more than any tensors are")
        self._stack.append(made)


_OF_A_MARK = (pickletools.markobject, pickletools.stackslice)
_MADE_OF_OTHERS = {
    *("APPEND", "APPENDS", "SETITEM", "SETITEMS", "BUILD", "BINPERSID"),
    *("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
}
