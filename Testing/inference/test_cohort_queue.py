"""Who gets which case of a cohort: a bad case ends, a bad place is left, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable

from scdseg.inference.cohort_cases import Case
from scdseg.inference.cohort_queue import CaseQueue

BOTH = {"p", "q"}


def queue_of(names: str) -> CaseQueue:
    return CaseQueue([Case(name, ()) for name in names])


def take(queue: CaseQueue, place: str, places: set[str]) -> Case:
    case = queue.take(place, places)
    assert case is not None
    return case


def test_cases_are_taken_in_order_until_none_is_left() -> None:
    queue = queue_of("ab")
    assert [take(queue, "p", {"p"}).name for _ in range(2)] == ["a", "b"]
    assert len(queue) == 0
    assert queue.take("p", {"p"}) is None


def test_a_case_that_failed_waits_for_another_place_if_there_is_one() -> None:
    queue = queue_of("ab")
    assert queue.fail(take(queue, "p", BOTH), "p")
    assert take(queue, "p", BOTH).name == "b"
    assert queue.take("p", BOTH) is None
    assert take(queue, "q", BOTH).name == "a"


def test_a_case_that_failed_goes_to_its_place_again_if_there_is_no_other() -> None:
    queue = queue_of("a")
    assert queue.fail(take(queue, "p", {"p"}), "p")
    assert not queue.fail(take(queue, "p", {"p"}), "p")
    assert len(queue) == 0


def test_a_worker_that_ended_before_it_began_costs_a_case_no_attempt_and_no_turn() -> None:
    queue = queue_of("ab")
    assert queue.put_back(take(queue, "p", BOTH), "p")
    case = take(queue, "p", BOTH)
    assert case.name == "a"
    assert queue.fail(case, "p")
    assert len(queue) == 2


def test_a_case_that_ends_every_worker_before_it_begins_does_not_go_on_for_ever() -> None:
    queue = queue_of("a")
    attempts = 0
    while len(queue):
        attempts += 1
        queue.put_back(take(queue, "p", {"p"}), "p")
        assert attempts < 100
    assert attempts == 6


def cohort(count: int, seconds: dict[str, int], works: Callable[[str, Case], bool]) -> dict[str, str]:
    """Have cases done at places that take some time for each; where each ended, failed ones with a dash before it."""
    queue = CaseQueue([Case(f"{number}", ()) for number in range(count)])
    busy: dict[str, tuple[int, Case]] = {}
    ended: dict[str, str] = {}
    now = 0
    while len(queue) or busy:
        for place in seconds:
            if place not in busy and (case := queue.take(place, set(seconds))) is not None:
                busy[place] = (now + (seconds[place] if works(place, case) else 1), case)
        assert busy, "nobody takes what waits"
        now, place = min((end, place) for place, (end, _) in busy.items())
        _, case = busy.pop(place)
        if works(place, case):
            queue.end(place)
            ended[case.name] = place
        elif not queue.fail(case, place):
            ended[case.name] = f"-{place}"
    return ended


def test_places_that_do_not_work_fail_no_case_however_fast_they_are() -> None:
    seconds = {"p": 100, "broken 1": 1, "q": 90, "broken 2": 1, "broken 3": 1}
    ended = cohort(60, seconds, lambda place, case: not place.startswith("broken"))
    lost = [case for case, place in ended.items() if place.startswith("-")]
    assert len(ended) == 60
    # What failed at two broken places before they were known.
    assert len(lost) <= 4
    assert cohort(60, {"p": 100, "broken": 1}, lambda place, case: place == "p") == dict.fromkeys(
        map(str, range(60)), "p"
    )


def test_cases_that_fail_everywhere_leave_the_others_to_all_places() -> None:
    ended = cohort(40, {"p": 10, "q": 10}, lambda place, case: int(case.name) >= 20)
    assert {name for name, place in ended.items() if place.startswith("-")} == {*map(str, range(20))}
    done = [place for name, place in ended.items() if int(name) >= 20]
    assert min(done.count("p"), done.count("q")) >= 8
