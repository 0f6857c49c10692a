"""Single flight: of concurrent calls for one answer one computes it, the others wait, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from time import perf_counter
from typing import Any

import pytest

from recallm import CacheConfig, InMemoryStorage, ThreadSafeInMemoryStorage, semantic_cache
from recallm.concurrency.coalescing import Leadership, SingleFlight
from recallm.engine import drivers
from recallm.testing import FakeEmbedder

WAIT = 20.0


def options(**given: Any) -> dict[str, Any]:
    """Return the options that every function here is cached with."""
    known = {"context": {}, "storage": ThreadSafeInMemoryStorage(), "embedder": FakeEmbedder(), "guards": ()}
    return {**known, "ignore": ("self",), **given}


def waiting_for(single_flight: SingleFlight, waiters: int) -> bool:
    """Return whether this many callers wait for the one answer that is being computed."""
    under_way: list[Any] = list(single_flight._under_way.values())
    return any(len(future._done_callbacks) == waiters for future in under_way)


class Slow:
    """A function that answers once it is released, and counts its calls."""

    def __init__(self, **given: Any) -> None:
        self.calls = 0
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()
        self.fail = 0
        self.ask: Any = semantic_cache(**options(**given))(self.answer)

    def answer(self, prompt: str) -> list[str]:
        """Wait to be released, then answer or fail."""
        self.calls += 1
        self.begun.release()
        assert self.go.wait(WAIT)
        if self.fail:
            self.fail -= 1
            raise ConnectionError(f"failure {self.calls}")
        return [f"answer {self.calls} to {prompt}"]

    def ask_from(self, pool: ThreadPoolExecutor, number: int) -> list[Future[Any]]:
        """Ask from this many threads; return once all but the first wait."""
        futures = [pool.submit(self.ask, "q")]
        assert self.begun.acquire(timeout=WAIT)
        futures += [pool.submit(self.ask, "q") for _ in range(number - 1)]
        until(lambda: waiting_for(drivers.THREADS, number - 1))
        return futures


def until(claim: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    end = perf_counter() + WAIT
    while not claim():
        assert perf_counter() < end
        threading.Event().wait(0.001)


@pytest.fixture
def pool() -> Any:
    """Yield a pool of threads."""
    with ThreadPoolExecutor(70) as threads:
        yield threads


def test_one_thread_calls_and_the_others_get_its_answer(pool: ThreadPoolExecutor) -> None:
    """Of eight concurrent calls one runs the function; seven are coalesced hits with copies of their own."""
    slow = Slow()
    futures = slow.ask_from(pool, 8)
    slow.go.set()
    answers = [future.result(WAIT) for future in futures]
    assert answers == [["answer 1 to q"]] * 8
    assert len({id(answer) for answer in answers}) == 8
    assert slow.calls == 1
    stats = slow.ask.stats()
    assert (stats.misses, stats.hits, stats.coalesced) == (1, 7, 7)
    assert not drivers.THREADS._under_way


def test_a_failure_is_not_shared_and_the_next_one_leads(pool: ThreadPoolExecutor) -> None:
    """If the leader's call raises, only its caller gets the exception; the next leader's answer serves the others."""
    slow = Slow()
    slow.fail = 1
    futures = slow.ask_from(pool, 5)
    slow.go.set()
    assert sum(isinstance(future.exception(WAIT), ConnectionError) for future in futures) == 1
    assert [future.result() for future in futures[1:]] == [["answer 2 to q"]] * 4
    assert slow.calls == 2


@pytest.mark.parametrize("given", [{"store_if": lambda response: False}, {"coalesce": False}], ids=["not kept", "off"])
def test_what_cannot_be_shared_is_made_by_each(given: dict[str, Any], pool: ThreadPoolExecutor) -> None:
    """If answers are not stored, or with `coalesce=False`, no concurrent call counts as coalesced."""
    slow = Slow(**given)
    slow.go.set()
    futures = [pool.submit(slow.ask, "q") for _ in range(6)]
    assert all(future.result(WAIT) for future in futures)
    if "store_if" in given:
        assert slow.calls == 6
    assert slow.ask.stats().coalesced == 0


def test_a_waiter_gives_up_and_calls_for_itself(pool: ThreadPoolExecutor) -> None:
    """A call that has waited for `coalesce_timeout_seconds` runs the function itself."""
    slow = Slow(config=CacheConfig(coalesce_timeout_seconds=0.05))
    first = pool.submit(slow.ask, "q")
    assert slow.begun.acquire(timeout=WAIT)
    second = pool.submit(slow.ask, "q")
    assert slow.begun.acquire(timeout=WAIT)
    assert slow.calls == 2
    slow.go.set()
    assert {first.result(WAIT)[0], second.result(WAIT)[0]} <= {"answer 1 to q", "answer 2 to q"}
    assert slow.ask.stats().misses == 2


def test_a_refresh_waits_for_nobody(pool: ThreadPoolExecutor) -> None:
    """A refresh runs the function at once, although the same call is under way."""
    slow = Slow()
    first = pool.submit(slow.ask, "q")
    assert slow.begun.acquire(timeout=WAIT)
    refreshed = pool.submit(slow.ask.refresh, "q")
    assert slow.begun.acquire(timeout=WAIT)
    slow.go.set()
    assert first.result(WAIT)
    assert refreshed.result(WAIT)
    assert slow.calls == 2


def test_a_function_that_calls_itself_does_not_wait_for_itself() -> None:
    """A cached function that calls itself with the same prompt does not deadlock."""
    depth = 0

    @semantic_cache(**options(store_if=lambda response: True))
    def ask(prompt: str) -> int:
        nonlocal depth
        depth += 1
        return depth if depth == 3 else ask(prompt)

    began = perf_counter()
    assert ask("q") == 3
    assert perf_counter() - began < WAIT


def test_a_coroutine_that_awaits_itself_does_not_wait_for_itself() -> None:
    """An async cached function that awaits itself in a new task with the same prompt does not deadlock."""
    depth = 0

    @semantic_cache(**options())
    async def ask(prompt: str) -> int:
        nonlocal depth
        depth += 1
        return depth if depth == 3 else await asyncio.create_task(ask(prompt))

    assert asyncio.run(asyncio.wait_for(ask("q"), WAIT)) == 3


def test_tasks_wait_without_blocking_the_loop() -> None:
    """Five hundred tasks with fifty prompts run the function fifty times on one event loop; the rest are hits."""
    calls = 0

    @semantic_cache(**options())
    async def ask(prompt: str) -> str:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.01)
        return f"an answer to {prompt}"

    async def main() -> list[str]:
        return await asyncio.gather(*(ask(f"question {number % 50}") for number in range(500)))

    answers = asyncio.run(asyncio.wait_for(main(), 3 * WAIT))
    assert sorted(set(answers)) == sorted(f"an answer to question {number}" for number in range(50))
    assert calls == 50
    assert ask.stats().coalesced == ask.stats().hits == 450
    assert not drivers.TASKS._under_way


def test_a_burst_of_threads_runs_the_function_once_a_prompt(pool: ThreadPoolExecutor) -> None:
    """Sixty-four threads that ask fifty prompts at the same time run the function once per prompt."""
    calls: list[str] = []
    together = threading.Barrier(64)

    @semantic_cache(**options(ignore=()))
    def ask(prompt: str) -> str:
        calls.append(prompt)
        return f"an answer to {prompt}"

    def burst(number: int) -> None:
        together.wait(WAIT)
        for each in range(50):
            prompt = f"question {(number + each) % 50}"
            assert ask(prompt) == f"an answer to {prompt}"

    for future in [pool.submit(burst, number) for number in range(64)]:
        future.result(3 * WAIT)
    assert len(calls) == len(set(calls)) == 50
    assert ask.stats().hits + ask.stats().misses == 64 * 50


def test_a_cancelled_leader_leaves_the_lead_to_the_next() -> None:
    """If the leader is cancelled, one waiter runs the function for the rest; a cancelled waiter disturbs nobody."""
    calls = 0

    @semantic_cache(**options())
    async def ask(prompt: str) -> str:
        nonlocal calls
        calls += 1
        if calls == 1:
            await asyncio.Event().wait()
        return f"answer {calls}"

    async def main() -> list[Any]:
        tasks = [asyncio.create_task(ask("q")) for _ in range(4)]
        while not (calls and waiting_for(drivers.TASKS, 3)):
            await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.sleep(0)
        tasks[0].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, second, *others = asyncio.run(asyncio.wait_for(main(), WAIT))
    assert isinstance(first, asyncio.CancelledError)
    assert isinstance(second, asyncio.CancelledError)
    assert others == ["answer 2", "answer 2"]
    assert not drivers.TASKS._under_way


def test_a_call_cancelled_at_any_await_leaves_nothing_behind() -> None:
    """A call that is cancelled at any await is counted once, leaves no waiter, and the next call works."""

    class Waiting(InMemoryStorage):
        serves_async = True

        async def aperform(self, operation: Any) -> Any:
            await asyncio.sleep(0)
            return operation.on(self)

    async def cancelled_at(step: int) -> bool:
        @semantic_cache(**options(storage=Waiting(), verify=None))
        async def ask(prompt: str) -> str:
            await asyncio.sleep(0)
            return "an answer"

        task = asyncio.create_task(ask("q"))
        for _ in range(step):
            await asyncio.sleep(0)
        done = task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert not drivers.TASKS._under_way
        stats = ask.stats()
        assert step == 0 or stats.hits + stats.misses + sum(stats.bypasses.values()) == 1
        assert await asyncio.wait_for(ask("q"), WAIT) == "an answer"
        return done

    async def main() -> int:
        for step in range(10_000):
            if await cancelled_at(step):
                return step
        raise AssertionError("the call never ended")

    assert asyncio.run(main()) > 5


def test_two_storages_do_not_wait_for_each_other(pool: ThreadPoolExecutor) -> None:
    """Calls with one key wait for each other only if they also use one storage."""
    single_flight = SingleFlight()
    leadership = single_flight.join((1, "key"))
    assert isinstance(leadership, Leadership)
    other = pool.submit(single_flight.join, (2, "key")).result(WAIT)
    assert isinstance(other, Leadership)
    waiter = pool.submit(single_flight.join, (1, "key")).result(WAIT)
    assert isinstance(waiter, Future)
    single_flight.leave(leadership)
    assert waiter.result(WAIT) == "waited"
    pool.submit(single_flight.leave, other).result(WAIT)
    assert not single_flight._under_way


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_waits_for_none_of_the_parents_calls() -> None:
    """A forked child does not wait for a call of its parent, whose thread the child does not have."""
    program = """
