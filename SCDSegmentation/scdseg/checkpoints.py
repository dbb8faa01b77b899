"""Checkpoints of the paper's authors: reading their files safely and turning their state dictionaries into our network.

Shapes tell the patch size, widths, depths, feature size, channels, decoder and number of pruning stages. They do not
tell the window, the head counts, where tokens are pruned and how many are kept: the caller has to know these.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scdseg import torch_files
from scdseg.bundle.weights import few, mismatches
from scdseg.errors import ModelError
from scdseg.networks import SCDUNETR
from scdseg.torch_files import fits_its_storage, has_names

# Our parameter names → the authors', applied in this order.
_RENAMES = tuple(
    (re.compile(ours), theirs)
    for ours, theirs in (
        (r"^encoder\.embedding\.cls_token", "encoder.cls_token"),
        (r"^encoder\.embedding\.position_embedding", "encoder.pos_embed"),
        (r"^encoder\.embedding\.projection", "encoder.patch_embed.proj"),
        (r"^encoder\.pruning\.(\d+)\.predictor\.input_mlp", r"encoder.score_predictor_list.\1.in_mlp"),
        (r"^encoder\.pruning\.(\d+)\.predictor\.output_mlp", r"encoder.score_predictor_list.\1.out_mlp"),
        (r"^encoder\.pruned_norms", "encoder.mid_norm_list"),
        (r"^assembly\.projections", "completion_net.pre_linear_list"),
        (r"^assembly\.layer_tokens", "completion_net.completion.layer_tokens"),
        (r"^assembly\.norm", "completion_net.out_norm"),
        (r"^assembly\.output", "completion_net.out_linear"),
        (r"^assembly\.blocks", "completion_net.blocks"),
        (r"(blocks\.\d+)\.attention_norm", r"\1.norm1"),
        (r"(blocks\.\d+)\.mlp_norm", r"\1.norm2"),
        (r"(blocks\.\d+)\.attention\.qkv", r"\1.attn.qkv"),
        (r"(blocks\.\d+)\.attention\.projection", r"\1.attn.proj"),
        (r"(blocks\.\d+)\.mlp\.0", r"\1.mlp.fc1"),
        (r"(blocks\.\d+)\.mlp\.2", r"\1.mlp.fc2"),
        (r"^decoder\.skip(\d)", r"decoder.encoder\1"),
        (r"^decoder\.up1", "decoder.decoder2"),
        (r"^decoder\.up2", "decoder.decoder3"),
        (r"^decoder\.up3", "decoder.decoder4"),
        (r"^decoder\.up4", "decoder.decoder5"),
        (r"^decoder\.output", "decoder.out"),
    )
)
_FIXED_POSITIONS = "completion_net.completion.pos_embed"
_CONSTANTS = ("encoder.policy", _FIXED_POSITIONS)


def read_official(path: str | Path) -> dict[str, Tensor]:
    """Read the state dictionary of an authors' checkpoint without running anything that the file holds.

    Args:
        path: a ``.pth.tar`` file: a dictionary with ``state_dict``.

    Raises:
        ModelError: if the file cannot be read as plain tensors and numbers, or has no state dictionary.
    """
    file = Path(path)
    if not file.is_file():
        raise ModelError(f"{path}: no such file; give the authors' checkpoint (.pth.tar)")
    try:
        # Mapped where the format allows it: the optimizer's state, twice the size of the weights, is never read.
        checkpoint = torch_files.load(file)
    except Exception as error:  # torch.load answers malformed files with many kinds of exceptions
        reason = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise ModelError(
            f"{path}: cannot be read safely as a checkpoint ({reason}). If it is complete and you trust where it "
            "comes from, load it with torch.load yourself and save {'state_dict': …} with its tensors only"
        ) from error
    state = checkpoint.get("state_dict") if isinstance(checkpoint, Mapping) else None
    if not isinstance(state, Mapping) or not has_names(state):
        raise ModelError(f"{path}: holds no 'state_dict'; give the authors' checkpoint (.pth.tar)")
    others = [key for key, value in state.items() if not isinstance(value, Tensor) or not fits_its_storage(value)]
    if others:
        raise ModelError(f"{path}: these entries of its state_dict are no plain tensors: {few(others)}; save it anew")
    if torch_files.share_too_much(state.values()):
        raise ModelError(f"{path}: its tensors share their numbers, as those of no network do; save it anew")
    return dict(state)


def from_official(
    state_dict: Mapping[str, Tensor],
    *,
    img_size: Sequence[int],
    num_heads: int,
    assembly_heads: int,
    prune_after: Sequence[int],
    keep_ratio: float | Sequence[float],
) -> SCDUNETR:
    """Build the network of an authors' checkpoint and give it their weights.

    Args:
        state_dict: tensors under the authors' names; a ``module.`` in front of all names is dropped.
        img_size: window in voxels.
        num_heads: attention heads of the encoder.
        assembly_heads: attention heads of the token assembly.
        prune_after: numbers (from 1) of the blocks behind which tokens are pruned; the authors' "2-5-8" is (3, 6, 9).
        keep_ratio: share of tokens kept at each stage: 1 − the authors' prune ratio.

    Returns:
        The network in evaluation mode, float32, on the CPU.

    Raises:
        ModelError: naming every tensor that is missing, left over or of another shape, or the argument that does not
            fit.
    """
    state = dict(state_dict)
    if state and all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    arguments = infer_arguments(state)
    stages = arguments.pop("stages")
    if stages != len(prune_after):
        raise ModelError(
            f"the checkpoint has {stages} pruning stages; prune_after names {len(prune_after)}: {tuple(prune_after)}"
        )
    _check_window(state, img_size, arguments["patch_size"])
    arguments |= {
        "img_size": tuple(img_size),
        "num_heads": num_heads,
        "assembly_heads": assembly_heads,
        "prune_after": tuple(prune_after),
        "keep_ratio": keep_ratio,
    }
    try:
        with torch.device("meta"):
            names = {official_name(name): tensor for name, tensor in SCDUNETR(**arguments).state_dict().items()}
        weights = {name: tensor for name, tensor in state.items() if name not in _CONSTANTS}
        problems = mismatches({name: tuple(tensor.shape) for name, tensor in weights.items()}, names)
        if problems:
            raise ModelError(f"the checkpoint does not fit the network that its shapes describe: {few(problems)}")
        network = SCDUNETR(**arguments)
    except ValueError as error:
        raise ModelError(f"the checkpoint cannot be used with these arguments: {error}") from error
    _check_positions(state, network)
    network.load_state_dict({name: weights[official_name(name)] for name in network.state_dict()})
    return network.eval()


def infer_arguments(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Read from the shapes what they tell about the network.

    Args:
        state: tensors under the authors' names.

    Returns:
        Constructor arguments of ``SCDUNETR``, and ``stages``: the number of pruning stages.

    Raises:
        ModelError: naming the tensors that are missing for that.
    """
    telling = {
        "embedding": ("encoder.patch_embed.proj.weight", 5),
        "positions": ("encoder.pos_embed", 3),
        "mlp": ("encoder.blocks.0.mlp.fc1.weight", 2),
        "assembly": ("completion_net.out_norm.weight", 1),
        "output": ("decoder.out.conv.conv.weight", 5),
    }
    wrong = [name for name, rank in telling.values() if name not in state or state[name].dim() != rank]
    if wrong:
        raise ModelError(
            f"not a checkpoint of the authors' network: missing or of another kind are {', '.join(wrong)}; the file "
            f"has {len(state)} tensors, such as {', '.join(list(state)[:3]) or 'none'}"
        )
    shapes = {key: tuple(state[name].shape) for key, (name, _) in telling.items()}
    hidden_size, in_channels, patch_size = shapes["embedding"][:3]
    deep = any(name.startswith("decoder.decoder5.") for name in state)
    return {
        "in_channels": in_channels,
        "out_channels": shapes["output"][0],
        "patch_size": patch_size,
        "feature_size": shapes["output"][1],
        "hidden_size": hidden_size,
        "mlp_dim": shapes["mlp"][0],
        "num_layers": _count(state, "encoder.blocks"),
        "assembly_size": shapes["assembly"][0],
        "assembly_layers": _count(state, "completion_net.blocks"),
        "decoder": "full" if deep else "shallow",
        "stages": _count(state, "encoder.score_predictor_list"),
    }


