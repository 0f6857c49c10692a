"""`stale_if_error`: if the function fails, an expired answer may be served."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from recallm import InMemoryStorage, semantic_cache
from recallm.testing import Clock, FakeEmbedder


class Moody:
    """A function that answers or raises, cached with a ttl of 10 s and `stale_if_error=100`."""

    def __init__(self, *, asynchronous: bool = False, **given: Any) -> None:
        self.clock = Clock()
        self.calls = 0
        self.error: BaseException | None = None
        known = {"context": {}, "embedder": FakeEmbedder(), "guards": (), "ttl": 10, "stale_if_error": 100}
        known |= {"storage": InMemoryStorage(clock=self.clock), "ignore": ("self",)}

        def answer(prompt: str) -> list[str]:
            self.calls += 1
            if self.error is not None:
                raise self.error
            return [f"answer {self.calls}"]

        async def later(prompt: str) -> list[str]:
            return answer(prompt)

        self.asynchronous = asynchronous
        self.cached: Any = semantic_cache(**{**known, **given})(later if asynchronous else answer)

    def ask(self, prompt: str = "one two") -> Any:
        """Call the cached function, sync or async."""
        return asyncio.run(self.cached(prompt)) if self.asynchronous else self.cached(prompt)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("prompt", ["one two", "two one"], ids=["the very prompt", "a similar one"])
def test_an_expired_answer_is_served_where_the_function_fails(prompt: str, asynchronous: bool) -> None:
    """If the function fails, an expired answer is served; the call counts as a miss and as stale."""
    moody = Moody(asynchronous=asynchronous)
    assert moody.ask() == ["answer 1"]
    moody.clock.advance(50)
    moody.error = ConnectionError("away")
    assert moody.ask(prompt) == ["answer 1"]
    stats = moody.cached.stats()
    assert (stats.hits, stats.misses, stats.stale, stats.stored) == (0, 2, 1, 1)
    assert "stale           1" in repr(stats)


def test_an_expired_answer_is_served_to_a_prompt_that_matches_exactly_only(asynchronous: bool) -> None:
    """A prompt without an embedding gets its own expired answer if the function fails, and `explain` names it."""
    moody = Moody(asynchronous=asynchronous)
    assert moody.ask("  ") == ["answer 1"]
    moody.clock.advance(50)
    moody.error = ConnectionError("away")
    assert moody.ask("  ") == ["answer 1"]
    assert moody.cached.stats().stale == 1
    why = moody.cached.explain("  ")
    assert (why.outcome, why.reason, why.cached_prompt, why.age) == ("miss", "exact_only", "  ", 50.0)
    with pytest.raises(ConnectionError):
        moody.ask("   ")


def test_an_expired_answer_is_not_served_where_the_function_answers() -> None:
    """If the function answers, its new answer replaces the expired one."""
    moody = Moody()
    moody.ask()
    moody.clock.advance(10)
    assert moody.ask() == ["answer 2"]
    assert moody.ask() == ["answer 2"]
    assert (moody.cached.stats().misses, moody.cached.stats().stale) == (2, 0)


@pytest.mark.parametrize(
    ("advance", "given"),
    [(110, {}), (50, {"stale_if_error": None}), (1, {"context": lambda kw: {"prompt": kw["prompt"]}})],
    ids=["too long ago", "not asked for", "another context"],
)
def test_else_what_the_function_raises_reaches_the_caller(advance: float, given: dict[str, Any]) -> None:
    """If no expired answer may be served, the caller gets the function's own exception."""
    moody = Moody(**given)
    moody.ask()
    moody.clock.advance(advance)
    moody.error = ConnectionError("away")
    with pytest.raises(ConnectionError) as caught:
        moody.ask("two one")
    assert caught.value is moody.error
    assert moody.cached.stats().stale == 0


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_what_ends_the_program_is_not_caught(asynchronous: bool) -> None:
    """A `SystemExit` of the function reaches the caller although an expired answer could be served."""
    moody = Moody(asynchronous=asynchronous)
    moody.ask()
    moody.clock.advance(50)
    moody.error = SystemExit(3)
    with pytest.raises(SystemExit):
        moody.ask()


def test_an_expired_answer_that_a_guard_refuses_is_not_served() -> None:
    """Guards refuse an expired answer to a similar prompt as they refuse a fresh one."""
    moody = Moody(guards=(lambda prompt, cached_prompt: False,))
    moody.ask()
    moody.clock.advance(50)
    moody.error = ConnectionError("away")
    with pytest.raises(ConnectionError):
        moody.ask("two one")
    assert moody.ask("one two") == ["answer 1"]


def test_an_answer_that_never_expires_needs_no_spare() -> None:
    """Without a ttl an answer never expires and stays a hit."""
    moody = Moody(ttl=None)
    moody.ask()
    moody.clock.advance(1e9)
    moody.error = ConnectionError("away")
    assert moody.ask() == ["answer 1"]
    assert moody.cached.stats().hits == 1


@pytest.mark.parametrize("wrong", [-1, 0, "an hour", True])
def test_a_time_that_is_none_is_refused_at_decoration(wrong: Any) -> None:
    """A wrong `stale_if_error` raises at decoration, and the message has the value."""
    with pytest.raises((TypeError, ValueError), match="stale_if_error="):
        Moody(stale_if_error=wrong)
