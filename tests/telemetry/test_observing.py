"""`observed` tells who asks what became of the calls inside a block."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from recallm import InMemoryStorage, Observed, observed, semantic_cache
from recallm.events import Event
from recallm.telemetry.observing import noticed
from recallm.testing import Clock, FakeEmbedder


def shout(prompt: str) -> str:
    """Answer in capitals."""
    return prompt.upper()


async def shout_later(prompt: str) -> str:
    """Answer in capitals, once awaited."""
    await asyncio.sleep(0)
    return prompt.upper()


def cached(function: Callable[..., Any] = shout, **options: Any) -> Any:
    """Return a function whose prompts are similar if their words are the same."""
    known = {"context": {}, "guards": (), "storage": InMemoryStorage(), "embedder": FakeEmbedder(), "name": "one"}
    return semantic_cache(**{**known, "namespace": "n", **options})(function)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_each_call_inside_is_told_with_its_provenance(asynchronous: bool) -> None:
    """A block is told the outcome, the reason, the similarity, the age and the cached prompt of each call."""
    clock = Clock()
    ask = cached(shout_later if asynchronous else shout, storage=InMemoryStorage(clock=clock))

    async def ask_three() -> None:
        for prompt in ("one two", "one two", "two one"):
            answer = ask(prompt)
            assert (await answer if asynchronous else answer) == "ONE TWO"
            clock.advance(5)

    with observed() as seen:
        asyncio.run(ask_three())
    miss, exact, similar = seen
    assert miss == Observed("one", "miss", "unlike", 0.0, namespace="n")
    assert exact == Observed("one", "hit", "exact", 0.0, 1.0, cached_prompt="one two", namespace="n")
    assert (similar.outcome, similar.reason, similar.cached_prompt) == ("hit", "similar", "one two")
    assert similar.similarity == pytest.approx(1.0)
    assert [miss.age, exact.age, similar.age] == [None, 5.0, 10.0]
    assert all(call.seconds > 0.0 for call in seen)


def test_a_refused_candidate_and_a_bypass_are_told() -> None:
    """A miss names the candidate that was refused and who refused it, a bypass what kept the call from the cache."""

    def never(prompt: str, cached_prompt: str) -> bool:
        return False

    ask = cached(guards=(never,))
    ask("one two")

    def generate(prompt: str) -> Iterator[str]:
        yield prompt

    generated = cached(generate)
    with observed() as seen:
        ask("two one")
        with pytest.warns(UserWarning, match="generates its answer"):
            list(generated("one"))
    refused, bypass = seen
    assert (refused.outcome, refused.reason, refused.vetoed_by) == ("miss", "vetoed", "never")
    assert refused.cached_prompt == "one two"
    assert refused.similarity == pytest.approx(1.0)
    assert bypass == Observed("one", "bypass", "generator", 0.0)


def test_what_would_have_been_served_is_told() -> None:
    """Of a call that is served nothing on purpose, the entry is told that would have been served."""
    ask = cached(serve="none")
    ask("one two")
    with observed() as seen:
        ask("two one")
        ask("two one", cache_serve="off")
    shadow, off = seen
    assert (shadow.outcome, shadow.reason, shadow.cached_prompt) == ("miss", "shadow", "one two")
    assert (off.outcome, off.reason, off.cached_prompt) == ("bypass", "off", None)


def test_an_expired_answer_that_is_served_is_told_as_stale() -> None:
    """If the function raises and an expired answer is served, the call is told once, as stale."""
    clock, raises = Clock(), threading.Event()

    def answer(prompt: str) -> str:
        if raises.is_set():
            raise ConnectionError
        return prompt

    options = {"storage": InMemoryStorage(clock=clock), "ttl": 10, "stale_if_error": 100, "ignore": ("raises",)}
    ask = cached(answer, **options)
    ask("one two")
    clock.advance(50)
    raises.set()
    with observed() as seen:
        assert ask("one two") == "one two"
        clock.advance(100)
        with pytest.raises(ConnectionError):
            ask("one two")
    assert [(call.outcome, call.reason, call.cached_prompt, call.age) for call in seen] == [
        ("stale", "exact", "one two", 50.0),
        ("miss", "unlike", None, None),
    ]


def test_blocks_nest() -> None:
    """An inner block is told of its calls, an outer one of all; calls after a block are told to nobody."""
    ask = cached()
    with observed() as outer:
        ask("one two")
        with observed() as inner:
            ask("one two")
        ask("two one")
    ask("two one")
    assert [call.reason for call in outer] == ["unlike", "exact", "similar"]
    assert inner == [outer[1]]


def test_tasks_and_threads_that_take_the_context_along_are_inside() -> None:
    """Tasks started inside are observed, and what they hand to a thread; tasks and threads beside are not."""
    ask, alone = cached(shout_later), cached()

    async def observing(prompt: str) -> list[Observed]:
        with observed() as seen:
            await asyncio.gather(ask(prompt), asyncio.to_thread(alone, prompt))
            thread = threading.Thread(target=alone, args=("in another thread",))
            thread.start()
            thread.join(20)
        return seen

    async def both() -> tuple[list[Observed], list[Observed]]:
        return await asyncio.gather(observing("one two"), observing("three four"))

    first, second = asyncio.run(both())
    assert len(first) == len(second) == 2
    with observed() as seen:
        asyncio.run(ask("one two"))
        alone("in another thread")
    assert [call.reason for call in seen] == ["exact", "exact"]


def test_what_begins_after_a_block_is_not_kept() -> None:
    """A task that outlives a block is observed until the block ends, so that its list does not grow for ever."""
    ask = cached(shout_later)

    async def outlive(ended: asyncio.Event) -> None:
        await ask("inside")
        await ended.wait()
        await ask("outside")

    async def main() -> list[Observed]:
        ended = asyncio.Event()
        with observed() as seen:
            task = asyncio.create_task(outlive(ended))
            while not seen:
                await asyncio.sleep(0)
        ended.set()
        await task
        return seen

    assert len(asyncio.run(main())) == 1


def test_a_block_may_end_in_another_context() -> None:
    """A block that ends in another context than it began in, as of an async fixture, ends without an error."""
    block = observed()

    async def begin() -> list[Observed]:
        return block.__enter__()

    async def end() -> None:
        block.__exit__(None, None, None)

    seen = asyncio.run(begin())
    asyncio.run(end())
    cached()("one two")
    assert seen == []


def test_nobody_is_told_if_nobody_observes() -> None:
    """Outside of blocks the events of a call are recorded, and nothing else is done."""

    def record(event: Event, elapsed: float) -> None:
        raise AssertionError

    assert noticed(record, "one") is record


def test_a_call_that_is_refused_is_not_told() -> None:
    """A call with a mistake in its options raises, and is no call of the cache's."""
    with observed() as seen, pytest.raises(TypeError):
        cached()("one two", cache_context=5)
    assert seen == []
