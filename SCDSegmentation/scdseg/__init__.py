"""SCDSegmentation's engine: medical image segmentation with sparse-token vision transformers.

``from scdseg import segment`` is the whole engine in one call. Importing the package loads nothing heavy: PyTorch and
MONAI come in with the first name that needs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "segment"]

if TYPE_CHECKING:
    from scdseg.inference import segment


def __getattr__(name: str) -> Any:
    if name == "segment":
        from scdseg.inference import segment

        return segment
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
