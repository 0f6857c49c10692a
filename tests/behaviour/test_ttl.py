"""How long answers live: as a text, as a callable of the response, and shortened by chance."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recallm import CacheConfig, InMemoryStorage, RecallmWarning, semantic_cache
from recallm.records import Entry, Stored
from recallm.testing import Clock, FakeEmbedder


class Watched(InMemoryStorage):
    """A storage that notes for how long it is to keep each entry."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.times: list[float | None] = []

    def put(self, entry: Entry, epoch: int, ttl: float | None) -> Stored:
        """Note the time, and store."""
        self.times.append(ttl)
        return super().put(entry, epoch, ttl)


def cached(storage: InMemoryStorage, asynchronous: bool = False, **options: Any) -> Callable[..., Any]:
    """Return a cached function that answers with a dict."""
    known = {"context": {}, "embedder": FakeEmbedder(), "version": "1", "guards": (), "threshold": 0.99}

    def answer(question: str) -> dict[str, str]:
        return {"answer": question}

    async def later(question: str) -> dict[str, str]:
        return answer(question)

    made: Any = semantic_cache(storage=storage, **{**known, **options})(later if asynchronous else answer)
    return lambda *args, **kwargs: asyncio.run(made(*args, **kwargs)) if asynchronous else made(*args, **kwargs)


@pytest.mark.parametrize(
    ("returned", "seconds"), [(60, 60.0), (0.5, 0.5), ("1h30m", 5400.0), (timedelta(minutes=1), 60.0), (None, None)]
)
def test_a_callable_tells_how_long_a_response_lives(asynchronous: bool, returned: Any, seconds: float | None) -> None:
    """It is asked with the response, and returns what the option could be."""
    storage, seen = Watched(), []

    def ttl(response: Any) -> Any:
        seen.append(response)
        return returned

    cached(storage, asynchronous, ttl=ttl)("q")
    assert (storage.times, seen) == ([seconds], [{"answer": "q"}])


@pytest.mark.parametrize("given", ["90s", "1m30s", timedelta(seconds=90), 90])
def test_every_spelling_of_a_time_expires_alike(given: Any) -> None:
    """An option, a config's default, a call's own and the time after expiry take the same forms."""
    clock = Clock()
    storage = Watched(clock=clock)
    cached(storage, ttl=given)("a")
    cached(storage, config=CacheConfig(default_ttl=given))("b")
    cached(storage)("c", cache_ttl=given)
    cached(storage, ttl=given, stale_if_error=given)("d")
    assert storage.times == [90.0, 90.0, 90.0, 180.0]


async def later() -> float:
    """Return seconds, later."""
    return 1.0


def fail(response: Any) -> Any:
    """Raise."""
    raise KeyError(response["absent"])


@pytest.mark.parametrize("ttl", [fail, lambda _: 0, lambda _: -1, lambda _: "soon", lambda _: True, lambda _: later()])
def test_trouble_with_a_time_is_counted_and_nothing_is_stored(asynchronous: bool, ttl: Any) -> None:
    """How long an answer may live is never guessed: the caller gets it, and nobody else."""
    storage = Watched()

    def answer(question: str) -> dict[str, str]:
        return {"answer": question}

    async def answer_later(question: str) -> dict[str, str]:
        return {"answer": question}

    ask: Any = semantic_cache(context={}, storage=storage, embedder=FakeEmbedder(), ttl=ttl)(
        answer_later if asynchronous else answer
    )
    with pytest.warns(RecallmWarning, match="ttl= of .*, so the answer was not stored") as told:
        made = [asyncio.run(ask("q")) if asynchronous else ask("q") for _ in range(2)]
    assert made == [{"answer": "q"}] * 2
    assert len(told) == 1
    stats = ask.stats()
    assert (stats.errors, stats.misses, stats.stored, storage.times) == ({"ttl": 2}, 2, 0, [])


def test_a_call_and_a_decorator_come_before_a_default() -> None:
    """A call's own time replaces the callable, which replaces the config's."""
    storage = Watched()
    ask = cached(storage, ttl=lambda _: 10, config=CacheConfig(default_ttl=20))
    ask("a")
    ask("b", cache_ttl="1m")
    ask("c", cache_ttl=None)
    assert storage.times == [10.0, 60.0, None]


@given(st.floats(0.01, 0.99), st.integers(0, 10_000))
def test_jitter_shortens_by_a_share_at_the_most_and_alike_for_one_prompt(jitter: float, number: int) -> None:
    """No answer lives longer than its time, nor shorter than the share allows, and one prompt's always as long."""
    storage = Watched()
    ask = cached(storage, ttl=100, ttl_jitter=jitter, threshold="exact")
    ask(f"q {number}")
    ask(f"q {number}", cache_serve="refresh")
    first, second = storage.times
    assert first is not None
    assert first == second
    assert 100 * (1 - jitter) <= first <= 100


def test_jitter_spreads_the_ends_evenly() -> None:
    """Of many answers that are stored together, about as many expire in each tenth of the share."""
    storage = Watched()
    ask = cached(storage, ttl=100, ttl_jitter=0.5, threshold="exact", coalesce=False)
    for number in range(1000):
        ask(f"q {number}")
    tenths = [int((ttl - 50) / 5) for ttl in storage.times if ttl is not None]
    counts = [tenths.count(tenth) for tenth in range(10)]
    assert sum(counts) == 1000
    assert max(counts) < 150, counts
    assert min(counts) > 60, counts


def test_without_a_time_there_is_nothing_to_shorten() -> None:
    """Jitter leaves an answer that never expires, and one that is kept for longer in case of errors, as it should."""
    storage = Watched()
    cached(storage, ttl_jitter=0.5)("a")
    cached(storage, ttl="100s", ttl_jitter=0.5, stale_if_error=1000)("b")
    assert storage.times[0] is None
    assert storage.times[1] is not None
    assert 1050 <= storage.times[1] <= 1100
