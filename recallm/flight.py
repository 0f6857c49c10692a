"""Calls under way: those that want the same answer wait for the one that makes it."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import ContextVar, Token
from dataclasses import dataclass
from typing import Literal, TypeAlias

from recallm.forking import heed_forks
from recallm.workers import follower

Turn: TypeAlias = Literal["leading", "waited", "alone"]
"""What a call is to do: make the answer; look whether it is there now; make its own and share it with nobody."""

_leading: ContextVar[frozenset[Hashable]] = ContextVar("recallm_leading", default=frozenset())


@dataclass(frozen=True, slots=True, eq=False)
class Lead:
    """One call's leadership, to be given back by `Flights.leave`."""

    key: Hashable
    token: Token[frozenset[Hashable]]


class Flights:
    """What is being made, by key. Threads and tasks have one each, so that neither waits for the other."""

    def __init__(self) -> None:
        self.after_fork()
        heed_forks(self)

    def after_fork(self) -> None:
        """Begin with nothing under way: those who lead are not in the child."""
        self._lock = threading.Lock()
        self._under_way: dict[Hashable, Future[Turn]] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    def join(self, key: Hashable) -> Lead | Future[Turn] | Turn:
        """Return the lead of a key, or the future of the one who has it; "alone" inside one's own lead.

        The future is this call's own: it may be cancelled.
        """
        if key in _leading.get():
            return "alone"
        with self._lock:
            leader = self._under_way.get(key)
            if leader is None:
                self._under_way[key] = Future()
                return Lead(key, _leading.set(_leading.get() | {key}))
        return follower(leader)

    def leave(self, lead: Lead) -> None:
        """Let those who wait look for the answer; where there is none, the first of them leads."""
        with self._lock:
            ended = self._under_way.pop(lead.key, None)
        # A coroutine that nobody awaits any more is ended in another context.
        with suppress(ValueError):
            _leading.reset(lead.token)
        if ended is not None:
            ended.set_result("waited")
