"""How long to wait: time limits that count only time in which something could have happened.

An operation that waits for its turn behind others of its kind has not begun: that time does not count against its own
time limit but against that of all turns of a call, and it is no trouble with what performs the operation.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from math import inf
from time import perf_counter
from typing import TYPE_CHECKING, Any

from recallm.concurrency.breaker import Breaker
from recallm.errors import BusyError, CircuitOpenError

if TYPE_CHECKING:
    from asyncio import Semaphore

PARTS = 4
"""Into how many parts a time limit is divided; see `Patience`."""


class Patience:
    """What is left of a time limit, which counts the time in which the event loop, or the thread, was free to run.

    One that somebody keeps busy is late itself: an answer that has come is not seen, and its sender would be taken for
    ill. So the limit is waited for in parts, and of one that took twice its time only a part of it counts. Green
    threads keep each other from running as tasks do.

    Args:
        timeout: seconds.
    """

    __slots__ = ("_began", "_part", "_waiting", "left")

    def __init__(self, timeout: float) -> None:
        self.left = max(0.0, timeout)
        self._part = self.left / PARTS

    def begin(self, longest: float = inf) -> float:
        """Return for how many seconds to wait next, which are no more than these."""
        self._began = perf_counter()
        self._waiting = min(self.left, self._part, longest)
        return self._waiting

    def end(self, since: float = -inf) -> None:
        """Count the time since `begin`, or since a later moment."""
        took, least = perf_counter() - max(self._began, since), self._part / PARTS
        self.left -= took if took < 2 * self._waiting else least
        if self.left < least / PARTS:  # a timer is later than that
            self.left = 0.0


class Turn:
    """The turn of one operation, which may have to wait until others have ended.

    Args:
        patience: what is left of the time for which a call may wait for the turns of its operations.
        breaker: the breaker that has admitted the operation; None: the operation must be tried whatever its state.

    Attributes:
        patience: see above.
        is_awaited: whether the operation waits for its turn now.
        was_awaited: whether it has waited since somebody set this to False.
        came_at: when its turn came, by `time.perf_counter`; -inf: it has not come, or was there at once.
    """

    __slots__ = ("_breaker", "came_at", "is_awaited", "patience", "was_awaited")

    def __init__(self, patience: Patience, breaker: Breaker | None) -> None:
        self.patience = patience
        self._breaker = breaker
        self.is_awaited = self.was_awaited = False
        self.came_at = -inf

    @property
    def is_vain(self) -> bool:
        """Whether the operation waits for a turn in which it would not be tried."""
        return self.is_awaited and self._breaker is not None and self._breaker.state == "open"

    def lateness(self, kind: type[Exception]) -> Exception:
        """Return the error of an operation that has not ended in time: of this kind, unless it has not begun."""
        if self.is_vain:
            return CircuitOpenError(_IN_VAIN)
        if self.is_awaited:
            return BusyError("so many others were under way that its turn did not come in time")
        return kind()

    def wait(self) -> None:
        """Note that the operation waits from now on."""
        self.is_awaited = self.was_awaited = True

    def come(self) -> None:
        """Note that the turn has come.

        Raises:
            CircuitOpenError: those whose turn was before have failed meanwhile, and the part is skipped.
        """
        is_vain = self.is_vain
        self.came_at = perf_counter()
        self.is_awaited = False
        if is_vain:
            raise CircuitOpenError(_IN_VAIN)

    def then(self, task: Callable[[], Any]) -> Callable[[], Any]:
        """Wait from now on; return a task that begins when it is called, which is when its turn has come."""
        self.wait()

        def begin() -> Any:
            self.come()
            return task()

        return begin

    def is_of_this_task(self) -> None:
        """Let `turn_in` find this turn in the running task, and in those that it starts."""
        _turn.set(self)


_IN_VAIN = "the storage kept failing while this waited for its turn, and is left alone for up to a minute"

_turn: ContextVar[Turn | None] = ContextVar("recallm_turn", default=None)


@asynccontextmanager
async def turn_in(queue: Semaphore) -> AsyncIterator[None]:
    """Wait for a turn, of which the time limits of the operation that runs in this task learn.

    Raises:
        CircuitOpenError: as `Turn.come`.
    """
    turn = _turn.get()
    if turn is not None and queue.locked():
        turn.wait()
    async with queue:
        if turn is not None and turn.is_awaited:
            turn.come()
        yield


class TurnPatience:
    """A `Patience` that begins when an operation's turn has come, and until then is that of the call for its turns.

    Args:
        timeout: seconds for the operation itself.
        turn: its turn.
    """

    __slots__ = ("_own", "_turn")

    def __init__(self, timeout: float, turn: Turn) -> None:
        self._own = Patience(timeout)
        self._turn = turn

    @property
    def left(self) -> float:
        """What is left of the time limit that counts now; nothing if it is waited in vain."""
        if self._turn.is_vain:
            return 0.0
        return (self._turn.patience if self._turn.is_awaited else self._own).left

    def begin(self) -> float:
        """Return for how many seconds to wait next: until then, it is not seen that the turn has come."""
        self._turn.was_awaited = self._turn.is_awaited
        own = self._own.begin()
        others = self._turn.patience.begin(own or inf)
        return others if self._turn.is_awaited else own

    def end(self) -> None:
        """Count the time since `begin`, against the operation's own limit from when its turn came."""
        turn = self._turn
        if turn.was_awaited:
            turn.patience.end()
        if not turn.is_awaited:
            self._own.end(turn.came_at)
