"""A cohort on two workers of a real Ray on this machine; workers are killed with SIGKILL, or break down."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import nibabel as nib
import numpy as np
import psutil
import pytest
import torch

from scdseg.bundle import Bundle
from scdseg.inference.cohort_cases import Case
from scdseg.inference.cohort_result import Outcome

pytest.importorskip("ray", reason="needs the extra [ray]")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="Ray is beta on Windows")]

BUSY = "ray::_Worker.segment"


def save(path: Path, shape: tuple[int, int, int]) -> None:
    path.parent.mkdir(exist_ok=True)
    voxels = np.random.default_rng(0).normal(100, 20, shape).astype(np.float32)
    nib.save(nib.Nifti1Image(voxels, np.diag([2.0, 2.0, 2.0, 1.0])), path)


def segment_by_command(source: Path, bundle: Bundle, output: Path, meanwhile: Callable[[psutil.Process], None]) -> str:
    """Run the command with Ray, and something else while it runs; what it prints, and its exit code."""
    command = [
        sys.executable,
        "-m",
        "scdseg.cli",
        "segment-all",
        str(source),
        "-m",
        str(bundle.path),
        "-o",
        str(output),
    ]
    process = subprocess.Popen(
        [*command, "--ray", "local", "--cpus-per-worker", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Ray's workers give way to everything else, which on a busy machine is minutes.
        env={**os.environ, "RAY_worker_niceness": "0"},
    )
    try:
        meanwhile(psutil.Process(process.pid))
        out, _ = process.communicate(timeout=600)
    finally:
        process.kill()
    return f"{out}exit code {process.returncode}\n"


def kill_a_busy_worker(process: psutil.Process, folder: Path) -> int:
    """Kill a worker once it is at a case whose folder is there; its process id."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        for child in process.children(recursive=True):
            try:
                if child.cmdline()[:1] == [BUSY] and folder.exists():
                    time.sleep(0.3)  # let it get into the windows
                    child.kill()
                    child.wait(10)
                    return int(child.pid)
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.05)
    raise AssertionError("no worker ever was busy")


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch as in a worker of one CPU: threads would add up in another order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def rows(output: Path) -> dict[str, dict[str, str]]:
    with (output / "summary.csv").open(newline="", encoding="utf-8") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def files(output: Path) -> list[str]:
    return sorted(path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file())


def test_a_killed_worker_loses_no_case_and_labels_are_those_of_one_process(tiny_bundle: Bundle, tmp_path: Path) -> None:
    from scdseg import segment

    for number in range(4):
        save(tmp_path / "in" / f"{number}.nii", (48, 48, 40 + number))
    killed = []
    out = segment_by_command(
        tmp_path / "in",
        tiny_bundle,
        tmp_path / "out",
        lambda process: killed.append(kill_a_busy_worker(process, tmp_path / "out" / "0")),
    )
    assert len(killed) == 1
    assert out.count("its worker ended; another one takes it") == 1
    assert out.endswith("exit code 0\n")
    assert {case: row["status"] for case, row in rows(tmp_path / "out").items()} == dict.fromkeys("0123", "done")
    expected = [f"{case}/{name}" for case in range(4) for name in ("labels.nii.gz", "report.json")]
    assert files(tmp_path / "out") == [*expected, "summary.csv"]
    with one_thread():
        alone = segment(tmp_path / "in" / "0.nii", tiny_bundle.path, device="cpu")
    together = np.asarray(nib.load(tmp_path / "out" / "0" / "labels.nii.gz").dataobj)
    np.testing.assert_array_equal(together, alone.labels.array)


def test_a_case_that_ends_two_workers_is_marked_failed(tiny_bundle: Bundle, tmp_path: Path) -> None:
    save(tmp_path / "in" / "large.nii", (160, 160, 100))
    killed = []

    def kill_twice(process: psutil.Process) -> None:
        killed.extend(kill_a_busy_worker(process, tmp_path / "out" / "large") for _ in range(2))

    out = segment_by_command(tmp_path / "in", tiny_bundle, tmp_path / "out", kill_twice)
    assert len(set(killed)) == 2
    assert out.endswith("exit code 1\n")
    row = rows(tmp_path / "out")["large"]
    assert row["status"] == "failed"
    assert row["error"].startswith("ended two workers (out of memory?)")
    assert files(tmp_path / "out") == ["summary.csv"]


def test_a_worker_that_breaks_down_is_replaced_and_fails_no_case(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scdseg.inference import cohort_ray
    from scdseg.inference.cohort import segment_all

    broken = tmp_path / "broken"

    # Within this function, so that Ray sends the class to its workers instead of its name.
    class BreakingWorker(cohort_ray._Worker):
        def segment(self, case: Case) -> Outcome | None:
            with suppress(FileExistsError):
                broken.touch(exist_ok=False)

                def run(*arguments: object) -> None:
                    raise RuntimeError("CUDA error: an illegal memory access was encountered")

                self._segmenter.run = run  # type: ignore[method-assign,union-attr]
            return super().segment(case)

    monkeypatch.setattr(cohort_ray, "_Worker", BreakingWorker)
    monkeypatch.setenv("RAY_worker_niceness", "0")
    for number in range(6):
        save(tmp_path / "in" / f"{number}.nii", (16, 16, 16))
    lines: list[str] = []
    outcomes = segment_all(
        tmp_path / "in", tiny_bundle.path, tmp_path / "out", ray="local", cpus_per_worker=1, log=lines.append
    )
    assert [outcome.status for outcome in outcomes] == ["done"] * 6
    (told,) = [line for line in lines if "another worker takes it" in line]
    assert "internal error: RuntimeError: CUDA error" in told
    assert "Traceback (most recent call last):" in told


def test_a_worker_that_ended_while_it_was_idle_costs_no_case_an_attempt(tiny_bundle: Bundle, tmp_path: Path) -> None:
    save(tmp_path / "in" / "large.nii", (96, 96, 80))
    save(tmp_path / "in" / "small.nii", (16, 16, 16))

    def kill_idle_then_busy(process: psutil.Process) -> None:
        wait_for(lambda: (tmp_path / "out" / "small" / "report.json").exists())
        time.sleep(2)
        idle = [
            child
            for child in process.children(recursive=True)
            if child.cmdline()[:1] and child.cmdline()[0].startswith("ray::_Worker") and child.cmdline()[0] != BUSY
        ]
        assert len(idle) == 1
        idle[0].kill()
        kill_a_busy_worker(process, tmp_path / "out" / "large")

    out = segment_by_command(tmp_path / "in", tiny_bundle, tmp_path / "out", kill_idle_then_busy)
    assert out.endswith("exit code 0\n")
    assert {case: row["status"] for case, row in rows(tmp_path / "out").items()} == {"large": "done", "small": "done"}
