"""How good a model is: Dice, 95 % Hausdorff distance and volumes against reference labels, at several keep ratios."""

from __future__ import annotations

from scdseg.evaluation.evaluate import Evaluation, Row, evaluate
from scdseg.evaluation.metrics import LabelMetrics, compare_label_maps, dice

__all__ = ["Evaluation", "LabelMetrics", "Row", "compare_label_maps", "dice", "evaluate"]
