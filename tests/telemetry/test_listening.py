"""Listeners are told every event, and decide over no call."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from support.faulty import Returning

from recallm import InMemoryStorage, on_event, semantic_cache
from recallm.events import Bypass, Event, Failure, Hit, Listener, Miss, Stored, Veto
from recallm.telemetry import log, recorder
from recallm.telemetry.listening import LISTENERS
from recallm.telemetry.log import Log
from recallm.testing import FakeEmbedder

Listen = Callable[[Listener], Callable[[], None]]


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Add listeners that end with the test."""
    with ExitStack() as stack:

        def add(listener: Listener) -> Callable[[], None]:
            remove = on_event(listener)
            stack.callback(remove)
            return remove

        yield add
    assert not LISTENERS


def cached(function: Callable[..., Any] = str.upper, **options: Any) -> Any:
    """Return a function whose prompts are similar if their words are the same."""
    known = {"context": {}, "guards": (), "storage": InMemoryStorage(), "embedder": FakeEmbedder(), "name": "one"}
    return semantic_cache(**{**known, "prompt": "prompt", **options})(function)


def shout(prompt: str) -> str:
    """Answer in capitals."""
    return prompt.upper()


async def shout_later(prompt: str) -> str:
    """Answer in capitals, once awaited."""
    await asyncio.sleep(0)
    return prompt.upper()


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_a_listener_is_told_each_event_with_the_cache_and_the_seconds(listen: Listen, asynchronous: bool) -> None:
    """A listener gets every event of sync and async calls, the name of the cache and the seconds since the start."""
    told: list[tuple[Event, str, float]] = []
    listen(lambda *event: told.append(event))
    ask = cached(shout_later if asynchronous else shout)
    for prompt in ("one two", "one two", "two one"):
        answer = ask(prompt)
        assert (asyncio.run(answer) if asynchronous else answer) == "ONE TWO"
    kinds = [type(event) for event, _, _ in told if isinstance(event, Hit | Miss | Stored)]
    assert kinds == [Miss, Stored, Hit, Hit]
    assert [event.exact for event, _, _ in told if isinstance(event, Hit)] == [True, False]
    assert {cache for _, cache, _ in told} == {"one"}
    assert all(0.0 < seconds < 60.0 for _, _, seconds in told)


def test_the_statistics_have_counted_what_a_listener_is_told(listen: Listen) -> None:
    """When a listener is told of a hit, the statistics include it."""
    ask = cached(shout)
    counted: list[int] = []
    listen(lambda event, cache, seconds: counted.append(ask.stats().hits) if isinstance(event, Hit) else None)
    for _ in range(3):
        ask("one two")
    assert counted == [1, 2]


def test_refusals_failures_and_bypasses_are_told(listen: Listen) -> None:
    """Vetoes, failures and bypasses are told, also those of calls that never come to a look-up."""
    told: list[Event] = []
    listen(lambda event, cache, seconds: told.append(event))

    def never(prompt: str, cached_prompt: str) -> bool:
        return False

    vetoed = cached(shout, guards=(never,))
    vetoed("one two")
    vetoed("two one")
    cached(shout, embedder=Returning(ConnectionError()))("one two")

    def generate(prompt: str) -> Iterator[str]:
        yield prompt

    with pytest.warns(UserWarning, match="as the function generates its answer"):
        assert list(cached(generate)("one")) == ["one"]
    assert Veto("never") in told
    assert [event.stage for event in told if isinstance(event, Failure)] == ["embedding"]
    assert Bypass("embedding") in told
    assert Bypass("generator") in told


def test_explaining_is_told_to_nobody(listen: Listen) -> None:
    """An explanation counts nothing, and tells nothing."""
    told: list[Event] = []
    listen(lambda event, cache, seconds: told.append(event))
    assert cached(shout).explain("one two").outcome == "miss"
    assert told == []


@pytest.fixture
def fresh_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """No kind of trouble has been logged yet."""
    made = Log()
    for module in (log, recorder):
        monkeypatch.setattr(module, "LOG", made)


