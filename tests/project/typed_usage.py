"""Usage that a type checker must understand: checked by mypy, never run."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine
from typing import Any, assert_type

from recallm import CacheStats, Explanation, InMemoryStorage, SemanticCache, semantic_cache
from recallm.testing import FakeEmbedder


@semantic_cache(context={}, storage=InMemoryStorage(), embedder=FakeEmbedder())
def answer(question: str, *, user: str = "u") -> list[str]:
    """Answer."""
    return [question, user]


@semantic_cache
def bare(question: str) -> int:
    """Answer."""
    return len(question)


@semantic_cache(context={}, storage=InMemoryStorage(), embedder=FakeEmbedder())
async def later(question: str) -> bytes:
    """Answer later."""
    return question.encode()


class Agent:
    """Has a cached method."""

    @semantic_cache(context={}, storage=InMemoryStorage(), embedder=FakeEmbedder(), ignore=("self",))
    def ask(self, question: str) -> float:
        """Answer."""
        return float(len(question))

    @classmethod
    @semantic_cache(context={}, storage=InMemoryStorage(), embedder=FakeEmbedder())
    def ask_class(cls, question: str) -> float:
        """Answer."""
        return float(len(question))

    @semantic_cache(context={}, storage=InMemoryStorage(), embedder=FakeEmbedder())
    @classmethod
    def ask_class_too(cls, question: str) -> float:
        """Answer."""
        return float(len(question))

    @staticmethod
    @semantic_cache(context={}, storage=InMemoryStorage(), embedder=FakeEmbedder())
    def ask_nobody(question: str) -> float:
        """Answer."""
        return float(len(question))

    @semantic_cache(context={}, storage=InMemoryStorage(), embedder=FakeEmbedder())
    @staticmethod
    def ask_nobody_too(question: str) -> float:
        """Answer."""
        return float(len(question))


def use() -> None:
    """Call what is decorated; each result has the type that the function's own would have."""
    assert_type(answer("q", user="v"), list[str])
    assert_type(answer("q", cache_context={"doc": 1}, cache_ttl=60), list[str])
    assert_type(bare("q", cache_context={}, cache_namespace="n"), int)
    assert_type(Agent().ask("q"), float)
    for each in (Agent(), Agent):
        assert_type(each.ask_class("q"), float)
        assert_type(each.ask_class_too("q", cache_ttl=1), float)
        assert_type(each.ask_nobody("q"), float)
        assert_type(each.ask_nobody_too("q"), float)
    answer(1)  # type: ignore[call-overload]
    answer("q", usr=2)  # type: ignore[call-overload]
    assert_type(answer.__wrapped__("q", user="v"), list[str])
    assert_type(answer.refresh("q"), list[str])
    assert_type(answer.invalidate("q"), int)
    assert_type(answer.explain("q"), Explanation)
    assert_type(answer.stats(), CacheStats)
    assert_type(answer.cache, SemanticCache)
    assert_type(Agent().ask.clear(), int)
    cache = SemanticCache(InMemoryStorage(), embedder=FakeEmbedder())
    assert_type(cache.wrap(len, prompt=str, context={}).stats(), CacheStats)


async def use_async() -> None:
    """Await what is decorated."""
    call: Coroutine[Any, Any, bytes] = later("q")
    assert_type(await call, bytes)
    awaitable: Awaitable[bytes] = later.refresh("q")
    assert_type(await awaitable, bytes)
    assert_type(await later.ainvalidate("q"), int)
