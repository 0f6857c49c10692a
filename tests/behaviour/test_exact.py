"""`threshold="exact"`: only the very same prompt is answered from the cache, and no model is asked for anything."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.redis_servers import Server
from support.redis_storages import storage_on

from recallm import (
    CacheConfig,
    InMemoryStorage,
    SemanticCache,
    ThreadSafeInMemoryStorage,
    record,
    registry,
    semantic_cache,
)
from recallm.engine.asking import awaited
from recallm.storage.base import StorageBackend
from recallm.testing import Clock, FakeEmbedder


class Untouchable:
    """An embedder that counts what it is asked for, and fails each time."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def _fail(self, member: str) -> Any:
        self.asked.append(member)
        raise AssertionError(f"{member} was asked for")

    @property
    def model_id(self) -> str:
        """Fail."""
        return str(self._fail("model_id"))

    def load(self) -> None:
        """Fail."""
        self._fail("load")

    def represents(self, text: str) -> bool:
        """Fail."""
        return bool(self._fail("represents"))

    def embed(self, text: str) -> list[float]:
        """Fail."""
        self._fail("embed")
        return []


class Exact:
    """A function that answers with how often it has run, cached with ``threshold="exact"``."""

    def __init__(self, *, asynchronous: bool = False, **changes: Any) -> None:
        self.ran = 0
        self.embedder = Untouchable()
        kept = {"context": {}, "storage": InMemoryStorage(), "embedder": self.embedder, "ignore": ("self",)}
        kept |= {"threshold": "exact", "namespace": "n", "name": "exact"}

        def answer(question: str) -> str:
            return self.next()

        async def later(question: str) -> str:
            return answer(question)

        self.asynchronous = asynchronous
        self.runner = asyncio.Runner()
        self.cached: Any = semantic_cache(**{**kept, **changes})(later if asynchronous else answer)

    def __enter__(self) -> Exact:
        return self

    def __exit__(self, *_: object) -> None:
        self.runner.close()

    def next(self) -> str:
        """Answer."""
        self.ran += 1
        return f"answer {self.ran}"

    def do(self, handle: str, *args: Any) -> Any:
        """Return what a call, or a handle of the function, comes to."""
        name = f"a{handle}" if self.asynchronous and handle != "__call__" else handle
        result = getattr(self.cached, name)(*args)
        return self.runner.run(awaited(result)) if inspect.isawaitable(result) else result

    def ask(self, question: str) -> Any:
        """Call the function."""
        return self.do("__call__", question)


def check_a_life(function: Exact) -> None:
    """Check every handle of a function, and that none of them asked the embedder for anything."""
    assert function.do("warmup") is True
    assert [function.ask("one two"), function.ask("two one"), function.ask("one two")] == [
        "answer 1",
        "answer 2",
        "answer 1",
    ]
    known, unknown = function.do("explain", "one two"), function.do("explain", "One two")
    assert (known.outcome, known.reason, known.exact, known.similarity) == ("hit", "exact", True, 1.0)
    assert (unknown.outcome, unknown.reason, unknown.exact, unknown.similarity) == ("miss", "exact_only", False, None)
    assert known.threshold == unknown.threshold == 1.0
    assert function.do("refresh", "one two") == "answer 3"
    assert function.ask("one two") == "answer 3"
    assert (function.do("invalidate", "one two"), function.do("invalidate", "one two")) == (1, 0)
    assert (function.ask("one two"), function.ask("two one")) == ("answer 4", "answer 2")
    stats = function.cached.stats()
    assert (stats.hits, stats.exact_hits, stats.misses, stats.stored) == (3, 3, 4, 4)
    assert stats.namespace_sizes == {"n": 2}
    assert (stats.errors, stats.circuits) == ({}, {})
    assert function.do("clear") == 2
    assert function.embedder.asked == []


@pytest.mark.parametrize("make", [InMemoryStorage, ThreadSafeInMemoryStorage])
def test_the_very_prompt_alone_is_answered_in_memory(make: type[StorageBackend], asynchronous: bool) -> None:
    """With a storage in memory every handle works without an embedder, sync and async."""
    with Exact(storage=make(), asynchronous=asynchronous) as function:
        check_a_life(function)


