"""Bundles come back as they were written, and nothing unsound is read or loaded."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from scdseg.bundle import Bundle, Intensity, read_bundle, write_bundle
from scdseg.errors import ModelError
from scdseg.networks import SCDUNETR

Edit = Callable[[str, Any], None]
WEIGHTS = Path("models") / "model.safetensors"


def record_weights(bundle_dir: Path, edit: Edit, file: Path = WEIGHTS) -> None:
    """Make the metadata agree with weights that a test has replaced."""
    content = (bundle_dir / file).read_bytes()
    edit("scd.weights", {"file": file.as_posix(), "sha256": sha256(content).hexdigest(), "bytes": len(content)})


def test_a_written_bundle_reads_back_the_same(original: Bundle, settings: dict[str, Any], network: SCDUNETR) -> None:
    bundle = read_bundle(original.path)
    assert bundle == original
    assert (bundle.name, bundle.title, bundle.version) == ("tiny", "Tiny", "0.1.0")
    assert bundle.labels == settings["labels"]
    assert bundle.intensity == tuple(settings["intensity"])
    assert (bundle.channels, bundle.spacing, bundle.keep_ratio_range) == (("T1",), (1.0, 1.5, 2.0), (0.1, 1.0))
    assert bundle.network["img_size"] == (16, 16, 16)
    assert bundle.license_path is None


def test_a_loaded_network_predicts_what_the_written_one_did(
    tmp_path: Path, network: SCDUNETR, settings: dict[str, Any]
) -> None:
    x = torch.randn(1, 1, 16, 16, 16)
    loaded = write_bundle(tmp_path / "full", network, half=False, **settings).load_network()
    assert not loaded.training
    with torch.no_grad():
        assert torch.equal(loaded(x), network(x))


def test_half_precision_halves_the_file_and_loads_as_float32(
    tmp_path: Path, original: Bundle, network: SCDUNETR, settings: dict[str, Any]
) -> None:
    full = write_bundle(tmp_path / "full", network, half=False, **settings)
    assert original.bytes < 0.6 * full.bytes
    loaded = original.load_network()
    for name, tensor in loaded.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, network.state_dict()[name].half().float())


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_weights_can_be_read_by_whoever_may_read_the_rest(original: Bundle) -> None:
    metadata = original.path / "configs" / "metadata.json"
    assert original.weights_path.stat().st_mode == metadata.stat().st_mode


def test_metadata_has_what_monai_asks_for(original: Bundle) -> None:
    required = "version monai_version pytorch_version numpy_version required_packages_version task description "
    "authors copyright"
    assert set(required.split()) | {"schema", "network_data_format"} <= original.metadata.keys()
    tensors = original.metadata["network_data_format"]
    assert tensors["inputs"]["image"]["channel_def"] == {"0": "T1"}
    assert tensors["outputs"]["pred"]["channel_def"] == {"0": "background", "1": "Left thalamus", "2": "Brainstem"}


TABLE = {
    "subject": "a head",
    "labels": ["Brainstem"],
    "rows": [{"keep_ratio": 0.25, "learned": 0.8, "random": 0.7, "inverted": 0.6}],
}


def test_measured_quality_may_say_what_the_choice_of_tokens_decides(bundle_dir: Path, edit: Edit) -> None:
    edit("scd.quality", {"token_choice": TABLE})
    assert read_bundle(bundle_dir).quality["token_choice"] == TABLE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": []}, "rows"),
        ({"rows": TABLE["rows"] * 17}, "rows"),
        ({"rows": [{"keep_ratio": 0.25, "learned": 1.5, "random": 0.7}]}, r"rows\[0\].learned"),
        ({"rows": [{"keep_ratio": 0.25, "learned": 0.5}]}, "random"),
        ({"labels": "Brainstem"}, "labels"),
        ({"subject": "two\nlines"}, "subject"),
        ({"note": "more"}, "note"),
    ],
)
def test_a_table_of_token_choices_of_another_form_is_refused(
    bundle_dir: Path, edit: Edit, change: dict[str, Any], message: str
) -> None:
    edit("scd.quality", {"token_choice": {**TABLE, **change}})
    with pytest.raises(ModelError, match=message):
        read_bundle(bundle_dir)


def test_a_bundle_from_before_the_token_head_loads(bundle_dir: Path, edit: Edit, network: SCDUNETR) -> None:
    edit("scd.network.token_head", None)
    assert "token_head" not in read_bundle(bundle_dir).network
    loaded = read_bundle(bundle_dir).load_network()
    assert loaded.token_head is None
    assert loaded.state_dict().keys() == network.state_dict().keys()


def test_a_bundle_from_before_there_was_a_choice_of_pruning_loads(
    bundle_dir: Path, edit: Edit, network: SCDUNETR
) -> None:
    edit("scd.network.pruning", None)
    edit("scd.network.completion", None)
    assert {"pruning", "completion"}.isdisjoint(read_bundle(bundle_dir).network)
    loaded = read_bundle(bundle_dir).load_network()
    assert (loaded.config["pruning"], loaded.config["completion"]) == ("stp", "mta")
    assert loaded.state_dict().keys() == network.state_dict().keys()


@pytest.mark.parametrize("pruning", ["stp_no_noise", "cls_attention", "random"])
def test_other_pruning_completion_and_decoder_come_back_from_a_bundle(
    tmp_path: Path, network: SCDUNETR, settings: dict[str, Any], pruning: str
) -> None:
    words = {"pruning": pruning, "completion": "mask_tokens", "decoder": "light"}
    written = SCDUNETR(**{**network.config, **words}).eval()
    loaded = write_bundle(tmp_path / "tiny", written, half=False, **settings).load_network()
    assert words.items() <= loaded.config.items()
    x = torch.randn(1, 1, 16, 16, 16)
    with torch.no_grad():
        assert torch.equal(loaded(x), written(x))


def test_license_and_model_card_are_kept(tmp_path: Path, network: SCDUNETR, settings: dict[str, Any]) -> None:
    bundle = write_bundle(tmp_path / "tiny", network, license="CC0", readme="# Tiny\n", **settings)
    assert bundle.license_path is not None
    assert bundle.license_path.read_text() == "CC0"
    assert (bundle.path / "docs" / "README.md").read_text() == "# Tiny\n"


def test_torch_weights_load_too(bundle_dir: Path, edit: Edit) -> None:
    state = load_file(bundle_dir / WEIGHTS)
    torch.save(state, bundle_dir / "models" / "model.pt")
    record_weights(bundle_dir, edit, Path("models") / "model.pt")
    loaded = read_bundle(bundle_dir).load_network().state_dict()
    assert all(torch.equal(loaded[name], tensor.float()) for name, tensor in state.items())


def test_changed_weights_are_refused(bundle_dir: Path) -> None:
    content = bytearray((bundle_dir / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (bundle_dir / WEIGHTS).write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.safetensors: SHA-256 .* damaged or were changed"):
        read_bundle(bundle_dir).load_network()


def test_truncated_weights_are_refused_without_loading(bundle_dir: Path) -> None:
    (bundle_dir / WEIGHTS).write_bytes((bundle_dir / WEIGHTS).read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"bytes, but the metadata records"):
        read_bundle(bundle_dir)


def test_missing_weights_are_refused(bundle_dir: Path) -> None:
    (bundle_dir / WEIGHTS).unlink()
    with pytest.raises(ModelError, match="weights are missing"):
        read_bundle(bundle_dir)


def test_a_pickle_that_runs_code_is_refused_and_not_run(bundle_dir: Path, edit: Edit, tmp_path: Path) -> None:
    witness = tmp_path / "ran"

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(witness),)

    torch.save({"weight": Payload()}, bundle_dir / "models" / "model.pt")
    record_weights(bundle_dir, edit, Path("models") / "model.pt")
    with pytest.raises(ModelError, match=r"model\.pt: not a plain state dictionary"):
        read_bundle(bundle_dir).load_network()
    assert not witness.exists()


@pytest.mark.parametrize("kind", ["sparse", "meta"])
def test_weights_without_all_their_numbers_are_refused(bundle_dir: Path, edit: Edit, kind: str) -> None:
    state = load_file(bundle_dir / WEIGHTS)
    weight = state["encoder.norm.weight"].float()
    state["encoder.norm.weight"] = weight.to_sparse() if kind == "sparse" else weight.to("meta")
    torch.save(state, bundle_dir / "models" / "model.pt")
    record_weights(bundle_dir, edit, Path("models") / "model.pt")
    with pytest.raises(ModelError, match=r"it calls .*, which no tensor needs"):
        read_bundle(bundle_dir).load_network()


def test_nothing_is_worked_out_for_weights_that_do_not_fit(
    bundle_dir: Path, edit: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit("scd.network.img_size", [512, 512, 512])
    monkeypatch.delattr("scdseg.networks.assembly.sine_cosine_positions")
    with pytest.raises(ModelError, match=r"position_embedding has shape"):
        read_bundle(bundle_dir).load_network()


def test_every_tensor_that_does_not_fit_is_named(bundle_dir: Path, edit: Edit) -> None:
    state = load_file(bundle_dir / WEIGHTS)
    state["surplus"] = torch.zeros(1)
    del state["encoder.norm.weight"]
    state["encoder.norm.bias"] = torch.zeros(7)
    save_file(state, bundle_dir / WEIGHTS)
    record_weights(bundle_dir, edit)
    with pytest.raises(ModelError) as caught:
        read_bundle(bundle_dir).load_network()
    for problem in ("encoder.norm.weight is missing", "surplus is left over", "encoder.norm.bias has shape (7,)"):
        assert problem in str(caught.value)


def test_sizes_are_compared_before_memory_is_taken(
    bundle_dir: Path, edit: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network of several GB is described; it must be refused while its parameters are still without memory."""
    edit("scd.network.hidden_size", 4096)
    edit("scd.network.mlp_dim", 16384)
    edit("scd.network.num_layers", 64)
    monkeypatch.setattr(SCDUNETR, "load_state_dict", lambda *_: pytest.fail("the network was built"))
    with pytest.raises(ModelError, match="does not fit the network that the metadata describes"):
        read_bundle(bundle_dir).load_network()


