"""Models, archives and checkpoints that were made to harm."""

from __future__ import annotations

import io
import json
import pickle
import random
import shutil
import struct
import zipfile
from collections import OrderedDict
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from fuzzing.mutations import NAMES, VALUES, spoiled, spoiled_document
from scdseg.bundle import install_bundle, read_bundle
from scdseg.checkpoints import from_official, official_name, read_official
from tiny_model import write_tiny_model

METADATA = "configs/metadata.json"
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


class Models:
    """The tiny model, spoiled: its metadata, its weights in both formats, its archive; and an authors' checkpoint.

    Args:
        folder: may be written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        original = write_tiny_model(folder / "original")
        self._network = original.load_network()
        self._metadata = json.loads((original.path / METADATA).read_text(encoding="utf-8"))
        state = self._network.state_dict()
        self._safetensors = save({name: tensor.contiguous() for name, tensor in state.items()})
        header_size = struct.unpack("<Q", self._safetensors[:8])[0]
        self._header = json.loads(self._safetensors[8 : 8 + header_size])
        self._numbers = self._safetensors[8 + header_size :]
        saved = io.BytesIO()
        torch.save(OrderedDict(state), saved)
        self._torch = saved.getvalue()
        saved = io.BytesIO()
        theirs = {official_name(name): tensor for name, tensor in state.items()}
        torch.save({"state_dict": theirs, "epoch": 3}, saved)
        self._official = saved.getvalue()
        self.target = folder / "model"

    def metadata(self, rng: random.Random) -> None:
        """Metadata: its values, or its bytes."""
        document = spoiled_document(self._metadata, rng)
        text = _dumped(document)
        if rng.random() < 0.3:
            text = spoiled(text, rng)
        self._write(metadata=text, weights=self._safetensors)
        read_bundle(self.target).load_network()

    def safetensors(self, rng: random.Random) -> None:
        """Weights in safetensors' format: the header's entries, its bytes, or the numbers."""
        kind = rng.random()
        if kind < 0.6:
            header = json.dumps(spoiled_document(self._header, rng)).encode("utf-8", "surrogatepass")
            if rng.random() < 0.2:
                name = rng.choice(list(self._header))
                entry = json.dumps({name: self._header[name]})[1:-1]
                header = header[:-1] + f", {entry}}}".encode()
            size = len(header) if rng.random() < 0.9 else rng.choice((0, len(header) - 1, 2**32, 2**63, 2**64 - 1))
            weights = struct.pack("<Q", size) + header + self._numbers
        elif kind < 0.9:
            weights = spoiled(self._safetensors, rng, hot=12_000)
        else:
            numbers = bytearray(self._numbers)
            at = rng.randrange(len(numbers) // 4) * 4
            numbers[at : at + 4] = struct.pack("<f", rng.choice((float("nan"), float("inf"), -float("inf"), 3e38)))
            header = json.dumps(self._header).encode()
            weights = struct.pack("<Q", len(header)) + header + bytes(numbers)
        self._write(weights=weights)
        read_bundle(self.target).load_network()

    def torch(self, rng: random.Random) -> None:
        """Weights in PyTorch's format: the archive's bytes, its pickle's bytes, or a pickle that calls something."""
        self._write(weights=self._spoiled_torch(self._torch, rng), name="models/model.pt")
        read_bundle(self.target).load_network()

    def checkpoint(self, rng: random.Random) -> None:
        """An authors' checkpoint."""
        path = self.folder / "model.pth.tar"
        path.write_bytes(self._spoiled_torch(self._official, rng))
        state = read_official(path)
        from_official(
            state, img_size=(16, 16, 16), num_heads=4, assembly_heads=4, prune_after=(1, 2), keep_ratio=0.5
        )  # fmt: skip

    def archive(self, rng: random.Random) -> None:
        """A ZIP archive with a model."""
        weights = self._safetensors
        metadata = json.loads(json.dumps(self._metadata))
        if rng.random() < 0.2:
            weights = bytes(rng.choice((0, 10**6, 3 * 10**6)))
        elif rng.random() < 0.2:
            metadata = spoiled_document(metadata, rng)
        members: list[tuple[str, bytes, int]] = [
            (f"tiny/{METADATA}", _dumped(metadata), 0o100644),
            ("tiny/models/model.safetensors", weights, 0o100644),
        ]
        for _ in range(rng.choice((0, 1, 3))):
            name = rng.choice((*NAMES, f"tiny/{rng.choice(NAMES)}", f"{rng.choice(NAMES)}/{METADATA}", members[0][0]))
            mode = rng.choice((0o100644, 0o120777, 0o060666, 0o100755))
            members.append((name, rng.choice((b"", b"/etc/passwd", bytes(10**6))), mode))
        rng.shuffle(members)
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", rng.choice(_COMPRESSIONS)) as archive:
            for name, content, mode in members:
                member = zipfile.ZipInfo(name.encode("utf-8", "replace").decode() or "x")
                member.external_attr = mode << 16
                member.compress_type = archive.compression
                archive.writestr(member, content)
        data = packed.getvalue()
        if rng.random() < 0.6:
            data = spoiled(data[::-1], rng, hot=600)[::-1] if rng.random() < 0.7 else spoiled(data, rng)
        path = self.folder / "archive.zip"
        path.write_bytes(data)
        models = self.folder / "installed"
        try:
            install_bundle(path, models)
        finally:
            shutil.rmtree(models, ignore_errors=True)

    def _spoiled_torch(self, content: bytes, rng: random.Random) -> bytes:
        kind = rng.random()
        if kind < 0.3:
            return spoiled(content, rng)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {member.filename: archive.read(member) for member in archive.infolist()}
        pickled = next(name for name in members if name.endswith("data.pkl"))
        if kind < 0.7:
            members[pickled] = spoiled(members[pickled], rng)
        elif kind < 0.9:
            members[pickled] = _hostile_pickle(rng)
        elif kind < 0.95:
            del members[rng.choice(list(members))]
        else:
            other = rng.choice((pickled.upper(), pickled.replace("/", "/x/"), "other/data.pkl", pickled + "\0"))
            members = {other: _hostile_pickle(rng), **members} if rng.random() < 0.5 else {**members, other: b"."}
        packed = io.BytesIO()
        compression = zipfile.ZIP_STORED if rng.random() < 0.9 else zipfile.ZIP_DEFLATED
        with zipfile.ZipFile(packed, "w", compression) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        if rng.random() < 0.1:
            return packed.getvalue() + rng.choice((b"PK\x05\x06abc", b"\0", content))
        return packed.getvalue()

    def _write(
        self, metadata: bytes | None = None, weights: bytes = b"", name: str = "models/model.safetensors"
    ) -> None:
        """A bundle whose metadata agrees with its weights: whoever makes a model can compute a hash."""
        if metadata is None:
            entry = {"file": name, "sha256": sha256(weights).hexdigest(), "bytes": len(weights)}
            metadata = json.dumps({**self._metadata, "scd": {**self._metadata["scd"], "weights": entry}}).encode()
        for path, content in ((METADATA, metadata), (name, weights)):
            (self.target / path).parent.mkdir(parents=True, exist_ok=True)
            (self.target / path).write_bytes(content)


