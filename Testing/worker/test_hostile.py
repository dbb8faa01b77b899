"""The worker at the other end of a pipe that floods, stalls or dies, and what it clears away behind a dead parent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from scdseg.bundle import Bundle
from scdseg.worker.requests import MAX_LINE_BYTES, ProtocolError, parse_request
from worker.test_lifetime import seconds_to_end

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")


def test_a_line_without_end_is_refused_and_takes_no_memory(worker: Any) -> None:
    process = psutil.Process(worker.process.pid)
    before = process.memory_info().rss
    for _ in range(200):
        worker.process.stdin.write(b"x" * 1_000_000)
    worker.send_line(b"")
    error, _ = worker.wait_for(lambda event: event["event"] == "error")
    assert f"a line is longer than {MAX_LINE_BYTES} bytes" in error["message"]
    assert worker.close(worker.send("probe"))["event"] == "result"
    assert process.memory_info().rss - before < 50_000_000


def test_a_flood_of_requests_is_answered_without_end_or_memory(worker: Any) -> None:
    process = psutil.Process(worker.process.pid)
    before = process.memory_info().rss
    numbers = range(1_000_000, 1_003_000)
    lines = b"".join(json.dumps({"id": number, "request": "probe"}).encode() + b"\n" for number in numbers)
    threading.Thread(target=worker.send_line, args=(lines,), daemon=True).start()
    answers = []
    while len(answers) < len(numbers):
        answers.append(worker.wait_for(lambda event: event.get("id") in numbers)[0])
    assert {answer["id"] for answer in answers} == set(numbers)
    refused = [answer for answer in answers if answer["event"] == "error"]
    assert {answer["code"] for answer in refused} == {"busy"}
    assert 0 < len(refused) < len(numbers)
    assert "requests are not finished: wait for their answers" in refused[0]["message"]
    assert process.memory_info().rss - before < 50_000_000


@posix
def test_a_parent_that_reads_nothing_does_not_keep_the_worker_alive(
    tiny_bundle: Bundle, long_image: Path, tmp_path: Path
) -> None:
    """Events fill the pipe, so that the run waits inside a write; closing stdin still ends it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "scdseg.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    request = {
        "id": 1,
        "request": "segment",
        "images": [str(long_image)],
        "model": str(tiny_bundle.path),
        "overlap": 0.9,
    }
    request["outputs"] = {"labels": str(tmp_path / "labels.nrrd")}
    process.stdin.write(json.dumps(request).encode() + b"\n")
    process.stdin.flush()
    running = psutil.Process(process.pid)
    end = time.monotonic() + 60
    while True:
        before = sum(running.cpu_times()[:2])
        time.sleep(1)
        if 1.5 < before == sum(running.cpu_times()[:2]):
            break  # it waits
        assert time.monotonic() < end, "the pipe is not full yet"
    process.stdin.close()
    assert process.wait(5) == 0
    process.stdout.close()
    assert list(tmp_path.iterdir()) == []


@posix
@pytest.mark.parametrize("with_files_of_others", [False, True])
def test_a_dead_parents_temporary_folder_is_removed_if_it_is_a_runs(
    start: Callable[..., Any], tiny_bundle: Bundle, long_image: Path, tmp_path: Path, with_files_of_others: bool
) -> None:
    scratch = tmp_path / "scdseg-run-1"
    scratch.mkdir()
    (scratch / "input_0.nrrd").write_bytes(b"an image of a patient")
    if with_files_of_others:
        (scratch / "thesis.txt").write_text("years of work")
    parent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    client = start("--parent", str(parent.pid))
    outputs = {"labels": str(scratch / "labels.nrrd")}
    client.send(
        "segment", images=[str(long_image)], model=str(tiny_bundle.path), outputs=outputs, scratch=str(scratch)
    )  # fmt: skip
    client.step("windows", 1)
    parent.kill()
    assert seconds_to_end(client) < 2.5
    assert scratch.exists() == with_files_of_others
    parent.wait()