def _count(state: Mapping[str, Tensor], prefix: str) -> int:
    """How many numbered modules there are under a prefix."""
    pattern = re.compile(rf"^{re.escape(prefix)}\.(\d+)\.")
    return len({match[1] for match in map(pattern.match, state) if match})


def official_name(name: str) -> str:
    """The authors' name of a parameter of ``SCDUNETR``."""
    for pattern, replacement in _RENAMES:
        name = pattern.sub(replacement, name)
    return name


def _check_window(state: Mapping[str, Tensor], img_size: Sequence[int], patch_size: int) -> None:
    tokens = state["encoder.pos_embed"].shape[1] - 1
    if len(img_size) != 3 or any(size < 1 or size % patch_size for size in img_size):
        raise ModelError(
            f"img_size {tuple(img_size)} is not three multiples of the checkpoint's patch size {patch_size}"
        )
    grid = tuple(size // patch_size for size in img_size)
    if math.prod(grid) != tokens:
        raise ModelError(
            f"img_size {tuple(img_size)} makes {math.prod(grid)} patches of {patch_size}³ voxels, but the checkpoint "
            f"was trained with {tokens}"
        )


def _check_positions(state: Mapping[str, Tensor], network: SCDUNETR) -> None:
    """Windows of the same token count differ in the fixed positions that the authors store."""
    stored, ours = state.get(_FIXED_POSITIONS), network.assembly.positions
    if stored is None:
        return
    if stored.shape != ours.shape or not torch.allclose(stored.float(), ours, atol=1e-3):
        raise ModelError(
            f"{_FIXED_POSITIONS} does not belong to img_size {network.img_size}: the checkpoint was trained with its "
            "window's sides in another order or of other lengths"
        )
