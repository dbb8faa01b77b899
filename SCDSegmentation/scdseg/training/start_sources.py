"""The files that a training run can start from, read safely and under our names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from scdseg import torch_files
from scdseg.bundle import read_bundle
from scdseg.bundle.bundle import METADATA_FILE
from scdseg.checkpoints import official_name
from scdseg.errors import InputError
from scdseg.training.build import build_network
from scdseg.training.recipe import load_recipe

ENCODER_FILE = "encoder.safetensors"
_CHECKPOINT = "last.ckpt"
_RECIPE = "recipe.yaml"
_KINDS = (
    f"{ENCODER_FILE} of scdseg pretrain, a checkpoint of scdseg train, a model bundle, an authors' checkpoint, or a "
    "state dictionary of MONAI's ViT, UNETR, ViTAutoEnc or MaskedAutoEncoderViT"
)

# MONAI's parameter names → ours, applied in this order.
_FROM_MONAI = tuple(
    (re.compile(theirs), ours)
    for theirs, ours in (
        (r"^vit\.", ""),
        (r"^cls_token$", "embedding.cls_token"),
        (r"^patch_embedding\.position_embeddings$", "embedding.position_embedding"),
        (r"^patch_embedding\.patch_embeddings\.(?:1\.)?(weight|bias)$", r"embedding.projection.\1"),
        (r"^(blocks\.\d+)\.norm1\.", r"\1.attention_norm."),
        (r"^(blocks\.\d+)\.norm2\.", r"\1.mlp_norm."),
        (r"^(blocks\.\d+)\.attn\.qkv\.", r"\1.attention.qkv."),
        (r"^(blocks\.\d+)\.attn\.out_proj\.", r"\1.attention.projection."),
        (r"^(blocks\.\d+)\.mlp\.linear1\.", r"\1.mlp.0."),
        (r"^(blocks\.\d+)\.mlp\.linear2\.", r"\1.mlp.2."),
        # The masked autoencoder has its last norm in one sequence with the blocks.
        (r"^blocks\.\d+\.(weight|bias)$", r"norm.\1"),
        (r"^encoder([1-4])\.", r"decoder.skip\1."),
        (r"^decoder5\.", "decoder.up4."),
        (r"^decoder4\.", "decoder.up3."),
        (r"^decoder3\.", "decoder.up2."),
        (r"^decoder2\.", "decoder.up1."),
        (r"^out\.", "decoder.output."),
    )
)


@dataclass(frozen=True)
class StartWeights:
    """Weights by the names that ``UNETR`` and ``SCDUNETR`` have in common.

    Args:
        weights: tensors; position embeddings (1, L + 1, C) with CLS first.
        grid: token grid of the position embeddings, where the source says it.
        num_heads: attention heads of the encoder, where the source says it.
    """

    weights: dict[str, Tensor]
    grid: tuple[int, ...] | None = None
    num_heads: int | None = None


def common_name(name: str) -> str:
    """A parameter's name as ``UNETR`` has it: ``SCDUNETR`` has the ViT's behind ``encoder.``."""
    return name.removeprefix("encoder.")


def read_start_weights(path: Path, names: Iterable[str]) -> StartWeights:
    """Read the weights of a file or folder.

    Args:
        path: see :func:`scdseg.training.start.load_start`.
        names: the network's parameter names; a checkpoint of the paper's authors is searched for these.

    Raises:
        InputError: if there is no such file, it cannot be read safely or has no ViT in it.
        ModelError: for a damaged bundle.
    """
    if (path / METADATA_FILE).is_file():
        network = read_bundle(path).load_network()
        return _with_config({common_name(n): tensor for n, tensor in network.state_dict().items()}, network.config)
    file = _file_in(path) if path.is_dir() else path
    state, metadata = _read_safetensors(file) if file.suffix == ".safetensors" else (_read_torch(file), {})
    state = _without_wrapper(state)
    if any(name.endswith("blocks.0.attention.qkv.weight") for name in state):
        config = json.loads(metadata["network"]) if "network" in metadata else _config_beside(file)
        return _with_config({common_name(name): tensor for name, tensor in state.items()}, config)
    if "encoder.blocks.0.attn.qkv.weight" in state:
        return StartWeights(_from_official(state, names))
    if "vit.blocks.0.attn.qkv.weight" in state or "blocks.0.attn.qkv.weight" in state:
        return StartWeights(_from_monai(state))
    raise InputError(
        f"{file}: holds no vision transformer to start from, but {len(state)} tensors such as "
        f"{', '.join(list(state)[:3]) or 'none'}; give {_KINDS}"
    )


def _file_in(folder: Path) -> Path:
    for name in (ENCODER_FILE, _CHECKPOINT):
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"{folder}: has neither {ENCODER_FILE}, {_CHECKPOINT} nor {METADATA_FILE}; give {_KINDS}")


def _read_safetensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(file, framework="pt") as stored:
            return {name: stored.get_tensor(name) for name in stored.keys()}, stored.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(f"{file}: cannot be read as weights to start from ({error}); give {_KINDS}") from error


def _read_torch(file: Path) -> dict[str, Tensor]:
    """The tensors of a file of PyTorch's, of which nothing is run."""
    if not file.is_file():
        raise InputError(f"{file}: no such file; give {_KINDS}")
    try:
        # Mapped where the format allows it: the optimizer's state, twice the size of the weights, is never read.
        content = torch_files.load(file)
    except Exception as error:  # torch.load answers malformed files with many kinds of exceptions
        reason = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise InputError(
            f"{file}: cannot be read safely as weights to start from ({reason}). If it is complete and you trust where "
            "it comes from, load it with torch.load yourself and save its state dictionary alone"
        ) from error
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not torch_files.has_names(state):
        raise InputError(f"{file}: holds no state dictionary; give {_KINDS}")
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def _without_wrapper(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names without what data parallelism and the training module put in front of them."""
    for prefix in ("module.", "network."):
        if any(name.startswith(prefix) for name in state):
            state = {n.removeprefix(prefix): tensor for n, tensor in state.items() if n.startswith(prefix)}
    return {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}


def _config_beside(checkpoint: Path) -> dict[str, Any]:
    """Arguments of the network of a run's checkpoint, if the run's recipe lies beside it."""
    recipe = checkpoint.parent / _RECIPE
    if not recipe.is_file():
        return {}
    with torch.device("meta"):
        return build_network(load_recipe(recipe).network, channels=1).config


def _with_config(weights: dict[str, Tensor], config: Mapping[str, Any]) -> StartWeights:
    if not config:
        return StartWeights(weights)
    grid = tuple(int(n) // int(config["patch_size"]) for n in config["img_size"])
    return StartWeights(weights, grid, int(config["num_heads"]))


def _from_official(state: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    theirs = {}
    for name in names:
        decodes = name.startswith(("decoder.", "assembly.", "token_head."))
        theirs[official_name(name if decodes else f"encoder.{common_name(name)}")] = common_name(name)
    return {theirs.get(name, name): tensor for name, tensor in state.items()}


def _from_monai(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    weights = {}
    for name, tensor in state.items():
        for pattern, ours in _FROM_MONAI:
            name = pattern.sub(ours, name)
        weights[name] = tensor
    for name in [name for name in weights if name.endswith(".attention.qkv.weight")]:
        bias = name.removesuffix("weight") + "bias"
        weights.setdefault(bias, weights[name].new_zeros(weights[name].shape[0]))
    positions = weights.get("embedding.position_embedding")
    if positions is not None:  # MONAI adds positions before it puts CLS first: CLS has none
        weights["embedding.position_embedding"] = torch.cat((torch.zeros_like(positions[:, :1]), positions), dim=1)
    return weights