def test_the_very_prompt_alone_is_answered_on_redis(redis_server: Server, asynchronous: bool) -> None:
    """On each kind of Redis server every handle works without an embedder, sync and async."""
    redis_server.empty()
    storage = storage_on(redis_server)
    with Exact(storage=storage, asynchronous=asynchronous) as function:
        check_a_life(function)
        function.runner.run(storage.aclose())


def test_a_config_may_ask_for_it() -> None:
    """The config's threshold does what the decorator's does, and the decorator's comes first."""
    config = CacheConfig(threshold="exact")
    assert Exact(config=config, threshold="strict").cached.cache.config.threshold == "strict"
    function = Exact()
    function.cached = SemanticCache(InMemoryStorage(), config, function.embedder).wrap(
        lambda question: function.next(), context={}, namespace="n", ignore=("function",), prompt="question"
    )
    check_a_life(function)


@pytest.mark.parametrize("name", ["offline", "no/such-model"])
def test_it_works_without_any_usable_model(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """If the default model is not installed, or is none, calls, handles and statistics go on without trouble."""
    monkeypatch.setattr(registry, "_default_embedders", {})
    monkeypatch.setattr("recallm.embedders.model_files.OFFLINE_PACKAGE", "not_installed_anywhere")
    monkeypatch.setenv("RECALLM_EMBEDDER", name)
    check_a_life(Exact(embedder=None))
    assert registry._default_embedders == {}


@given(st.text(max_size=5), st.text(max_size=5))
def test_a_second_call_is_a_hit_if_and_only_if_the_prompts_are_equal(one: str, other: str) -> None:
    """Whatever the two prompts are, the second call is a hit exactly if it has the same one."""
    function = Exact()
    function.ask(one)
    explained = function.cached.explain(other)
    function.ask(other)
    assert function.ran == (1 if one == other else 2)
    assert explained.outcome == ("hit" if one == other else "miss")
    assert function.embedder.asked == []


@pytest.mark.parametrize("first", ["exact", "balanced"])
def test_entries_do_not_mix_with_those_of_similar_matching(first: str) -> None:
    """Of one function with both kinds of matching, neither finds what the other stored, not even the very prompt."""
    storage = InMemoryStorage()

    def answer(question: str) -> str:
        return question

    other = "balanced" if first == "exact" else "exact"
    shared: Any = {"context": {}, "storage": storage, "embedder": FakeEmbedder(), "namespace": "n"}
    one, two = (semantic_cache(**{**shared, "threshold": threshold})(answer) for threshold in (first, other))
    one("one two")
    assert two.explain("one two").outcome == two.explain("two one").outcome == "miss"
    assert two.invalidate("one two") == 0
    two("one two")
    assert storage.sizes(["n"]) == {"n": 2}


def test_neither_guards_nor_the_verifier_nor_a_recording_are_told(tmp_path: Any) -> None:
    """There is nothing to compare: guards, the verifier and recordings are not asked about any prompt."""

    def refuses(*_: Any) -> bool:
        raise AssertionError("it was asked")

    function = Exact(guards=(refuses,), verify=refuses)
    with record(tmp_path / "pairs.jsonl") as recording:
        assert [function.ask(prompt) for prompt in ("one", "two", "one")] == ["answer 1", "answer 2", "answer 1"]
    assert recording.written == 0
    assert function.cached.stats().errors == {}


def test_the_very_prompts_expired_answer_is_served_if_the_function_fails() -> None:
    """With `stale_if_error` an expired answer serves its own prompt alone."""
    clock = Clock()
    broken: list[bool] = []

    def answer(question: str) -> str:
        if broken:
            raise ConnectionError("away")
        return question.upper()

    cached = semantic_cache(
        context={},
        storage=InMemoryStorage(clock=clock),
        threshold="exact",
        ttl=10,
        stale_if_error=100,
        ignore=("broken",),
    )(answer)
    cached("one two")
    clock.advance(50)
    broken.append(True)
    assert cached("one two") == "ONE TWO"
    with pytest.raises(ConnectionError):
        cached("two one")
