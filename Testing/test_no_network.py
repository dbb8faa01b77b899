"""The engine at work touches no network: it makes no attempt to, and does all the same where there is none."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import psutil
import pytest

import network_watch
from scdseg.bundle import Bundle

ATTEMPTS = {
    "socket.connect": "import socket; socket.socket().connect(('192.0.2.1', 80))",
    "socket.getaddrinfo": "import socket; socket.getaddrinfo('localhost', 80)",
    "socket.gethostbyname": "import socket; socket.gethostbyname('localhost')",
    "socket.sendto": "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'', ('127.0.0.1', 9))",
    "socket.bind": "import socket; socket.create_server(('127.0.0.1', 0))",
    "urllib.Request": "import urllib.request; urllib.request.urlopen('http://localhost')",
    "http.client.connect": "import http.client; http.client.HTTPConnection('localhost').connect()",
}


@pytest.fixture
def watch(tmp_path: Path) -> Path:
    """The watch's folder."""
    folder = tmp_path / "watch"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def cut_off() -> list[str]:
    """What runs a command where there is no network; skips where that cannot be had."""
    prefix = network_watch.cut_off()
    if not prefix:
        pytest.skip("no network namespace can be made here (unshare -rn)")
    return prefix


@pytest.fixture(params=["watched", "cut off"])
def prefix(request: pytest.FixtureRequest) -> list[str]:
    """What is put before a watched command: nothing, or what takes the network away from it as well."""
    result: list[str] = request.getfixturevalue("cut_off") if request.param == "cut off" else []
    return result


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A small volume of noise."""
    voxels = np.random.default_rng(0).normal(100, 20, (24, 20, 18)).astype(np.float32)
    nib.save(nib.Nifti1Image(voxels, np.diag([2.0, 2.0, 3.0, 1.0])), tmp_path / "in.nii.gz")
    return tmp_path / "in.nii.gz"


def python(watch: Path, *arguments: str, prefix: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run a watched Python to its end."""
    return subprocess.run(
        [*prefix, sys.executable, *arguments],
        env=network_watch.watched(watch),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        umask=0o027,  # none of the usual ones
    )


@pytest.mark.parametrize("event", ATTEMPTS)
def test_the_watch_ends_a_process_that_hides_its_attempt(watch: Path, event: str) -> None:
    hidden = f"try:\n    {ATTEMPTS[event]}\nexcept BaseException:\n    pass"
    # In a process that the watched one starts, as the worker is.
    code = f"import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', {hidden!r}]).returncode)"
    assert python(watch, "-c", code).returncode == network_watch.EXIT_CODE
    assert network_watch.attempts(watch).startswith(event)
    assert len(network_watch.processes(watch)) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="local sockets are of the network's kind there")
def test_sockets_between_processes_are_no_network(watch: Path) -> None:
    code = "import asyncio, socket; a, b = socket.socketpair(); a.sendmsg([b'x']); asyncio.run(asyncio.sleep(0))"
    assert python(watch, "-c", code).returncode == 0
    assert network_watch.attempts(watch) == ""


def test_where_the_network_is_cut_off_nothing_can_be_reached(cut_off: list[str]) -> None:
    code = "import socket; print(socket.if_nameindex()); socket.create_connection(('192.0.2.1', 80), 1)"
    done = subprocess.run([*cut_off, sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[(1, 'lo')]\n"
    assert "Network is unreachable" in done.stderr


def test_models_are_listed(watch: Path, prefix: list[str]) -> None:
    done = python(watch, "-m", "scdseg.cli", "models", "--json", prefix=prefix)
    assert network_watch.attempts(watch) == ""
    assert done.returncode == 0, done.stderr
    assert "brain-structures" in [model["name"] for model in json.loads(done.stdout)["models"]]


def test_an_image_is_segmented(watch: Path, prefix: list[str], image: Path, tiny_bundle: Bundle) -> None:
    output = image.parent / "labels.nii.gz"
    options = ["-m", str(tiny_bundle.path), "-o", str(output), "--report", str(image.parent / "report.json")]
    done = python(watch, "-m", "scdseg.cli", "segment", str(image), *options, prefix=prefix)
    assert network_watch.attempts(watch) == ""
    assert done.returncode == 0, done.stderr
    assert nib.load(output).shape == (24, 20, 18)
    # Outputs are for whom the user's own files are for, no more and no less.
    modes = {stat.S_IMODE((image.parent / name).stat().st_mode) for name in (output.name, "report.json")}
    assert modes == {0o640} or os.name != "posix"


def test_keep_ratios_are_compared(watch: Path, image: Path, tiny_bundle: Bundle) -> None:
    options = ["-m", str(tiny_bundle.path), "-o", str(image.parent / "sweep"), "--keep-ratios", "1", "0.5"]
    done = python(watch, "-m", "scdseg.cli", "sweep", str(image), *options, prefix=network_watch.cut_off())
    assert network_watch.attempts(watch) == ""
    assert done.returncode == 0, done.stderr
    assert (image.parent / "sweep" / "sweep.png").is_file()


def test_a_worker_probes_and_segments(watch: Path, prefix: list[str], image: Path, tiny_bundle: Bundle) -> None:
    labels = image.parent / "labels.nrrd"
    segment = {"images": [str(image)], "model": str(tiny_bundle.path), "outputs": {"labels": str(labels)}}
    requests = [{"id": 1, "request": "probe"}, {"id": 2, "request": "segment", **segment}]
    worker = subprocess.Popen(
        [*prefix, sys.executable, "-m", "scdseg.worker"],
        env=network_watch.watched(watch),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    assert worker.stdin is not None
    assert worker.stdout is not None
    try:
        for request in requests:
            worker.stdin.write(json.dumps(request) + "\n")
        worker.stdin.flush()
        results, number = [], 0
        for event in map(json.loads, worker.stdout):
            number = event.get("pid", number)
            results += [event] if event["event"] in ("result", "error") else []
            if len(results) == 2:
                break
        # It is still there and has done all kinds of its work: what compiled code opened would be open.
        connections = psutil.Process(number).net_connections("inet") if sys.platform != "darwin" else []
    finally:
        worker.kill()
        worker.communicate()
    assert network_watch.attempts(watch) == ""
    assert [(event["event"], event["id"]) for event in results] == [("result", 1), ("result", 2)], results
    assert number in network_watch.processes(watch)
    assert connections == []
    assert labels.is_file()
