"""Signal handlers, finalizers and Ctrl-C may strike wherever a call is counted, and use the cache themselves."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from support.interrupting import each_point, in_time

import recallm
from recallm import RecallmWarning, ThreadSafeInMemoryStorage, semantic_cache
from recallm.telemetry import journal, log
from recallm.testing import FakeEmbedder

COUNTING = ("recallm/telemetry/",)


@pytest.fixture(autouse=True)
def _short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few events fill a page of statistics, so that each call may have to begin one."""
    monkeypatch.setattr(journal, "FOLD_AT", 4)


@pytest.fixture
def ask() -> Any:
    """Return a cached function that knows two answers."""

    @semantic_cache(
        context={}, storage=ThreadSafeInMemoryStorage(), embedder=FakeEmbedder(), guards=(), name="interrupted"
    )
    def ask(prompt: str) -> str:
        return "an answer"

    ask("hi")
    ask("bye")
    return ask


READS: dict[str, Callable[[Any], object]] = {
    "ask": lambda ask: ask("bye"),
    "stats": lambda ask: ask.stats(),
    "all stats": lambda ask: recallm.stats(),
    "repr": lambda ask: (repr(ask), repr(ask.cache)),
    "reset": lambda ask: ask.cache.reset_stats(),
}


@pytest.mark.parametrize("what", READS)
def test_the_cache_can_be_used_in_the_middle_of_counting(ask: Any, what: str) -> None:
    """A hit during which a handler uses the cache at any point of counting ends, and every hit is counted once."""

    def begin() -> Callable[[], object]:
        ask.cache.reset_stats()
        return lambda: ask("hi")

    def check() -> None:
        points = 0
        for _ in each_point(begin, COUNTING, lambda _: READS[what](ask)):
            points += 1
            assert ask.stats().hits in {"reset": (0, 1), "ask": (2,)}.get(what, (1,))
        assert points > 5

    in_time(check)


def test_ctrl_c_at_any_point_of_counting_loses_at_most_its_own_event(ask: Any) -> None:
    """After Ctrl-C at any point of counting, all other events are counted, and the next call is as ever."""

    def begin() -> Callable[[], object]:
        ask.cache.reset_stats()
        for _ in range(2):
            ask("hi")
        return lambda: ask("hi")

    def check() -> None:
        for _ in each_point(begin, COUNTING):
            assert ask("bye") == "an answer"
            assert ask.stats().hits in (3, 4)

    in_time(check)


TELLS: dict[str, Callable[[Any], object]] = {
    "ask": lambda ask: ask("bye"),
    "stats": lambda ask: ask.stats(),
    "fail": lambda ask: ask(object()),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", TELLS)
def test_the_cache_can_be_used_in_the_middle_of_telling(tmp_path: Path, what: str) -> None:
    """Trouble that is logged, advice that is given and prompts that are recorded may be interrupted anywhere."""

    def fail(response: object) -> bool:
        raise OSError

    class Telling:
        def __init__(self) -> None:
            log.LOG._logged_at.clear()
            self.ask: Any = semantic_cache(
                context={}, storage=ThreadSafeInMemoryStorage(), embedder=FakeEmbedder(), store_if=fail, threshold=0.6
            )(lambda prompt: "an answer")

        def __call__(self) -> None:
            for prompt in ("one two three", "two one three", object()):
                assert self.ask(prompt) == "an answer"

    def check() -> None:
        assert len(list(each_point(Telling, COUNTING, lambda telling: TELLS[what](telling.ask), stride=3))) > 100

    with recallm.record(tmp_path / "pairs.jsonl"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RecallmWarning)
        logging.getLogger("recallm").addHandler(quiet := logging.NullHandler())
        in_time(check)
        logging.getLogger("recallm").removeHandler(quiet)


@pytest.fixture
def _at_each_fold() -> Iterator[None]:
    yield
    sys.setprofile(None)


@pytest.mark.usefixtures("_at_each_fold")
def test_a_finalizer_that_asks_while_its_thread_counts(ask: Any) -> None:
    """Garbage whose finalizer asks the cache is collected while its thread folds statistics."""
    before = ask.stats().hits

    class Agent:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            ask("bye")

    def collect(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_name == "folded":
            sys.setprofile(None)
            gc.collect()

    def check() -> None:
        Agent()
        sys.setprofile(collect)
        for _ in range(8):
            ask("hi")
        sys.setprofile(None)

    in_time(check)
    gc.collect()
    assert ask.stats().hits == before + 9


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no such signals")
def test_a_handler_that_asks_at_any_moment(ask: Any) -> None:
    """Signals that come all the time, with a handler that asks and reads, neither stop nor miscount the calls."""
    assert threading.current_thread() is threading.main_thread()
    recorder, nested, before = ask.cache._core.recorder, [0], ask.stats().hits
    event = recallm.records.Coalesced()

    def handle(number: int, frame: FrameType | None) -> None:
        recorder.record(event, 0.0)
        nested[0] += 1
        recallm.stats()

    earlier = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        for _ in range(3_000):
            recorder.record(event, 0.0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)
    assert nested[0] > 10
    assert ask.stats().coalesced == 3_000 + nested[0]
    assert ask.stats().hits == before


@pytest.mark.parametrize("part", ["guards", "store_if", "context", "namespace", "prompt"])
def test_ctrl_c_in_any_callable_of_the_users_leaves_the_call_counted_once(part: str) -> None:
    """A call that is interrupted while the cache reads or decides is counted as cancelled, as while it waits."""
    striking = list[bool]()

    def strike(given: object) -> Any:
        if striking:
            raise KeyboardInterrupt
        return given

    parts: dict[str, Any] = {
        "guards": (lambda prompt, cached: bool(strike(True)),),
        "store_if": lambda response: bool(strike(True)),
        "context": lambda kw: strike({}),
        "namespace": lambda kw: strike("n"),
        "prompt": lambda kw: strike(kw["prompt"]),
    }
    known: dict[str, Any] = {"context": {}, "guards": (), "threshold": 0.5, "version": "1", part: parts[part]}
    ask = semantic_cache(storage=ThreadSafeInMemoryStorage(), embedder=FakeEmbedder(), **known)(lambda prompt: "x")
    ask("one two")
    striking.append(True)
    with pytest.raises(KeyboardInterrupt):
        ask("two one" if part == "guards" else "one two")
    stats = ask.stats()
    assert (stats.hits, stats.misses, stats.bypasses) == (0, 1, {"cancelled": 1})


def test_an_interrupted_removal_is_no_call() -> None:
    """A removal that is cancelled while it waits counts as nothing, as it does otherwise."""

    class Slow(ThreadSafeInMemoryStorage):
        blocking = True

        def invalidate(self, namespace: str) -> int:
            begun.set()
            go.wait(20.0)
            return super().invalidate(namespace)

    begun, go = threading.Event(), threading.Event()

    @semantic_cache(context={}, storage=Slow(), embedder=FakeEmbedder(), guards=(), version="1")
    async def ask(prompt: str) -> str:
        return "an answer"

    async def main() -> None:
        await ask("hi")
        clearing = asyncio.create_task(ask.aclear())
        while not begun.is_set():
            await asyncio.sleep(0)
        clearing.cancel()
        with suppress(asyncio.CancelledError):
            await clearing
        go.set()

    asyncio.run(main())
    assert (ask.stats().misses, ask.stats().bypasses) == (1, {})
