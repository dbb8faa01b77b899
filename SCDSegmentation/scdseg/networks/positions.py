"""Fixed positions on a 3-D token grid."""

from __future__ import annotations

import torch
from torch import Tensor


def sine_cosine_positions(grid: tuple[int, int, int], width: int) -> Tensor:
    """Sine-cosine position of every token behind a zero row for CLS: (1, L + 1, width), tokens in row-major order.

    Each axis takes ``width / 6`` frequencies ``10000^(−i / (width / 6))``; channels are sin h, cos h, sin w, cos w, sin
    d, cos d.

    Raises:
        ValueError: if ``width`` is not divisible by 6.
    """
    if width % 6:
        raise ValueError(f"3-D sine-cosine positions need a width divisible by 6, not {width}")
    # On the CPU, wherever the network around it is made: PyTorch works such tables out slowly without memory.
    with torch.device("cpu"):
        count = width // 6
        frequencies = 10000.0 ** (-torch.arange(count, dtype=torch.float64) / count)
        axes = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in grid), indexing="ij")
        angles = [axis.reshape(-1, 1) * frequencies for axis in axes]
        table = torch.cat([part for angle in angles for part in (angle.sin(), angle.cos())], dim=1).float()
        return torch.cat((torch.zeros(1, width), table)).unsqueeze(0)
