"""Work that nobody waits for: a bounded backlog of it, and what is under way already."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import Future, wait
from contextlib import suppress
from typing import Any
from weakref import ref

from recallm.concurrency.forking import reset_after_fork
from recallm.concurrency.workers import Workers
from recallm.errors import BusyError

LEAST_BYTES = 1 << 16
"""What a task counts for at the least: it holds more than its data."""


class Backlog:
    """Tasks for a few threads. If they fall behind, further tasks are refused. What waits when a program ends is lost.

    Args:
        name: the threads' name.
        size: how many there may be.
        max_bytes: how much the tasks that wait may hold.
    """

    def __init__(self, name: str, *, size: int, max_bytes: int = 1 << 26) -> None:
        self._workers = Workers(name, size=size)
        self._name = name
        self._max_bytes = max_bytes
        self._unfinished: dict[Future[Any], int] = {}
        reset_after_fork(self)

    def after_fork(self) -> None:
        """Begin with nothing to do: the parent does what it was to do."""
        self._unfinished = {}

    def submit(self, task: Callable[[], Any], size_bytes: int = 0) -> None:
        """Have a thread do a task some time later, in a copy of this call's context.

        Args:
            task: a callable that raises nothing.
            size_bytes: how much it holds.

        Raises:
            BusyError: too much waits already, no thread can be started, or the program is ending.
        """
        size_bytes = max(size_bytes, LEAST_BYTES)
        if sum(self._unfinished.copy().values()) + size_bytes > self._max_bytes:
            raise BusyError(f"the {self._name} threads have fallen behind")
        future = self._workers.submit(task)
        unfinished = self._unfinished
        unfinished[future] = size_bytes
        future.add_done_callback(lambda done: unfinished.pop(done, None))


class Claim:
    """What one of several may do; the key is free again once this is garbage."""

    __slots__ = ("__weakref__", "key", "reference")

    def __init__(self, key: Hashable, forget: Callable[[ref[Claim]], None]) -> None:
        self.key = key
        self.reference = ref(self, forget)


class Claims:
    """What is under way, by key, so that nobody does it twice at the same time."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, ref[Claim]] = {}
        reset_after_fork(self)

    def after_fork(self) -> None:
        """Forget all: the threads that were at it are not in the child."""
        self._under_way = {}

    def claim(self, key: Hashable) -> Claim | None:
        """Return the claim of a key, to be kept until it is given to `end`; None: another one has it."""
        under_way = self._under_way

        def forget(reference: ref[Claim]) -> None:
            if under_way.get(key) is reference:
                under_way.pop(key, None)

        claim = Claim(key, forget)
        while True:
            known = under_way.setdefault(key, claim.reference)
            if known is claim.reference:
                return claim
            if known() is not None:
                return None
            forget(known)

    def end(self, claim: Claim) -> None:
        """Free the key of a claim."""
        if self._under_way.get(claim.key) is claim.reference:
            self._under_way.pop(claim.key, None)

    def is_claimed(self, key: Hashable) -> bool:
        """Return whether somebody has the claim of a key."""
        reference = self._under_way.get(key)
        return reference is not None and reference() is not None


class Upkeep:
    """Work by name, in threads of its owner's, as another owner's may be stuck; none is begun that is under way.

    Args:
        name: the threads' name.
        size: how many there may be.
    """

    def __init__(self, name: str, *, size: int) -> None:
        self._workers = Workers(name, size=size)
        self._unfinished: set[Future[Any]] = set()
        self.claims = Claims()
        reset_after_fork(self)

    def after_fork(self) -> None:
        """Wait for nothing: the parent's threads are not in the child."""
        self._unfinished = set()

    def begin(self, name: str, work: Callable[[], object]) -> None:
        """Do some work later, unless work of this name is under way, or no thread can be started.

        Args:
            name: the work's name.
            work: a callable without arguments. What it raises is lost: a later call has it done again.
        """
        claim = self.claims.claim(name)
        if claim is not None:
            with suppress(BusyError):
                future = self._workers.submit(lambda: self._do(claim, work))
                self._unfinished.add(future)
                future.add_done_callback(self._unfinished.discard)

    def finish(self, seconds: float) -> None:
        """Wait for so many seconds at the most until what has begun is done."""
        wait(self._unfinished.copy(), seconds)

    def _do(self, claim: Claim, work: Callable[[], object]) -> None:
        try:
            work()
        finally:
            self.claims.end(claim)
