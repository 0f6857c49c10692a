"""Waiting for results with a time limit, in place or on an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from recallm.concurrency.breaker import Breaker
from recallm.concurrency.workers import Workers


class Pending:
    """A result that somebody else is making: a worker, another call, or the event loop.

    Not an abstract base class, whose instance checks take a microsecond: every effect's result is checked.
    """

    __slots__ = ()

    def result(self) -> Any:
        """Wait for the result in place. Raises the operation's own exception, or `TimeoutError`."""
        raise NotImplementedError

    async def result_async(self) -> Any:
        """Await the result. Raises as `result`."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class PendingFuture(Pending):
    """A result that a worker, or another call, is making.

    Attributes:
        future: the future that gets the result.
        timeout: seconds to wait for it from now on.
        ended: called once as ``ended(error, timed_out)`` when the wait is over; `error` is None on success.
    """

    future: Future[Any]
    timeout: float
    ended: Callable[[BaseException | None, bool], object]

    def result(self) -> Any:
        """Wait for the result in place."""
        try:
            result = self.future.result(self.timeout)
        except BaseException as error:
            self.ended(error, self._timed_out(error))
            raise
        self.ended(None, False)
        return result

    async def result_async(self) -> Any:
        """Await the result."""
        try:
            result = await asyncio.wait_for(asyncio.wrap_future(self.future), self.timeout)
        except BaseException as error:
            self.ended(error, self._timed_out(error))
            raise
        self.ended(None, False)
        return result

    def _timed_out(self, error: BaseException) -> bool:
        # The operation may have raised a `TimeoutError` of its own; ending an await cancels what is left.
        return isinstance(error, TimeoutError) and (not self.future.done() or self.future.cancelled())


@dataclass(frozen=True, slots=True)
class PendingAwaitable(Pending):
    """A result that the running event loop makes.

    Attributes:
        awaitable: returns the result when it is awaited.
        timeout: seconds to wait for it from now on.
        breaker: the breaker to which the end is reported; None: no breaker.
    """

    awaitable: Awaitable[Any]
    timeout: float
    breaker: Breaker | None = None

    def result(self) -> Any:
        """Refuse to wait in place: the event loop would never get to make the result."""
        raise AssertionError("an awaitable has no result in place")

    async def result_async(self) -> Any:
        """Await the result."""
        try:
            result = await asyncio.wait_for(self.awaitable, self.timeout)
        except BaseException as error:
            if self.breaker is not None:
                self.breaker.record(error, late=isinstance(error, TimeoutError))
            raise
        if self.breaker is not None:
            self.breaker.record(None)
        return result


def submit(workers: Workers, task: Callable[[], Any], timeout: float, breaker: Breaker | None = None) -> Pending:
    """Have a worker perform a task, unless the breaker refuses it.

    Args:
        workers: the threads that may perform it.
        task: a callable without arguments.
        timeout: seconds after which the wait for it ends.
        breaker: the breaker that admits the task and to which its end is reported; None: no breaker.

    Raises:
        CircuitOpenError: the circuit is open.
        BusyError: every worker is stuck.
    """
    if breaker is not None:
        breaker.admit()
    try:
        future = workers.submit(task)
    except Exception as error:
        if breaker is not None:
            breaker.record(error)
        raise

    def ended(error: BaseException | None, timed_out: bool) -> None:
        if error is not None:
            workers.abandon(future)
        if breaker is not None:
            breaker.record(error, late=timed_out)

    return PendingFuture(future, timeout, ended)
