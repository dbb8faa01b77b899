"""Some hundred hostile files of every kind, and the fuzzer itself; many more by ``python Testing/fuzz_files.py``."""

from __future__ import annotations

import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

if sys.platform != "linux":
    pytest.skip("needs /proc and /dev/shm", allow_module_level=True)

from fuzz_files import Outcome, fuzz
from fuzzing.child import TARGETS

CASES = 150


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    """Of all targets, two at a time: most of it is the start of their processes."""
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(TARGETS, pool.map(lambda target: fuzz(target, 0, CASES, seed=20261128), TARGETS), strict=True))


@pytest.mark.parametrize("target", TARGETS)
def test_hostile_files_are_read_or_refused_and_do_nothing_else(outcomes: dict[str, Outcome], target: str) -> None:
    outcome = outcomes[target]
    assert outcome.findings == []
    assert outcome.cases == CASES
    assert outcome.refused > CASES / 4, "these files are hardly hostile"
    assert outcome.slowest_s < 5


def test_the_fuzzer_notices_all_that_must_not_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzz_files.HANG_S", 2.0)
    outcome = fuzz("broken", 0, 12, seed=0)
    kinds = {case: Counter() for case in range(12)}
    for finding in outcome.findings:
        kinds[finding["case"]][finding["kind"]] += 1
    assert kinds[1]["uncaught"] == 1
    assert kinds[2]["violation"] >= 1, "a file outside"
    assert kinds[3]["violation"] >= 1, "a process"
    assert kinds[4] == {"hang": 1}
    assert kinds[5]["crash"] == 1
    assert kinds[6] == {"message": 1}
    assert kinds[7]["uncaught"] == 1, "more memory than allowed"
    assert outcome.cases == 12
    for number in (0, 8, 9, 10, 11):
        assert not kinds[number], kinds[number]