def _hostile_pickle(rng: random.Random) -> bytes:
    """A pickle that calls something, names something, or is built to take long."""
    module, name = rng.choice(
        (
            *(
                ("os", "system"),
                ("posix", "system"),
                ("builtins", "eval"),
                ("builtins", "exec"),
                ("subprocess", "Popen"),
            ),
            *(("builtins", "bytearray"), ("torch", "FloatTensor"), ("torch", "load"), ("torch.hub", "load")),
            *(
                ("torch._utils", "_rebuild_tensor_v2"),
                ("collections", "OrderedDict"),
                ("torch", "Size"),
                ("torch", "device"),
            ),
            *(("torch", "FloatStorage"), ("collections", "Counter"), ("builtins", "set"), ("_codecs", "encode")),
        )
    )
    argument = rng.choice(
        (b"X\x04\x00\x00\x00true", b"K\x07", b"J\xff\xff\xff\x7f", b"\x8a\x08" + b"\xff" * 7 + b"\x7f", b"]", b")")
    )
    call = (
        b"c" + module.encode() + b"\n" + name.encode() + b"\n" + argument + rng.choice((b"\x85", b"\x86", b"")) + b"R"
    )
    kind = rng.randrange(5)
    if kind == 4:
        # Built once, copied by every call.
        built = b"(" + b"K\x01" * rng.choice((10, 100_000)) + b"tr\0\0\0\0"
        again = b"c" + module.encode() + b"\n" + name.encode() + b"\nj\0\0\0\0\x85Ra"
        return b"\x80\x02" + built + b"]" + again * rng.choice((2, 3000)) + b"."
    if kind == 0:
        return b"\x80\x02}X\x01\x00\x00\x00a" + call + b"s."
    if kind == 1:
        return b"\x80\x02" + call + b"}b."
    if kind == 2:
        levels = rng.choice((5, 40, 5000))
        repeated = b"".join(b"r" + struct.pack("<I", n) + b"j" + struct.pack("<I", n) + b"\x86" for n in range(levels))
        return b"\x80\x02}(K\x01" + repeated + b"K\x00u."
    return pickle.dumps(
        {"state_dict": rng.choice(VALUES), "a": [rng.choice(VALUES)]}, protocol=rng.choice((0, 1, 2, 3, 4))
    )


def _dumped(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")
