"""Cancelling answers within a second wherever a run is, leaves no file, and does the next run no harm."""

from __future__ import annotations

import _thread
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from scdseg.bundle import Bundle
from scdseg.errors import Cancelled
from scdseg.resources import sample_volume
from scdseg.worker.interrupts import Interrupts
from scdseg.worker.jobs import Job
from scdseg.worker.requests import Probe


def middle_of_the_head(path: Path, half_size: tuple[int, int, int]) -> Path:
    """A box around the middle of the sample volume, at 2 mm."""
    box = tuple(slice(middle - half, middle + half, 2) for middle, half in zip((90, 108, 90), half_size, strict=True))
    sitk.WriteImage(sitk.ReadImage(str(sample_volume()))[box], str(path))
    return path


def wanted(folder: Path) -> dict[str, str]:
    return {name: str(folder / f"{name}.nrrd") for name in ("labels", "importance", "survival")}


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_cancelled(worker: Any, request_id: int, folder: Path) -> None:
    event, seconds = worker.cancel(request_id)
    assert (event["event"], event["code"]) == ("error", "cancelled"), event
    assert event["message"] == "cancelled: nothing was written"
    assert seconds < 1
    assert list(folder.iterdir()) == []
    assert worker.close(worker.send("probe"))["event"] == "result"


