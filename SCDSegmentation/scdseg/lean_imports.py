"""Start in half the time: MONAI imports whatever it finds installed, and segmenting needs little of that."""

from __future__ import annotations

import sys

# Optional to MONAI, which goes on without them. What takes longest comes first; together they cost more than MONAI.
UNUSED = ("scipy.signal", "matplotlib", "pandas", "tensorboard", "skimage", "openslide", "PIL")


def leave_out_unused() -> None:
    """Keep this process from importing :data:`UNUSED`, from now on.

    For a process that does nothing but segment; to be called before MONAI is imported.
    """
    for name in UNUSED:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # Python's own mark of what must not be imported