def test_network_arguments_that_do_not_fit_each_other_are_refused(bundle_dir: Path, edit: Edit) -> None:
    edit("scd.network.num_heads", 5)
    with pytest.raises(ModelError, match="5 heads"):
        read_bundle(bundle_dir).load_network()


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("scd", None, "not a model of scdseg"),
        ("scd.schema_version", 2, "newer scdseg"),
        ("monai_version", None, "monai_version"),
        ("network_data_format", None, "network_data_format"),
        ("scd.network.hidden_size", 10**9, "scd.network.hidden_size"),
        ("scd.network.num_layers", True, "scd.network.num_layers"),
        ("scd.network._target_", "os.system", "_target_"),
        ("scd.network.decoder", "$import os", "scd.network.decoder"),
        ("scd.network.stem", None, "'stem' is a required property"),
        ("scd.weights.file", "../model.safetensors", "scd.weights.file"),
        ("scd.weights.file", "/etc/passwd", "scd.weights.file"),
        ("scd.weights.sha256", "abc", "scd.weights.sha256"),
        ("scd.preprocessing.orientation", "RLA", "scd.preprocessing.orientation"),
        ("scd.preprocessing.spacing", [1, 1, 0], r"scd.preprocessing.spacing\[2\]"),
        ("scd.preprocessing.intensity", [{"name": "lambda", "arguments": {}}], "lambda"),
        ("scd.preprocessing.intensity", [{"name": "zscore", "arguments": {"nonzero": 1}}], "nonzero"),
        (
            "scd.preprocessing.intensity",
            [{"name": "clip_range", "arguments": {"a_min": 5, "a_max": 5, "b_min": 0, "b_max": 1}}],
            "a_min 5 not below a_max 5",
        ),
        ("scd.inference.keep_ratio", 0, "scd.inference.keep_ratio"),
        ("scd.inference.keep_ratio_range", [0.6, 1], "keep_ratio 0.5 is outside"),
        ("scd.inference.overlap", 1, "scd.inference.overlap"),
        ("scd.channels", ["T1", "T2"], "names 2 channels"),
        ("scd.labels.1.value", 4, "two labels have the value 4"),
        ("scd.labels.1.name", "Left thalamus", "two labels have the name 'Left thalamus'"),
        ("scd.labels.1.channel", 1, "two labels have the channel 1"),
        ("scd.labels.1.channel", 0, r"channels without a label: \[2\]"),
        ("scd.labels.0.value", 256, r"scd.labels\[0\].value"),
        ("scd.labels.0.color", [0, 0], r"scd.labels\[0\].color"),
        ("scd.output.activation", "sigmoid", r"channels without a label: \[0\]"),
    ],
)
def test_unsound_metadata_is_refused_and_the_entry_named(
    bundle_dir: Path, edit: Edit, entry: str, value: Any, message: str
) -> None:
    edit(entry, value)
    with pytest.raises(ModelError, match=message) as caught:
        read_bundle(bundle_dir)
    assert str(bundle_dir / "configs" / "metadata.json") in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not a valid JSON file"),
        (b'{"version": "1", "version": "2"}', "'version' is there twice"),
        (b'{"version": NaN}', "NaN"),
        (b"\xff\xfe", "not a valid JSON file"),
        (b"[" * 100_000, "not a valid JSON file"),
        (b'"' + b"x" * (1 << 20) + b'"', "larger than"),
        (b"[]", "the whole file"),
    ],
)
def test_metadata_that_is_no_sound_json_is_refused(bundle_dir: Path, content: bytes, message: str) -> None:
    (bundle_dir / "configs" / "metadata.json").write_bytes(content)
    with pytest.raises(ModelError, match=message):
        read_bundle(bundle_dir)


