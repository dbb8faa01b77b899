"""The cases of a cohort on the workers of a Ray cluster: one worker a GPU, or a few CPUs.

The workers read and write the files themselves, on a file system that all machines share; only the names of the cases
and their reports travel. A case whose worker is killed, or fails for what may be its fault, goes to another one; the
second time it is marked failed.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import ray
import ray.exceptions

from scdseg.errors import Cancelled, DeviceError, ResourceError, ScdsegError
from scdseg.inference.cohort_cases import Case
from scdseg.inference.cohort_queue import CaseQueue
from scdseg.inference.cohort_result import CohortSettings, Outcome, discard_partial, model_sha256, segment_case
from scdseg.inference.segmenter import Progress, Segmenter

# Workers that ended while they started, one after the other, before their place is given up.
_MOST_STARTS = 3
_SECONDS_TO_STOP = 30.0
_SECONDS_OF_WAITING = 60.0


class _Room(NamedTuple):
    """What a cluster has for workers: how many, what Ray gives to each, and the device that it computes on."""

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

    def load(self) -> tuple[str, str]:
        """Load the model; where this worker is, and what is wrong there, or nothing."""
        return f"{ray.get_runtime_context().get_node_id()} {ray.get_gpu_ids()}", self._load()

    def _load(self) -> str:
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

    def is_there(self) -> bool:
        """Whether this worker still runs."""
        return True

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


@contextmanager
def connected_workers(
    address: str,
    cases: Sequence[Case],
    settings: CohortSettings,
    device: str,
    cpus_per_worker: int,
    progress: Progress | None,
    log: Callable[[str], None],
) -> Iterator[Iterator[Outcome]]:
    """Workers of a Ray cluster that segment cases, in no certain order, while what this yields is iterated.

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
    with _connected(address):
        crew = _Crew(cases, settings, _room(device, cpus_per_worker), log)
        try:
            yield crew.work() if progress is None else _shown(crew.work(), len(cases), progress)
        finally:
            crew.stop()


def _shown(outcomes: Iterator[Outcome], count: int, progress: Progress) -> Iterator[Outcome]:
    """Tell how many cases have ended."""
    began = time.perf_counter()
    progress("cases", 0, count, None)
    for ended, outcome in enumerate(outcomes, 1):
        progress("cases", ended, count, (time.perf_counter() - began) / ended * (count - ended))
        yield outcome


class _Member(NamedTuple):
    """A worker, and where it is once it has told."""

    actor: Any
    place: str = ""


