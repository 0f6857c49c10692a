"""Ctrl-C, signal handlers' exceptions and cancellations at any moment reach the caller and leave nothing behind."""

from __future__ import annotations

import asyncio
import itertools
import logging
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from support.interrupting import each_point, in_time

from recallm import CacheConfig, InMemoryStorage, ThreadSafeInMemoryStorage, semantic_cache
from recallm.engine import drivers
from recallm.testing import FakeEmbedder

WAIT = 20.0
WAITED_FOR = ("model", "embedder", "storage", "verifier", "another call")
OURS = ("recallm/engine/", "recallm/concurrency/", "recallm/storage/memory")
JUDGING = ("keying/keyer", "keying/completeness", "keying/responses", "telemetry/advice", "telemetry/recorder")


class DeadlineError(Exception):
    """What a signal handler raises when time is up."""


class Disk(ThreadSafeInMemoryStorage):
    """A storage that may wait, so that worker threads perform its operations."""

    blocking = True


def options(**given: Any) -> dict[str, Any]:
    """Return the options that every function here is cached with."""
    known = {"context": {}, "embedder": FakeEmbedder(), "guards": ()}
    return {**known, "storage": ThreadSafeInMemoryStorage(), **given}


@contextmanager
def raising_soon(error: Exception, begun: threading.Event, *, once: bool) -> Iterator[None]:
    """Have a signal handler raise an error in the main thread once something has begun."""

    def handler(*_: object) -> None:
        if once:
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        raise error

    def send() -> None:
        assert begun.wait(WAIT)
        time.sleep(0.05)  # the main thread is about to wait; nothing tells when it does
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handler)
    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        sender.join()
        signal.signal(signal.SIGUSR1, before)


