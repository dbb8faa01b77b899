"""PyTorch's files are looked through before anything of them is built."""

from __future__ import annotations

import io
import os
import pickle
import struct
import time
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from scdseg.torch_files import MAX_PICKLE_BYTES, fits_its_storage, has_names, load, share_too_much


class Call:
    """Pickles to the call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> Any:
        return self._call


def archive(path: Path, pickled: bytes, compression: int = zipfile.ZIP_STORED) -> Path:
    """A file in PyTorch's format around a pickle."""
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in (("data.pkl", pickled), ("byteorder", b"little"), ("version", b"3\n")):
            file.writestr(f"archive/{name}", content)
    return path


def test_what_pytorch_writes_is_read_in_both_of_its_formats(tmp_path: Path) -> None:
    state = {"state_dict": OrderedDict(weight=torch.rand(3, 4), half=torch.rand(2).half()), "epoch": 3, "name": "é"}
    for name, zipped in (("new.pt", True), ("old.pt", False)):
        torch.save(state, tmp_path / name, _use_new_zipfile_serialization=zipped)
        loaded = load(tmp_path / name)
        assert torch.equal(loaded["state_dict"]["weight"], state["state_dict"]["weight"])
        assert loaded["epoch"] == 3


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "call",
    [
        Call(os.system, "touch /tmp/should-not-be-there"),
        Call(bytearray, 10**12),
        Call(torch.FloatTensor, 10**12),
        Call(eval, "1"),
    ],
    ids=["system", "bytearray", "tensor", "eval"],
)
def test_calls_are_refused_before_they_are_made(tmp_path: Path, call: Call, zipped: bool) -> None:
    path = tmp_path / "call.pt"
    if zipped:
        archive(path, pickle.dumps({"state_dict": call}, protocol=2))
    else:
        parts = (torch.serialization.MAGIC_NUMBER, torch.serialization.PROTOCOL_VERSION, {}, call, [])
        path.write_bytes(b"".join(pickle.dumps(part, protocol=2) for part in parts))
    with pytest.raises(ValueError, match=r"it calls .*, which no tensor needs"):
        load(path)


def tuples_of_the_same(levels: int) -> bytes:
    """A dictionary whose key is a tuple of two tuples that are each a tuple of two …; its hash takes 2^levels steps."""
    pickled = io.BytesIO()
    pickled.write(b"\x80\x02}(K\x01K\x02\x86")
    for level in range(levels):
        pickled.write(b"r" + struct.pack("<I", level) + b"j" + struct.pack("<I", level) + b"\x86")
    pickled.write(b"K\x00u.")
    return pickled.getvalue()


def test_a_key_that_takes_forever_to_hash_is_refused(tmp_path: Path) -> None:
    began = time.perf_counter()
    assert load(archive(tmp_path / "few.pt", tuples_of_the_same(3))) != {}
    with pytest.raises(ValueError, match="it nests values in values"):
        load(archive(tmp_path / "many.pt", tuples_of_the_same(45)))
    with pytest.raises(ValueError, match="it nests values in values"):
        load(archive(tmp_path / "deep.pt", b"\x80\x02}(K\x01" + b"\x85" * 500_000 + b"K\x00u."))
    assert time.perf_counter() - began < 5


def test_a_compressed_archive_is_refused(tmp_path: Path) -> None:
    bomb = b"\x80\x02]" + b"N0" * 10_000_000 + b"."
    path = archive(tmp_path / "bomb.pt", bomb, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    with pytest.raises(ValueError, match="it is compressed"):
        load(path)


def test_a_pickle_of_absurd_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"its data\.pkl is larger"):
        load(archive(tmp_path / "large.pt", bytes(MAX_PICKLE_BYTES + 1)))
    with pytest.raises(ValueError, match="holds more than tensors"):
        load(archive(tmp_path / "many.pt", b"\x80\x02" + b"N" * 2_000_002 + b"."))


@pytest.mark.parametrize("content", [b"", b"\x80\x02", b"\x80\x02q\x00.", b"\x80\x02u.", b"\x80\x02h\x05.", b"junk"])
def test_a_damaged_pickle_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises((ValueError, pickle.UnpicklingError)):
        load(archive(tmp_path / "damaged.pt", content))


