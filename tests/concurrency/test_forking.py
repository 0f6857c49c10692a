"""Locks that interrupts, finalizers and forks cannot leave held, and what a forked child resets."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import FrameType

import pytest

from recallm.concurrency import forking
from recallm.concurrency.forking import ForkSafeLock, is_held, reset_after_fork
from recallm.concurrency.workers import Workers
from recallm.testing.threads import run_at_once

WAIT = 20.0

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


@pytest.fixture
def fresh_lock() -> Iterator[ForkSafeLock]:
    """Return a lock that was never taken."""
    lock = ForkSafeLock()
    yield lock
    assert not is_held(lock._lock)


def run(program: str) -> str:
    """Return what a program prints."""
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_one_thread_at_a_time_holds_the_lock() -> None:
    """Threads that use a lock for the first time all at once still exclude each other."""
    for _ in range(20):
        lock, counts = ForkSafeLock(), [0]

        def add(lock: ForkSafeLock = lock, counts: list[int] = counts) -> None:
            for _ in range(50):
                with lock:
                    before = counts[0]
                    counts[0] = before + 1

        run_at_once([add] * 6)
        assert counts == [300]


def test_its_holder_may_take_it_again(fresh_lock: ForkSafeLock) -> None:
    """A signal handler or a finalizer that needs the lock its thread holds gets it, whatever is raised there."""
    with pytest.raises(KeyError), fresh_lock, fresh_lock:
        raise KeyError


def test_no_python_code_runs_while_the_lock_is_taken_or_freed(fresh_lock: ForkSafeLock) -> None:
    """No function written in Python, in which an interrupt could hit, runs while the lock is taken or freed."""
    with fresh_lock:
        pass
    called: list[str] = []

    def profile(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            called.append(frame.f_code.co_qualname)

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        with fresh_lock:
            pass
    finally:
        sys.setprofile(before)
    assert called == []


def test_another_attribute_is_missing(fresh_lock: ForkSafeLock) -> None:
    """A lock has no attributes but its own."""
    with pytest.raises(AttributeError, match="'ForkSafeLock' object has no attribute 'held'"):
        _ = fresh_lock.held


@needs_fork
def test_a_child_finds_the_lock_free() -> None:
    """A lock that another thread held at the fork is free in the child, and still held in the parent."""
    program = """
import os, threading
from recallm.concurrency.forking import ForkSafeLock, is_held
lock, held, go_on = ForkSafeLock(), threading.Event(), threading.Event()
def hold():
    with lock:
        held.set()
        go_on.wait(60)
threading.Thread(target=hold).start()
held.wait(20)
child = os.fork()
if child == 0:
    with lock:
        os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), is_held(lock._lock))
go_on.set()
"""
    assert run(program) == "7 True"


@needs_fork
def test_a_child_forked_by_the_holder_still_holds_the_lock() -> None:
    """If the thread that holds the lock forks, the child holds it until it leaves the block."""
    program = """
import os
from recallm.concurrency.forking import ForkSafeLock, is_held
lock = ForkSafeLock()
with lock:
    child = os.fork()
if child == 0:
    os._exit(7 + is_held(lock._lock))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run(program) == "7"


@needs_fork
def test_locks_are_freed_before_anything_else_is_reset() -> None:
    """What another object drops in a child may have a finalizer that takes a lock: locks are free by then."""
    program = """
import os, signal, threading
from recallm.concurrency.forking import ForkSafeLock, reset_after_fork
class Owner:
    def after_fork(self):
        with lock:
            pass
owner = Owner()
reset_after_fork(owner)
lock, held = ForkSafeLock(), threading.Event()
def hold():
    with lock:
        held.set()
        threading.Event().wait(60)
threading.Thread(target=hold, daemon=True).start()
held.wait(20)
child = os.fork()
if child == 0:
    signal.alarm(20)
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run(program) == "7"


def test_what_is_reset_in_children_is_not_kept_alive() -> None:
    """Of locks and pools that are garbage nothing stays in the list of what a child resets."""
    gc.collect()
    before = len(forking._ALL)
    for _ in range(100):
        with ForkSafeLock():
            Workers("test", size=1).submit(lambda: None).result(WAIT)
    gc.collect()
    assert len(forking._ALL) <= before


def test_every_registered_object_begins_anew() -> None:
    """Each registered object is reset, for as long as it lives."""
    reset: list[str] = []

    class Owner:
        """Something to reset."""

        def __init__(self, name: str) -> None:
            self.name = name
            reset_after_fork(self)

        def after_fork(self) -> None:
            """Take note of it."""
            reset.append(self.name)

    owner, other = Owner("one"), Owner("another")
    del other
    owner.after_fork()
    assert reset == ["one"]


def test_is_held_tells_without_changing_anything() -> None:
    """Asking whether a lock is held leaves it as it is."""
    lock = threading.Lock()
    assert [is_held(lock), is_held(lock)] == [False, False]
    with lock:
        assert [is_held(lock), is_held(lock)] == [True, True]
