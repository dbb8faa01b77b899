"""A model's labels against reference labels of the same image."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any, cast

from scdseg.bundle import find_bundle
from scdseg.errors import InputError
from scdseg.evaluation.mapping import read_reference
from scdseg.evaluation.metrics import compare_label_maps
from scdseg.inference.arguments import check_keep_ratio, check_overlap
from scdseg.inference.images import read_headers
from scdseg.inference.segmenter import Progress, Segmenter
from scdseg.networks import SCDUNETR
from scdseg.volumes import check_outputs, staged


@dataclass(frozen=True)
class Row:
    """One label at one keep ratio and choice of tokens; the metrics are those of
    :class:`scdseg.evaluation.LabelMetrics`.
    """

    keep_ratio: float
    token_choice: str
    value: int
    name: str
    dice: float
    hd95_mm: float
    volume_ml: float
    reference_ml: float


@dataclass(frozen=True)
class Evaluation:
    """All rows of one image, and what they were measured with.

    Args:
        model: name, version and hash of the model.
        images: the image's files.
        reference: the label map compared with.
        device: type and name.
        seconds: by choice of tokens, then keep ratio, for the segmentation of the prepared image.
        rows: by choice of tokens, then keep ratio, then label value.
    """

    model: dict[str, str]
    images: list[str]
    reference: str
    device: dict[str, str]
    seconds: dict[str, dict[float, float]]
    rows: list[Row]

    def mean_dice(self, keep_ratio: float, token_choice: str = "learned") -> float:
        """Mean Dice over the labels that the reference or the prediction has; NaN if there is none."""
        rows = [row for row in self.rows if (row.keep_ratio, row.token_choice) == (keep_ratio, token_choice)]
        values = [row.dice for row in rows if not math.isnan(row.dice)]
        return fmean(values) if values else math.nan

    def to_json(self) -> dict[str, Any]:
        """Everything in types that JSON has; NaN becomes None."""
        rows = [{k: _json_number(v) for k, v in asdict(row).items()} for row in self.rows]
        means = {
            choice: {str(ratio): _json_number(self.mean_dice(ratio, choice)) for ratio in of_choice}
            for choice, of_choice in self.seconds.items()
        }
        seconds = {
            choice: {str(ratio): round(value, 3) for ratio, value in of_choice.items()}
            for choice, of_choice in self.seconds.items()
        }
        return {**asdict(self), "seconds": seconds, "mean_dice": means, "rows": rows}

    def save(self, table: Path) -> None:
        """Write the rows as CSV.

        Raises:
            InputError: the file cannot be written there or is an input.
            ResourceError: the disk is full.
        """
        check_table(table, [Path(path) for path in (*self.images, self.reference)])
        with staged([table]) as temporary, temporary[table].open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(field.name for field in fields(Row))
            writer.writerows(
                (f"{v:.6g}" if isinstance(v, float) else v for v in asdict(row).values()) for row in self.rows
            )


def evaluate(
    images: Sequence[str | Path],
    model: str | Path,
    reference: str | Path,
    mapping: Mapping[int, int] | None = None,
    keep_ratios: Sequence[float] = (1.0, 0.5, 0.25, 0.1),
    device: str = "auto",
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    overlap: float | None = None,
    token_choices: Sequence[str] = ("learned",),
) -> Evaluation:
    """Segment an image at several keep ratios and compare every result with reference labels.

    Choosing tokens in other ways than the model learned tells what its scores decide.

    Args:
        images: one file for each channel of the model.
        model: name of a model, or the folder of a bundle.
        reference: label map on the image's grid.
        mapping: reference value → model value; None: the reference has the model's values.
        keep_ratios: each in (0, 1].
        device: ``"auto"``, ``"cuda"``, ``"mps"`` or ``"cpu"``.
        progress: see :data:`scdseg.inference.segmenter.Progress`.
        cancelled: polled between windows.
        overlap: share of a window that the next one covers again, 0…0.9; None: the model's own.
        token_choices: of ``scdseg.networks.pruning.TOKEN_CHOICES``; each at every keep ratio.

    Raises:
        ScdsegError: with one sentence that says what is wrong with the input or the machine.
    """
    bundle = find_bundle(model)
    if overlap is not None:
        check_overlap(overlap)
    for what, given in (("keep ratios", keep_ratios), ("token choices", token_choices)):
        if len(set(given)) < len(given):
            raise InputError(f"{what} {list(given)} name one twice: give each once")
    for keep_ratio in keep_ratios:
        check_keep_ratio(keep_ratio, bundle)
    header = read_headers(list(images), bundle)[0]
    names = {label.value: label.name for label in bundle.labels}
    labels, values = read_reference(Path(reference), header, names, mapping)
    segmenter = Segmenter(bundle, device)
    for choice in token_choices:
        choose_tokens(segmenter, choice)
    prepared = segmenter.prepare(images, progress, cancelled)
    seconds: dict[str, dict[float, float]] = {choice: {} for choice in token_choices}
    rows, report = [], {}
    for choice, keep_ratio in product(token_choices, keep_ratios):
        choose_tokens(segmenter, choice)
        start = time.perf_counter()
        result = segmenter.run(prepared, keep_ratio, overlap, progress, cancelled)
        seconds[choice][keep_ratio] = time.perf_counter() - start
        metrics = compare_label_maps(result.labels.array, labels, values, result.labels.affine)
        rows += [Row(keep_ratio, choice, value, names[value], **asdict(metrics[value])) for value in values]
        report = result.report
    return Evaluation(report["model"], [str(path) for path in images], str(reference), report["device"], seconds, rows)


def choose_tokens(segmenter: Segmenter, choice: str) -> None:
    """Let a model choose its tokens in another way from now on, for comparison.

    Args:
        segmenter: the model.
        choice: one of ``scdseg.networks.pruning.TOKEN_CHOICES``.

    Raises:
        InputError: another name, or one that this model cannot go by.
    """
    try:
        cast(SCDUNETR, segmenter.network).encoder.choose_by(choice)
    except ValueError as error:
        raise InputError(f"model {segmenter.bundle.name}: {error}; leave this token choice out") from error


def check_table(table: Path, inputs: Sequence[Path]) -> None:
    """Check before work starts that a table can be written.

    Raises:
        InputError: not ``.csv``, no such folder, not writable, or over an input.
    """
    check_outputs([(table, (".csv",))], inputs)


def _json_number(value: Any) -> Any:
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 6)
    return value
