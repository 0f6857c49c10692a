"""Waiting for what may take long, in place or on an event loop, and no longer than allowed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from recallm.breaker import Breaker
from recallm.workers import Workers

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pending:
    """A result that a worker, or another call, is making.

    Attributes:
        future: where it will be.
        timeout: seconds to wait for it.
        ended: told what the wait raised, or None, and whether the time limit ran out.
    """

    future: Future[Any]
    timeout: float
    ended: Callable[[BaseException | None, bool], object]

    def wait(self) -> Any:
        """Wait for the result in place."""
        try:
            result = self.future.result(self.timeout)
        except BaseException as error:
            self.ended(error, self._is_late(error))
            raise
        self.ended(None, False)
        return result

    async def arrive(self) -> Any:
        """Await the result."""
        try:
            result = await asyncio.wait_for(asyncio.wrap_future(self.future), self.timeout)
        except BaseException as error:
            self.ended(error, self._is_late(error))
            raise
        self.ended(None, False)
        return result

    def _is_late(self, error: BaseException) -> bool:
        # The operation may have raised a `TimeoutError` of its own; ending an await cancels what is left.
        return isinstance(error, TimeoutError) and (not self.future.done() or self.future.cancelled())


def work(workers: Workers, task: Callable[[], Any], limit: float, breaker: Breaker | None = None) -> Pending:
    """Have a worker perform a task, unless its circuit is open."""
    if breaker is not None:
        breaker.admit()
    try:
        future = workers.submit(task)
    except Exception as error:
        if breaker is not None:
            breaker.record(error)
        raise

    def ended(error: BaseException | None, late: bool) -> None:
        if error is not None:
            workers.abandon(future)
        if breaker is not None:
            breaker.record(error, late=late)

    return Pending(future, limit, ended)


async def watched(operation: Awaitable[T], limit: float, breaker: Breaker) -> T:
    """Await an operation within a time limit, and tell its circuit how it ended."""
    try:
        result = await asyncio.wait_for(operation, limit)
    except BaseException as error:
        breaker.record(error, late=isinstance(error, TimeoutError))
        raise
    breaker.record(None)
    return result
