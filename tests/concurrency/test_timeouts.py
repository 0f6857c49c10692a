"""Waiting: bounded, in place and on event loops; what ends the wait is told from how the operation ended."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
import trio

from recallm.concurrency import timeouts
from recallm.concurrency.breaker import Breaker
from recallm.concurrency.timeouts import Failed, PendingAwaitable, PendingFuture, submit, wait, wait_async
from recallm.concurrency.workers import Workers
from recallm.errors import BusyError, CircuitOpenError, PanicError

WAIT = 20.0
SHORT = 0.05


class PanicException(BaseException):
    """What an extension written in Rust raises when it panics."""


@pytest.fixture
def workers() -> Iterator[Workers]:
    """Yield a pool of one thread."""
    pool = Workers("test", size=1)
    yield pool
    pool.dismiss()


@pytest.fixture
def breaker() -> Breaker:
    """Return a breaker."""
    return Breaker("part", clock=time.monotonic, changed=lambda part, state: None)


def raising(error: BaseException) -> Callable[[], Any]:
    """Return a function that raises this."""

    def fail() -> Any:
        raise error

    return fail


def in_place(begin: Callable[[], Any]) -> Any:
    """Return what a wait in place gives."""
    return begin().result()


def on_asyncio(begin: Callable[[], Any]) -> Any:
    """Return what a wait on an asyncio loop gives."""

    async def main() -> Any:
        return await begin().result_async()

    return asyncio.run(main())


def on_trio(begin: Callable[[], Any]) -> Any:
    """Return what a wait on a trio loop gives."""

    async def main() -> Any:
        return await begin().result_async()

    return trio.run(main)


EVERYWHERE = pytest.mark.parametrize("waiting", [in_place, on_asyncio, on_trio])
ON_LOOPS = pytest.mark.parametrize("waiting", [on_asyncio, on_trio])


@EVERYWHERE
def test_a_result_is_waited_for(waiting: Any, workers: Workers, breaker: Breaker) -> None:
    """A worker's result is returned, wherever it is waited for."""
    assert waiting(lambda: submit(workers, lambda: "done", WAIT, breaker)) == "done"


@EVERYWHERE
@pytest.mark.parametrize("error", [ValueError(), TimeoutError(), StopIteration(), StopAsyncIteration()])
def test_what_a_task_raises_is_returned(waiting: Any, error: Exception, workers: Workers, breaker: Breaker) -> None:
    """A task's own exception is its result, also one that Python treats in its own way; it is not late."""
    failed = waiting(lambda: submit(workers, raising(error), WAIT, breaker))
    assert failed == Failed(error)
    assert breaker.state == "closed"


@EVERYWHERE
def test_a_limit_that_runs_out_is_a_timeout(waiting: Any, workers: Workers, breaker: Breaker) -> None:
    """A task that outlives its limit is left behind, and the circuit opens at once."""
    release = threading.Event()
    failed = waiting(lambda: submit(workers, lambda: release.wait(WAIT), SHORT, breaker))
    assert isinstance(failed.error, TimeoutError)
    assert breaker.state == "open"
    with pytest.raises(CircuitOpenError):
        submit(workers, lambda: None, WAIT, breaker)
    with pytest.raises(BusyError):
        submit(workers, lambda: None, WAIT)
    release.set()


def test_a_wait_may_be_longer_than_any_clock_counts() -> None:
    """A limit beyond what the system can wait for is no error, nor is one that has passed."""
    future: Future[str] = Future()
    assert not wait(future, -1.0)
    threading.Thread(target=lambda: future.set_result("done")).start()
    assert wait(future, 1e300)


@ON_LOOPS
def test_an_awaitable_is_awaited(waiting: Any, breaker: Breaker) -> None:
    """What the loop makes is returned, and so is its exception, whatever its kind."""

    async def sleep() -> str:
        await (trio.sleep(0) if waiting is on_trio else asyncio.sleep(0))
        return "done"

    assert waiting(lambda: PendingAwaitable(sleep, WAIT, breaker)) == "done"
    for error in (ValueError(), TimeoutError()):
        assert waiting(lambda error=error: PendingAwaitable(raising(error), WAIT, breaker)) == Failed(error)
    assert breaker.state == "closed"