@pytest.mark.parametrize("linked", ["models", "models/model.safetensors"])
def test_weights_behind_a_symbolic_link_are_refused(bundle_dir: Path, tmp_path: Path, linked: str) -> None:
    elsewhere = (bundle_dir / linked).rename(tmp_path / "elsewhere")
    try:
        (bundle_dir / linked).symlink_to(elsewhere)
    except OSError:
        pytest.skip("this system does not let us make symbolic links")
    with pytest.raises(ModelError, match=f"{re.escape(str(bundle_dir / linked))}: is a symbolic link"):
        read_bundle(bundle_dir)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nowhere: no such folder"):
        read_bundle(tmp_path / "nowhere")


def test_writing_does_not_touch_what_is_there(bundle_dir: Path, network: SCDUNETR, settings: dict[str, Any]) -> None:
    before = {path: path.stat().st_mtime_ns for path in bundle_dir.rglob("*")}
    with pytest.raises(ModelError, match="exists already"):
        write_bundle(bundle_dir, network, **settings)
    assert before == {path: path.stat().st_mtime_ns for path in bundle_dir.rglob("*")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keep_ratio": 2}, "scd.inference.keep_ratio"),
        ({"labels": []}, "scd.labels"),
        ({"intensity": [Intensity("sharpen", {})]}, "sharpen"),
        ({"quality": {"dice": float("nan")}}, "cannot be stored as JSON"),
    ],
)
def test_a_bundle_that_cannot_be_written_leaves_nothing_behind(
    tmp_path: Path, network: SCDUNETR, settings: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        write_bundle(tmp_path / "tiny", network, **{**settings, **change})
    assert str(tmp_path / "tiny") in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("value", "message"), [(float("nan"), "not trained soundly"), (1e6, "write float32 instead")])
