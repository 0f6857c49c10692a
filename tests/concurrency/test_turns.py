"""Turns: one caller at a time works, the others go on, and no exception locks anybody out."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress

from support.interrupting import each_point, in_time

from recallm.concurrency.turns import Turns


def test_work_that_is_being_done_is_not_begun_again() -> None:
    """Whoever comes while the work is done, from within or from another thread, is turned away at once."""
    refused = []

    def work() -> None:
        refused.append(turns.take())
        other = threading.Thread(target=lambda: refused.append(turns.take()))
        other.start()
        other.join(10)

    turns = Turns(work)
    assert turns.take()
    assert refused == [False, False]
    assert turns.take()


def test_an_exception_at_any_step_locks_nobody_out() -> None:
    """After Ctrl-C at any point, of the work or around it, the work can be done, by one at a time."""

    class Taking:
        def __init__(self) -> None:
            self.done: list[bool] = []
            self.turns = Turns(lambda: self.done.append(True))

        def __call__(self) -> None:
            self.turns.take()

    def check() -> None:
        points = 0
        for _, taking in each_point(Taking, ("concurrency/turns.py", __file__)):
            points += 1
            assert taking.turns.take()
            assert 1 <= len(taking.done) <= 2
        assert points > 5

    in_time(check)


def test_of_several_who_find_the_work_ended_one_at_a_time_goes_on() -> None:
    """After an exception several threads may begin anew at once, and still never work at the same time."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    working, together, failing = [0], [], [True]

    def work() -> None:
        working[0] += 1
        if working[0] != 1:
            together.append(working[0])
        for _ in range(20):
            pass
        working[0] -= 1
        failing[0] = not failing[0]
        if failing[0]:
            raise KeyboardInterrupt

    turns = Turns(work)

    def take() -> None:
        for _ in range(300):
            with suppress(KeyboardInterrupt):
                turns.take()

    threads = [threading.Thread(target=take) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(interval)
    assert together == []
