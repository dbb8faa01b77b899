"""The module at work touches no network: it makes no attempt to, and segments all the same where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import network_watch

REPOSITORY = Path(__file__).resolve().parents[2]

_APPLY = """
import os, stat, sys
sys.path[:0] = [sys.argv[1] + "/Testing", sys.argv[1] + "/SCDSegmentation"]
import embedded_slicer
host = embedded_slicer.start()
widget = host.load_module(sys.argv[1] + "/SCDSegmentation/SCDSegmentation.py")
import slicer
from pathlib import Path
from slicer_module.helpers import add_volume, choose, wait_until
slicer.app.temporaryPath = sys.argv[2]
choose(widget, add_volume(), "tiny", 0.75)
widget.panel.ui.applyButton.click()
modes = {oct(stat.S_IMODE(path.stat().st_mode)) for path in Path(sys.argv[2]).iterdir()}
wait_until(lambda: widget.logic.run is None, 60)
text = widget.panel.ui.statusLabel.text
assert text.startswith("Found"), text
print(*modes, widget.logic.worker._pid, flush=True)
host.close()
"""


@pytest.mark.parametrize("kind", ["watched", "cut off"])
def test_a_volume_is_segmented(kind: str, tiny_models: Path, tmp_path: Path) -> None:
    prefix = network_watch.cut_off() if kind == "cut off" else []
    if kind == "cut off" and not prefix:
        pytest.skip("no network namespace can be made here (unshare -rn)")
    for name in ("watch", "temporary"):
        (tmp_path / name).mkdir()
    done = subprocess.run(
        [*prefix, sys.executable, "-c", _APPLY, str(REPOSITORY), str(tmp_path / "temporary")],
        env={**network_watch.watched(tmp_path / "watch"), "SCDSEG_MODELS": str(tiny_models)},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert network_watch.attempts(tmp_path / "watch") == ""
    assert done.returncode == 0, done.stderr
    mode, worker = done.stdout.splitlines()[-1].split()
    assert int(worker) in network_watch.processes(tmp_path / "watch")
    # Others on the computer do not see a patient's images on their way to the worker.
    assert mode == "0o700" or os.name != "posix"
