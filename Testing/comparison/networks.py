"""The networks that are compared, as changes to a recipe."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from scdseg.benchmark.networks import build_peer
from scdseg.training.build import build_network
from scdseg.training.data import label_channels
from scdseg.training.recipe import Recipe

# The paper's network at a recipe's width: linear patches, every skip and convolution, pruning after blocks 3, 6 and 9.
_PAPER = {
    "stem": "linear",
    "decoder": "full",
    "num_layers": 12,
    "prune_after": [3, 6, 9],
    "token_head": False,
    "detail": "all",
    "decode_box": False,
}


@dataclass(frozen=True)
class Arm:
    """One of the networks.

    Args:
        title: for tables.
        network: changes to the recipe's section ``network``.
        peer: name among ``scdseg.benchmark.PEERS`` of a network of MONAI that takes the recipe's place.
        optimisation: changes to the recipe's section ``optimisation``.
    """

    title: str
    network: dict[str, Any] = field(default_factory=dict)
    peer: str = ""
    optimisation: dict[str, Any] = field(default_factory=dict)

    def recipe(self, recipe: Recipe, seed: int) -> Recipe:
        """The recipe that trains it; its keep ratio is that of training, too."""
        network = {**recipe.network, **self.network}
        ratio = float(network["keep_ratio"])
        changes = {"keep_ratio": (ratio, ratio), **self.optimisation}
        if not network.get("token_head"):
            changes["score_loss"] = 0.0
        return replace(recipe, seed=seed, network=network, optimisation=replace(recipe.optimisation, **changes))

    def build(self, recipe: Recipe) -> nn.Module:
        """It with fresh weights, from what :meth:`recipe` gave."""
        channels = label_channels(recipe)[1]
        if not self.peer:
            return build_network(recipe.network, channels)
        x, y, z = recipe.network["img_size"]
        return build_peer(self.peer, recipe.network["in_channels"], channels, (x, y, z))


# At the rate of the others, which is ours, SegResNet stood still.
_CAREFUL = {"learning_rate": 3e-4}


def _paper(keep_ratio: float = 0.1, **changes: Any) -> dict[str, Any]:
    return {**_PAPER, "keep_ratio": keep_ratio, **changes}


ARMS = {
    "dense": Arm("dense UNETR, the paper's baseline", {**_PAPER, "kind": "dense"}),
    "scd-0.5": Arm("the paper's SCD, keep 0.5", _paper(0.5)),
    "scd-0.25": Arm("the paper's SCD, keep 0.25", _paper(0.25)),
    "scd-0.1": Arm("the paper's SCD, keep 0.1", _paper()),
    "fast": Arm("fast, keep 0.1"),
    "fast-0.5": Arm("fast, keep 0.5", {"keep_ratio": 0.5}),
    "fast-all-detail": Arm("fast, keep 0.1, detail everywhere", {"detail": "all"}),
    "fast-no-signal": Arm("fast, keep 0.1, no direct signal for the scores", {}, optimisation={"score_loss": 0.0}),
    "fast-dense": Arm("dense, stem and decoder of the fast one", {"kind": "dense"}),
    **{
        f"depth-{blocks}": Arm(f"the same with {blocks} block{'s' if blocks > 1 else ''}", network)
        for blocks in (1, 3, 12)  # the fast one has six
        for network in [{"kind": "dense", "num_layers": blocks}]
    },
    "random": Arm("the paper's SCD, keep 0.1, random tokens", _paper(pruning="random")),
    "cls-attention": Arm("the paper's SCD, keep 0.1, CLS attention", _paper(pruning="cls_attention")),
    "no-noise": Arm("the paper's SCD, keep 0.1, no noise", _paper(pruning="stp_no_noise")),
    "mask-tokens": Arm("the paper's SCD, keep 0.1, mask tokens", _paper(completion="mask_tokens")),
    "monai-unetr": Arm("MONAI's UNETR, patch 16", peer="unetr", optimisation=_CAREFUL),
    "segresnet": Arm("MONAI's SegResNet, 32 filters", peer="segresnet", optimisation=_CAREFUL),
    "dynunet": Arm("MONAI's DynUNet, nnU-Net's shape", peer="dynunet", optimisation=_CAREFUL),
}
