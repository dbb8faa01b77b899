"""The real worker process, and a client that talks to it as the panel does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import nibabel as nib
import numpy as np
import pytest

Event = dict[str, Any]


class Client:
    """A worker process. Every event gets the time at which it came, as ``at``."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "scdseg.worker", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUTF8": "1"},
        )
        self.events: Queue[Event | None] = Queue()
        self.errors: list[str] = []
        self._last_id = 0
        threading.Thread(target=self._read_events, daemon=True).start()
        threading.Thread(target=self._read_errors, daemon=True).start()

    def _read_events(self) -> None:
        for line in self.process.stdout:
            self.events.put({**json.loads(line), "at": time.monotonic()})
        self.events.put(None)

    def _read_errors(self) -> None:
        self.errors += [line.decode() for line in self.process.stderr]

    def send_line(self, line: bytes) -> None:
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def send(self, request: str, **fields: Any) -> int:
        """Send a request; returns its id."""
        self._last_id += 1
        self.send_line(json.dumps({"id": self._last_id, "request": request, **fields}).encode())
        return self._last_id

    def wait_for(self, wanted: Callable[[Event], bool], timeout: float = 60) -> tuple[Event, list[Event]]:
        """The first event that is wanted, and those before it."""
        before: list[Event] = []
        end = time.monotonic() + timeout
        while True:
            try:
                event = self.events.get(timeout=max(0.0, end - time.monotonic()))
            except Empty:
                raise AssertionError(f"not there after {timeout} s; events: {before}") from None
            assert event is not None, f"the worker ended; events: {before}; stderr: {''.join(self.errors)}"
            if wanted(event):
                return event, before
            before.append(event)

    def step(self, name: str, number: int = 0) -> Event:
        """Wait for the progress event of a step at which ``number`` parts are done."""
        return self.wait_for(lambda e: e["event"] == "progress" and e["step"] == name and e["done"] == number)[0]

    def close(self, request_id: int) -> Event:
        """Wait for the closing event of a request."""
        return self.closing(request_id)[0]

    def closing(self, request_id: int) -> tuple[Event, list[Event]]:
        """The closing event of a request, and what came before."""
        return self.wait_for(
            lambda e: e["event"] in ("result", "error") and e["id"] == request_id and not e.get("partial")
        )

    def rest(self) -> list[Event]:
        """All further events of a worker that ends."""
        return list(iter(lambda: self.events.get(timeout=10), None))

    def cancel(self, request_id: int) -> tuple[Event, float]:
        """Cancel a request; returns its closing event and the seconds until it came."""
        began = time.monotonic()
        self.send("cancel", target=request_id)
        event = self.close(request_id)
        return event, event["at"] - began


@pytest.fixture
def start() -> Iterator[Callable[..., Client]]:
    """Starts workers, and ends those that are left after the test."""
    clients: list[Client] = []

    def start(*arguments: str, loaded: bool = True) -> Client:
        clients.append(Client(*arguments))
        if loaded:
            clients[-1].wait_for(lambda event: event["event"] == "loaded")
        return clients[-1]

    yield start
    for client in clients:
        client.process.kill()
        client.process.wait()


@pytest.fixture(scope="module")
def worker() -> Iterator[Client]:
    """One loaded worker for a module's tests."""
    client = Client()
    client.wait_for(lambda event: event["event"] == "loaded")
    yield client
    client.process.kill()
    client.process.wait()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A small volume of noise with some structure, in a folder whose name no ASCII program would open."""
    folder = tmp_path / "Größe 体积"
    folder.mkdir()
    voxels = np.random.default_rng(0).random((30, 26, 28)).astype(np.float32) + np.indices((30, 26, 28))[0] / 15
    nib.save(nib.Nifti1Image(voxels, np.diag([2.0, 2.0, 2.0, 1.0])), folder / "bild ü.nii.gz")
    return folder / "bild ü.nii.gz"


@pytest.fixture(scope="session")
def long_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A volume that takes the tiny model many windows, and seconds."""
    path = tmp_path_factory.mktemp("long") / "long.nii"
    voxels = np.random.default_rng(0).random((150, 150, 150)).astype(np.float32)
    nib.save(nib.Nifti1Image(voxels, np.diag([2.0, 2.0, 2.0, 1.0])), path)
    return path
