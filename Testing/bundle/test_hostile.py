"""Models that were made to harm: each is refused in time, with its file's name, and before it costs memory."""

from __future__ import annotations

import json
import os
import struct
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from scdseg.bundle import read_bundle
from scdseg.errors import ModelError
from scdseg.strict_json import read_json

Edit = Callable[[str, Any], None]
WEIGHTS = Path("models") / "model.safetensors"
METADATA = Path("configs") / "metadata.json"


def replace_weights(bundle_dir: Path, edit: Edit, content: bytes) -> None:
    """Other weights, with metadata that agrees: whoever makes a model can compute a hash."""
    (bundle_dir / WEIGHTS).write_bytes(content)
    edit("scd.weights", {"file": WEIGHTS.as_posix(), "sha256": sha256(content).hexdigest(), "bytes": len(content)})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_numbers_are_refused_when_loaded(bundle_dir: Path, edit: Edit, value: float) -> None:
    state = load_file(bundle_dir / WEIGHTS)
    state["encoder.norm.weight"][3] = value
    save_file(state, bundle_dir / WEIGHTS)
    replace_weights(bundle_dir, edit, (bundle_dir / WEIGHTS).read_bytes())
    with pytest.raises(ModelError, match=r"encoder\.norm\.weight holds values that are infinite or not a number"):
        read_bundle(bundle_dir).load_network()


def test_a_safetensors_header_of_absurd_size_is_not_parsed(bundle_dir: Path, edit: Edit) -> None:
    header = b'{"a":' + b"[" * (50 << 20)
    replace_weights(bundle_dir, edit, struct.pack("<Q", len(header)) + header)
    began = time.perf_counter()
    with pytest.raises(ModelError, match=f"its header would have {len(header)} bytes, more than"):
        read_bundle(bundle_dir).load_network()
    assert time.perf_counter() - began < 1


def test_one_storage_for_all_tensors_is_refused(bundle_dir: Path, edit: Edit) -> None:
    """A file of a network's size is a network's; one of a hundredth of it would be copied a hundred times."""
    state = load_file(bundle_dir / WEIGHTS)
    largest = torch.zeros(max(tensor.numel() for tensor in state.values()))
    shared = {name: largest[: tensor.numel()].view(tensor.shape) for name, tensor in state.items()}
    path = bundle_dir / "models" / "model.pt"
    torch.save(shared, path)
    content = path.read_bytes()
    edit("scd.weights", {"file": "models/model.pt", "sha256": sha256(content).hexdigest(), "bytes": len(content)})
    with pytest.raises(ModelError, match="bytes are no weights of the network"):
        read_bundle(bundle_dir).load_network()


def test_fixed_positions_are_bounded_though_no_file_holds_them(bundle_dir: Path, edit: Edit) -> None:
    edit("scd.network.img_size", [512, 512, 512])
    edit("scd.network.assembly_size", 4092)
    with pytest.raises(ModelError, match="more than any window needs"):
        read_bundle(bundle_dir)


def test_a_message_names_ten_tensors_not_ten_thousand(bundle_dir: Path, edit: Edit) -> None:
    state = load_file(bundle_dir / WEIGHTS)
    save_file(state | {f"surplus {number}": torch.zeros(1) for number in range(10_000)}, bundle_dir / WEIGHTS)
    replace_weights(bundle_dir, edit, (bundle_dir / WEIGHTS).read_bytes())
    with pytest.raises(ModelError, match="and 9990 more") as caught:
        read_bundle(bundle_dir).load_network()
    assert len(str(caught.value)) < 2000