import os, threading
from recallm import semantic_cache
from recallm.testing import FakeEmbedder
begun, child = threading.Event(), False
@semantic_cache(context={}, embedder=FakeEmbedder(), ignore=("begun", "child"))
def ask(prompt: str) -> str:
    if not child:
        begun.set()
        threading.Event().wait(30)
    return "an answer"
threading.Thread(target=ask, args=("q",), daemon=True).start()
begun.wait(20)
pid = os.fork()
if pid == 0:
    child = True
    os._exit(0 if ask("q") == "an answer" else 1)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
os._exit(0)
"""
    program = program.replace(', ignore=("begun", "child")', "")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=25)
    assert done.stdout.strip() == "0", done.stderr


def test_a_sync_call_on_an_event_loop_waits_for_nobody(pool: ThreadPoolExecutor) -> None:
    """A sync call on a running event loop runs the function at once, since waiting would block the loop."""
    slow = Slow()
    first = pool.submit(slow.ask, "q")
    assert slow.begun.acquire(timeout=WAIT)

    async def main() -> Any:
        threading.Timer(0.05, slow.go.set).start()
        return slow.ask("q")

    assert asyncio.run(main())
    assert first.result(WAIT)
    assert slow.calls == 2


class Away(InMemoryStorage):
    """A storage whose look-ups hang until it is back."""

    blocking = True

    def __init__(self) -> None:
        super().__init__()
        self.back = threading.Event()
        self.asked = 0

    def recall(self, namespace: str, key: str) -> Any:
        """Hang, or look up."""
        self.asked += 1
        self.back.wait(WAIT)
        return super().recall(namespace, key)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_an_outage_costs_one_time_limit_and_not_one_a_call(asynchronous: bool) -> None:
    """While a storage hangs, a thousand calls wait for at most two time limits, as the circuit opens."""
    storage = Away()
    given = options(storage=storage, config=CacheConfig(cache_timeout_seconds=0.05))

    def answer(prompt: str) -> str:
        return "an answer"

    async def later(prompt: str) -> str:
        return "an answer"

    ask: Any = semantic_cache(**given)(later if asynchronous else answer)

    async def ask_all() -> list[str]:
        return [await ask(f"q {number}") for number in range(1000)]

    answers = asyncio.run(ask_all()) if asynchronous else [ask(f"q {number}") for number in range(1000)]
    assert answers == ["an answer"] * 1000
    assert storage.asked <= 2
    assert ask.stats().bypasses["storage"] == 1000
    assert ask.stats().errors["storage"] <= 2
    assert ask.stats().circuits == {"storage": "open"}
    assert "circuits        storage open" in repr(ask.stats())
    storage.back.set()
