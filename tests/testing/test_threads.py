"""Work that many threads do at once."""

from __future__ import annotations

import sys
import threading

import pytest

from recallm.testing.threads import run_at_once


def test_results_come_in_the_order_of_the_tasks() -> None:
    """Each task has a thread of its own, whatever the order in which they end."""
    second = threading.Event()

    def first() -> int:
        assert second.wait(20)
        return 1

    def set_second() -> int:
        second.set()
        return 2

    assert run_at_once([first, set_second]) == [1, 2]


def test_an_error_is_raised_where_the_tasks_were_begun() -> None:
    """The first error, in the order of the tasks, is raised in the caller's thread."""
    usual = sys.getswitchinterval()

    def fail() -> None:
        raise KeyError("second")

    def fail_too() -> None:
        raise ValueError("third")

    with pytest.raises(KeyError, match="second"):
        run_at_once([lambda: None, fail, fail_too])
    assert sys.getswitchinterval() == usual


def test_tasks_that_hang_are_given_up() -> None:
    """A task that does not end is an error after a while: a deadlock fails one test and does not stop the rest."""
    release = threading.Event()
    try:
        with pytest.raises(AssertionError, match=r"1 of 2 threads have not ended after 0\.05 s"):
            run_at_once([release.wait, lambda: True], wait_seconds=0.05)
    finally:
        release.set()
