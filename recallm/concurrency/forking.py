"""Fork safety: renew locks that other threads held when the process forked, and drop state they had half written."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, Protocol
from weakref import WeakValueDictionary


class Forkable(Protocol):
    """An object with state that is wrong in a forked child."""

    def after_fork(self) -> None:
        """Begin anew in a child, in which the forking thread is the only one."""
        ...


_ALL: WeakValueDictionary[int, Any] = WeakValueDictionary()
"""The objects to reset in a forked child, by id."""


def reset_after_fork(owner: Forkable) -> None:
    """Call ``owner.after_fork()`` in every forked child. Only a weak reference to `owner` is kept."""
    _ALL[id(owner)] = owner


def is_held(lock: Any) -> bool:
    """Return whether a lock cannot be acquired: in a forked child, whether its holder is gone."""
    if not lock.acquire(blocking=False):
        return True
    lock.release()
    return False


class ForkSafeLock:
    """A lock that is free in a forked child, whoever held it in the parent.

    Use it only for state that is valid at every moment. If a holder may leave its state half written, use
    `reset_after_fork` and drop that state in the child.

    Args:
        make: ``threading.Lock`` or ``threading.RLock``.
    """

    def __init__(self, make: Callable[[], Any] = threading.Lock) -> None:
        self._make = make
        self._lock = make()
        reset_after_fork(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def after_fork(self) -> None:
        """Renew the lock if its holder is gone."""
        if is_held(self._lock):
            self._lock = self._make()


def _begin_anew() -> None:
    for owner in tuple(_ALL.values()):
        owner.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
