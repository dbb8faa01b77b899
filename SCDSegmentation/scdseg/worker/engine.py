"""What the requests do: the only part of the worker that imports PyTorch."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from scdseg.allocator import give_back_freed_memory
from scdseg.bundle import Bundle, find_bundle
from scdseg.bundle.bundle import METADATA_FILE
from scdseg.inference import Prepared, Result, Segmenter
from scdseg.inference.arguments import check_keep_ratio, check_overlap
from scdseg.inference.device import resolve_device, resolve_precision
from scdseg.inference.images import read_headers
from scdseg.inference.influence import labels_asked_for, token_influence
from scdseg.inference.result import check_result_paths
from scdseg.inference.sweep import SweepRow, check_tolerance, densest_first, summary, sweep_prepared
from scdseg.threads import Threads, check_threads
from scdseg.volumes import discard_staged, staged, write_volume
from scdseg.worker.jobs import Job
from scdseg.worker.probe import probe
from scdseg.worker.requests import OUTPUTS, Influence, Probe, Run, Segment, Sweep


class Engine:
    """Runs requests one after the other, and keeps the last model for the next."""

    def __init__(self) -> None:
        self._segmenter: Segmenter | None = None
        self._key: tuple[Any, ...] = ()
        self._threads = torch.get_num_threads()
        _import_late_parts()
        # Libraries stay: without them a collection takes milliseconds, not half a second in which no thread can answer.
        gc.collect()
        gc.freeze()

    def run(self, job: Job) -> dict[str, Any]:
        """Do what a job asks for.

        Returns:
            Fields of the job's result.

        Raises:
            ScdsegError: with one sentence that says what is wrong with the input or the machine.
        """
        request = job.request
        if isinstance(request, Probe):
            return probe()
        if isinstance(request, Influence):
            return self._influence(job, request)
        return self._segment(job, request) if isinstance(request, Segment) else self._sweep(job, request)

    def clean_up(self) -> None:
        """Free what a failed or cancelled run has left behind; the model stays."""
        discard_staged()
        gc.collect()
        if torch.cuda.is_available():
            with suppress(RuntimeError):  # a GPU that is lost has nothing to give back
                torch.cuda.empty_cache()
        for device_type in ("cpu", "cuda", "mps"):
            # An interrupt in the middle of torch.autocast's own lines could leave it switched on.
            torch.set_autocast_enabled(device_type, False)
        # Likewise one in the lines that give threads back.
        torch.set_num_threads(self._threads)
        give_back_freed_memory()

    def discard_files(self) -> None:
        """Remove unfinished output files; for a process that ends before its run does."""
        discard_staged()

    def _segment(self, job: Job, request: Segment) -> dict[str, Any]:
        """Segment once, and write the result."""
        paths = {name: Path(path) for name, path in request.outputs.items()}
        segmenter, prepared = self._prepare(job, request, [request.keep_ratio], [paths])
        result = segmenter.run(prepared, request.keep_ratio, request.overlap, job.progress, job.cancelled)
        return _write(job, request, result, paths)

    def _sweep(self, job: Job, request: Sweep) -> dict[str, Any]:
        """Segment at every keep ratio, and write each result before the next run."""
        check_tolerance(request.tolerance)
        paths_of = {ratio: _sweep_outputs(Path(request.folder), ratio) for ratio in densest_first(request.keep_ratios)}
        segmenter, prepared = self._prepare(job, request, list(paths_of), list(paths_of.values()))
        runs: list[dict[str, Any]] = []
        rows: list[SweepRow] = []
        sweep = sweep_prepared(segmenter, prepared, request.keep_ratios, request.overlap, job.progress, job.cancelled)
        for result, row in sweep:
            runs.append(_write(job, request, result, paths_of[row.keep_ratio]))
            rows.append(row)
            job.partial_result(**runs[-1], **row.to_json())
        return {"partial": False, "runs": runs, **summary(rows, request.tolerance)}

    def _influence(self, job: Job, request: Influence) -> dict[str, Any]:
        """Tell how much each token moved the labels, and write that."""
        paths = {name: Path(path) for name, path in request.outputs.items()}
        labels_asked_for(find_bundle(request.model), request.label)
        began = time.perf_counter()
        segmenter, prepared = self._prepare(job, request, [request.keep_ratio], [paths])
        volume = token_influence(
            segmenter, prepared, request.label, request.keep_ratio, request.overlap, job.progress, job.cancelled
        )
        job.progress("write", 0, 1)
        with staged(list(paths.values())) as temporary:
            write_volume(volume, temporary[paths["influence"]], request.compress)
            job.commit()
        seconds = round(time.perf_counter() - began, 3)
        return {"outputs": dict(request.outputs), "label": request.label, "seconds": seconds}

    def _prepare(
        self, job: Job, request: Run, ratios: Sequence[float | None], outputs: Sequence[dict[str, Path]]
    ) -> tuple[Segmenter, Prepared]:
        """The model and the images, ready to run; that the outputs can be written is checked first."""
        inputs = [Path(image) for image in request.images]
        for paths in outputs:
            check_result_paths(paths, inputs)
        segmenter = self._load(job, request, ratios)
        prepared = segmenter.prepare(request.images, job.progress, job.cancelled)
        for warning in prepared.warnings:
            job.log("warning", warning)
        return segmenter, prepared

    def _load(self, job: Job, request: Run, ratios: Sequence[float | None]) -> Segmenter:
        """The request's model, loaded unless it is the last one and has not changed; bad arguments are told first."""
        bundle = find_bundle(request.model)
        for ratio in ratios:
            if ratio is not None:
                check_keep_ratio(ratio, bundle)
        if request.overlap is not None:
            check_overlap(request.overlap)
        check_threads(request.threads)
        device = resolve_device(request.device)
        job.device = str(device)
        key = (*_state_on_disk(bundle), device, resolve_precision(request.precision, device))
        if self._segmenter is not None and key == self._key:
            # Its own know the machine's load.
            if self._segmenter.threads.wanted != request.threads:
                self._segmenter.threads = Threads(request.threads)
            return self._segmenter
        read_headers(request.images, bundle)
        job.progress("load model", 0, 1)
        # The old model's memory may be needed for the new one.
        self._segmenter = None
        self.clean_up()
        began = time.perf_counter()
        segmenter = Segmenter(bundle, str(device), request.precision, request.threads)
        self._segmenter, self._key = segmenter, key
        job.progress("load model", 1, 1)
        job.log("info", f"model {bundle.name} loaded on {device} in {time.perf_counter() - began:.1f} s")
        return segmenter


def _write(job: Job, request: Run, result: Result, paths: dict[str, Path]) -> dict[str, Any]:
    job.progress("write", 0, 1)
    result.save(**paths, compress=request.compress, before_rename=job.commit)
    return {"outputs": {name: str(path) for name, path in paths.items()}, "report": result.report}


def _sweep_outputs(folder: Path, keep_ratio: float) -> dict[str, Path]:
    return {name: folder / f"keep_{keep_ratio:g}_{name}{'.json' if name == 'report' else '.nrrd'}" for name in OUTPUTS}


def _state_on_disk(bundle: Bundle) -> tuple[Any, ...]:
    """What differs if the model has been changed or replaced since it was loaded."""
    files = [(bundle.path / METADATA_FILE).stat(), bundle.weights_path.stat()]
    return (bundle.path, bundle.weights_sha256, *((file.st_mtime_ns, file.st_size) for file in files))


def _import_late_parts() -> None:
    """Import what the first model would: an import must not be interrupted, half a module stays behind."""
    import_module("scdseg.bundle.weights")
    with torch.device("meta"):
        torch.empty(1)
