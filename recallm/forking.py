"""What a forked child makes good: locks held by threads that it does not have, and what these left half done."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, Protocol
from weakref import WeakValueDictionary


class Lockable(Protocol):
    """A lock."""

    def acquire(self, blocking: bool = ...) -> bool:
        """Take it."""
        ...

    def release(self) -> None:
        """Give it back."""
        ...


class Forkable(Protocol):
    """What has locks, or waits for threads."""

    def after_fork(self) -> None:
        """Begin anew in a child, where the forking thread is the only one."""
        ...


_ALL: WeakValueDictionary[int, Any] = WeakValueDictionary()


def heed_forks(owner: Forkable) -> None:
    """Have `owner.after_fork` called in every forked child, for as long as somebody else keeps the owner."""
    _ALL[id(owner)] = owner


def is_held(lock: Lockable) -> bool:
    """Tell whether a lock cannot be had: in a forked child, that whoever held it is gone."""
    if not lock.acquire(blocking=False):
        return True
    lock.release()
    return False


def renewed(lock: threading.Lock) -> threading.Lock:
    """Return a lock, or another one where it cannot be had."""
    return threading.Lock() if is_held(lock) else lock


class ForkSafeLock:
    """A lock of no owner that could be told of a fork.

    Args:
        make: ``threading.Lock`` or ``threading.RLock``.
    """

    def __init__(self, make: Callable[[], Lockable] = threading.Lock) -> None:
        self._make = make
        self._lock = make()
        heed_forks(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def after_fork(self) -> None:
        """Find it free."""
        if is_held(self._lock):
            self._lock = self._make()


def _begin_anew() -> None:
    for owner in tuple(_ALL.values()):
        owner.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
