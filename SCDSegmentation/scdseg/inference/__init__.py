"""From image files to labels, importance and survival."""

from __future__ import annotations

from scdseg.inference.result import Result
from scdseg.inference.segmenter import Prepared, Segmenter, segment

__all__ = ["Prepared", "Result", "Segmenter", "segment"]
