"""The cases of a cohort on the workers of a Ray cluster: one worker a GPU, or a few CPUs.

The workers read and write the files themselves, on a file system that all machines share; only the names of the cases
and their reports travel. A case whose worker is killed goes to another one; the second time it is marked failed.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import ray
import ray.exceptions

from scdseg.errors import Cancelled, DeviceError, ResourceError, ScdsegError
from scdseg.inference.cohort_cases import Case
from scdseg.inference.cohort_result import CohortSettings, Outcome, discard_partial, model_sha256, segment_case
from scdseg.inference.segmenter import Progress, Segmenter

# A case that ended so many workers is not given to another one.
_MOST_ATTEMPTS = 2
# Workers that ended while they started, one after the other, before their place is given up.
_MOST_STARTS = 3
_SECONDS_TO_STOP = 30.0
_SECONDS_OF_WAITING = 60.0


class _Place(NamedTuple):
    """Where workers run: how many, what Ray gives to each, and the device that it computes on."""

    workers: int
    resources: dict[str, float]
    device: str


class _Worker:
    """What runs on the cluster: a model on a device.

    Args:
        settings: of the cohort.
        device: that this worker computes on.
        threads: of PyTorch on a CPU.
    """

    def __init__(self, settings: CohortSettings, device: str, threads: int) -> None:
        self._settings = settings
        self._device = device
        self._threads = threads
        self._stop = threading.Event()
        self._segmenter: Segmenter | None = None

    def load(self) -> str:
        """Load the model; what is wrong with this worker's machine, or nothing."""
        import torch

        from scdseg.bundle import find_bundle

        if self._threads:
            torch.set_num_threads(self._threads)
        try:
            if not self._settings.output.is_dir():
                return (
                    f"the output folder {self._settings.output} is not there: use a file system that all machines share"
                )
            bundle = find_bundle(self._settings.model)
            if model_sha256(bundle) != self._settings.model_sha256:
                return f"its model {self._settings.model} is another one: give the folder of the model"
            self._segmenter = Segmenter(bundle, self._device, self._settings.precision)
        except ScdsegError as error:
            return str(error)
        return ""

    def segment(self, case: Case) -> Outcome | None:
        """Segment a case; None if it was stopped."""
        assert self._segmenter is not None
        try:
            return segment_case(self._segmenter, case, self._settings, cancelled=self._stop.is_set)
        except Cancelled:
            return None

    def stop(self) -> None:
        """Let the case that is running end at its next window."""
        self._stop.set()


def segment_with_ray(
    address: str,
    cases: Sequence[Case],
    settings: CohortSettings,
    device: str,
    cpus_per_worker: int,
    progress: Progress | None,
    log: Callable[[str], None],
) -> Iterator[Outcome]:
    """Segment cases on a Ray cluster, in no certain order.

    Args:
        address: ``"auto"``, ``"ray://HOST:PORT"`` or ``"HOST:PORT"``; ``"local"`` starts a cluster on this machine that
            ends with this run.
        cases: to segment.
        settings: of the cohort.
        device: ``"auto"`` takes GPUs if the cluster has any; else ``"cuda"`` or ``"cpu"``.
        cpus_per_worker: CPUs for each worker.
        progress: called with the cases that ended.
        log: called with what a user should know.

    Raises:
        DeviceError: the cluster does not have the device.
        ResourceError: no cluster at this address, or no worker is left.
    """
    if not cases:
        return
    with _connected(address):
        crew = _Crew(cases, settings, _place(device, cpus_per_worker), log)
        try:
            began = time.perf_counter()
            if progress is not None:
                progress("cases", 0, len(cases), None)
            for ended, outcome in enumerate(crew.work(), 1):
                if progress is not None:
                    left = (time.perf_counter() - began) / ended * (len(cases) - ended)
                    progress("cases", ended, len(cases), left)
                yield outcome
        finally:
            crew.stop()


