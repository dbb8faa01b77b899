"""Which worker of a cluster takes which case, so that neither a bad case nor a bad machine spoils the cohort."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

from scdseg.inference.cohort_cases import Case

# A case that failed on so many workers is not given to another one.
_MOST_ATTEMPTS = 2
# Workers that ended between taking a case and beginning it, before that counts as an attempt.
_MOST_FALSE_STARTS = 3
# Cases that failed at one place, and nowhere else, before other places get the rest.
_MOST_SUSPICIONS = 3


class CaseQueue:
    """Cases that wait for a worker, and what is held against cases and places.

    A place is what workers come and go at: a GPU, or a machine.

    Args:
        cases: in the order that they are to be begun.
    """

    def __init__(self, cases: Sequence[Case]) -> None:
        self._waiting = deque(cases)
        self._tried: dict[str, list[str]] = {case.name: [] for case in cases}
        self._false_starts: Counter[str] = Counter()
        self._suspicions: dict[str, set[str]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self, place: str, places: set[str]) -> Case | None:
        """The next case for an idle worker; of several that are idle where nothing runs, at least one gets a case.

        Args:
            place: of the worker.
            places: of all workers that are idle or at work.
        """
        trusted = {other for other in places if len(self._suspicions.get(other, ())) < _MOST_SUSPICIONS} or places
        if place not in trusted:
            return None
        for case in self._waiting:
            tried = self._tried[case.name]
            if place not in tried or trusted.issubset(tried):
                self._waiting.remove(case)
                return case
        return None

    def put_back(self, case: Case, place: str) -> bool:
        """Let a case wait first whose worker had ended before it began; False if that is no accident any more."""
        self._false_starts[case.name] += 1
        if self._false_starts[case.name] >= _MOST_FALSE_STARTS:
            self._false_starts.pop(case.name)
            return self.fail(case, place)
        self._waiting.appendleft(case)
        return True

    def fail(self, case: Case, place: str) -> bool:
        """Let a case wait last that failed for what may be the place's fault; False if it had all its attempts."""
        tried = self._tried[case.name]
        tried.append(place)
        if len(tried) < _MOST_ATTEMPTS:
            self._suspicions.setdefault(place, set()).add(case.name)
            self._waiting.append(case)
            return True
        for suspicions in self._suspicions.values():
            suspicions.discard(case.name)
        return False

    def end(self, place: str) -> None:
        """A case was segmented at a place, which therefore works."""
        self._suspicions.pop(place, None)
