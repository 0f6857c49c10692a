"""Single flight: of concurrent calls for one answer one computes it, the others wait, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context
from time import perf_counter
from typing import Any

import pytest

from recallm import CacheConfig, InMemoryStorage, ThreadSafeInMemoryStorage, semantic_cache
from recallm.concurrency.coalescing import Leadership, SingleFlight
from recallm.engine import drivers
from recallm.records import Recalled, Stored
from recallm.testing import FakeEmbedder

WAIT = 20.0


def options(**given: Any) -> dict[str, Any]:
    """Return the options that every function here is cached with."""
    known = {"context": {}, "storage": ThreadSafeInMemoryStorage(), "embedder": FakeEmbedder(), "guards": ()}
    return {**known, "ignore": ("self",), **given}


def waiting_for(single_flight: SingleFlight, waiters: int) -> bool:
    """Return whether this many callers wait for the one answer that is being computed."""
    under_way: list[Any] = [leader.done for leader in leading(single_flight)]
    return any(len(future._done_callbacks) == waiters for future in under_way)


def leading(single_flight: SingleFlight) -> list[Leadership]:
    """Return the leaders of all answers that are being computed."""
    return [leader for reference in single_flight._under_way.values() if (leader := reference()) is not None]


class Full(ThreadSafeInMemoryStorage):
    """A storage that stores nothing."""

    def put(self, entry: Any, epoch: int, ttl: float | None) -> Any:
        """Fail."""
        raise ConnectionError


class Counting(ThreadSafeInMemoryStorage):
    """A storage that counts how often it is asked for a key, and has something done after that."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0
        self.after_look: Callable[[], object] = lambda: None

    def recall(self, namespace: str, key: str) -> Recalled:
        """Look for a key."""
        self.looks += 1
        found = super().recall(namespace, key)
        self.after_look()
        return found


class Forgetful(ThreadSafeInMemoryStorage):
    """A storage that loses at once what it has stored."""

    def put(self, entry: Any, epoch: int, ttl: float | None) -> Stored:
        """Store nothing."""
        return Stored(kept=True)


class PanicException(BaseException):
    """What an extension in Rust raises."""


class Slow:
    """A function that answers once it is released, and counts its calls."""

    def __init__(self, response: Any = None, **given: Any) -> None:
        self.calls = 0
        self.response = response
        self.together: threading.Barrier | None = None
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()
        self.fail = 0
        self.error: type[BaseException] = ConnectionError
        self.ask: Any = semantic_cache(**options(**given))(self.answer)

    def answer(self, prompt: str) -> Any:
        """Wait to be released, then answer or fail."""
        self.calls += 1
        self.begun.release()
        assert self.go.wait(WAIT)
        number = self.calls
        if number > 1 and self.together is not None:
            self.together.wait(WAIT)
        if self.fail:
            self.fail -= 1
            raise self.error(f"failure {number}")
        return [f"answer {number} to {prompt}"] if self.response is None else self.response

    def hold_after_first(self, number: int) -> None:
        """Let no later call end before this many run side by side."""
        self.together = threading.Barrier(number)

    def ask_from(self, pool: ThreadPoolExecutor, number: int) -> list[Future[Any]]:
        """Ask from this many threads; return once all but the first wait."""
        futures = [pool.submit(self.ask, "q")]
        assert self.begun.acquire(timeout=WAIT)
        futures += [pool.submit(self.ask, "q") for _ in range(number - 1)]
        until(lambda: waiting_for(drivers.THREADS, number - 1))
        return futures


def joined(single_flight: SingleFlight, key: Any) -> tuple[Leadership, Future[Any] | str]:
    """Return a claim made in this thread, and the role that it gets or what tells it later."""
    claim = Leadership(key)
    return claim, single_flight.join(claim)


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
    assert not leading(drivers.THREADS)


UNSHARED: dict[str, dict[str, Any]] = {
    "raises": {},
    "store_if declines": {"store_if": lambda response: False},
    "not storable": {"response": threading.Lock()},
    "storage full": {"storage": Full()},
    "lost": {"storage": Forgetful()},
    "panics": {},
    "cancels itself": {},
}

ERRORS: dict[str, type[BaseException]] = {
    "raises": ConnectionError,
    "panics": PanicException,
    "cancels itself": asyncio.CancelledError,
}


