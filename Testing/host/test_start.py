"""What a process finds right after the host has started, before anybody has imported anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
import embedded_slicer
host = embedded_slicer.start()
import slicer
for name in ("packaging", "i18n", "parameterNodeWrapper", "ScriptedLoadableModule", "testing"):
    assert not hasattr(slicer, name), name
import slicer.packaging
assert slicer.packaging.pip_check("numpy")
assert not hasattr(slicer, "i18n")
"""


def test_a_submodule_that_nobody_has_imported_is_missing_as_in_slicer() -> None:
    testing = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", _SCRIPT, str(testing)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
