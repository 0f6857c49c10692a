"""The points at which tests interrupt are those at which Python may run a handler, and all of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from support.interrupting import EVERY, NEVER, Points, each_point

HERE = ("support/test_interrupting.py",)
LOCK = threading.Lock()


def numbers() -> Iterator[int]:
    """Yield two numbers."""
    yield 1
    yield 2


def locking() -> int:
    """Take a lock, loop, call and come back."""
    total = 0
    with LOCK:
        for number in numbers():
            total += abs(number)
    return total


def test_a_function_a_loop_and_a_call_have_points() -> None:
    """Each beginning, each turn and each return of a call is a point, at the first run and at every later one."""
    for _ in range(3):
        acted: list[int] = []
        points = Points(HERE, lambda acted=acted: acted.append(1))  # type: ignore[misc]
        assert points.of(locking) == 3
        # Two to begin with, three in each turn, the generator's end, and the release of the lock.
        assert len(acted) == points.passed == 2 + 2 * 3 + 1 + 1


def test_no_point_lies_where_a_lock_is_lost() -> None:
    """An exception at any point leaves no lock behind that a `with` statement took."""
    counted = Points(HERE, lambda: None, NEVER)
    counted.of(locking)
    places = [where for where, _ in each_point(lambda: locking, HERE)]
    assert len(places) == counted.passed
    assert not LOCK.locked()


def test_only_some_points_may_be_chosen() -> None:
    """Of many points, every third is acted at, and what is done there has no points."""
    acted: list[int] = []
    points = Points(HERE, lambda: acted.append(locking()), EVERY[::3])
    assert points.of(numbers_of_a_loop) == 10
    assert len(acted) == (points.passed + 2) // 3 > 3


def numbers_of_a_loop() -> int:
    """Call something ten times."""
    return sum(abs(1) for _ in range(10))
