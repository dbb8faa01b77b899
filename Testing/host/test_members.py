"""Stand-ins of the application and the views offer what was checked against Slicer's sources, and no more."""

from __future__ import annotations

import json
from pathlib import Path

import embedded_slicer

LIST = Path(embedded_slicer.__file__).parent / "views" / "members.json"


def test_stand_ins_offer_just_the_members_that_are_listed(host: embedded_slicer.Host) -> None:
    from embedded_slicer.qt_classes import offered_members

    listed = {name: entry["members"] for name, entry in json.loads(LIST.read_text(encoding="utf-8")).items()}
    assert offered_members() == listed
