"""The worker ends with its parent, at once and without a trace, and stdout carries events alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import psutil
import pytest

from scdseg.bundle import Bundle
from scdseg.errors import ResourceError
from scdseg.volumes import discard_staged, staged
from scdseg.worker.lifetime import Parent

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")


def seconds_to_end(client: Any, timeout: float = 10) -> float:
    began = time.monotonic()
    client.process.wait(timeout)
    return time.monotonic() - began


def start_long_run(client: Any, bundle: Bundle, image: Path, folder: Path) -> int:
    folder.mkdir()
    outputs = {"labels": str(folder / "labels.nrrd")}
    request_id = client.send("segment", images=[str(image)], model=str(bundle.path), outputs=outputs)
    client.step("windows", 1)
    return request_id


@pytest.mark.parametrize("by", ["closed stdin", "quit", pytest.param("SIGTERM", marks=posix)])
def test_an_end_in_the_middle_of_a_run_is_told_and_leaves_no_file(
    start: Callable[..., Any], tiny_bundle: Bundle, long_image: Path, tmp_path: Path, by: str
) -> None:
    client = start()
    running = start_long_run(client, tiny_bundle, long_image, tmp_path / "out")
    assert psutil.Process(client.process.pid).children() == []
    if by == "quit":
        quit_id = client.send("quit")
    elif by == "SIGTERM":
        client.process.send_signal(signal.SIGTERM)
    else:
        client.process.stdin.close()
    assert seconds_to_end(client) < 2
    assert client.process.returncode == 0
    closing = {event["id"]: event for event in client.rest() if event["event"] != "progress"}
    assert closing.pop(running)["code"] == "cancelled"
    if by == "quit":
        assert closing.pop(quit_id)["event"] == "result"
    assert closing == {}
    assert list((tmp_path / "out").iterdir()) == []
    assert client.errors == []


def test_a_killed_parent_ends_the_worker_though_its_pipes_are_held_open(
    start: Callable[..., Any], tiny_bundle: Bundle, long_image: Path, tmp_path: Path
) -> None:
    parent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    client = start("--parent", str(parent.pid))
    start_long_run(client, tiny_bundle, long_image, tmp_path / "out")
    # Nobody waits for it yet: on POSIX, a zombie keeps its number.
    parent.kill()
    assert seconds_to_end(client) < 2
    assert list((tmp_path / "out").iterdir()) == []
    parent.wait()


def test_a_parent_that_is_gone_already_ends_the_worker(start: Callable[..., Any]) -> None:
    parent = subprocess.Popen([sys.executable, "-c", ""])
    parent.wait()
    assert seconds_to_end(start("--parent", str(parent.pid), loaded=False)) < 3


def test_closing_stdin_ends_the_worker_while_it_still_loads_its_libraries(start: Callable[..., Any]) -> None:
    client = start(loaded=False)
    client.wait_for(lambda event: event["event"] == "ready")
    client.process.stdin.close()
    assert seconds_to_end(client) < 2
    assert client.process.returncode == 0


@posix
def test_ctrl_c_in_the_console_does_nothing_to_the_worker(
    start: Callable[..., Any], tiny_bundle: Bundle, image: Path
) -> None:
    client = start()
    client.process.send_signal(signal.SIGINT)
    outputs = {"labels": str(image.parent / "labels.nrrd")}
    running = client.send("segment", images=[str(image)], model=str(tiny_bundle.path), outputs=outputs)
    client.step("windows", 1)
    client.process.send_signal(signal.SIGINT)
    assert client.close(running)["event"] == "result"
    client.process.stdin.close()
    assert seconds_to_end(client) < 2
    assert client.errors == []


def test_files_of_a_run_that_cannot_be_waited_for_are_removed_and_never_appear(tmp_path: Path) -> None:
    labels = tmp_path / "labels.nrrd"

    def write() -> None:
        with staged([labels]) as temporary:
            temporary[labels].write_text("half of it")
            discard_staged()
            assert list(tmp_path.iterdir()) == []

    with pytest.raises(ResourceError, match="nothing was kept"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_an_engine_that_cannot_be_loaded_is_told_and_closes_what_was_asked_for(
    start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "torch.py").write_text("import time\ntime.sleep(1)\nraise ImportError('DLL load failed')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    client = start(loaded=False)
    probe = client.send("probe")
    assert client.process.wait(10) == 1
    ready, error, closing = client.rest()
    assert ready["event"] == "ready"
    assert (error["id"], closing["id"]) == (None, probe)
    for event in (error, closing):
        assert (event["event"], event["code"]) == ("error", "internal")
        assert "DLL load failed" in event["message"]


def test_a_parent_that_cannot_be_asked_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise psutil.AccessDenied

    with monkeypatch.context() as patch:
        patch.setattr(psutil.Process, "__init__", denied)
        assert not Parent(os.getpid()).gone()
    monkeypatch.setattr(psutil.Process, "status", denied)
    assert not Parent(os.getpid()).gone()


def test_whatever_cannot_be_cleared_away_the_process_ends() -> None:
    done = run_python(
        "from types import SimpleNamespace\n"
        "from scdseg.worker import service\n"
        "def fail():\n"
        "    print('tried', flush=True)\n"
        "    raise PermissionError('the file is in use')\n"
        "service._CLEAN_UP_S = 0\n"
        "ending = object.__new__(service.Service)\n"
        "ending._engine = SimpleNamespace(discard_files=fail)\n"
        "ending._scratch = SimpleNamespace(remove_if_orphaned=fail)\n"
        "ending._end_late()\n"
    )
    assert done.stdout.splitlines() == ["tried", "tried"]


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)


def test_nothing_but_events_reaches_stdout() -> None:
    done = run_python(
        "import os, subprocess, sys\n"
        "from scdseg.worker.channel import Channel, take_stdout\n"
        "channel = Channel(take_stdout())\n"
        "print('printed', flush=True)\n"
        "os.write(1, b'written by a library\\n')\n"
        "subprocess.run([sys.executable, '-c', 'print(1)'], check=True)\n"
        "channel.send('log', level='info', text='é\\ud800')\n"
    )
    assert done.stdout == '{"event": "log", "level": "info", "text": "\\u00e9\\ud800"}\n'
    assert done.stderr.splitlines() == ["printed", "written by a library", "1"]


def test_an_event_with_nan_is_refused_not_sent() -> None:
    done = run_python(
        "from scdseg.worker.channel import Channel, take_stdout\n"
        "channel = Channel(take_stdout())\n"
        "try:\n"
        "    channel.send('result', ml=float('nan'))\n"
        "except ValueError:\n"
        "    channel.send('refused')\n"
    )
    assert done.stdout == '{"event": "refused"}\n'


def test_the_worker_starts_light_and_never_imports_what_belongs_to_slicer() -> None:
    done = run_python(
        "import sys\n"
        "import scdseg.worker.service\n"
        "heavy = {'torch', 'monai', 'numpy', 'SimpleITK'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "import scdseg.worker.engine\n"
        "print(sorted({'slicer', 'qt', 'ctk', 'vtk', 'rich'} & set(sys.modules)))\n"
    )
    assert done.stdout.splitlines() == ["[]", "[]"]


def test_nothing_is_imported_by_the_first_run_which_may_be_interrupted(tiny_bundle: Bundle, tmp_path: Path) -> None:
    image, labels = tmp_path / "image.nii.gz", tmp_path / "labels.nrrd"
    nib.save(nib.Nifti1Image(np.random.default_rng(0).random((20, 20, 20), np.float32), np.eye(4)), image)
    done = run_python(
        "import sys\n"
        "from scdseg.lean_imports import UNUSED, leave_out_unused\n"
        "leave_out_unused()\n"
        "from scdseg.worker.engine import Engine\n"
        "Engine()\n"
        "before = set(sys.modules)\n"
        "from scdseg import segment\n"
        f"segment({str(image)!r}, {str(tiny_bundle.path)!r}, device='cpu').save(labels={str(labels)!r})\n"
        "print(sorted(set(sys.modules) - before))\n"
        "print([name for name in UNUSED if sys.modules[name]], 'torch._dynamo' in sys.modules)\n"
    )
    assert done.stdout.splitlines() == ["[]", "[] False"]
    assert labels.is_file()