@pytest.mark.parametrize("why", UNSHARED)
def test_waiters_for_an_answer_that_cannot_be_shared_call_at_once(why: str, pool: ThreadPoolExecutor) -> None:
    """If the leader gets no answer that others can use, all who waited for it call side by side, not in turn."""
    given = dict(UNSHARED[why])
    slow = Slow(response=given.pop("response", None), **given)
    slow.fail, slow.error = int(why in ERRORS), ERRORS.get(why, ConnectionError)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        futures = slow.ask_from(pool, 5)
        slow.hold_after_first(4)
        slow.go.set()
        raised = [future.exception(WAIT) for future in futures]
    assert sum(error is not None for error in raised) == (why in ERRORS)
    assert slow.calls == 5
    assert slow.ask.stats().coalesced == 0


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
    assert not leading(drivers.TASKS)


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
    leader: Any = None

    @semantic_cache(**options())
    async def ask(prompt: str) -> str:
        nonlocal calls, leader
        calls += 1
        if calls == 1:
            leader = asyncio.current_task()
            await asyncio.Event().wait()
        return f"answer {calls}"

    async def main() -> list[Any]:
        tasks = [asyncio.create_task(ask("q")) for _ in range(4)]
        while not (calls and waiting_for(drivers.TASKS, 3)):
            await asyncio.sleep(0)
        waiters = [task for task in tasks if task is not leader]
        waiters[0].cancel()
        await asyncio.sleep(0)
        leader.cancel()
        return await asyncio.gather(leader, *waiters, return_exceptions=True)

    first, second, *others = asyncio.run(asyncio.wait_for(main(), WAIT))
    assert isinstance(first, asyncio.CancelledError)
    assert isinstance(second, asyncio.CancelledError)
    assert others == ["answer 2", "answer 2"]
    assert not leading(drivers.TASKS)


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
        assert not leading(drivers.TASKS)
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
    single_flight = SingleFlight(of_threads=True)
    first, role = joined(single_flight, (1, "key"))
    other, role_of_other = pool.submit(joined, single_flight, (2, "key")).result(WAIT)
    assert role == role_of_other == "leading"
    _, waiter = pool.submit(joined, single_flight, (1, "key")).result(WAIT)
    assert isinstance(waiter, Future)
    single_flight.leave(first)
    assert waiter.result(WAIT) == "waited"
    pool.submit(single_flight.leave, other).result(WAIT)
    assert not single_flight._under_way


def test_a_lost_leader_holds_nobody_up(pool: ThreadPoolExecutor) -> None:
    """If a call ends without giving back its leadership, those that wait go on, and the next call leads."""
    single_flight = SingleFlight(of_threads=True)
    lost, role = pool.submit(joined, single_flight, "key").result(WAIT)
    assert role == "leading"
    _, waiter = joined(single_flight, "key")
    assert isinstance(waiter, Future)
    del lost
    gc.collect()
    assert waiter.result(WAIT) == "waited"
    assert joined(single_flight, "key")[1] == "leading"


def test_a_leadership_that_has_ended_is_remembered() -> None:
    """Who leads next learns that another call for its answer ended after it began, and of no call before."""
    single_flight = SingleFlight(of_threads=True)
    began = perf_counter()
    assert not single_flight.has_ended("key", began)
    single_flight.leave(joined(single_flight, "key")[0])
    assert single_flight.has_ended("key", began)
    assert not single_flight.has_ended("key", perf_counter())


def test_a_call_looks_twice_only_if_another_may_have_stored_its_answer() -> None:
    """A call alone looks for its answer once; one that began before another stored the answer gets that."""
    storage, calls = Counting(), [0]
    looked, go_on = threading.Event(), threading.Event()

    @semantic_cache(**options(storage=storage))
    def answer(prompt: str) -> int:
        calls[0] += 1
        return calls[0]

    assert answer("one") == 1
    assert storage.looks == 1

    def hold() -> None:
        looked.set()
        go_on.wait(WAIT)

    storage.after_look = hold
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(answer, "two")
        assert looked.wait(WAIT)
        storage.after_look = lambda: None
        assert answer("two") == 2
        go_on.set()
        assert late.result(WAIT) == 2


def test_a_thread_waits_for_no_call_of_its_own(pool: ThreadPoolExecutor) -> None:
    """Green threads that are one thread to Python do not wait for each other in place, which would never end."""
    single_flight = SingleFlight(of_threads=True)
    of_tasks = SingleFlight(of_threads=False)
    leaders = joined(single_flight, "key"), joined(of_tasks, "key")
    assert [role for _, role in leaders] == ["leading", "leading"]
    assert Context().run(joined, single_flight, "key")[1] == "alone"
    assert isinstance(Context().run(joined, of_tasks, "key")[1], Future)


