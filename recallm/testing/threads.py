"""Work done by many threads at once."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TypeVar

T = TypeVar("T")

WAIT_SECONDS = 60.0
"""How long the threads may take: far longer than any contract does, so that only what hangs is given up."""

SWITCH_SECONDS = 1e-5
"""How often the interpreter changes threads meanwhile, 500 times as often as it does by default: races show sooner."""


def run_at_once(tasks: Sequence[Callable[[], T]], *, wait_seconds: float = WAIT_SECONDS) -> list[T]:
    """Run each task in a thread of its own, begin them all at the same moment, and return their results in order.

    Args:
        tasks: what to run; at least one.
        wait_seconds: how long to wait for all of them.

    Raises:
        AssertionError: a task has not ended in time. Its thread is left behind, and does not keep the program alive.
        BaseException: what a task raised, the first one's in the order of `tasks`.

    >>> run_at_once([lambda: 1, lambda: 2])
    [1, 2]
    """
    start = threading.Barrier(len(tasks))
    results: dict[int, T] = {}
    errors: dict[int, BaseException] = {}

    def run(place: int) -> None:
        try:
            start.wait(wait_seconds)
            results[place] = tasks[place]()
        except BaseException as error:  # noqa: BLE001  # raised in the caller's thread below
            errors[place] = error

    threads = [threading.Thread(target=run, args=(place,), daemon=True) for place in range(len(tasks))]
    usual, deadline = sys.getswitchinterval(), monotonic() + wait_seconds
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, deadline - monotonic()))
    finally:
        sys.setswitchinterval(usual)
    if errors:
        raise errors[min(errors)]
    stuck = sum(thread.is_alive() for thread in threads)
    assert not stuck, f"{stuck} of {len(tasks)} threads have not ended after {wait_seconds:g} s"
    return [results[place] for place in range(len(tasks))]