def test_cancelling_during_load_and_windows_and_a_run_afterwards_with_the_model_that_ships(
    worker: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    several_windows = middle_of_the_head(tmp_path / "several.nrrd", (70, 86, 70))
    one_window = middle_of_the_head(tmp_path / "one.nrrd", (64, 80, 64))
    request = {"model": "brain-structures", "keep_ratio": 0.25, "outputs": wanted(folder)}
    during_load = worker.send("segment", **request, images=[str(several_windows)])
    worker.step("load model")
    assert_cancelled(worker, during_load, folder)
    during_windows = worker.send("segment", **request, images=[str(several_windows)])
    worker.step("windows", 1)
    assert_cancelled(worker, during_windows, folder)
    # The model is still loaded, and gives what it gives without an interruption before.
    answer, before = worker.closing(worker.send("segment", **request, images=[str(one_window)]))
    assert answer["event"] == "result"
    assert not any(event.get("step") == "load model" for event in before)
    after_cancelling = files(folder)
    assert len(after_cancelling) == 3
    assert worker.close(worker.send("segment", **request, images=[str(one_window)]))["event"] == "result"
    assert files(folder) == after_cancelling


def test_cancelling_inside_preprocessing_which_does_not_poll(worker: Any, tiny_bundle: Bundle, tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(0, 255, (200, 200, 200), dtype=np.uint8)
    image = tmp_path / "large.nii"
    nib.save(nib.Nifti1Image(voxels, np.diag([2.1, 2.1, 2.1, 1.0])), image)
    folder = tmp_path / "out"
    folder.mkdir()
    request_id = worker.send("segment", images=[str(image)], model=str(tiny_bundle.path), outputs=wanted(folder))
    worker.step("preprocess")
    assert_cancelled(worker, request_id, folder)


def test_cancelling_while_files_are_written_leaves_none(worker: Any, tiny_bundle: Bundle, tmp_path: Path) -> None:
    # Many fine voxels: few windows, but a large file.
    voxels = np.random.default_rng(0).random((220, 220, 220)).astype(np.float32)
    image = tmp_path / "fine.nii"
    nib.save(nib.Nifti1Image(voxels, np.diag([0.2, 0.2, 0.2, 1.0])), image)
    folder = tmp_path / "out"
    folder.mkdir()
    outputs = {"labels": str(folder / "labels.nii.gz")}
    request_id = worker.send("segment", images=[str(image)], model=str(tiny_bundle.path), outputs=outputs)
    worker.step("write")
    assert_cancelled(worker, request_id, folder)


def test_a_cancelled_sweep_keeps_the_ratios_that_are_complete(
    worker: Any, tiny_bundle: Bundle, image: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    request = {"images": [str(image)], "model": str(tiny_bundle.path), "outputs": {"folder": str(folder)}}
    ratios = [number / 100 for number in range(20, 100)]
    request_id = worker.send("sweep", **request, keep_ratios=ratios)
    first, _ = worker.wait_for(lambda event: event.get("partial") is True)
    worker.send("cancel", target=request_id)
    event, before = worker.closing(request_id)
    assert event["code"] == "cancelled"
    assert event["message"] == "cancelled: what was reported as complete is kept"
    assert first["report"]["keep_ratio"] == max(ratios)
    complete = [max(ratios)] + [result["report"]["keep_ratio"] for result in before if result.get("partial")]
    assert len(complete) < len(ratios)
    names = ("labels.nrrd", "importance.nrrd", "survival.nrrd", "stage.nrrd", "scores.nrrd", "report.json")
    assert set(files(folder)) == {f"keep_{ratio:g}_{name}" for ratio in complete for name in names}


def test_cancelling_at_any_moment_ends_in_one_closing_event(
    worker: Any, tiny_bundle: Bundle, image: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    request = {"images": [str(image)], "model": str(tiny_bundle.path), "outputs": wanted(folder), "keep_ratio": 0.25}
    for _ in range(2):
        # The second time, the model is loaded.
        began = time.monotonic()
        assert worker.close(worker.send("segment", **request))["event"] == "result"
        duration = time.monotonic() - began
    expected = files(folder)
    ends = set()
    for delay in (*np.linspace(0, 1.2 * duration, 12), 3 * duration):
        for path in folder.iterdir():
            path.unlink()
        request_id = worker.send("segment", **request)
        time.sleep(delay)
        cancel = worker.send("cancel", target=request_id)
        both = []
        worker.wait_for(
            lambda event, wanted=(request_id, cancel), both=both: (
                event["event"] in ("result", "error")
                and event["id"] in wanted
                and (both.append(event) or len(both) == 2)
            )
        )
        end = next(event for event in both if event["id"] == request_id)
        ends.add(end.get("code", "result"))
        # Either all or nothing, and never another error.
        assert files(folder) == (expected if end["event"] == "result" else {}), end
    assert ends == {"cancelled", "result"}


@pytest.fixture
def interrupts() -> Iterator[Interrupts]:
    before = signal.getsignal(signal.SIGINT)
    yield Interrupts()
    signal.signal(signal.SIGINT, before)


def started_job(events: list[dict[str, Any]]) -> Job:
    job = Job(Probe(1), lambda event, **fields: events.append({"event": event, **fields}))
    job.start()
    return job


def test_work_that_does_not_poll_is_interrupted_only_when_its_job_is_cancelled(interrupts: Interrupts) -> None:
    events: list[dict[str, Any]] = []
    job = started_job(events)

    def work() -> None:
        # An interrupt that is meant for a job before this one.
        _thread.interrupt_main()
        time.sleep(0.01)
        events.append({"event": "not interrupted"})
        job.cancel()
        end = time.monotonic() + 10
        while time.monotonic() < end:
            pass

    began = time.monotonic()
    with pytest.raises(Cancelled):
        interrupts.run(job, work)
    assert time.monotonic() - began < 1
    assert events == [{"event": "not interrupted"}]


def test_renaming_files_is_not_interrupted(interrupts: Interrupts) -> None:
    events: list[dict[str, Any]] = []
    job = started_job(events)

    def work() -> str:
        job.commit()
        job.cancel()
        # Longer than the time after which a job that does not stop is interrupted, and answered for.
        time.sleep(1)
        return "renamed"

    job.finish(outputs=interrupts.run(job, work))
    assert events == [{"event": "result", "id": 1, "outputs": "renamed"}]


def test_a_library_that_does_not_return_is_answered_for_and_its_result_thrown_away(interrupts: Interrupts) -> None:
    events: list[dict[str, Any]] = []
    job = started_job(events)
    release = threading.Event()

    def work() -> None:
        # Like a library's call: no interrupt reaches it.
        thread = threading.Thread(target=release.wait, args=(10,))
        thread.start()
        while thread.is_alive():
            try:
                thread.join()
            except KeyboardInterrupt:
                continue
        job.commit()

    def cancel() -> None:
        began = time.monotonic()
        job.cancel()
        while not job.closed and time.monotonic() - began < 5:
            time.sleep(0.01)
        events.append({"event": "seconds", "value": time.monotonic() - began})
        release.set()

    threading.Thread(target=cancel).start()
    with pytest.raises(Cancelled):
        interrupts.run(job, work)
    job.finish(outputs={})
    closing, seconds = events
    assert (closing["event"], closing["code"]) == ("error", "cancelled")
    assert seconds["value"] < 1
