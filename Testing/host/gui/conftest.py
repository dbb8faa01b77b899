"""The embedded host, started once, with an empty scene and no failed callback for every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import embedded_slicer


@pytest.fixture(scope="session")
def host() -> embedded_slicer.Host:
    return embedded_slicer.start()


@pytest.fixture(autouse=True)
def empty_scene(host: embedded_slicer.Host) -> Iterator[None]:
    from embedded_slicer.gui.pythonqt import failures

    host.clear_scene()
    failures.clear()
    yield
    assert failures == []
