"""One case of a cohort in the output folder: what its files are, whether they are up to date, and making them."""

from __future__ import annotations

import hashlib
import json
import re
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scdseg.errors import Cancelled, InputError, ResourceError, ScdsegError

if TYPE_CHECKING:
    from scdseg.bundle import Bundle
    from scdseg.inference.cohort_cases import Case
    from scdseg.inference.segmenter import Progress, Segmenter

MAPS = ("importance", "survival", "stage", "scores")
_REPORT = "report.json"
# What a report of this command has beside what every report has.
_RECORD = "cohort"


@dataclass(frozen=True)
class CohortSettings:
    """How every case of a cohort is segmented, and where to.

    Args:
        model: name of the model or absolute path of its folder.
        model_sha256: of what it does, from :func:`model_sha256`.
        keep_ratio: in (0, 1].
        overlap: 0…0.9.
        precision: as it was asked for: ``"auto"``, ``"bf16"`` or ``"fp32"``.
        maps: those of :data:`MAPS` that are written beside the labels.
        output: absolute path of the folder that the cases' folders are made in.
    """

    model: str
    model_sha256: str
    keep_ratio: float
    overlap: float
    precision: str
    maps: tuple[str, ...]
    output: Path

    def files(self, case: str) -> dict[str, Path]:
        """The files of a case by the name of the result, the report last: where it is, all others are."""
        folder = self.output / case
        names = {name: f"{name}.nii.gz" for name in ("labels", *self.maps)} | {"report": _REPORT}
        return {name: folder / file for name, file in names.items()}


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Args:
        case: its name.
        status: ``"done"``, ``"skipped"`` (it was done before) or ``"failed"``.
        error: what went wrong, in a line; empty unless it failed.
        report: of the segmentation; empty if it failed.
        elsewhere: whether it failed for what may be the fault of the process, device or machine, so that it is worth
            another try elsewhere.
        details: where in the program it failed, if that is an internal error; many lines.
    """

    case: str
    status: str
    error: str = ""
    report: dict[str, Any] = field(default_factory=dict)
    elsewhere: bool = False
    details: str = ""


def model_sha256(bundle: Bundle) -> str:
    """SHA-256 of everything in a model that its labels depend on: weights, network, preprocessing, labels."""
    scd = {key: value for key, value in bundle.metadata["scd"].items() if key != "quality"}
    return hashlib.sha256(json.dumps(scd, sort_keys=True).encode()).hexdigest()


def is_result_folder(folder: Path) -> bool:
    """Whether a folder holds a case that was segmented, so that its files are no input."""
    report = _read_report(folder / _REPORT)
    return report is not None and _RECORD in report


def earlier_report(case: Case, settings: CohortSettings) -> tuple[dict[str, Any] | None, str]:
    """What an earlier run made of a case.

    Returns:
        The report, if the case needs no work; else None, and why what is there does not do (empty if nothing is there).
    """
    files = settings.files(case.name)
    if not files["report"].exists():
        return None, ""
    report = _read_report(files["report"])
    try:
        report = report or {}
        record = report[_RECORD]
        made = {
            "model": record["model"],
            "keep ratio": report["keep_ratio"],
            "overlap": report["windows"]["overlap"],
            "precision": record["precision"],
            "input": record["input"],
        }
    except (KeyError, TypeError):
        return None, "its report cannot be read"
    wanted = {
        "model": settings.model_sha256,
        "keep ratio": settings.keep_ratio,
        "overlap": settings.overlap,
        "precision": settings.precision,
        "input": case.fingerprint,
    }
    reasons = [f"other {name}" for name, value in wanted.items() if made[name] != value]
    reasons += [f"{path.name} is missing" for path in files.values() if not path.exists()]
    return (None, ", ".join(reasons)) if reasons else (report, "")


def segment_case(
    segmenter: Segmenter,
    case: Case,
    settings: CohortSettings,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Outcome:
    """Segment a case and write all its files, or none.

    Args:
        segmenter: with the model of the settings.
        case: whose folder is made.
        settings: of the cohort.
        progress: see :data:`scdseg.inference.segmenter.Progress`.
        cancelled: polled between windows.

    Returns:
        What became of it; an error is an outcome, too, so that other cases can follow.

    Raises:
        Cancelled: ``cancelled`` returned True.
    """
    files = settings.files(case.name)
    folder = files["labels"].parent
    try:
        _make_folder(folder)
        discard_partial(folder)
        prepared = segmenter.prepare(case.images, progress, cancelled)
        result = segmenter.run(prepared, settings.keep_ratio, settings.overlap, progress, cancelled)
        result.report[_RECORD] = {
            "model": settings.model_sha256,
            "precision": settings.precision,
            "input": case.fingerprint,
        }
        unwanted = [folder / f"{name}.nii.gz" for name in MAPS if name not in settings.maps]
        result.save(
            labels=files["labels"],
            importance=files.get("importance"),
            survival=files.get("survival"),
            stage=files.get("stage"),
            scores=files.get("scores"),
            report=files["report"],
            before_rename=lambda: _remove(unwanted),
        )
    except Cancelled:
        raise
    except ScdsegError as error:
        return Outcome(case.name, "failed", _line(str(error)), elsewhere=not isinstance(error, InputError))
    except Exception as error:
        message = _line(f"internal error: {type(error).__name__}: {error}")
        return Outcome(case.name, "failed", message, elsewhere=True, details=traceback.format_exc())
    finally:
        with suppress(OSError):
            folder.rmdir()  # unless it holds files
    return Outcome(case.name, "done", report=result.report)


def discard_partial(folder: Path) -> None:
    """Remove what a process that was killed while it wrote has left in the folder of a case."""
    names = "|".join(re.escape(name) for name in (*(f"{name}.nii.gz" for name in ("labels", *MAPS)), _REPORT))
    pattern = re.compile(rf"\.[0-9a-f]{{8}}-({names})")
    with suppress(OSError):
        _remove([path for path in folder.iterdir() if pattern.fullmatch(path.name)])


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except FileExistsError as error:
        raise InputError(f"the folder {folder} cannot be made ({error.strerror}): remove what is there") from error
    except OSError as error:
        raise ResourceError(
            f"the folder {folder} cannot be made ({error.strerror}): check the disk it is on"
        ) from error


def _remove(files: Sequence[Path]) -> None:
    for path in files:
        path.unlink(missing_ok=True)


def _read_report(path: Path) -> dict[str, Any] | None:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return report if isinstance(report, dict) else None


def _line(text: str) -> str:
    return " ".join(text.split())