@pytest.mark.usefixtures("fresh_log")
def test_a_listener_that_raises_is_counted_and_harms_neither_call_nor_listeners(
    listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    """What a listener raises is counted and logged once; the call and the other listeners go on."""
    told: list[Event] = []

    def broken(event: Event, cache: str, seconds: float) -> None:
        raise LookupError("one two")

    listen(broken)
    listen(lambda event, cache, seconds: told.append(event))
    ask = cached(shout)
    assert [ask("one two"), ask("one two")] == ["ONE TWO", "ONE TWO"]
    stats = ask.stats()
    assert dict(stats.errors) == {"listener": len(told)}
    assert (stats.hits, stats.misses, stats.stored) == (1, 1, 1)
    assert not any(isinstance(event, Failure) for event in told), "failures of listeners are told to none"
    lines = [record for record in caplog.records if record.name == "recallm"]
    assert [record.getMessage() for record in lines] == ["cache 'one': listener failed with LookupError"]
    assert lines[0].levelno == logging.WARNING


def test_an_exception_of_a_signal_handler_is_the_callers(listen: Listen) -> None:
    """A deadline that strikes while a listener runs reaches the caller: it is no trouble of the listener's."""

    class DeadlineError(Exception):
        pass

    def strike(*_: object) -> None:
        raise DeadlineError

    def slow(event: Event, cache: str, seconds: float) -> None:
        signal.raise_signal(signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, strike)
    try:
        ask = cached(shout)
        listen(slow)
        with pytest.raises(DeadlineError):
            ask("one two")
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_removed_listener_is_told_nothing_more(listen: Listen) -> None:
    """Each registration is removed by itself, as often as one likes, even by the listener as it is told."""
    told: list[str] = []

    def first(event: Event, cache: str, seconds: float) -> None:
        told.append("first")
        remove()

    def second(event: Event, cache: str, seconds: float) -> None:
        told.append("second")

    remove, again = listen(first), listen(second)
    listen(second)
    ask = cached(shout, embedder=FakeEmbedder())
    ask("one two")
    events = told.count("second") // 2
    assert told.count("first") == 1
    again()
    again()
    told.clear()
    ask("three four")
    assert told == ["second"] * events


def test_calls_of_a_listener_are_counted_but_not_told(listen: Listen) -> None:
    """A listener may call cached functions, the one that it is told of too: they work, and it is told nothing."""
    ask = cached(shout)
    told: list[Event] = []

    def asks_too(event: Event, cache: str, seconds: float) -> None:
        told.append(event)
        assert ask("three four") == "THREE FOUR"

    listen(asks_too)
    assert ask("one two") == "ONE TWO"
    assert {event.query.text for event in told if isinstance(event, Miss)} == {"one two"}
    assert ask.stats().misses == 2


def test_threads_are_told_apart(listen: Listen) -> None:
    """A listener that is told something in one thread is told what happens in another at the same time."""
    ask = cached(shout)
    inside, go = threading.Event(), threading.Event()
    told: list[str] = []

    def wait(event: Event, cache: str, seconds: float) -> None:
        if not isinstance(event, Miss):
            return
        told.append(event.query.text)
        if event.query.text == "one two":
            inside.set()
            assert go.wait(20)

    listen(wait)
    thread = threading.Thread(target=ask, args=("one two",))
    thread.start()
    assert inside.wait(20)
    ask("three four")
    go.set()
    thread.join(20)
    assert told == ["one two", "three four"]


FORKING = """
import os
from recallm import InMemoryStorage, on_event, semantic_cache
from recallm.events import Hit

@semantic_cache(context={}, storage=InMemoryStorage(), threshold="exact")
def ask(prompt: str) -> str:
    return prompt

forked = []

def fork(event, cache, seconds):
    if not forked:
        forked.append(os.fork())
    elif forked[0] == 0 and isinstance(event, Hit):
        print(event.candidate.entry.prompt, flush=True)

ask("one two")
on_event(fork)
ask("one two")
if forked[0] == 0:
    ask("one two")
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(forked[0], 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_process_keeps_its_listeners() -> None:
    """A listener is told what happens in a forked child, even one forked while it is being told."""
    program = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKING]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60)
    assert done.stdout.split("\n") == ["one two", "0", ""], done.stderr


async def coroutine(event: Event, cache: str, seconds: float) -> None:
    """Do nothing, once awaited."""


def generator(event: Event, cache: str, seconds: float) -> Iterator[None]:
    """Do nothing, once iterated."""
    yield


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("print", "on_event takes a callable .* not 'print', a str"),
        (lambda event: None, "listener=.* takes .event., and is called with .event, cache_name, elapsed_seconds."),
        (coroutine, "does nothing until it is awaited"),
        (generator, "does nothing until it is awaited"),
    ],
    ids=["text", "another number of arguments", "coroutine", "generator"],
)
def test_what_cannot_listen_is_refused(wrong: Any, message: str) -> None:
    """What cannot be called, or would only return something to await or iterate, is refused at once."""
    with pytest.raises(TypeError, match=message):
        on_event(wrong)