HOSTILE_JSON = {
    "nesting": (b"[" * 900_000, "not a valid JSON file"),
    "nesting that Python still reads": (b"[" * 100 + b"]" * 100, "nests more than 64 deep"),
    "values": (b"[" + b"1," * 400_000 + b"1]", "holds more than 50000 values"),
    "a key twice among many": (
        b"{" + b",".join(b'"%d":1' % number for number in [*range(80_000), 79_999]) + b"}",
        "the key '79999' is there twice",
    ),
    "a number beyond all": (b'{"a": 1e999}', "is too large a number"),
    "a number of a million digits": (b'{"a": ' + b"9" * 1_000_000 + b"}", "not a valid JSON file"),
    "half a character": (rb'{"a": "\ud800"}', r"control character U\+D800"),
    "a terminal's commands": (rb'{"a": "\u001b]0;owned\u0007"}', r"control character U\+001B"),
    "text turned round": ('{"a": "\u202egpj.exe"}'.encode(), r"control character U\+202E"),
    "a mark of Arabic letters": ('{"a": "\u061c"}'.encode(), r"control character U\+061C"),
    "a line break that is none": ('{"a": "one\u2028two"}'.encode(), r"control character U\+2028"),
    "a paragraph's end": ('{"a": "one\u2029two"}'.encode(), r"control character U\+2029"),
    "a mark of byte order": ('{"a": "\ufeff"}'.encode(), r"control character U\+FEFF"),
    "a space without width": ('{"a": "brain\u200bstem"}'.encode(), r"control character U\+200B"),
    "the first tag": ('{"a": "\U000e0000"}'.encode(), r"control character U\+E0000"),
    "a letter that only programs see": (rb'{"a": "\udb40\udc41"}', r"control character U\+E0041"),
    "the last tag, in a key": ('{"\U000e007f": 1}'.encode(), r"control character U\+E007F"),
    "not UTF-8": (b'{"a": "\xff"}', "not a valid JSON file"),
    "too long": (b'"' + b"x" * (1 << 20) + b'"', "larger than the 1048576 bytes"),
    "empty": (b"", "not a valid JSON file"),
}


@pytest.mark.parametrize("kind", HOSTILE_JSON)
def test_hostile_json_is_refused_within_a_second(tmp_path: Path, kind: str) -> None:
    content, message = HOSTILE_JSON[kind]
    path = tmp_path / "metadata.json"
    path.write_bytes(content)
    began = time.perf_counter()
    with pytest.raises(ModelError, match=message) as caught:
        read_json(path)
    assert time.perf_counter() - began < 1
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value)) < 1000


@pytest.mark.skipif(os.name != "posix", reason="needs named pipes")
def test_a_pipe_is_not_waited_for(bundle_dir: Path) -> None:
    (bundle_dir / METADATA).unlink()
    os.mkfifo(bundle_dir / METADATA)
    with pytest.raises(ModelError, match="is no file"):
        read_bundle(bundle_dir)


@pytest.mark.skipif(os.name != "posix", reason="needs symbolic links")
@pytest.mark.parametrize("linked", ["configs", "configs/metadata.json"])
def test_metadata_behind_a_link_is_refused(bundle_dir: Path, tmp_path: Path, linked: str) -> None:
    (bundle_dir / linked).rename(tmp_path / "elsewhere")
    (bundle_dir / linked).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match="is a symbolic link"):
        read_bundle(bundle_dir)


def test_a_licence_behind_a_link_is_not_the_models(bundle_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a key")
    (bundle_dir / "docs").mkdir(exist_ok=True)
    (bundle_dir / "docs" / "license.txt").symlink_to(tmp_path / "secret")
    assert read_bundle(bundle_dir).license_path is None


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("scd.labels.0.name", "two\nlines"),
        ("scd.labels.0.type.meaning", "Brain~^^~x"),
        ("scd.channels", ["T1\tT2"]),
        ("name", "x" * 201),
    ],
)
def test_names_that_would_break_what_is_shown_are_refused(bundle_dir: Path, edit: Edit, entry: str, value: Any) -> None:
    edit(entry, value)
    with pytest.raises(ModelError, match=r"does not match|is too long"):
        read_bundle(bundle_dir)


def test_many_wrong_entries_are_judged_within_a_second(bundle_dir: Path, edit: Edit) -> None:
    edit("scd.labels", [0] * 40_000)
    assert len((bundle_dir / METADATA).read_bytes()) < 1 << 20
    began = time.perf_counter()
    with pytest.raises(ModelError, match=r"scd\.labels"):
        read_bundle(bundle_dir)
    assert time.perf_counter() - began < 3


def test_the_shipped_metadata_is_far_below_the_limits() -> None:
    from scdseg.resources import resource_dir

    for path in (resource_dir() / "Models").glob("*/configs/metadata.json"):
        assert len(json.dumps(read_json(path))) < 200_000