class _Crew:
    """Workers, the cases that wait for them, and what each is doing."""

    def __init__(
        self, cases: Sequence[Case], settings: CohortSettings, place: _Place, log: Callable[[str], None]
    ) -> None:
        self._waiting = deque(cases)
        self._settings = settings
        self._place = place
        self._log = log
        # The actor is built here, not by a decorator: importing this module connects to nothing.
        self._worker = ray.remote(max_restarts=0, max_concurrency=2, **place.resources)(_Worker)
        # What runs: the case of a worker, or None while it loads the model.
        self._running: dict[Any, tuple[Any, Case | None]] = {}
        self._idle: list[Any] = []
        self._attempts: Counter[str] = Counter()
        self._failed_starts = 0
        self._last_problem = ""

    def work(self) -> Iterator[Outcome]:
        """Have all cases segmented.

        Raises:
            ResourceError: no worker is left.
        """
        for _ in range(min(self._place.workers, len(self._waiting))):
            self._hire()
        began, told = time.perf_counter(), False
        while self._waiting or any(case is not None for _, case in self._running.values()):
            while self._idle and self._waiting:
                worker, case = self._idle.pop(), self._waiting.popleft()
                self._running[worker.segment.remote(case)] = (worker, case)
            if not self._running:
                raise ResourceError(f"no worker is left: {self._last_problem}")
            ended, _ = ray.wait(list(self._running), num_returns=1, timeout=_SECONDS_OF_WAITING)
            for reference in ended:
                yield from self._take(reference, *self._running.pop(reference))
            if not told and not self._idle and all(case is None for _, case in self._running.values()):
                told = time.perf_counter() - began > _SECONDS_OF_WAITING
                if told:
                    self._log(f"still waiting for a first worker; each needs {_describe(self._place.resources)}")

    def stop(self) -> None:
        """Let running cases end at their next window, then end all workers."""
        busy = {reference: worker for reference, (worker, case) in self._running.items() if case is not None}
        workers = [*self._idle, *(worker for worker, _ in self._running.values())]
        with suppress(Exception):  # The cluster may be what failed.
            for worker in busy.values():
                worker.stop.remote()
            if busy:
                ray.wait(list(busy), num_returns=len(busy), timeout=_SECONDS_TO_STOP)
        for worker in workers:
            with suppress(Exception):
                ray.kill(worker)
        for _, case in self._running.values():
            if case is not None:
                discard_partial(self._settings.files(case.name)["labels"].parent)

    def _hire(self) -> None:
        threads = int(self._place.resources["num_cpus"]) if self._place.device == "cpu" else 0
        worker = self._worker.remote(self._settings, self._place.device, threads)
        self._running[worker.load.remote()] = (worker, None)

    def _take(self, reference: Any, worker: Any, case: Case | None) -> Iterator[Outcome]:
        """Take what a worker answers, or hire another one in its place."""
        try:
            answer = ray.get(reference)
        except ray.exceptions.RayError as error:
            with suppress(Exception):
                ray.kill(worker)
            yield from self._lose(case, " ".join(str(error).split()))
            return
        if case is None and answer:
            self._last_problem = answer
            self._log(f"a worker cannot be used: {answer}")
            ray.kill(worker)
            return
        self._idle.append(worker)
        if case is None:
            self._failed_starts = 0
        elif answer is not None:
            yield answer

    def _lose(self, case: Case | None, reason: str) -> Iterator[Outcome]:
        """Go on without a worker."""
        self._last_problem = f"the last one ended: {reason}"
        if case is None:
            self._failed_starts += 1
            if self._failed_starts < _MOST_STARTS:
                self._hire()
            return
        self._attempts[case.name] += 1
        discard_partial(self._settings.files(case.name)["labels"].parent)
        if self._attempts[case.name] < _MOST_ATTEMPTS:
            self._log(f"{case.name}: its worker ended; another one takes it")
            self._waiting.append(case)
        else:
            yield Outcome(
                case.name,
                "failed",
                f"ended {_MOST_ATTEMPTS} workers (out of memory?): try it with scdseg segment; Ray says: {reason}",
            )
        if len(self._waiting) > len(self._idle) + sum(load is None for _, load in self._running.values()):
            self._hire()


@contextmanager
def _connected(address: str) -> Iterator[None]:
    """A connection to a cluster, or a cluster of our own."""
    # Nothing about a hospital's machines goes anywhere; a cluster that runs already has decided for itself.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        options |= {"include_dashboard": False, "object_store_memory": 128 * 2**20}
    try:
        ray.init(address, **options)
    except (ConnectionError, RuntimeError, ValueError, ImportError, ray.exceptions.RayError) as error:
        raise ResourceError(
            f"there is no Ray cluster at {address!r} ({' '.join(str(error).split())}): start one (docs/cohort.md), or "
            "leave --ray away"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _place(device: str, cpus: int) -> _Place:
    """How many workers a cluster has room for, and what each gets."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = sum(int(machine.get("GPU", 0)) for machine in machines)
    if device == "cuda" and not gpus:
        raise DeviceError("the Ray cluster has no GPU: use device 'auto' or 'cpu'")
    if device not in ("auto", "cuda", "cpu"):
        raise DeviceError(f"device {device!r} cannot be chosen with Ray, which gives each worker its own: use 'auto'")
    if gpus and device != "cpu":
        beside = min(int(machine.get("CPU", 0) // machine["GPU"]) for machine in machines if machine.get("GPU", 0) >= 1)
        return _Place(gpus, {"num_gpus": 1, "num_cpus": min(cpus, beside)}, "cuda")
    # A machine that is smaller than a worker was meant to be still is one worker.
    largest = int(max(machine.get("CPU", 0) for machine in machines))
    if not largest:
        raise DeviceError("the Ray cluster has no CPU: start its machines with --num-cpus")
    each = min(cpus, largest)
    workers = sum(int(machine.get("CPU", 0)) // each for machine in machines)
    return _Place(workers, {"num_gpus": 0, "num_cpus": each}, "cpu")


def _describe(resources: dict[str, float]) -> str:
    return " and ".join(
        f"{value:g} {name[4:-1].upper()}{'s' * (value > 1)}" for name, value in resources.items() if value
    )
