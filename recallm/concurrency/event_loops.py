"""What async code runs on: asyncio, trio, or neither; and how it is woken from other threads on each."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable
from contextlib import suppress
from typing import Literal, Protocol, TypeAlias, TypeVar

T = TypeVar("T")
LoopKind: TypeAlias = Literal["asyncio", "trio"]


def running_loop_kind() -> LoopKind | None:
    """Return the library whose event loop runs the current task, or None if there is none that is known here.

    Trio is asked first: it may run as a guest of an asyncio loop, whose tasks are then not the current ones.
    """
    if _is_on_trio():
        return "trio"
    return None if asyncio._get_running_loop() is None else "asyncio"


def _is_on_trio() -> bool:
    # It may be barred, or be imported by another thread at this moment; then nothing runs on it.
    current_task = getattr(getattr(sys.modules.get("trio"), "lowlevel", None), "current_task", None)
    if current_task is None:
        return False
    try:
        current_task()
    except RuntimeError:
        return False
    return True


def ends_task(error: BaseException) -> bool:
    """Return whether an exception ends the running task, and is not a cancellation that other code made itself."""
    if isinstance(error, GeneratorExit):
        return True
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is None or task.cancelling() > 0
    return isinstance(error, getattr(sys.modules.get("trio"), "Cancelled", ()))


class Alarm(Protocol):
    """Wakes one task, on an event loop, from any thread."""

    def ring(self, _of: object = None) -> None:
        """Wake the task, now and whenever it waits later; does nothing if the loop has ended."""
        ...

    async def wait(self, seconds: float) -> None:
        """Return when the alarm rings, or after `seconds`. Raises only what ends the task, such as a cancellation."""
        ...


def alarm() -> Alarm:
    """Return an alarm for the running task."""
    return _TrioAlarm() if _is_on_trio() else _AsyncioAlarm()


class _AsyncioAlarm:
    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rung: asyncio.Future[None] = self._loop.create_future()

    def ring(self, _of: object = None) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._ring)

    def _ring(self) -> None:
        if not self._rung.done():
            self._rung.set_result(None)

    async def wait(self, seconds: float) -> None:
        await asyncio.wait((self._rung,), timeout=seconds)


class _TrioAlarm:
    def __init__(self) -> None:
        import trio

        self._rung = trio.Event()
        self._token = trio.lowlevel.current_trio_token()

    def ring(self, _of: object = None) -> None:
        import trio

        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._rung.set)

    async def wait(self, seconds: float) -> None:
        import trio

        with trio.move_on_after(seconds):
            await self._rung.wait()


class LateError(TimeoutError):
    """A time limit of ours ran out; an operation may raise a `TimeoutError` of its own."""


async def await_on_trio(work: Awaitable[T], seconds: float) -> T:
    """Await an operation under trio.

    Raises:
        LateError: it took longer than `seconds`, and was cancelled.
        BaseException: what it raises, or trio's cancellation of the caller.
    """
    import trio

    with trio.move_on_after(seconds):
        return await work
    raise LateError
