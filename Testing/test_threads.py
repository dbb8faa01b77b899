"""Threads wait for each other without spinning for long, and there are no more of them than free cores."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import namedtuple
from collections.abc import Iterator
from types import SimpleNamespace

import psutil
import pytest
import torch

from scdseg import threads
from scdseg.errors import InputError
from scdseg.threads import CoreTime, Threads, check_threads, free_cores, usable_cores

BEFORE = CoreTime(at=10.0, counted=400.0, idle=100.0, own=20.0)


class Machine:
    """Four cores and a clock; other programs take ``others`` of the cores, this process ``own``."""

    def __init__(self) -> None:
        self.others = self.own = 0.0
        self.now = self.idle = self.used = 0.0

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.idle += (4 - self.others - self.own) * seconds
        self.used += self.own * seconds

    def count_time(self) -> CoreTime:
        return CoreTime(self.now, 4 * self.now, self.idle, self.used)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """A machine of four cores on which PyTorch has four threads."""
    machine = Machine()
    monkeypatch.setattr(threads, "_count_time", machine.count_time)
    monkeypatch.setattr(threads, "usable_cores", lambda: 4)
    clock = SimpleNamespace(monotonic=lambda: machine.now, sleep=machine.pass_time)
    monkeypatch.setattr(threads, "time", clock)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield machine
    torch.set_num_threads(before)


@pytest.mark.parametrize(("others", "expected"), [(0, 4), (0.2, 4), (0.5, 3), (1, 3), (2.1, 2), (3.5, 1), (4, 1)])
def test_there_are_as_many_threads_as_free_cores(machine: Machine, others: float, expected: int) -> None:
    machine.others = others
    with Threads() as chosen:
        assert torch.get_num_threads() == expected
        assert chosen.to_json() == {"least": expected, "most": expected, "automatic": True}
    assert torch.get_num_threads() == 4


def test_threads_follow_the_load_between_windows(machine: Machine) -> None:
    with Threads() as chosen:
        counts = [torch.get_num_threads()]
        # Cores that this process computes on are its own; those that it shares count by what the others get.
        for machine.own, machine.others in ((4, 0), (2, 2), (2, 1), (3, 0)):
            machine.pass_time(0.3)
            chosen.choose_again()
            counts.append(torch.get_num_threads())
        assert counts == [4, 4, 2, 3, 4]
        machine.own, machine.others = 0, 4
        machine.pass_time(0.1)  # too short to be told from chance
        chosen.choose_again()
        assert torch.get_num_threads() == 4
        assert chosen.to_json() == {"least": 2, "most": 4, "automatic": True}


def test_only_the_first_run_waits_for_a_look_at_the_machine(machine: Machine) -> None:
    machine.others = 2
    chosen = Threads()
    with chosen:
        assert torch.get_num_threads() == 2
    began, machine.others = machine.now, 0
    with chosen:
        assert torch.get_num_threads() == 2
    assert machine.now == began
    machine.pass_time(1)
    with chosen:
        assert torch.get_num_threads() == 4
    assert machine.now == began + 1


def test_a_number_that_was_asked_for_stays(machine: Machine) -> None:
    machine.others = 4
    with Threads(3) as chosen:
        machine.pass_time(1)
        chosen.choose_again()
        assert torch.get_num_threads() == 3
        assert chosen.to_json() == {"least": 3, "most": 3, "automatic": False}
    assert torch.get_num_threads() == 4


def test_automatic_threads_are_never_more_than_pytorch_had(machine: Machine) -> None:
    torch.set_num_threads(2)
    with Threads():
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 2


def test_threads_are_as_before_after_an_error(machine: Machine) -> None:
    with pytest.raises(ZeroDivisionError), Threads(1):
        raise ZeroDivisionError
    assert torch.get_num_threads() == 4


def test_a_system_that_does_not_tell_its_load_counts_as_free(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_count_time", lambda: CoreTime(machine.now, 0, 0, machine.now))
    with Threads():
        assert torch.get_num_threads() == 4


def test_free_cores_are_the_idle_ones_and_this_process_s_own() -> None:
    assert free_cores(BEFORE, CoreTime(at=12.0, counted=408.0, idle=101.0, own=23.0)) == 2.0
    assert free_cores(BEFORE, BEFORE) is None
    # Time that waits for a disk is counted twice at times, and corrected later.
    assert free_cores(BEFORE, CoreTime(at=12.0, counted=408.0, idle=99.0, own=20.0)) == 0.0


def test_the_system_s_own_counts_tell_of_a_core_that_this_process_uses() -> None:
    before = threads._count_time()
    while (now := threads._count_time()).own < before.own + 0.1:
        pass
    free = free_cores(before, now)
    assert free is not None
    assert 0 < free <= (psutil.cpu_count() or 1) + 0.5


@pytest.mark.parametrize(
    ("usable", "counted", "idle"),
    # The last as in a container that lists its own cores, whatever their numbers are.
    [({0, 2}, 20, 3), ({1}, 10, 2), ({0, 1, 2}, 30, 5), ({0, 7}, 30, 5)],
)
def test_only_cores_that_this_process_may_use_count(
    usable: set[int], counted: int, idle: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cores = namedtuple("cores", "user idle")
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu: [cores(9, 1), cores(8, 2), cores(8, 2)])
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: usable, raising=False)
    found = threads._count_time()
    assert (found.counted, found.idle) == (counted, idle)


@pytest.mark.parametrize("number", [0, -1, usable_cores() + 1])
def test_a_number_that_no_machine_has_is_refused(number: int) -> None:
    with pytest.raises(InputError, match=rf"{number} threads cannot be used: give a number from 1 to {usable_cores()}"):
        check_threads(number)


@pytest.mark.parametrize(("quota", "cores"), [("150000 100000", 2), ("50000 100000", 1), ("max 100000", 3), ("", 3)])
def test_a_container_s_quota_bounds_the_cores(
    quota: str, cores: int, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("cgroup") / "cpu.max"
    file.write_text(quota)
    monkeypatch.setattr(threads, "_QUOTA", file)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2, 5}, raising=False)
    assert usable_cores() == cores


@pytest.mark.parametrize("module", ["scdseg.cli", "scdseg.worker.__main__"])
def test_commands_and_the_worker_limit_spinning_before_pytorch_is_loaded(module: str) -> None:
    program = (
        f"import os, sys\nimport {module} as module\n"
        "def stop():\n"
        "    assert 'torch' not in sys.modules\n"
        "    sys.exit(str(os.environ.get('GOMP_SPINCOUNT')) + ' ' + os.environ['OMP_WAIT_POLICY'])\n"
        "module.keep_freed_memory = stop\n"
        "module.main()\n"
    )
    clean = {name: value for name, value in os.environ.items() if name not in threads._WAITING}
    arguments = ["models"] if module == "scdseg.cli" else []
    for given, expected in (({}, "3000 PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None ACTIVE")):
        command = [sys.executable, "-c", program, *arguments]
        done = subprocess.run(command, env=clean | given, capture_output=True, text=True, timeout=60, check=False)
        assert done.stderr.splitlines()[-1] == expected, done.stderr
