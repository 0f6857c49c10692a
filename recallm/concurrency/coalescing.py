"""Single flight: concurrent calls with one key wait for the first to compute the answer."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import ContextVar, Token
from dataclasses import dataclass
from typing import Literal, TypeAlias

from recallm.concurrency.forking import reset_after_fork
from recallm.concurrency.workers import follower

Role: TypeAlias = Literal["leading", "waited", "alone"]
"""The role of a call among the calls that want the same answer.

``leading``: compute the answer for everybody. ``waited``: somebody just has; look it up again. ``alone``: compute it
without sharing it (a nested call, or sync code on an event loop).
"""

_leading: ContextVar[frozenset[Hashable]] = ContextVar("recallm_leading", default=frozenset())
"""The keys that the running thread or task leads."""


@dataclass(frozen=True, slots=True, eq=False)
class Leadership:
    """One call's leadership of a key, to be given back by `SingleFlight.leave`."""

    key: Hashable
    token: Token[frozenset[Hashable]]


class SingleFlight:
    """The answers being computed, by key. Threads and tasks have an instance each, so neither waits for the other."""

    def __init__(self) -> None:
        self.after_fork()
        reset_after_fork(self)

    def after_fork(self) -> None:
        """Forget all leaders: their threads are not in the child."""
        self._lock = threading.Lock()
        self._under_way: dict[Hashable, Future[Role]] = {}

    def join(self, key: Hashable) -> Leadership | Future[Role] | Role:
        """Lead a key if no other call leads it.

        Returns:
            The leadership; else a future of the role that this call has once the leader is done, which it may cancel;
            or "alone" inside its own leadership.
        """
        if key in _leading.get():
            return "alone"
        with self._lock:
            leader = self._under_way.get(key)
            if leader is None:
                self._under_way[key] = Future()
                return Leadership(key, _leading.set(_leading.get() | {key}))
        return follower(leader)

    def leave(self, leadership: Leadership) -> None:
        """End a leadership: the calls that wait look for the answer, and if there is none, the first of them leads."""
        with self._lock:
            ended = self._under_way.pop(leadership.key, None)
        # A coroutine that nobody awaits any more is ended in another context.
        with suppress(ValueError):
            _leading.reset(leadership.token)
        if ended is not None:
            ended.set_result("waited")
