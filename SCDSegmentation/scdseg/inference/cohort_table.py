"""``summary.csv``: a row for each case of a cohort."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from scdseg.bundle import Label
from scdseg.inference.cohort_result import Outcome
from scdseg.volumes import staged


def write_table(path: Path, outcomes: Sequence[Outcome], labels: Sequence[Label]) -> None:
    """Write the table under its name when it is complete.

    Args:
        path: ``.csv``.
        outcomes: in the order of the rows.
        labels: of the model.

    Raises:
        ResourceError: it cannot be written; what was there before stays.
    """
    with staged([path]) as temporary, temporary[path].open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            [
                *("case", "status", "error", "seconds", "keep_ratio", "windows", "warnings"),
                *(f"ml_{label.value}_{label.name.replace(' ', '_')}" for label in labels),
            ]
        )
        writer.writerows(_row(outcome, labels) for outcome in outcomes)


def _row(outcome: Outcome, labels: Sequence[Label]) -> list[str]:
    report = outcome.report
    if not report:
        return [outcome.case, outcome.status, outcome.error, *[""] * (4 + len(labels))]
    ml = {label["value"]: label["ml"] for label in report["labels"]}
    return [
        outcome.case,
        outcome.status,
        outcome.error,
        f"{report['seconds']['total']:.3f}",
        f"{report['keep_ratio']:g}",
        str(report["windows"]["count"]),
        "; ".join(report["warnings"]),
        *(f"{ml[label.value]:g}" for label in labels),
    ]
