"""The process that segments for a user interface: ``python -m scdseg.worker``, one JSON object a line.

``docs/worker_protocol.md`` describes requests and events. Importing this package loads nothing heavy.
"""

from __future__ import annotations

PROTOCOL = 1
"""Version of the protocol; the ``ready`` event carries it."""
