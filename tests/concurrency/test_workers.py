"""Worker threads may hang without holding up the caller, the pool or the end of the program."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import weakref

import pytest

from recallm.concurrency.workers import Workers
from recallm.errors import BusyError

WAIT = 20.0


def test_tasks_run_side_by_side_in_few_threads() -> None:
    """A pool of two runs two tasks at the same time, and any number of tasks in at most two threads."""
    workers = Workers("test", size=2)
    both = threading.Barrier(2)
    together = [workers.submit(lambda: both.wait(WAIT)) for _ in range(2)]
    assert sorted(future.result(WAIT) for future in together) == [0, 1]
    idents = {workers.submit(threading.get_ident).result(WAIT) for _ in range(50)}
    assert len(idents) <= 2


def test_what_a_task_raises_reaches_whoever_waits() -> None:
    """A task's exception reaches whoever waits for it, and the thread goes on, even after a `SystemExit`."""
    workers = Workers("test", size=1)
    for error, reaches in ((ValueError("odd"), ValueError), (SystemExit(3), RuntimeError)):

        def fail(error: BaseException = error) -> None:
            raise error

        with pytest.raises(reaches):
            workers.submit(fail).result(WAIT)
    assert workers.submit(lambda: 7).result(WAIT) == 7


def test_a_pool_whose_threads_all_hang_refuses_at_once() -> None:
    """A pool whose threads are all stuck refuses tasks at once, and accepts them again when a thread comes back."""
    workers = Workers("test", size=2)
    release = threading.Event()
    started = threading.Semaphore(0)

    def hang() -> None:
        started.release()
        release.wait(WAIT)

    hung = [workers.submit(hang) for _ in range(2)]
    for _ in hung:
        assert started.acquire(timeout=WAIT)
    for future in hung:
        workers.abandon(future)
    with pytest.raises(BusyError, match="all 2 test threads are stuck"):
        workers.submit(lambda: 1)
    release.set()
    for future in hung:
        future.result(WAIT)
    done = threading.Event()
    hung[-1].add_done_callback(lambda _: done.set())
    assert done.wait(WAIT)
    assert workers.submit(lambda: 1).result(WAIT) == 1


def test_an_abandoned_task_that_has_not_begun_never_does() -> None:
    """A queued task that is abandoned never runs and leaves no thread stuck."""
    workers = Workers("test", size=1)
    release, ran = threading.Event(), threading.Event()
    first = workers.submit(lambda: release.wait(WAIT))
    second = workers.submit(ran.set)
    workers.abandon(second)
    release.set()
    first.result(WAIT)
    assert workers.submit(lambda: 1).result(WAIT) == 1
    assert not ran.is_set()
    workers.abandon(first)
    assert workers.submit(lambda: 1).result(WAIT) == 1


def test_an_idle_thread_keeps_nothing_alive() -> None:
    """An idle thread keeps neither the function nor the result of its last task alive."""

    class Held:
        """Something big."""

    workers = Workers("test", size=1)
    held = Held()
    seen = weakref.ref(held)
    future = workers.submit(lambda held=held: held)  # type: ignore[misc]
    assert future.result(WAIT) is held
    del held, future
    workers.submit(lambda: None).result(WAIT)
    gc.collect()
    assert seen() is None


def test_dismissed_threads_end_once_their_tasks_are_done() -> None:
    """What was submitted before is done first, and what is submitted later is done by another thread."""
    workers = Workers("test", size=2)
    both = threading.Barrier(3)
    together = [workers.submit(lambda: (both.wait(WAIT), threading.current_thread())[1]) for _ in range(2)]
    queued = workers.submit(lambda: 7)
    workers.dismiss()
    both.wait(WAIT)
    assert queued.result(WAIT) == 7
    for future in together:
        thread = future.result(WAIT)
        thread.join(WAIT)
        assert not thread.is_alive()
    assert workers.submit(threading.current_thread).result(WAIT).is_alive()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_has_threads_of_its_own() -> None:
    """A pool works in a forked child although its parent's threads are busy and one holds the lock."""
    program = """
import os, threading
from recallm.concurrency.workers import Workers
workers = Workers("test", size=1)
begun = threading.Event()
workers.submit(lambda: (begun.set(), threading.Event().wait(60)))
begun.wait(20)
workers._lock.acquire()
child = os.fork()
if child == 0:
    os._exit(workers.submit(lambda: 7).result(20))
workers._lock.release()
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.returncode) == ("7", 0), done.stderr


def test_a_hung_thread_does_not_keep_the_program_from_ending() -> None:
    """A program ends while a worker thread hangs, since workers are daemons that nobody joins."""
    program = """
import threading
from recallm.concurrency.workers import Workers
begun = threading.Event()
Workers("test", size=1).submit(lambda: (begun.set(), threading.Event().wait(600)))
begun.wait(20)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_after_a_reset_nothing_is_stuck() -> None:
    """After a fork the pool begins with new threads and counts none of the old ones as stuck."""
    workers = Workers("test", size=1)
    begun, release = threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        release.wait(WAIT)

    hung = workers.submit(hang)
    assert begun.wait(WAIT)
    workers.abandon(hung)
    with pytest.raises(BusyError):
        workers.submit(lambda: 1)
    workers.after_fork()
    assert workers.submit(lambda: 7).result(WAIT) == 7
    release.set()