class _Crew:
    """Workers, and what each is doing."""

    def __init__(
        self, cases: Sequence[Case], settings: CohortSettings, room: _Room, log: Callable[[str], None]
    ) -> None:
        self._queue = CaseQueue(cases)
        self._settings = settings
        self._room = room
        self._log = log
        # The actor is built here, not by a decorator: importing this module connects to nothing.
        self._actor = ray.remote(max_restarts=0, max_concurrency=2, **room.resources)(_Worker)
        # By what they are to answer.
        self._loading: dict[Any, _Member] = {}
        self._asked: dict[Any, tuple[_Member, Case]] = {}
        self._busy: dict[Any, tuple[_Member, Case]] = {}
        self._idle: list[_Member] = []
        # They keep their places, so that no other worker comes there.
        self._unusable: list[_Member] = []
        self._failed_starts = 0
        self._last_problem = ""

    def work(self) -> Iterator[Outcome]:
        """Have all cases segmented.

        Raises:
            ResourceError: no worker is left.
        """
        for _ in range(min(self._room.workers, len(self._queue))):
            self._hire()
        began, told = time.perf_counter(), False
        while self._queue or self._asked or self._busy:
            self._assign()
            running = [*self._loading, *self._asked, *self._busy]
            if not running:
                raise ResourceError(f"no worker is left: {self._last_problem}")
            ended, _ = ray.wait(running, num_returns=1, timeout=_SECONDS_OF_WAITING)
            for reference in ended:
                yield from self._take(reference)
            if not told and len(self._loading) == len(running):
                told = time.perf_counter() - began > _SECONDS_OF_WAITING
                if told:
                    self._log(f"still waiting for a first worker; each needs {_describe(self._room.resources)}")

    def stop(self) -> None:
        """Let running cases end at their next window, then end all workers."""
        with suppress(Exception):  # The cluster may be what failed.
            for member, _ in self._busy.values():
                member.actor.stop.remote()
            if self._busy:
                ray.wait(list(self._busy), num_returns=len(self._busy), timeout=_SECONDS_TO_STOP)
        at_work = [*self._asked.values(), *self._busy.values()]
        for member in (*self._loading.values(), *self._idle, *self._unusable, *(member for member, _ in at_work)):
            self._end(member)
        for _, case in at_work:
            self._discard_partial(case)

    def _hire(self) -> None:
        threads = int(self._room.resources["num_cpus"]) if self._room.device == "cpu" else 0
        actor = self._actor.remote(self._settings, self._room.device, threads)
        self._loading[actor.load.remote()] = _Member(actor)

    def _assign(self) -> None:
        """Give cases to idle workers, once these have answered: one may have ended long since."""
        at_work = [*self._asked.values(), *self._busy.values()]
        places = {member.place for member in (*self._idle, *(member for member, _ in at_work))}
        for member in list(self._idle):
            case = self._queue.take(member.place, places)
            if case is not None:
                self._idle.remove(member)
                self._asked[member.actor.is_there.remote()] = (member, case)

    def _take(self, reference: Any) -> Iterator[Outcome]:
        """Take what a worker answers, or hire another one in its place."""
        try:
            answer = ray.get(reference)
        except ray.exceptions.RayError as error:
            yield from self._lose(reference, " ".join(str(error).split()))
            return
        if reference in self._loading:
            self._join(self._loading.pop(reference).actor, *answer)
        elif reference in self._asked:
            member, case = self._asked.pop(reference)
            self._busy[member.actor.segment.remote(case)] = (member, case)
        else:
            yield from self._receive(*self._busy.pop(reference), answer)

    def _join(self, actor: Any, place: str, problem: str) -> None:
        """A worker has loaded the model, or cannot be used."""
        if problem:
            self._last_problem = problem
            self._log(f"a worker cannot be used: {problem}")
            self._unusable.append(_Member(actor, place))
            return
        self._failed_starts = 0
        self._idle.append(_Member(actor, place))

    def _receive(self, member: _Member, case: Case, outcome: Outcome | None) -> Iterator[Outcome]:
        """A worker has ended a case; if the fault may be its own, another one takes its place, and the case."""
        if outcome is None or not outcome.elsewhere:
            self._idle.append(member)
            if outcome is not None:
                if outcome.status == "done":
                    self._queue.end(member.place)
                yield outcome
            return
        self._last_problem = f"the last one failed: {outcome.error}"
        self._end(member)
        if self._queue.fail(case, member.place):
            self._log(f"{case.name}: {outcome.error}; another worker takes it\n{outcome.details}".rstrip())
        else:
            yield outcome
        self._replace()

    def _lose(self, reference: Any, reason: str) -> Iterator[Outcome]:
        """Go on without a worker that ended."""
        self._last_problem = f"the last one ended: {reason}"
        if reference in self._loading:
            self._end(self._loading.pop(reference))
            self._failed_starts += 1
            if self._failed_starts < _MOST_STARTS:
                self._hire()
            return
        begun = reference in self._busy
        member, case = (self._busy if begun else self._asked).pop(reference)
        self._end(member)
        self._discard_partial(case)
        if self._queue.fail(case, member.place) if begun else self._queue.put_back(case, member.place):
            self._log(f"{case.name}: its worker ended; another one takes it")
        else:
            yield Outcome(
                case.name,
                "failed",
                f"ended two workers (out of memory?): try it with scdseg segment; Ray says: {reason}",
            )
        self._replace()

    def _replace(self) -> None:
        if self._queue:
            self._hire()

    def _end(self, member: _Member) -> None:
        with suppress(Exception):
            ray.kill(member.actor)

    def _discard_partial(self, case: Case) -> None:
        discard_partial(self._settings.files(case.name)["labels"].parent)


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


def _room(device: str, cpus: int) -> _Room:
    """How many workers a cluster has room for, and what each gets."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = sum(int(machine.get("GPU", 0)) for machine in machines)
    if device == "cuda" and not gpus:
        raise DeviceError("the Ray cluster has no GPU: use device 'auto' or 'cpu'")
    if device not in ("auto", "cuda", "cpu"):
        raise DeviceError(f"device {device!r} cannot be chosen with Ray, which gives each worker its own: use 'auto'")
    if gpus and device != "cpu":
        beside = min(int(machine.get("CPU", 0) // machine["GPU"]) for machine in machines if machine.get("GPU", 0) >= 1)
        return _Room(gpus, {"num_gpus": 1, "num_cpus": min(cpus, beside)}, "cuda")
    # A machine that is smaller than a worker was meant to be still is one worker.
    largest = int(max(machine.get("CPU", 0) for machine in machines))
    if not largest:
        raise DeviceError("the Ray cluster has no CPU: start its machines with --num-cpus")
    each = min(cpus, largest)
    workers = sum(int(machine.get("CPU", 0)) // each for machine in machines)
    return _Room(workers, {"num_gpus": 0, "num_cpus": each}, "cpu")


def _describe(resources: dict[str, float]) -> str:
    return " and ".join(
        f"{value:g} {name[4:-1].upper()}{'s' * (value > 1)}" for name, value in resources.items() if value
    )
