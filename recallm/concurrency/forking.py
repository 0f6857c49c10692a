"""Fork safety: free locks that other threads held when the process forked, and drop state they had half written."""

from __future__ import annotations

import os
from _thread import RLock  # unlike `threading.RLock`, never replaced by one of green threads
from operator import attrgetter
from typing import Any, Protocol, TypeVar
from weakref import WeakValueDictionary

T = TypeVar("T")


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


def living(kind: type[T]) -> list[T]:
    """Return the objects of a kind that are reset in forked children."""
    return [owner for owner in list(_ALL.values()) if isinstance(owner, kind)]


def is_held(lock: Any) -> bool:
    """Return whether a lock cannot be acquired: in a forked child, whether its holder is gone."""
    if not lock.acquire(blocking=False):
        return True
    lock.release()
    return False


class ForkSafeLock:
    """A lock for ``with`` that no interrupt leaves held, and that is free in a forked child, whoever held it before.

    Use it for a few operations on a dict whose state is valid at every moment, and for nothing else: a signal handler
    or a finalizer that runs while its thread holds the lock may take it too. Hold it neither while code of others
    runs nor while anything is waited for: green threads are one thread to it, so one that waits keeps no other out.

    What one call of a dict, a deque or a set does needs no lock. If a holder may leave its state half written, use
    `reset_after_fork` and drop that state in the child.
    """

    # Python takes and frees what these return in one step each, in which no signal handler runs. A method written in
    # Python may be interrupted between taking the lock and returning, after which nobody would free it.
    __enter__ = property(attrgetter("_lock.__enter__"))
    __exit__ = property(attrgetter("_lock.__exit__"))

    def __init__(self) -> None:
        reset_after_fork(self)

    def __getattr__(self, name: str) -> Any:
        if name != "_lock":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        # Made on first use: eventlet replaces, or complains of, each that exists when it makes threads green.
        return vars(self).setdefault("_lock", RLock())

    def after_fork(self) -> None:
        """Free the lock if its holder is gone."""
        lock = vars(self).get("_lock")
        if lock is not None and is_held(lock):
            lock._at_fork_reinit()  # in place, as the forking thread may be about to take it


def _begin_anew() -> None:
    owners = tuple(_ALL.values())
    # Locks first: what another owner drops may have a finalizer that takes one.
    for owner in sorted(owners, key=lambda owner: not isinstance(owner, ForkSafeLock)):
        owner.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
