"""Weights of a bundle: verified, compared with the network that they are for, and only then loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open

from scdseg import torch_files
from scdseg.errors import ModelError
from scdseg.networks import SCDUNETR
from scdseg.torch_files import fits_its_storage, has_names

if TYPE_CHECKING:
    from scdseg.bundle.bundle import Bundle

# Names and shapes of a thousand tensors take 0.1 MB.
_MAX_HEADER_BYTES = 4 << 20
_MAX_OVERHEAD_BYTES = 32 << 20
_SAFETENSORS_DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64}


def sha256(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_network(bundle: Bundle) -> SCDUNETR:
    """Load the network of a bundle; see ``Bundle.load_network``."""
    verify(bundle)
    with ExitStack() as stack:
        tensors = _open(bundle.weights_path, stack)
        network = without_weights(bundle.network, bundle.path)
        _compare(tensors, network.state_dict(), bundle.weights_path)
        check_size(network, bundle.bytes, bundle.weights_path)
        # Copied: a file that stays mapped could be cut short under a network that is in use.
        state = {name: tensor.load().to(torch.float32, copy=True) for name, tensor in tensors.items()}
        for name, values in state.items():
            if not torch.isfinite(values).all():
                raise ModelError(
                    f"{bundle.weights_path}: {name} holds values that are infinite or not a number: the model was not "
                    "trained soundly or its file is damaged; get the model again"
                )
        network.load_state_dict(state, assign=True)
        network.assembly.fill_positions()
    return network.eval()


def verify(bundle: Bundle) -> None:
    """Compare the weights with the SHA-256 that the metadata records.

    Raises:
        ModelError: if they differ.
    """
    try:
        found = sha256(bundle.weights_path)
    except OSError as error:
        raise ModelError(f"{bundle.weights_path}: cannot be read ({error.strerror}); get the model again") from error
    if found != bundle.weights_sha256:
        raise ModelError(
            f"{bundle.weights_path}: SHA-256 {found} is not the recorded {bundle.weights_sha256}: the weights are "
            "damaged or were changed; get the model again"
        )


class _Stored:
    """A tensor in a file: its shape and type are known, its values come when asked for."""

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype | None, source: Any, name: str) -> None:
        self.shape, self.dtype, self._source, self._name = shape, dtype, source, name

    def load(self) -> torch.Tensor:
        if isinstance(self._source, torch.Tensor):
            return self._source
        tensor: torch.Tensor = self._source.get_tensor(self._name)
        return tensor


def _open(path: Path, stack: ExitStack) -> dict[str, _Stored]:
    """Names, shapes and types of the tensors in a file, without taking memory for their values."""
    try:
        if path.suffix == ".safetensors":
            _check_header(path)
            file = stack.enter_context(safe_open(path, framework="pt"))
            stored = {}
            for name in file.keys():  # noqa: SIM118 - a safetensors file is not a mapping
                part = file.get_slice(name)
                dtype = _SAFETENSORS_DTYPES.get(part.get_dtype())
                stored[name] = _Stored(tuple(part.get_shape()), dtype, file, name)
            return stored
        if not torch_files.is_archive(path):
            raise ValueError("not a file of PyTorch 1.6 or newer")
        # Mapped, not read: values stay on disk until they are copied into the network.
        state = torch_files.load(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: cannot be read as weights ({error}); get the model again") from error
    except Exception as error:  # torch.load answers malformed files with many kinds of exceptions
        raise ModelError(
            f"{path}: not a plain state dictionary that can be read safely ({_first_line(error)}); get the model "
            "again or save it as safetensors"
        ) from error
    tensors = isinstance(state, Mapping) and all(isinstance(value, torch.Tensor) for value in state.values())
    if not tensors or not has_names(state):
        raise ModelError(f"{path}: holds something else than a state dictionary; save the network's state_dict()")
    return {
        name: _Stored(tuple(value.shape), value.dtype if fits_its_storage(value) else None, value, name)
        for name, value in state.items()
    }


def _check_header(path: Path) -> None:
    """Refuse a safetensors file whose header, which is parsed as a whole, is larger than any network's."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
    if size > _MAX_HEADER_BYTES:
        raise ModelError(
            f"{path}: cannot be read as weights (its header would have {size} bytes, more than {_MAX_HEADER_BYTES}); "
            "get the model again"
        )


def without_weights(arguments: Mapping[str, Any], source: Path) -> SCDUNETR:
    """A network without memory behind its weights.

    Raises:
        ModelError: the arguments do not fit each other.
    """
    try:
        with torch.device("meta"):
            return SCDUNETR(**arguments)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"{source}: the network arguments in its metadata do not work: {error}; get the model again"
        ) from error


def check_size(network: SCDUNETR, size: int, path: Path) -> None:
    """Compare the size of a weights file with the numbers that its network has: two to eight bytes each.

    Raises:
        ModelError: the file is too small for them, or holds much more.
    """
    numbers = sum(tensor.numel() for tensor in network.state_dict().values())
    if not 2 * numbers <= size <= 8 * numbers + _MAX_OVERHEAD_BYTES:
        raise ModelError(
            f"{path}: {size} bytes are no weights of the network that the metadata describes, which has {numbers} "
            "numbers; get the model again"
        )


def _compare(stored: Mapping[str, _Stored], expected: Mapping[str, torch.Tensor], path: Path) -> None:
    problems = mismatches({name: tensor.shape for name, tensor in stored.items()}, expected)
    problems += [
        f"{name} is not stored as plain floating-point numbers"
        for name, tensor in stored.items()
        if tensor.dtype not in _SAFETENSORS_DTYPES.values()
    ]
    if problems:
        raise ModelError(
            f"{path}: does not fit the network that the metadata describes: {few(problems)}; get the model again"
        )


def mismatches(found: Mapping[str, tuple[int, ...]], expected: Mapping[str, torch.Tensor]) -> list[str]:
    """Name every tensor that is missing, left over or of another shape.

    Args:
        found: shape of each tensor that there is.
        expected: the tensors that a network has.
    """
    problems = [f"{name} is missing" for name in expected if name not in found]
    problems += [f"{name} is left over" for name in found if name not in expected]
    problems += [
        f"{name} has shape {tuple(found[name])} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in found and tuple(found[name]) != tuple(tensor.shape)
    ]
    return problems


def few(problems: Sequence[str]) -> str:
    """A list for a message: the first ten, and how many more there are."""
    more = f"; and {len(problems) - 10} more" if len(problems) > 10 else ""
    return "; ".join(problem[:300] for problem in problems[:10]) + more


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
