"""Authors' checkpoints become our networks, or one clear error."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from scdseg.checkpoints import from_official, infer_arguments, read_official
from scdseg.errors import ModelError

REFERENCE = Path(__file__).resolve().parent / "data" / "reference"
NAMES = ("patch16_unetr", "patch8_unetr_x8", "patch8_unetr_x8v2")


def reference(name: str) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any], dict[str, Tensor]]:
    """State dictionary, authors' configuration, what the shapes do not tell, and all tensors of a reference file."""
    with safe_open(REFERENCE / f"{name}.safetensors", framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
        config = json.loads(file.metadata()["config"])
    state = {key.removeprefix("state/"): value for key, value in tensors.items() if key.startswith("state/")}
    arguments = {
        "img_size": (config["roi_x"], config["roi_y"], config["roi_z"]),
        "num_heads": config["encoder_num_heads"],
        "assembly_heads": config["compl_num_heads"],
        "prune_after": [int(block) + 1 for block in config["tp_loc"].split("-")],
        "keep_ratio": 1 - config["tp_ratio"],
    }
    return state, config, arguments, tensors


@pytest.mark.parametrize("name", NAMES)
def test_reference_weights_give_the_reference_logits(name: str) -> None:
    state, _, arguments, tensors = reference(name)
    network = from_official(state, **arguments)
    with torch.no_grad():
        logits = network(tensors["input"])
    torch.testing.assert_close(logits, tensors["output"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_shapes_tell_the_configuration(name: str) -> None:
    state, config, _, _ = reference(name)
    assert infer_arguments(state) == {
        "in_channels": config["in_chans"],
        "out_channels": config["num_classes"],
        "patch_size": config["patch_size"],
        "feature_size": config["feature_size"],
        "hidden_size": config["encoder_embed_dim"],
        "mlp_dim": 4 * config["encoder_embed_dim"],
        "num_layers": config["encoder_depth"],
        "assembly_size": config["compl_embed_dim"],
        "assembly_layers": config["compl_depth"],
        "decoder": "shallow" if config["decoder"] == "UNETRx8_decoder" else "full",
        "stages": 3,
    }


def test_names_of_a_network_trained_on_several_gpus_are_understood() -> None:
    state, _, arguments, _ = reference("patch8_unetr_x8")
    plain = from_official(state, **arguments).state_dict()
    parallel = from_official({f"module.{key}": value for key, value in state.items()}, **arguments).state_dict()
    assert all(torch.equal(parallel[name], tensor) for name, tensor in plain.items())


def test_half_precision_weights_become_float32() -> None:
    state, _, arguments, _ = reference("patch8_unetr_x8")
    network = from_official({key: value.half() for key, value in state.items()}, **arguments)
    assert {tensor.dtype for tensor in network.state_dict().values()} == {torch.float32}


def test_every_missing_left_over_and_misshapen_tensor_is_named() -> None:
    state, _, arguments, _ = reference("patch8_unetr_x8v2")
    del state["encoder.blocks.4.attn.qkv.bias"]
    del state["completion_net.completion.layer_tokens.2"]
    state["head.weight"] = torch.zeros(3)
    state["encoder.norm.weight"] = torch.zeros(5)
    with pytest.raises(ModelError) as caught:
        from_official(state, **arguments)
    for problem in (
        "encoder.blocks.4.attn.qkv.bias is missing",
        "completion_net.completion.layer_tokens.2 is missing",
        "head.weight is left over",
        "encoder.norm.weight has shape (5,) instead of (48,)",
    ):
        assert problem in str(caught.value)


def test_another_networks_state_is_refused_with_what_is_missing() -> None:
    with pytest.raises(
        ModelError, match=r"not a checkpoint of the authors' network: missing .*encoder\.pos_embed.*vit\.weight"
    ):
        from_official(
            {"vit.weight": torch.zeros(2)},
            img_size=(32, 32, 32),
            num_heads=4,
            assembly_heads=4,
            prune_after=(3, 6, 9),
            keep_ratio=0.1,
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"img_size": (32, 32, 32)}, "makes 64 patches of 8³ voxels, but the checkpoint was trained with 96"),
        ({"img_size": (32, 32, 50)}, "not three multiples of the checkpoint's patch size 8"),
        ({"img_size": (48, 32, 32)}, "pos_embed does not belong to img_size"),
        ({"num_heads": 0}, "48 is not divisible by 0 heads"),
        ({"num_heads": 5}, "48 is not divisible by 5 heads"),
        ({"assembly_heads": 7}, "48 is not divisible by 7 heads"),
        ({"prune_after": (3, 6)}, "the checkpoint has 3 pruning stages; prune_after names 2"),
        ({"prune_after": (3, 6, 13)}, "ascending block numbers from 0 to 12"),
        ({"keep_ratio": 0.0}, "a keep ratio must be above 0"),
    ],
)
def test_arguments_that_do_not_fit_the_checkpoint_are_refused(change: dict[str, Any], message: str) -> None:
    state, _, arguments, _ = reference("patch8_unetr_x8v2")
    with pytest.raises(ModelError, match=message):
        from_official(state, **{**arguments, **change})


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_file_is_read_with_its_training_state(tmp_path: Path, zipped: bool) -> None:
    state, _, _, _ = reference("patch8_unetr_x8")
    path = tmp_path / "model.pth.tar"
    optimizer = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-3}]}
    checkpoint = {"state_dict": state, "optimizer": optimizer, "scaler": {"scale": 1.0}, "epoch": 4999, "arch": "scd"}
    torch.save(checkpoint, path, _use_new_zipfile_serialization=zipped)
    found = read_official(path)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())


def test_a_checkpoint_that_runs_code_is_refused_and_not_run(tmp_path: Path) -> None:
    witness = tmp_path / "ran"

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(witness),)

    path = tmp_path / "model.pth.tar"
    torch.save({"state_dict": {}, "args": Payload()}, path)
    with pytest.raises(ModelError, match=r"model\.pth\.tar: cannot be read safely .* save \{'state_dict'"):
        read_official(path)
    assert not witness.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": {}}, "holds no 'state_dict'"),
        ([1, 2], "holds no 'state_dict'"),
        ({"state_dict": {"epoch": 3}}, "no plain tensors: epoch"),
    ],
)
def test_a_checkpoint_without_a_state_dictionary_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "model.pth.tar"
    torch.save(content, path)
    with pytest.raises(ModelError, match=message):
        read_official(path)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pth.tar"
    path.write_text("not a checkpoint")
    with pytest.raises(ModelError, match=r"model\.pth\.tar: cannot be read safely"):
        read_official(path)
    with pytest.raises(ModelError, match=r"other\.pth\.tar: no such file"):
        read_official(tmp_path / "other.pth.tar")
