"""What both networks check about their arguments, and the one reshape that both need."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from scdseg.networks.patch_embedding import STEMS


def check_arguments(
    img_size: Sequence[int], patch_size: int, hidden_size: int, num_heads: int, stem: str
) -> tuple[int, int, int]:
    """The window as a tuple, or a ValueError that says which arguments do not fit together."""
    window = tuple(int(n) for n in img_size)
    if patch_size < 1 or len(window) != 3 or any(n < patch_size or n % patch_size for n in window):
        raise ValueError(f"img_size must be three multiples of the patch size {patch_size}, not {window}")
    if num_heads < 1 or hidden_size % num_heads:
        raise ValueError(f"hidden_size {hidden_size} is not divisible by {num_heads} heads")
    if stem not in STEMS:
        raise ValueError(f"stem must be one of {', '.join(STEMS)}, not {stem!r}")
    return window[0], window[1], window[2]


def to_map(tokens: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """Tokens (B, L, C) in row-major order → token map (B, C, *grid)."""
    return tokens.transpose(1, 2).reshape(tokens.shape[0], tokens.shape[2], *grid)