def evil() -> bytes:
    return pickle.dumps({"state_dict": Call(bytearray, 1_500_000_000)}, protocol=2)


def test_archives_that_two_readers_understand_in_two_ways_are_refused(tmp_path: Path) -> None:
    good = pickle.dumps({"a": 1}, protocol=2)
    with zipfile.ZipFile(tmp_path / "case.pt", "w") as file:
        file.writestr("archive/DATA.PKL", evil())
        file.writestr("archive/data.pkl", good)
    with zipfile.ZipFile(tmp_path / "folders.pt", "w") as file:
        file.writestr("one/data.pkl", good)
        file.writestr("two/version", b"3")
    content = archive(tmp_path / "good.pt", good).read_bytes()
    (tmp_path / "behind.pt").write_bytes(archive(tmp_path / "x", evil()).read_bytes() + b"PK\x05\x06abc")
    (tmp_path / "comment.pt").write_bytes(content[:-2] + b"\x03\0abc")
    (tmp_path / "two.pt").write_bytes(archive(tmp_path / "x", evil()).read_bytes() + content)
    for name in ("case", "folders", "behind", "comment", "two"):
        with pytest.raises(ValueError, match=r"as PyTorch's own files never are|of one folder|instead of one"):
            load(tmp_path / f"{name}.pt")
    # One more file's table of contents in front of the last, at the place that the last one names.
    second = bytearray(content)
    at = second.rfind(b"PK\x05\x06")
    second[at:at] = b"PK\x01\x02" + bytes(60)
    (tmp_path / "tables.pt").write_bytes(second)
    with pytest.raises(ValueError, match="something before or behind"):
        load(tmp_path / "tables.pt")


def test_calls_that_copy_again_and_again_are_refused(tmp_path: Path) -> None:
    began = time.perf_counter()
    numbers = b"\x80\x02(" + b"K\x01" * 100_000 + b"tr\0\0\0\0"
    sizes = numbers + b"]" + b"ctorch\nSize\nj\0\0\0\0\x85Ra" * 5000 + b"."
    text = b"\x80\x02X\x40\x42\x0f\0" + b"a" * 1_000_000 + b"r\0\0\0\0"
    codecs = text + b"]" + b"c_codecs\nencode\nj\0\0\0\0X\x08\0\0\0punycode\x86Ra" * 800 + b"."
    with pytest.raises(ValueError, match=r"it makes more values|it nests values"):
        load(archive(tmp_path / "sizes.pt", sizes))
    with pytest.raises(ValueError, match="it calls _codecs encode"):
        load(archive(tmp_path / "codecs.pt", codecs))
    assert time.perf_counter() - began < 5


def test_what_training_writes_is_read(tmp_path: Path) -> None:
    layer = torch.nn.Linear(3, 3)
    layer.weight.note = "a parameter with a word of its own"  # type: ignore[assignment]
    optimiser = torch.optim.AdamW(layer.parameters(), fused=False)
    layer(torch.rand(1, 3)).sum().backward()
    optimiser.step()
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, [10, 20])
    content = {
        "state_dict": layer.state_dict(),
        "parameter": layer.weight,
        "optimizer_states": [optimiser.state_dict()],
        "lr_schedulers": [schedule.state_dict()],
        "half": torch.rand(2).bfloat16(),
    }
    torch.save(content, tmp_path / "last.ckpt")
    assert torch.equal(load(tmp_path / "last.ckpt")["state_dict"]["weight"], layer.weight)


def test_tensors_that_share_their_numbers_are_noticed() -> None:
    tied = torch.rand(10)
    assert not share_too_much([tied, tied, torch.rand(3)])
    assert share_too_much([torch.rand(1000)[:] for _ in range(2)] + [tied.expand(100, 10)] * 50)


def test_keys_of_anything_but_text_are_noticed() -> None:
    assert has_names({"a": 1, "b": 2})
    assert not has_names({torch.zeros(3): 1})


def test_a_shape_without_numbers_behind_it_is_noticed() -> None:
    assert fits_its_storage(torch.rand(3, 4).T)
    assert not fits_its_storage(torch.zeros(1).expand(10**9, 10**6))
    assert not fits_its_storage(torch.zeros(2, 3, device="meta"))
    assert not fits_its_storage(torch.eye(3).to_sparse())
