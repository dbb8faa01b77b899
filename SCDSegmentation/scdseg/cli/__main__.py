"""``python -m scdseg.cli`` is the command ``scdseg``."""

from __future__ import annotations

import sys

from scdseg.cli import main

sys.exit(main())
