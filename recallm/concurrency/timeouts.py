"""Waiting for results with a time limit, in place or on an event loop.

Whose exception it is decides what becomes of it. The operation's own is trouble, which is returned as `Failed`; what
ends the wait itself, a signal handler's exception or this task's cancellation, is the caller's, and is raised.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal, TypeAlias

from recallm.concurrency.breaker import Breaker, Unhurried
from recallm.concurrency.event_loops import LateError, alarm, await_on_trio, running_loop_kind
from recallm.concurrency.patience import Patience, Turn, TurnPatience
from recallm.concurrency.signals import interruption_behind, let_through
from recallm.concurrency.workers import Workers
from recallm.errors import as_trouble

FIRST_LOOK = 0.01
"""Seconds until it is asked again whether a wait is in vain; then twice as many, up to `LONGEST_SPELL`."""

LONGEST_SPELL = 1.0

MAX_SECONDS = threading.TIMEOUT_MAX
"""The longest time that a lock can be waited for."""

How: TypeAlias = Literal["done", "late", "interrupted"]
"""How a wait ended: the result was there, the time limit ran out, or the caller was interrupted."""


@dataclass(frozen=True, slots=True)
class Failed:
    """An operation that ended with an exception of its own, or not in time."""

    error: Exception


class Pending:
    """A result that somebody else is making: a worker, another call, or the event loop.

    Not an abstract base class, whose instance checks take a microsecond: every effect's result is checked.
    """

    __slots__ = ()

    def result(self) -> Any:
        """Wait for the result in place; return it, or `Failed`. Raises only what interrupts the wait."""
        raise NotImplementedError

    async def result_async(self) -> Any:
        """Await the result; return it, or `Failed`. Raises only what interrupts the wait."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class PendingFuture(Pending):
    """A result that a worker, or another call, is making.

    Attributes:
        future: the future that gets the result.
        timeout: seconds to wait for it from now on, or from when its turn comes.
        over: called once when the wait has ended, with how.
        in_vain: asked now and then whether to wait longer would be in vain; None: it never is.
        turn: the operation's turn, if it may have to wait for one.
    """

    future: Future[Any]
    timeout: float
    over: Callable[[How], object]
    in_vain: Callable[[], bool] | None = None
    turn: Turn | None = None

    def result(self) -> Any:
        """Wait for the result in place."""
        how: How = "interrupted"
        try:
            how = "done" if any(wait(self.future, seconds, self.turn) for seconds in self._spells()) else "late"
        finally:
            self.over(how)
        return self._outcome(how)

    async def result_async(self) -> Any:
        """Await the result."""
        how: How = "interrupted"
        try:
            for seconds in self._spells():
                if await wait_async(self.future, seconds, self.turn):
                    how = "done"
                    break
            else:
                how = "late"
        finally:
            self.over(how)
        return self._outcome(how)

    def _spells(self) -> Iterator[float]:
        """Yield for how long to wait next, as long as that makes sense."""
        if self.in_vain is None:
            yield self.timeout
            return
        end, seconds = perf_counter() + self.timeout, FIRST_LOOK
        while (left := end - perf_counter()) > 0.0 and not self.in_vain():
            yield min(seconds, left)
            seconds = min(2 * seconds, LONGEST_SPELL)

    def _outcome(self, how: How) -> Any:
        return (
            outcome(self.future)
            if how == "done"
            else Failed(TimeoutError() if self.turn is None else self.turn.lateness(TimeoutError))
        )


@dataclass(frozen=True, slots=True)
class PendingAwaitable(Pending):
    """A result that the running event loop makes.

    Attributes:
        begin: returns an awaitable of the result; called once, by who awaits.
        timeout: seconds to wait for it from now on, or from when its turn comes.
        breaker: the breaker that admitted it and to which its end is reported; None: no breaker.
        turn: the operation's turn, if it may have to wait for one; on asyncio only.
    """

    begin: Callable[[], Awaitable[Any]]
    timeout: float
    breaker: Breaker | Unhurried | None = None
    turn: Turn | None = None

    def result(self) -> Any:
        """Refuse to wait in place: the event loop would never get to make the result."""
        raise AssertionError("an awaitable has no result in place")

    async def result_async(self) -> Any:
        """Await the result; an operation that goes on after its time limit is cancelled and left behind."""
        try:
            if running_loop_kind() == "trio":
                result = await _trio_result(self._perform(), self.timeout)
            else:
                result = await _asyncio_result(self._perform(), self.timeout, self.turn)
        except BaseException:
            if self.breaker is not None:
                self.breaker.interrupted()
            raise
        if self.breaker is not None:
            error = result.error if isinstance(result, Failed) else None
            if self.turn is not None and self.turn.is_awaited:
                self.breaker.interrupted()
            else:
                self.breaker.record(error, late=isinstance(error, LateError))
        return result

    async def _perform(self) -> Any:
        if self.turn is not None:
            self.turn.is_of_this_task()
        try:
            return await self.begin()
        except SystemExit as error:
            # It would end the event loop, unless kept in the task.
            let_through(error)
            raise as_trouble(error) from error


@dataclass(frozen=True, slots=True)
class PendingThen(Pending):
    """A result that is made of another one.

    Attributes:
        first: the other one.
        then: returns the result of it, or a `Pending` one; raises nothing but what interrupts the caller.
    """

    first: Pending
    then: Callable[[Any], Any]

    def result(self) -> Any:
        """Wait for both in place."""
        result = self.first.result()
        if not isinstance(result, Failed):
            result = self.then(result)
        return result.result() if isinstance(result, Pending) else result

    async def result_async(self) -> Any:
        """Await both."""
        result = await self.first.result_async()
        if not isinstance(result, Failed):
            result = self.then(result)
        return await result.result_async() if isinstance(result, Pending) else result