def test_calls_that_wait_for_each_other_do_not() -> None:
    """Of two functions that call each other, each in a thread, the one that would close the circle goes alone."""
    ignore = ("depth", "asked", "both_lead")
    options_of_both = options(config=CacheConfig(coalesce_timeout_seconds=WAIT), ignore=ignore)
    both_lead = threading.Barrier(2)
    asked: list[str] = []

    @semantic_cache(**options_of_both)
    def first(prompt: str, depth: int) -> str:
        asked.append("first")
        if depth:
            both_lead.wait(WAIT)
            return f"first of {second(prompt, 0)}"
        return "first"

    @semantic_cache(**options_of_both)
    def second(prompt: str, depth: int) -> str:
        asked.append("second")
        if depth:
            both_lead.wait(WAIT)
            return f"second of {first(prompt, 0)}"
        return "second"

    began = perf_counter()
    with ThreadPoolExecutor(2) as both:
        answers = [future.result(WAIT) for future in [both.submit(ask, "q", 1) for ask in (first, second)]]
    assert perf_counter() - began < WAIT / 2
    assert all("of" in answer for answer in answers)
    assert len(asked) in (3, 4)


def test_a_function_that_waits_for_itself_in_another_thread_is_not_waited_for() -> None:
    """A function that gives itself to a pool, and waits for that, goes on at once, as it does undecorated."""
    patient = options(config=CacheConfig(coalesce_timeout_seconds=WAIT), ignore=("depth",), version="1")

    @semantic_cache(**patient)
    def ask(prompt: str, depth: int) -> str:
        with ThreadPoolExecutor(1) as own:
            return f"again {own.submit(ask, prompt, depth - 1).result()}" if depth else "an answer"

    began = perf_counter()
    assert ask("q", 2) == "again again an answer"
    assert perf_counter() - began < WAIT / 2


def test_a_loop_that_is_blocked_by_a_call_is_not_waited_for() -> None:
    """A coroutine on a loop of its own does not wait for one on a loop that waits, in place, for its thread."""

    @semantic_cache(**options(config=CacheConfig(coalesce_timeout_seconds=WAIT), version="1"))
    async def ask(prompt: str) -> str:
        await asyncio.sleep(0.05)
        return "an answer"

    async def main() -> str:
        leader = asyncio.create_task(ask("q"))
        while not leading(drivers.TASKS):
            await asyncio.sleep(0)
        with ThreadPoolExecutor(1) as bridge:
            answer = bridge.submit(asyncio.run, ask("q")).result()
        await leader
        return str(answer)

    began = perf_counter()
    assert asyncio.run(main()) == "an answer"
    assert perf_counter() - began < WAIT / 2


def test_a_call_that_waits_for_several_is_waited_for_by_none_of_them() -> None:
    """Of calls that wait for each other, one goes alone, also if another of them waits for several at once."""
    patient = options(config=CacheConfig(coalesce_timeout_seconds=WAIT), ignore=("depth",))
    go: dict[str, asyncio.Event] = {}

    @semantic_cache(**patient)
    async def both(prompt: str, depth: int) -> list[str]:
        return list(await asyncio.gather(one(prompt, depth - 1), other(prompt, depth - 1)))

    @semantic_cache(**patient)
    async def one(prompt: str, depth: int) -> str:
        await go["one"].wait()
        return "one" if depth <= 0 else f"one of {await both(prompt, depth - 1)}"

    @semantic_cache(**patient)
    async def other(prompt: str, depth: int) -> str:
        await go["other"].wait()
        return "other"

    async def main() -> None:
        go.update(one=asyncio.Event(), other=asyncio.Event())
        tasks: list[Any] = [asyncio.create_task(call("q", 2)) for call in (one, other)]
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(both("q", 1)))
        while len(leading(drivers.TASKS)) < 3 or not waiting_for(drivers.TASKS, 1):
            await asyncio.sleep(0)
        go["one"].set()
        await asyncio.sleep(0.05)  # the first function asks the second
        go["other"].set()
        assert await asyncio.wait_for(asyncio.gather(*tasks), WAIT / 2)

    asyncio.run(main())
    assert not leading(drivers.TASKS)


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
