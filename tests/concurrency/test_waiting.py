"""Whether a thread waits for the running one is read from the stacks of both."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed, wait
from contextlib import contextmanager
from time import perf_counter
from weakref import ref

import pytest

from recallm.concurrency import waiting
from recallm.concurrency.waiting import is_waited_for

WAIT = 20.0


def by_result(work: Callable[[], object]) -> None:
    """Wait for a task's result."""
    with closing_pool() as pool:
        pool.submit(work).result()


def by_exception(work: Callable[[], object]) -> None:
    """Wait for a task's exception."""
    with closing_pool() as pool:
        pool.submit(work).exception()


def by_map(work: Callable[[], object]) -> None:
    """Wait for the results of several tasks."""
    with closing_pool() as pool:
        list(pool.map(lambda _: work(), [1]))


def by_wait(work: Callable[[], object]) -> None:
    """Wait for several tasks."""
    with closing_pool() as pool:
        wait([pool.submit(work)])


def by_as_completed(work: Callable[[], object]) -> None:
    """Wait for the first of several tasks."""
    with closing_pool() as pool:
        next(as_completed([pool.submit(work)]))


def by_join(work: Callable[[], object]) -> None:
    """Wait for a thread to end."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def by_shutdown(work: Callable[[], object]) -> None:
    """Wait for a pool to end."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work)


def by_others(work: Callable[[], object]) -> None:
    """Wait for a thread that waits for a task."""
    by_join(lambda: by_result(work))


@contextmanager
def closing_pool() -> Iterator[ThreadPoolExecutor]:
    """Yield a pool that is not waited for in the end."""
    pool = ThreadPoolExecutor(1)
    yield pool
    pool.shutdown(wait=False)


def comes_true(claim: Callable[[], bool]) -> bool:
    """Return whether a condition holds soon: the other thread is about to wait."""
    end = perf_counter() + WAIT
    while perf_counter() < end:
        if claim():
            return True
        threading.Event().wait(0.001)
    return False


@pytest.mark.parametrize(
    "way", [by_result, by_exception, by_map, by_wait, by_as_completed, by_join, by_shutdown, by_others]
)
def test_a_thread_that_waits_for_this_one_is_found(way: Callable[[Callable[[], object]], None]) -> None:
    """Whoever waits for a task or a thread, in any usual way, waits for the thread that does it."""
    me, found = threading.get_ident(), list[bool]()
    way(lambda: found.append(comes_true(lambda: is_waited_for(me))))
    assert found == [True]


def test_a_thread_that_waits_for_another_is_not() -> None:
    """Waiting for a task of some thread is no wait for every thread, and who is gone waits for nobody."""
    release, begun, idents = threading.Event(), threading.Event(), list[int]()

    def work() -> None:
        begun.set()
        release.wait(WAIT)

    def waiting() -> None:
        idents.append(threading.get_ident())
        by_result(work)

    thread = threading.Thread(target=waiting)
    thread.start()
    assert begun.wait(WAIT)
    assert not is_waited_for(idents[0])
    release.set()
    thread.join()
    assert not is_waited_for(idents[0])


def test_looking_keeps_no_variable_alive() -> None:
    """What the caller holds is freed as soon as it returns."""

    class Held:
        pass

    def look() -> ref[Held]:
        held = Held()
        is_waited_for(-1)
        return ref(held)

    gc.disable()
    try:
        assert look()() is None
    finally:
        gc.enable()


@pytest.mark.untraced
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="later versions collect between instructions only")
def test_no_garbage_is_collected_while_python_looks_at_the_frames() -> None:
    """Python 3.11 may hang for ever if a finalizer runs meanwhile, so none does; later versions collect elsewhere."""
    within: list[str] = []

    def note(phase: str, _: object) -> None:
        frame = sys._getframe(1)
        if frame.f_code is waiting._current_frames.__code__:
            within.append(phase)

    before = gc.get_threshold()
    gc.callbacks.append(note)
    gc.set_threshold(1, 1, 1)
    try:
        for _ in range(100):
            assert threading.get_ident() in waiting._current_frames()
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(note)
    assert within == []
    assert gc.isenabled()