class Held:
    """Work that goes on until it is released."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.released = threading.Event()
        self.holding = False

    def hold(self) -> None:
        """Wait to be released, if it is time to."""
        if self.holding:
            self.begun.set()
            self.released.wait(WAIT)


class SlowParts(FakeEmbedder):
    """An embedder, a storage and a verifier, one of which waits to be let go.

    Args:
        part: which.
        held: lets it go.
    """

    def __init__(self, part: str, held: Held) -> None:
        super().__init__()
        self.part = part
        self.hold = held.hold

    def load(self) -> None:
        """Load the model."""
        self.hold_in("model")

    def embed(self, text: str) -> Any:
        """Embed a text."""
        self.hold_in("embedder")
        return super().embed(text)

    def verify(self, *_: object) -> bool:
        """Accept everything."""
        self.hold_in("verifier")
        return True

    def hold_in(self, part: str) -> None:
        """Wait if this is the part."""
        if part == self.part:
            self.hold()


def waits_for(part: str, held: Held) -> Any:
    """Return a cached function whose calls wait for one part."""
    slow = SlowParts(part, held)

    class SlowDisk(Disk):
        def search(self, *asked: Any) -> Any:
            slow.hold_in("storage")
            return super().search(*asked)

    seconds = {f"{name}_timeout_seconds": WAIT for name in ("cache", "embed", "load", "verify")}
    given = options(storage=SlowDisk(), embedder=slow, verify=slow.verify, config=CacheConfig(**seconds))  # type: ignore[arg-type]

    @semantic_cache(**given, version="1")
    def ask(prompt: str) -> str:
        if threading.current_thread() is not threading.main_thread():
            slow.hold_in("another call")
        return "an answer"

    return ask


@pytest.mark.parametrize("once", [False, True], ids=["handler stays", "handler resets itself"])
@pytest.mark.parametrize("error", [DeadlineError(), TimeoutError("mine")], ids=["own", "TimeoutError"])
@pytest.mark.parametrize("part", WAITED_FOR)
def test_what_a_signal_handler_raises_during_a_wait_reaches_the_caller(part: str, error: Exception, once: bool) -> None:
    """A deadline that a signal handler raises while the cache waits ends the call; it is no trouble of that part."""
    held = Held()
    ask = waits_for(part, held)
    if part != "model":
        ask("one two")
    before = ask.stats()
    held.holding = True
    other = threading.Thread(target=ask, args=("three",))
    if part == "another call":
        other.start()
        assert held.begun.wait(WAIT)
    with raising_soon(error, held.begun, once=once), pytest.raises(type(error)) as raised:
        ask("three" if part == "another call" else "two one")
    held.holding = False
    held.released.set()
    if part == "another call":
        other.join(WAIT)
    assert raised.value is error
    stats = ask.stats()
    assert stats.bypasses == {"cancelled": 1}
    assert (stats.errors, stats.circuits) == (before.errors, {})
    assert ask("one two") == "an answer"


@pytest.mark.parametrize("part", ["guard", "store_if", "context", "storage", "prompt", "response", "log", "warning"])
@pytest.mark.filterwarnings("always::recallm.errors.RecallmWarning")
def test_what_a_signal_handler_raises_in_the_midst_of_a_part_reaches_the_caller(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that runs in place and is interrupted by a signal handler has not failed: the deadline is the caller's."""
    error, armed = DeadlineError(), list[bool]()

    def alarm(*_: object) -> Any:
        if armed:
            signal.raise_signal(signal.SIGUSR1)
        return True

    class Struck(InMemoryStorage):
        def search(self, *asked: Any) -> Any:
            alarm()
            return super().search(*asked)

    parts: dict[str, dict[str, Any]] = {
        "guard": {"guards": (alarm,)},
        "store_if": {"store_if": alarm},
        "context": {"context": lambda kw: {"same": bool(alarm())}},
        "storage": {"storage": Struck()},
        "log": {"store_if": lambda response: 1 / 0},
    }

    class Lazy:
        def __init__(self) -> None:
            self.text = "an answer"

        @property
        def __dict__(self) -> Any:  # type: ignore[override]
            alarm()
            return {}

    class Alarms(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            alarm()

    @semantic_cache(**options(**parts.get(part, {})), version="1")
    def ask(prompt: Any) -> Any:
        return Lazy() if part == "response" else "an answer"

    if part not in ("log", "response"):
        ask("one two")
    logger = logging.getLogger("recallm")
    logger.addHandler(alarms := Alarms())
    monkeypatch.setattr(warnings, "showwarning", alarm)
    armed.append(True)
    prompts = {"prompt": [Lazy()], "warning": 1}

    def handler(*_: object) -> None:
        raise error

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with pytest.raises(DeadlineError) as raised:
            ask(prompts.get(part, "two one"))
    finally:
        signal.signal(signal.SIGUSR1, before)
        logger.removeHandler(alarms)
    assert raised.value is error
    assert ask.stats().errors == {}


def assert_deadlines_pass(act: Callable[[], object], within: tuple[str, ...]) -> None:
    """Assert that an act raises what a signal handler raises, wherever it strikes in modules whose paths have these."""

    def handler(*_: object) -> None:
        raise DeadlineError

    def work() -> None:
        with suppress(DeadlineError):
            act()
            ended.append(True)

    ended: list[bool] = []
    lost: list[str] = []
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        for where, _ in each_point(lambda: work, within, lambda _: signal.raise_signal(signal.SIGUSR1)):
            lost += [where] if ended else []
            ended.clear()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert ended == [True]
    assert lost == []


@pytest.mark.parametrize("asked", ["exact", "similar", "new"])
def test_what_a_signal_handler_raises_at_any_point_reaches_the_caller(asked: str) -> None:
    """Wherever a deadline's handler strikes, in keying and advice too, its exception is nobody's trouble."""
    numbers = itertools.count()

    @semantic_cache(**options(), namespace="n")
    def ask(messages: list[dict[str, str]], settings: object = None) -> dict[str, Any]:
        return {"choices": [{"finish_reason": "stop", "message": {"content": "yes"}}], "usage": {"total_tokens": 3}}

    def prompt() -> str:
        return {"exact": "one two", "similar": "two one", "new": f"new {next(numbers)}"}[asked]

    ask([{"role": "user", "content": "one two"}], {"seed": 1})
    assert_deadlines_pass(lambda: ask([{"role": "user", "content": prompt()}], {"seed": 1}), JUDGING)
    assert ask.stats().errors == {}


@pytest.mark.parametrize(
    ("what", "within"),
    [
        ("reading", ("keying/scalars",)),
        ("statistics", ("engine/core", "recallm/registry", "concurrency/breaker")),
        ("invalidation", ("engine/maintenance", "engine/reports")),
    ],
)
def test_what_a_signal_handler_raises_beside_calls_reaches_whoever_asked(what: str, within: tuple[str, ...]) -> None:
    """A deadline that strikes while statistics, a removal or a zone is dealt with is not taken for their trouble."""

    @semantic_cache(**options(), namespace="n", version="1")
    def ask(prompt: str, when: datetime) -> str:
        return "an answer"

    args = ("one two", datetime(2024, 1, 1, tzinfo=ZoneInfo("Europe/Paris")))
    asked: dict[str, Callable[[], object]]
    asked = {"reading": lambda: ask(*args), "statistics": ask.stats, "invalidation": lambda: ask.invalidate(*args)}

    ask(*args)
    assert_deadlines_pass(asked[what], within)
    assert ask.stats().errors == {}


def test_what_a_signal_handler_raises_while_a_call_is_read_again_reaches_the_caller() -> None:
    """A call is read again right before its function is called, and a deadline that strikes then is the caller's."""
    readings, called = list[str](), list[str]()

    def context(arguments: Any) -> Any:
        readings.append("a reading")
        if len(readings) == 2:
            signal.raise_signal(signal.SIGUSR1)
        return {}

    def handler(*_: object) -> None:
        raise DeadlineError

    @semantic_cache(**options(context=context), version="1")
    def ask(prompt: str) -> str:
        called.append(prompt)
        return "an answer"

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with pytest.raises(DeadlineError):
            ask("hi")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert (called, ask.stats().bypasses) == ([], {"cancelled": 1})


@pytest.mark.slow
@pytest.mark.parametrize("storage", [ThreadSafeInMemoryStorage, Disk])
def test_ctrl_c_at_any_point_leaves_nothing_behind(storage: Callable[[], Any]) -> None:
    """After an interrupt at any point of a call others are answered at once, and clearing removes all entries."""
    stored = storage()
    numbers = itertools.count()
    current = ["prompt"]

    @semantic_cache(
        **options(storage=stored, config=CacheConfig(coalesce_timeout_seconds=WAIT)), namespace="n", version="1"
    )
    def ask(prompt: str) -> str:
        return "an answer"

    def work() -> None:
        current[0] = f"prompt {next(numbers)}"
        ask(current[0])

    ask("to load the model")
    interrupted = 0
    for where, _ in each_point(lambda: work, OURS):
        interrupted += 1
        began = time.perf_counter()
        with ThreadPoolExecutor(1) as other:
            assert other.submit(ask, current[0]).result(WAIT) == "an answer", where
        assert time.perf_counter() - began < WAIT / 4, where
        ask.clear()
        assert ask.explain(current[0]).outcome == "miss", where
        assert ask.stats().circuits == {}, where
    assert interrupted > 100
    assert not [each for each in drivers.THREADS._under_way.values() if each() is not None]


@pytest.mark.parametrize("asked", ["exact", "similar", "new"])
def test_a_signal_handler_may_call_the_cache_at_any_point(asked: str) -> None:
    """A handler, or a finalizer, that calls the same function at any point of a call neither hangs nor disturbs it."""
    numbers = itertools.count()
    nested: list[str] = []

    @semantic_cache(**options(), namespace="n", version="1")
    def ask(prompt: str) -> str:
        return "an answer"

    ask("one two")

    def prompt() -> str:
        return {"exact": "one two", "similar": "two one", "new": f"new {next(numbers)}"}[asked]

    def work() -> None:
        assert ask(prompt()) == "an answer"

    def call(_: object) -> None:
        nested.append(ask(prompt()))
        ask.stats()

    in_time(lambda: list(each_point(lambda: work, OURS, call)))
    assert len(nested) > 30
    stats = ask.stats()
    assert stats.errors == {}


class Awaited(InMemoryStorage):
    """A storage that is awaited, and whose answer comes when it is let go."""

    blocking = True
    serves_async = True

    def __init__(self) -> None:
        super().__init__()
        self.go: asyncio.Event | None = None

    async def aperform(self, operation: Any) -> Any:
        """Wait, and perform the operation."""
        if self.go is not None:
            await self.go.wait()
        return operation.on(self)


@pytest.mark.parametrize("part", ["storage", "embedder"])
def test_a_cancellation_that_comes_with_the_result_is_not_lost(part: str) -> None:
    """A call that is cancelled in the very moment in which what it waits for arrives does not call the function."""
    called: list[str] = []
    storage, held = Awaited(), Held()

    class Slow(FakeEmbedder):
        def embed(self, text: str) -> Any:
            held.hold()
            return super().embed(text)

    @semantic_cache(**options(storage=storage, embedder=Slow()), version="1")
    async def ask(prompt: str) -> str:
        called.append(prompt)
        return "an answer"

    async def main() -> None:
        await ask.awarmup()
        storage.go = asyncio.Event() if part == "storage" else None
        held.holding = part == "embedder"
        task = asyncio.create_task(ask("hi"))
        await asyncio.sleep(0)
        if storage.go is not None:
            for _ in range(5):
                await asyncio.sleep(0)
            storage.go.set()
        else:
            while not held.begun.is_set():
                await asyncio.sleep(0)
            held.released.set()
            time.sleep(0.1)  # the loop is busy, so that the vector arrives while it is
        asyncio.get_running_loop().call_soon(task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert called == []


async def _cancelled_within() -> None:
    task = asyncio.ensure_future(asyncio.sleep(WAIT))
    await asyncio.sleep(0)
    task.cancel()
    await task


@pytest.mark.parametrize("part", ["storage", "verifier", "guard"])
def test_a_cancellation_within_a_part_is_that_parts_trouble(part: str) -> None:
    """A `CancelledError` of a part's own making does not cancel a caller whom nobody cancelled."""

    class Broken(Awaited):
        async def aperform(self, operation: Any) -> Any:
            await _cancelled_within()

    async def verify(*_: object) -> bool:
        await _cancelled_within()
        return True

    def guard(*_: object) -> bool:
        raise asyncio.CancelledError

    parts: dict[str, dict[str, Any]] = {
        "storage": {"storage": Broken()},
        "verifier": {"verify": verify},
        "guard": {"guards": (guard,)},
    }

    @semantic_cache(**options(**parts[part]), version="1")
    async def ask(prompt: str) -> str:
        return "an answer"

    async def main() -> list[str]:
        return [await ask("one two"), await ask("two one")]

    assert asyncio.run(main()) == ["an answer", "an answer"]
    assert sum(ask.stats().errors.values()) >= 1


def test_callers_that_are_cancelled_make_nobody_else_go_without_the_embedder() -> None:
    """One that works for a caller that has gone, in its only thread, is neither stuck nor ill: the next call waits."""
    held = Held()

    class Slow(FakeEmbedder):
        threads = 1

        def embed(self, text: str) -> Any:
            if text.startswith("left"):
                held.hold()
            return super().embed(text)

    @semantic_cache(**options(embedder=Slow()), version="1")
    async def ask(prompt: str) -> str:
        return "an answer"

    async def main() -> None:
        await ask.awarmup()
        for number in range(5):
            held.holding = True
            held.begun.clear()
            held.released.clear()
            leaving = asyncio.create_task(ask(f"left {number}"))
            assert await asyncio.to_thread(held.begun.wait, WAIT)
            leaving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaving
            staying = asyncio.create_task(ask(f"stays {number}"))
            await asyncio.sleep(0)
            held.released.set()
            assert await staying == "an answer"

    asyncio.run(main())
    stats = ask.stats()
    assert (stats.misses, stats.bypasses) == (5, {"cancelled": 5})
    assert (stats.errors, stats.circuits) == ({}, {})
