"""Something that is made once is made by one caller, whatever others do meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from support.interrupting import each_point

from recallm.concurrency.once import Once
from recallm.errors import InvalidValueError
from recallm.testing.threads import run_at_once


def test_it_is_made_at_the_first_use_and_once() -> None:
    """Nothing is made before it is asked for, and what was made is returned from then on."""
    made: list[object] = []

    def make() -> object:
        made.append(object())
        return made[-1]

    once = Once("it", make)
    assert (once.made, made) == (None, [])
    assert run_at_once([once.get] * 8) == made * 8
    assert once.made is once.get() is made[0]


def test_a_failure_is_not_remembered() -> None:
    """What its making raises reaches the caller, and the next one tries again."""
    attempts: list[int] = []

    def make() -> int:
        attempts.append(1)
        if len(attempts) == 1:
            raise ConnectionError("down")
        return 7

    once = Once("it", make)
    with pytest.raises(ConnectionError, match="down"):
        once.get()
    assert once.get() == 7


def test_who_waits_for_a_maker_that_is_interrupted_makes_it() -> None:
    """If Ctrl-C ends the making, a thread that waited makes it, and does not wait for ever."""
    making, waiting = threading.Event(), threading.Event()

    def make() -> int:
        if threading.current_thread() is threading.main_thread():
            return 7
        making.set()
        assert waiting.wait(10)
        raise KeyboardInterrupt

    once = Once("it", make)

    def first() -> None:
        with pytest.raises(KeyboardInterrupt):
            once.get()

    def release() -> None:
        time.sleep(0.05)
        waiting.set()

    threads = [threading.Thread(target=first), threading.Thread(target=release)]
    threads[0].start()
    assert making.wait(10)
    threads[1].start()
    assert once.get() == 7
    for thread in threads:
        thread.join(10)


def test_what_is_asked_for_within_its_making_is_refused() -> None:
    """What would wait for itself raises instead, directly, through others, and through other threads."""
    both = threading.Barrier(2)

    def other(name: int, *, meet: bool = False) -> Callable[[], int]:
        def make() -> int:
            if meet:
                both.wait(10)
            return chain[name].get()

        return make

    chain = [Once("itself", other(0)), Once("a ring", other(2)), Once("the ring", other(1))]
    for once in chain:
        with pytest.raises(InvalidValueError, match="is asked for by what makes it"):
            once.get()
    chain = [Once("one", other(1, meet=True)), Once("other", other(0, meet=True))]

    def refused(once: Once[int]) -> bool:
        with pytest.raises(InvalidValueError):
            once.get()
        return True

    assert run_at_once([lambda: refused(chain[0]), lambda: refused(chain[1])], wait_seconds=10) == [True, True]


def test_whether_the_caller_is_within_the_making_is_known() -> None:
    """Only the thread that makes it, while it does, is within its making."""
    seen: list[bool] = []

    def make() -> int:
        seen.append(once.is_made_here())
        return 7

    once = Once("it", make)
    assert once.get() == 7
    assert (seen, once.is_made_here()) == ([True], False)


def test_an_interrupted_attempt_leaves_it_to_the_next_caller() -> None:
    """Wherever an exception comes, the next caller of any thread gets it."""

    class Getting:
        def __init__(self) -> None:
            self.once = Once("it", lambda: 7)

        def __call__(self) -> None:
            self.once.get()

    for _, getting in each_point(Getting, ("concurrency/once.py",)):
        assert run_at_once([getting.once.get], wait_seconds=10) == [7]
        assert getting.once.get() == 7
