"""Where recallm's threads hold locks of prometheus_client, which no forked child may inherit while they are held."""

from __future__ import annotations

import os
import threading
from typing import Any

FORK_SECONDS = 1.0
"""How long a fork waits for such a thread; longer only if the thread itself waits for the lock."""


class _ForkGate:
    """A lock that is never held at a fork, as far as waiting for it helps."""

    def __init__(self) -> None:
        self._locks: dict[str, Any] = {}
        self._forking: list[bool] = []
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self._close, after_in_parent=self._open, after_in_child=self._renew)

    @property
    def _lock(self) -> Any:
        # Made on first use, as libraries of green threads replace locks that are made after them.
        return self._locks.get("lock") or self._locks.setdefault("lock", threading.Lock())

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def _close(self) -> None:
        self._forking.append(bool(self._locks) and self._lock.acquire(timeout=FORK_SECONDS))

    def _open(self) -> None:
        if self._forking and self._forking.pop():
            self._lock.release()

    def _renew(self) -> None:
        self._locks = {}
        self._forking.clear()


in_foreign_locks = _ForkGate()
"""Entered by recallm's own threads, and by no call, around what takes locks of prometheus_client."""
