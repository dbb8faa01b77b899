"""A model on many volumes: every case complete or not at all, what is done is skipped, an error stops no other case."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from scdseg.bundle import Bundle, find_bundle
from scdseg.errors import InputError, ResourceError
from scdseg.inference.arguments import check_keep_ratio, check_overlap
from scdseg.inference.cohort_cases import Case, find_cases
from scdseg.inference.cohort_result import MAPS, CohortSettings, Outcome, earlier_report, model_sha256, segment_case
from scdseg.inference.cohort_table import write_table
from scdseg.inference.device import resolve_device, resolve_precision
from scdseg.inference.segmenter import Progress, Segmenter
from scdseg.threads import check_threads
from scdseg.volumes import check_outputs
from scdseg.volumes.output import make_output_folder

TABLE = "summary.csv"


def segment_all(
    source: str | Path,
    model: str | Path,
    output: str | Path,
    *,
    keep_ratio: float | None = None,
    device: str = "auto",
    overlap: float | None = None,
    precision: str = "auto",
    maps: Sequence[str] = (),
    ray: str | None = None,
    cpus_per_worker: int = 4,
    progress: Progress | None = None,
    log: Callable[[str], None] | None = None,
    threads: int | None = None,
) -> list[Outcome]:
    """Segment all cases of a folder or a list.

    Everything is checked before work starts. Each case gets a folder of its own with ``labels.nii.gz``, the maps that
    are asked for, and ``report.json``; ``summary.csv`` is written anew after each.

    Args:
        source: folder with NIfTI, NRRD and MetaImage files and DICOM series, or list of cases (docs/cohort.md).
        model: name of a model, or the folder of a bundle.
        output: folder of results; made if it is not there.
        keep_ratio: share of tokens kept at each pruning stage, in (0, 1]; None: the model's own.
        device: ``"auto"``, ``"cuda"``, ``"mps"`` or ``"cpu"``.
        overlap: share of a window that the next one covers again, 0…0.9; None: the model's own.
        precision: ``"auto"``, ``"bf16"`` or ``"fp32"``.
        maps: of ``"importance"``, ``"survival"``, ``"stage"``, ``"scores"``, what to write beside the labels.
        ray: address of a Ray cluster whose workers share the cases; ``"local"`` starts one on this machine.
        cpus_per_worker: CPUs of the cluster that one worker gets.
        progress: called with step, done, total and seconds left (None while unknown).
        log: called with a line for each case that ends, and for what a user should know; where an internal error came
            from takes more lines.
        threads: that compute on this machine's CPU; None: as many as there are free cores, chosen anew between windows.

    Returns:
        What became of each case, in order.

    Raises:
        ScdsegError: nothing was segmented for want of a sound model, input, output folder or device; or no worker is
            left; or the summary cannot be written.
    """
    tell = log or (lambda line: None)
    bundle = find_bundle(model)
    settings = _settings(bundle, model, Path(output), keep_ratio, overlap, precision, maps)
    if cpus_per_worker < 1:
        raise InputError(f"{cpus_per_worker} CPUs per worker are too few: give at least 1")
    if ray is not None and threads is not None:
        raise InputError("threads are set for this machine alone: for a Ray cluster's workers give --cpus-per-worker")
    if ray is None:
        check_threads(threads)
        resolve_precision(precision, resolve_device(device))
    else:
        try:
            from scdseg.inference.cohort_ray import connected_workers
        except ModuleNotFoundError as error:
            raise InputError(f"a Ray cluster needs the package {error.name!r}: pip install 'scdseg[ray]'") from error
    cases = find_cases(Path(source), bundle, Path(output), _step(progress, "check"))
    outcomes, waiting = _judge(cases, settings, tell)
    workers: AbstractContextManager[Iterator[Outcome]]
    if not waiting:
        workers = nullcontext(iter(()))
    elif ray is None:
        workers = nullcontext(_segment_here(waiting, Segmenter(bundle, device, precision, threads), settings, progress))
    else:
        workers = connected_workers(ray, waiting, settings, device, cpus_per_worker, progress, tell)

    def write() -> list[Outcome]:
        ended = [outcomes[case.name] for case in cases if case.name in outcomes]
        write_table(settings.output / TABLE, ended, bundle.labels)
        return ended

    with workers as work:
        make_output_folder(settings.output)
        check_outputs([(settings.output / TABLE, (".csv",))], [])
        write()
        for outcome in work:
            outcomes[outcome.case] = outcome
            tell(_describe(outcome))
            try:
                write()
            except ResourceError as error:
                # Somebody looks at it with a program that locks it: no reason to stop before the end.
                tell(f"{error}; it is tried again after the next case")
    return write()


def _judge(
    cases: Sequence[Case], settings: CohortSettings, tell: Callable[[str], None]
) -> tuple[dict[str, Outcome], list[Case]]:
    """What is known of cases before work starts, and those that are to be segmented."""
    outcomes: dict[str, Outcome] = {}
    waiting = []
    for case in cases:
        if case.problem:
            outcomes[case.name] = Outcome(case.name, "failed", case.problem)
            tell(_describe(outcomes[case.name]))
            continue
        report, reason = earlier_report(case, settings)
        if report is not None:
            outcomes[case.name] = Outcome(case.name, "skipped", report=report)
        else:
            waiting.append(case)
            if reason:
                tell(f"{case.name}: will be segmented again: {reason}")
    tell(f"{len(cases)} case{'s' * (len(cases) != 1)}, {len(cases) - len(outcomes)} to segment")
    return outcomes, waiting


def _settings(
    bundle: Bundle,
    model: str | Path,
    output: Path,
    keep_ratio: float | None,
    overlap: float | None,
    precision: str,
    maps: Sequence[str],
) -> CohortSettings:
    ratio = bundle.keep_ratio if keep_ratio is None else keep_ratio
    check_keep_ratio(ratio, bundle)
    share = check_overlap(bundle.overlap if overlap is None else overlap)
    unknown = [name for name in maps if name not in MAPS]
    if unknown:
        raise InputError(f"there is no map {unknown[0]!r}: choose from {', '.join(MAPS)}")
    # A name may stand for another folder on another machine of a cluster; a path has to be the same there.
    named = bundle.path != Path(model).absolute()
    return CohortSettings(
        model=str(model) if named else str(bundle.path),
        model_sha256=model_sha256(bundle),
        keep_ratio=float(ratio),
        overlap=share,
        precision=precision,
        maps=tuple(name for name in MAPS if name in maps),
        output=output.absolute(),
    )


def _segment_here(
    cases: Sequence[Case], segmenter: Segmenter, settings: CohortSettings, progress: Progress | None
) -> Iterator[Outcome]:
    """Segment case by case in this process."""
    began = time.perf_counter()
    for number, case in enumerate(cases):
        others = len(cases) - number - 1
        per_case = (time.perf_counter() - began) / number if number else None
        show = None if progress is None else _of_all(progress, f"{number + 1}/{len(cases)}", others, per_case)
        yield segment_case(segmenter, case, settings, show)


def _of_all(progress: Progress, place: str, others: int, seconds_per_case: float | None) -> Progress:
    """Tell the progress of one case as that of a cohort, of which ``others`` cases follow."""

    def show(step: str, done: int, total: int, seconds_left: float | None) -> None:
        if others and seconds_per_case is None:
            seconds_left = None
        if seconds_left is not None:
            seconds_left += others * (seconds_per_case or 0.0)
        progress(f"{place} {step}", done, total, seconds_left)

    return show


def _step(progress: Progress | None, step: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(step, done, total, None)


def _describe(outcome: Outcome) -> str:
    if outcome.status == "failed":
        return f"{outcome.case}: failed: {outcome.error}\n{outcome.details}".rstrip()
    return f"{outcome.case}: {outcome.status}, {outcome.report['seconds']['total']:.1f} s"
