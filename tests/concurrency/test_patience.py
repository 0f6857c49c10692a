"""Time limits count only time in which something could have happened, and no wait for a turn."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from recallm.concurrency import patience as patience_module
from recallm.concurrency.breaker import Breaker
from recallm.concurrency.patience import Patience, Turn, TurnPatience, turn_in
from recallm.concurrency.timeouts import Failed, Pending, PendingAwaitable, submit_admitted
from recallm.concurrency.workers import Workers
from recallm.errors import BusyError, CircuitOpenError

WAIT = 20.0
SHORT = 0.05
OWN = 2.0
"""The time limit of an operation that never begins. An event loop sees that its turn is awaited after a part of it."""


def new_breaker() -> Breaker:
    """Return a breaker."""
    return Breaker("part", clock=time.monotonic, changed=lambda part, state: None)


def test_patience_ends() -> None:
    """However busy the loop, the parts of a limit are used up after a while."""
    patience = Patience(1.0)
    parts = 0
    while patience.left:
        patience.begin()
        patience._began -= 1e6
        patience.end()
        parts += 1
    assert parts <= patience_module.PARTS**2
    assert Patience(-1.0).left == 0.0


@pytest.mark.parametrize("after", [0.0, 0.1, 0.7])
def test_the_operation_s_own_limit_counts_from_when_its_turn_comes(
    monkeypatch: pytest.MonkeyPatch, after: float
) -> None:
    """An operation that never ends is given up its own time limit after its turn came, whenever that was."""
    now = 0.0
    monkeypatch.setattr(patience_module, "perf_counter", lambda: now)
    turn = Turn(Patience(5.0), None)
    waiting = TurnPatience(1.0, turn)
    turn.wait()
    while waiting.left:
        end = now + waiting.begin()
        if turn.is_awaited and end >= after:
            now = after
            turn.come()
        now = end
        waiting.end()
    assert now == pytest.approx(after + 1.0, abs=0.02)
    assert turn.patience.left > 4.0


def test_a_turn_may_be_awaited_again() -> None:
    """An operation that has used up its own limit before it waits for a second turn waits in earnest."""
    turn = Turn(Patience(5.0), None)
    waiting = TurnPatience(0.0, turn)
    turn.wait()
    assert waiting.begin() > 1.0


class Place:
    """A place for one operation at a time, in a worker thread or on an event loop, that somebody holds at first.

    Args:
        asynchronous: on an event loop.
    """

    def __init__(self, *, asynchronous: bool) -> None:
        self.asynchronous = asynchronous
        self.performed: list[str] = []
        self._workers = Workers("test", size=1)
        self._turns = asyncio.Semaphore(1)
        self._left = threading.Event()

    def pending(self, name: str, timeout: float, turn: Turn, breaker: Breaker) -> Pending:
        """Return an operation that notes its name when its turn has come."""

        async def operation() -> str:
            async with turn_in(self._turns):
                self.performed.append(name)
                return name

        def task() -> str:
            self.performed.append(name)
            return name

        if self.asynchronous:
            return PendingAwaitable(operation, timeout, breaker, turn)
        return submit_admitted(self._workers, task, timeout, breaker, turn)

    def run(self, main: Callable[[], Any]) -> Any:
        """Run a coroutine function while somebody holds the place, until `leave`."""

        async def held() -> Any:
            await self._turns.acquire()
            return await main()

        if not self.asynchronous:
            self._workers.submit(lambda: self._left.wait(WAIT))
        try:
            return asyncio.run(held())
        finally:
            self._left.set()
            self._workers.dismiss()

    def leave(self) -> None:
        """Have the holder leave."""
        if self.asynchronous:
            self._turns.release()
        self._left.set()


@pytest.fixture(params=[True, False], ids=["loop", "workers"])
def place(request: pytest.FixtureRequest) -> Place:
    """Return a place that is taken."""
    return Place(asynchronous=request.param)


def test_the_wait_for_a_turn_is_not_the_operation_s(place: Place) -> None:
    """An operation whose turn comes after its whole time limit is performed, and nobody is in trouble."""
    breaker = new_breaker()
    turn = Turn(Patience(WAIT), breaker)

    async def main() -> Any:
        asyncio.get_running_loop().call_later(3 * SHORT, place.leave)
        return await place.pending("late", SHORT, turn, breaker).result_async()

    assert place.run(main) == "late"
    assert breaker.state == "closed"
    assert turn.patience.left < WAIT


def test_a_turn_that_does_not_come_is_no_trouble(place: Place) -> None:
    """Whoever has waited long enough goes on without a result; the circuit stays closed, and nothing is performed."""
    breaker = new_breaker()

    async def main() -> Any:
        return await place.pending("never", OWN, Turn(Patience(SHORT), breaker), breaker).result_async()

    failed = place.run(main)
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, BusyError)
    assert breaker.state == "closed"
    assert place.performed == []


def test_operations_of_a_call_wait_for_their_turns_together(place: Place) -> None:
    """What one operation of a call has waited is taken from what the next one may."""
    breaker, waiting = new_breaker(), Patience(SHORT)

    async def main() -> float:
        await place.pending("one", 2 * OWN, Turn(waiting, breaker), breaker).result_async()
        began = time.perf_counter()
        await place.pending("two", 2 * OWN, Turn(waiting, breaker), breaker).result_async()
        return time.perf_counter() - began

    assert place.run(main) < 1.5 * OWN
    assert waiting.left == 0.0


def test_whose_turn_comes_after_the_circuit_opened_is_not_tried(place: Place) -> None:
    """Those who wait behind operations that fail do not each find that out themselves, unless they must be tried."""
    breaker = new_breaker()
    turns = {"call": Turn(Patience(WAIT), breaker), "removal": Turn(Patience(WAIT), None)}

    async def main() -> list[Any]:
        pending = [place.pending(name, WAIT, turn, breaker).result_async() for name, turn in turns.items()]
        results = asyncio.gather(*pending)
        while not all(turn.is_awaited for turn in turns.values()):
            await asyncio.sleep(0)
        breaker.record(TimeoutError(), late=True)
        place.leave()
        return await results

    refused, removed = place.run(main)
    assert isinstance(refused.error, CircuitOpenError)
    assert removed == "removal"
    assert place.performed == ["removal"]


def test_nobody_waits_on_when_the_circuit_opens(place: Place) -> None:
    """If those whose turn it is never end, the others give up when that is known, not when their patience ends."""
    breaker = new_breaker()
    turn = Turn(Patience(WAIT), breaker)

    async def main() -> Any:
        result = asyncio.ensure_future(place.pending("never", OWN, turn, breaker).result_async())
        while not turn.is_awaited:
            await asyncio.sleep(0)
        breaker.record(TimeoutError(), late=True)
        return await result

    assert isinstance(place.run(main).error, CircuitOpenError)
    assert turn.patience.left > 0.0
    assert place.performed == []


def test_a_wait_in_place_is_as_patient() -> None:
    """A sync caller's operation, too, has its whole time limit from when a worker begins with it."""
    workers, breaker, left = Workers("test", size=1), new_breaker(), threading.Event()
    workers.submit(lambda: left.wait(WAIT))
    pending = submit_admitted(workers, lambda: "late", SHORT, breaker, Turn(Patience(WAIT), breaker))
    threading.Timer(3 * SHORT, left.set).start()
    assert pending.result() == "late"
    workers.dismiss()