_tasks: set[asyncio.Task[Any]] = set()
"""The tasks under way, also those whose waiters have gone: an event loop itself keeps none of its tasks alive."""


def begun(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Return a task of the running asyncio loop that does some work, whether anybody keeps hold of it or not."""
    task = asyncio.ensure_future(work)
    _tasks.add(task)
    task.add_done_callback(_forget)
    return task


def end_abandoned() -> bool:
    """End the tasks of loops that were closed without ending them; return whether there were any."""
    abandoned = [task for task in _tasks.copy() if task.get_loop().is_closed()]
    for task in abandoned:
        _tasks.discard(task)
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # asyncio itself sets it on such tasks
        work: Any = task.get_coro()
        with suppress(Exception):  # what it waits for may want the loop, too
            work.close()
    return bool(abandoned)


async def _asyncio_result(work: Coroutine[Any, Any, Any], timeout: float, turn: Turn | None) -> Any:
    task = begun(work)
    patience = _patience(timeout, turn)
    try:
        if patience.left:
            await _until_done(task, patience)
    finally:
        task.cancel()
    return outcome(task) if task.done() else Failed(LateError() if turn is None else turn.lateness(LateError))


async def _until_done(task: asyncio.Task[Any], patience: Patience | TurnPatience) -> None:
    """Wait until a task is done, or patience has run out.

    `asyncio.wait` would wake this task after each part of the time limit: of a crowd that waits, all at the same time.
    """
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    timer: asyncio.TimerHandle

    def end(_: object = None) -> None:
        if not over.done():
            over.set_result(None)

    def look() -> None:
        nonlocal timer
        patience.end()
        if patience.left:
            timer = loop.call_later(patience.begin(), look)
        else:
            end()

    task.add_done_callback(end)
    timer = loop.call_later(patience.begin(), look)
    try:
        await over
    finally:
        timer.cancel()
        task.remove_done_callback(end)


def _forget(task: asyncio.Task[Any]) -> None:
    _tasks.discard(task)
    # asyncio complains about an exception that nobody asks for.
    if not task.cancelled():
        task.exception()


async def _trio_result(work: Coroutine[Any, Any, Any], timeout: float) -> Any:
    try:
        return await await_on_trio(work, timeout)
    except Exception as error:  # noqa: BLE001  # whoever began the operation decides what its trouble means
        return Failed(error)


def _patience(timeout: float, turn: Turn | None) -> Patience | TurnPatience:
    return Patience(timeout) if turn is None else TurnPatience(timeout, turn)


def wait(future: Future[Any], timeout: float, turn: Turn | None = None) -> bool:
    """Wait in place until a future is done; return whether it is.

    ``future.result(timeout)`` would not tell a signal handler's `TimeoutError` from its own, nor from the operation's.
    """
    if future.done():
        return True
    arrived = threading.Lock()
    arrived.acquire()
    future.add_done_callback(lambda _: arrived.release())
    patience = _patience(min(timeout, MAX_SECONDS), turn)
    while patience.left and not arrived.acquire(timeout=patience.begin()):
        patience.end()
    return future.done()


async def wait_async(future: Future[Any], timeout: float, turn: Turn | None = None) -> bool:
    """Wait on the event loop until a future is done; return whether it is."""
    if future.done():
        return True
    waiting = alarm()
    future.add_done_callback(waiting.ring)
    patience = _patience(timeout, turn)
    while patience.left and not future.done():
        await waiting.wait(patience.begin())
        patience.end()
    return future.done()


def outcome(future: Future[Any] | asyncio.Future[Any]) -> Any:
    """Return the result of a future, or of a task, that is done, or `Failed`."""
    try:
        error = future.exception()
    except (CancelledError, asyncio.CancelledError) as cancelled:  # by somebody else
        return Failed(as_trouble(cancelled))
    return future.result() if error is None else Failed(as_trouble(error))


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
    return submit_admitted(workers, task, timeout, breaker)


def submit_admitted(
    workers: Workers,
    task: Callable[[], Any],
    timeout: float,
    breaker: Breaker | Unhurried | None = None,
    turn: Turn | None = None,
) -> Pending:
    """Have a worker perform a task that the breaker admitted, or that it is not asked about.

    Arguments as `submit`'s, and `turn`: the time limit counts from when a worker begins with the task.
    """
    try:
        future = workers.submit(task if turn is None else turn.then(task))
    except Exception as error:
        if breaker is None:
            raise
        if interruption_behind(error) is None:
            breaker.record(error)
        else:
            breaker.interrupted()
        raise
    return pending(workers, future, timeout, breaker, turn)


def pending(
    workers: Workers,
    future: Future[Any],
    timeout: float,
    breaker: Breaker | Unhurried | None = None,
    turn: Turn | None = None,
) -> Pending:
    """Return the wait for what workers were given, whose end is reported to the breaker. Arguments as `submit`'s."""

    def over(how: How) -> None:
        if how != "done":
            workers.abandon(future, patience=timeout if how == "interrupted" else 0.0)
        if breaker is None:
            return
        if how == "interrupted" or (how == "late" and turn is not None and turn.is_awaited):
            breaker.interrupted()
            return
        result = outcome(future) if how == "done" else Failed(TimeoutError())
        breaker.record(result.error if isinstance(result, Failed) else None, late=how == "late")

    return PendingFuture(future, timeout, over, turn=turn)