def test_the_folder_of_a_parent_that_lives_is_left_to_it(
    start: Callable[..., Any], tiny_bundle: Bundle, image: Path, tmp_path: Path
) -> None:
    scratch = tmp_path / "scdseg-run-1"
    scratch.mkdir()
    client = start("--parent", str(os.getpid()))
    outputs = {"labels": str(scratch / "labels.nrrd")}
    run = client.send(
        "segment", images=[str(image)], model=str(tiny_bundle.path), outputs=outputs, scratch=str(scratch)
    )  # fmt: skip
    assert client.close(run)["event"] == "result"
    client.process.stdin.close()
    assert seconds_to_end(client) < 2.5
    assert (scratch / "labels.nrrd").is_file()


def test_progress_and_failures_of_a_run_tell_the_device(worker: Any, tiny_bundle: Bundle, image: Path) -> None:
    fields = {"images": [str(image)], "model": str(tiny_bundle.path), "device": "cpu"}
    result, before = worker.closing(worker.send("segment", **fields, outputs={"labels": str(image.parent / "l.nrrd")}))
    assert result["event"] == "result"
    assert {event["device"] for event in before if event["event"] == "progress"} == {"cpu"}
    (image.parent / "cut.nii.gz").write_bytes(image.read_bytes()[:500])
    fields["images"] = [str(image.parent / "cut.nii.gz")]
    error = worker.close(worker.send("segment", **fields, outputs={"labels": str(image.parent / "l.nrrd")}))
    assert (error["code"], error["device"]) == ("input", "cpu")


def test_the_folder_that_it_is_started_from_gives_it_no_code(tmp_path: Path) -> None:
    """As the panel starts it; ``python -m`` alone would take modules from the current folder first."""
    marker = tmp_path / "marker"
    for name in ("json", "torch", "safetensors", "queue"):
        (tmp_path / f"{name}.py").write_text(f"open({str(marker)!r}, 'w').close()")
    done = subprocess.run(
        [sys.executable, "-m", "scdseg.worker"],
        cwd=tmp_path,
        input=b"",
        capture_output=True,
        env={**os.environ, "PYTHONSAFEPATH": "1"},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert not marker.exists()


@pytest.mark.parametrize("name", ["\ud800", "a\udfff"])
def test_half_a_character_is_no_path(name: str) -> None:
    line = {"request": "segment", "id": 7, "images": [name], "model": "m", "outputs": {"labels": "o.nrrd"}}
    with pytest.raises(ProtocolError, match="field 'images' of segment"):
        parse_request(json.dumps(line).encode())


def test_a_file_name_that_is_no_utf_8_is_one(tmp_path: Path) -> None:
    name = os.fsdecode(b"gr\xf6\xdfe.nrrd")
    line = {"request": "segment", "id": 7, "images": [name], "model": "m", "outputs": {"labels": "o.nrrd"}}
    assert parse_request(json.dumps(line).encode()).images == (name,)  # type: ignore[union-attr]


def test_a_message_quotes_little_of_what_was_sent() -> None:
    for line in ({"request": "y" * 100_000, "id": 1}, {"request": "probe", "id": 1, "y" * 100_000: 1}):
        with pytest.raises(ProtocolError) as caught:
            parse_request(json.dumps(line).encode())
        assert len(str(caught.value)) < 500


def test_two_workers_at_once_give_the_same(
    start: Callable[..., Any], tiny_bundle: Bundle, image: Path, tmp_path: Path
) -> None:
    clients = [start(), start()]
    outputs = [tmp_path / f"{number}.nrrd" for number in range(2)]
    runs = [
        client.send("segment", images=[str(image)], model=str(tiny_bundle.path), outputs={"labels": str(path)})
        for client, path in zip(clients, outputs, strict=True)
    ]
    for client, run in zip(clients, runs, strict=True):
        assert client.close(run)["event"] == "result"
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