def test_weights_that_cannot_be_stored_are_named(
    tmp_path: Path, network: SCDUNETR, settings: dict[str, Any], value: float, message: str
) -> None:
    with torch.no_grad():
        network.encoder.norm.weight[0] = value
    with pytest.raises(ModelError, match=rf"encoder\.norm\.weight .*{message}"):
        write_bundle(tmp_path / "tiny", network, **settings)
    assert list(tmp_path.iterdir()) == []


def test_regions_have_no_background_that_a_box_could_lie_in(
    tmp_path: Path, network: SCDUNETR, settings: dict[str, Any]
) -> None:
    labels = [replace(label, channel=channel) for channel, label in enumerate(settings["labels"])]
    boxed = SCDUNETR(**{**network.config, "decoder": "light", "token_head": True, "decode_box": True})
    with pytest.raises(ModelError, match="decode_box needs a background channel"):
        write_bundle(tmp_path / "tiny", boxed, **{**settings, "labels": labels, "activation": "sigmoid"})


def test_sigmoid_labels_may_use_any_channel_order(tmp_path: Path, network: SCDUNETR, settings: dict[str, Any]) -> None:
    first, second = settings["labels"]
    labels = (replace(first, channel=2), replace(second, channel=0), replace(first, name="Tract", value=5, channel=1))
    bundle = write_bundle(tmp_path / "tiny", network, **{**settings, "labels": labels, "activation": "sigmoid"})
    assert [label.channel for label in bundle.labels] == [2, 0, 1]
    outputs = json.loads((bundle.path / "configs" / "metadata.json").read_text())["network_data_format"]["outputs"]
    assert outputs["pred"]["channel_def"] == {"0": "Brainstem", "1": "Tract", "2": "Left thalamus"}
