"""Run Slicer modules without the Slicer application: real MRML, logics, displayable managers and ``slicer.util`` from
the wheel slicer-core, real Qt from Qt for Python, and small strict stand-ins for what only the application has.
"""

from __future__ import annotations

from embedded_slicer.host import Host, MissingPackages, start

__all__ = ["Host", "MissingPackages", "start"]