@ON_LOOPS
def test_an_awaitable_that_takes_too_long_is_left_behind(waiting: Any, breaker: Breaker) -> None:
    """The limit ends the wait and opens the circuit."""

    async def forever() -> None:
        await (trio.sleep_forever() if waiting is on_trio else asyncio.Event().wait())

    failed = waiting(lambda: PendingAwaitable(forever, SHORT, breaker))
    assert isinstance(failed.error, TimeoutError)
    assert breaker.state == "open"


def test_an_operation_that_ignores_its_cancellation_holds_nobody_up() -> None:
    """The caller goes on after the limit although the operation does not end."""
    go: list[asyncio.Event] = []

    async def stubborn() -> None:
        go.append(asyncio.Event())
        while not go[0].is_set():
            try:
                await go[0].wait()
            except asyncio.CancelledError:
                continue

    async def main() -> Any:
        failed = await PendingAwaitable(stubborn, SHORT).result_async()
        assert len(timeouts._tasks) == 1
        go[0].set()
        while timeouts._tasks:
            await asyncio.sleep(0)
        return failed

    assert isinstance(asyncio.run(main()).error, TimeoutError)


@pytest.mark.parametrize("error", [PanicException(), asyncio.CancelledError(), SystemExit()])
def test_a_panic_or_a_cancellation_of_the_operation_is_its_trouble(error: BaseException) -> None:
    """What is no `Exception`, and ends nothing but the operation, is returned as one."""

    async def main() -> Any:
        return await PendingAwaitable(raising(error), WAIT).result_async()

    failed = asyncio.run(main())
    assert isinstance(failed.error, PanicError)
    assert failed.error.__cause__ is not None


def test_a_cancelled_caller_cancels_what_it_awaits(breaker: Breaker) -> None:
    """A caller's cancellation passes, ends the operation, and is no trouble of it."""
    ended: list[str] = []

    async def operation() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("operation")

    async def main() -> None:
        task = asyncio.ensure_future(PendingAwaitable(operation, WAIT, breaker).result_async())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)

    asyncio.run(main())
    assert ended == ["operation"]
    assert breaker.state == "closed"


async def _soon() -> str:
    for _ in range(3):
        await asyncio.sleep(0)
    return "done"


@pytest.mark.parametrize("stalls", [1, 3])
def test_a_busy_loop_is_not_a_late_answer(stalls: int, breaker: Breaker) -> None:
    """The time in which somebody keeps the loop from running does not count, so that a sound part is not given up."""

    async def main() -> Any:
        for number in range(stalls):
            asyncio.get_running_loop().call_later(number * 1e-4, time.sleep, 2 * SHORT)
        return await PendingAwaitable(_soon, SHORT, breaker).result_async()

    assert asyncio.run(main()) == "done"
    assert breaker.state == "closed"


def test_a_future_that_is_done_while_the_loop_is_busy_is_seen() -> None:
    """A worker's result that arrives while the loop does not run is taken, though its limit has passed by then."""
    future: Future[str] = Future()

    async def main() -> bool:
        asyncio.get_running_loop().call_soon(time.sleep, 3 * SHORT)
        threading.Thread(target=lambda: future.set_result("done")).start()
        return await wait_async(future, SHORT)

    assert asyncio.run(main())


def test_a_loop_that_has_ended_is_not_woken() -> None:
    """A result that arrives after the loop was closed disturbs nobody."""
    future: Future[str] = Future()

    async def main() -> Awaitable[bool] | bool:
        return await wait_async(future, SHORT)

    assert asyncio.run(main()) is False
    assert trio.run(main) is False
    future.set_result("late")


def test_what_interrupts_the_reading_of_a_result_is_not_the_operation_s() -> None:
    """A signal handler may raise between the arrival of a result and its return; that is the caller's."""

    class Struck(Future[int]):
        def exception(self, timeout: float | None = None) -> BaseException | None:
            raise KeyError("a deadline")

    future = Struck()
    future.set_result(7)
    with pytest.raises(KeyError):
        PendingFuture(future, WAIT, lambda how: None).result()
