"""A model comes out of an archive whole, under its own name, and nothing else does."""

from __future__ import annotations

import json
import stat
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from scdseg.archives import open_archive
from scdseg.bundle import Bundle, install_bundle
from scdseg.cli import main
from scdseg.errors import ModelError

METADATA = "configs/metadata.json"
WEIGHTS = "models/model.safetensors"
Pack = Callable[..., Path]


@pytest.fixture
def pack(original: Bundle, tmp_path: Path) -> Pack:
    """Pack the tiny model, with files left out, changed or added, into an archive."""

    def pack(
        changed: Mapping[str, bytes | None] = {}, root: str = "tiny/", compression: int = zipfile.ZIP_DEFLATED
    ) -> Path:
        files = {name: (original.path / name).read_bytes() for name in (METADATA, WEIGHTS)}
        path = tmp_path / "archive.zip"
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, content in {**files, **changed}.items():
                if content is not None:
                    archive.writestr(name if name.startswith(("/", "..", "two/")) else root + name, content)
        return path

    return pack


def names_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(("root", "name"), [("tiny/", "tiny"), ("", "archive")])
def test_a_model_is_taken_over_and_gives_what_the_original_does(
    pack: Pack, original: Bundle, tmp_path: Path, root: str, name: str
) -> None:
    extras = {"docs/license.txt": b"CC0", "docs/README.md": b"# Tiny", "scripts/run.py": b"1/0", "configs/x.json": b"{"}
    bundle = install_bundle(pack(extras, root), tmp_path / "models")
    assert bundle.name == name
    assert names_below(tmp_path / "models") == sorted(
        f"{name}/{file}" for file in (METADATA, WEIGHTS, "docs/license.txt", "docs/README.md")
    )
    for key, tensor in original.load_network().state_dict().items():
        assert torch.equal(bundle.load_network().state_dict()[key], tensor)


def test_the_command_installs_into_the_users_folder(
    pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("scdseg.bundle.install.user_models", lambda: tmp_path / "user" / "models")
    archive = pack()
    assert main(["install-model", str(archive)]) == 0
    assert str(tmp_path / "user" / "models" / "tiny") in capsys.readouterr().out
    assert main(["install-model", str(archive)]) == 2
    assert "a model of this name is there already" in capsys.readouterr().err


HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    "a name that leads out": ({"root": "../"}, "no name for a model's folder|where a model has one"),
    "an absolute name": ({"root": "/tmp/"}, "where a model has one"),
    "a hidden name": ({"root": ".tiny/"}, "no name for a model's folder"),
    "a name for a terminal": ({"root": "ti\x1b[2Jny/"}, "no name for a model's folder"),
    "no metadata": ({"changed": {METADATA: None}}, "it has 0 files"),
    "no weights": ({"changed": {WEIGHTS: None}}, "it lacks models/model.safetensors"),
    "two models": ({"changed": {f"two/{METADATA}": b"{}"}}, "it has 2 files"),
    "a method that reads more than it is asked for": ({"compression": zipfile.ZIP_BZIP2}, "in an unusual way"),
    "the same": ({"compression": zipfile.ZIP_LZMA}, "in an unusual way"),
    "more weights than recorded": ({"changed": {WEIGHTS: bytes(500 << 20)}}, "is larger than"),
    "fewer weights than recorded": ({"changed": {WEIGHTS: b"short"}}, "has 5 bytes, but the metadata records"),
    "metadata that swells": ({"changed": {METADATA: b" " * (300 << 20)}}, "is larger than 1048576 bytes"),
    "a card that swells": ({"changed": {"docs/README.md": b" " * (300 << 20)}}, "is larger than 1048576 bytes"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_archive_is_refused_and_leaves_nothing(pack: Pack, tmp_path: Path, kind: str) -> None:
    arguments, message = HOSTILE[kind]
    path = pack(**arguments)
    before = names_below(tmp_path)
    with pytest.raises(ModelError, match=message) as caught:
        install_bundle(path, tmp_path / "models")
    assert names_below(tmp_path) == before
    assert list((tmp_path / "models").glob("*")) == []
    assert "get the model again" in str(caught.value)


def test_more_weights_than_the_network_has_are_not_even_written(pack: Pack, original: Bundle, tmp_path: Path) -> None:
    metadata = json.loads((original.path / METADATA).read_text(encoding="utf-8"))
    metadata["scd"]["weights"]["bytes"] = 2_000_000_000
    path = pack({METADATA: json.dumps(metadata).encode(), WEIGHTS: bytes(2_000_000_000)})
    with pytest.raises(ModelError, match="2000000000 bytes are no weights of the network"):
        install_bundle(path, tmp_path / "models")


def test_a_model_that_ships_is_not_hidden_by_another(pack: Pack, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="brain-structures: a model of this name is there already"):
        install_bundle(pack(root="brain-structures/"), tmp_path / "models")


def test_files_beside_the_model_are_never_written_wherever_they_point(pack: Pack, tmp_path: Path) -> None:
    outside = {"../../evil.txt": b"x", "/tmp/evil-scdseg.txt": b"x", "..\\evil.txt": b"x", "models/../../evil": b"x"}
    install_bundle(pack(outside), tmp_path / "models")
    assert names_below(tmp_path / "models") == [f"tiny/{METADATA}", f"tiny/{WEIGHTS}"]
    assert not list(tmp_path.rglob("evil*"))
    assert not Path("/tmp/evil-scdseg.txt").exists()


def test_a_link_in_an_archive_is_refused(pack: Pack, tmp_path: Path) -> None:
    path = pack({WEIGHTS: None})
    link = zipfile.ZipInfo(f"tiny/{WEIGHTS}")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ModelError, match="is no file"):
        install_bundle(path, tmp_path / "models")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_is_there_twice_is_refused(pack: Pack, tmp_path: Path) -> None:
    path = pack()
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"tiny/{METADATA}", "{}")
    with pytest.raises(ModelError, match="it has two files"):
        install_bundle(path, tmp_path / "models")


def test_an_encrypted_archive_is_refused(pack: Pack, tmp_path: Path) -> None:
    content = bytearray(pack(compression=zipfile.ZIP_STORED).read_bytes())
    for at in (content.find(b"PK\x03\x04") + 6, content.find(b"PK\x01\x02") + 8):
        content[at] |= 1
    (tmp_path / "archive.zip").write_bytes(content)
    with pytest.raises(ModelError, match="it is encrypted"):
        install_bundle(tmp_path / "archive.zip", tmp_path / "models")


def test_a_table_of_contents_of_absurd_size_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(30_000):
            archive.writestr(f"{number:05}", b"")
    with pytest.raises(ValueError, match="its table of contents is larger"):
        open_archive(path)
    with pytest.raises(ModelError, match="its table of contents is larger"):
        install_bundle(path, tmp_path / "models")


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06", b"PK\x05\x06" + bytes(17), bytes(1000)])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ModelError, match="cannot be read as a ZIP archive"):
        install_bundle(tmp_path / "a.zip", tmp_path / "models")
