"""Rules that hold for a decorated function with any arguments and any sequence of calls."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from recallm import CacheStats, InMemoryStorage, semantic_cache
from recallm.errors import OddVectorError
from recallm.testing import FakeEmbedder


def options(**changes: Any) -> dict[str, Any]:
    """Return options that cache whatever is decorated."""
    return {"context": {}, "storage": InMemoryStorage(), "embedder": FakeEmbedder(dim=64), "guards": (), **changes}


values = st.recursive(
    st.sampled_from([None, True, False, 0, 1, 1.0, 0.0, "", "0", "1", "a", b"a", b""]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.lists(inner, max_size=2).map(tuple)
        | st.dictionaries(st.sampled_from(["a", 1, "1", None]), inner, max_size=2)
    ),
    max_leaves=3,
)
extras = st.dictionaries(st.sampled_from(["model", "seed", "user", "tools"]), values, max_size=3)
contexts = st.dictionaries(st.sampled_from(["user", "doc", 1]), values, max_size=2)


def typed(value: Any) -> str:
    """Return a text that tells values apart by type and content, whatever the order of mappings."""
    if isinstance(value, dict):
        return f"dict{sorted((typed(key), typed(item)) for key, item in value.items())}"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__}{[typed(item) for item in value]}"
    return f"{type(value).__name__} {value!r}"


@given(extras, extras, contexts, contexts, st.booleans(), st.randoms())
def test_different_exact_parts_never_share_an_answer_and_equal_ones_do(
    one: dict[str, Any], other: dict[str, Any], mine: Any, theirs: Any, reworded: bool, random: Any
) -> None:
    """A second call hits if and only if all its arguments but the prompt equal the first one's."""
    ran: list[str] = []

    @semantic_cache(**options(context=None, ignore=("ran",)))
    def ask(question: str, **extra: Any) -> str:
        ran.append(question)
        return f"{typed(extra)}"

    ask("what is a refund", cache_context=mine, **one)
    items = list({**other, "cache_context": theirs}.items())
    random.shuffle(items)
    question = "a refund is what" if reworded else "what is a refund"
    answer = ask(question=question, **dict(items))
    assert answer == typed(other)
    assert (len(ran) == 1) == ((typed(one), typed(mine)) == (typed(other), typed(theirs)))


@given(extras, contexts, st.randoms())
def test_equal_calls_share_an_answer(extra: dict[str, Any], context: Any, random: Any) -> None:
    """Calls whose arguments are equal copies, in another order, share one answer."""
    cached = semantic_cache(**options(context=None))(lambda prompt, **extra: typed(extra))
    assert cached("q", cache_context=context, **extra) == typed(extra)
    items = [*copy.deepcopy(extra).items(), ("cache_context", copy.deepcopy(context)), ("prompt", "q")]
    random.shuffle(items)
    assert cached(**dict(items)) == typed(extra)
    assert cached.stats().exact_hits == 1


sentences = st.lists(st.sampled_from(["what", "is", "a", "refund", "parcel"]), min_size=1, max_size=4).map(" ".join)
thresholds = st.floats(0, 1) | st.sampled_from(["strict", "balanced", "loose"])


@given(st.lists(sentences, min_size=1, max_size=5), sentences, thresholds, thresholds)
def test_raising_the_threshold_never_adds_a_hit(
    stored: list[str], question: str, one: float | str, other: float | str
) -> None:
    """With the same entries stored, a call that hits at a threshold hits at every lower one."""
    shared = options(namespace="n")

    def ask(question: str) -> str:
        return question

    for prompt in stored:
        semantic_cache(**{**shared, "threshold": 1.0})(ask).refresh(prompt)
    found = [semantic_cache(**{**shared, "threshold": threshold})(ask).explain(question) for threshold in (one, other)]
    lower, higher = sorted(found, key=lambda explanation: explanation.threshold or 0.0)
    if higher.outcome == "hit":
        assert lower.outcome == "hit"
        assert lower.cached_prompt == higher.cached_prompt
    for explanation in found:
        assert explanation.outcome in ("hit", "miss")
        if explanation.outcome == "hit" and not explanation.exact:
            assert explanation.similarity is not None
            assert explanation.threshold is not None
            assert explanation.similarity >= explanation.threshold


class RefusedError(Exception):
    """The error that the functions raise when they are asked to."""


prompts = st.sampled_from(["a b", "b a", "a b c", "c d", "nan", "zero", "short", " "])
users = st.sampled_from(["u", "v"])
operations = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "ask", "refresh", "invalidate", "explain", "raise", "bypass", "clear"]),
        prompts,
        users,
    ),
    max_size=12,
)
ODD = {"nan": [float("nan")] * 64, "zero": [0.0] * 64, "short": [1.0, 2.0]}


class OddEmbedder(FakeEmbedder):
    """An embedder that returns malformed vectors for some texts."""

    def embed(self, text: str) -> Any:
        """Return a malformed vector for some texts."""
        return ODD[text] if text in ODD else super().embed(text)


class Scripted:
    """Carries out operations on a sync or async function, and records everything that can be seen of them."""

    def __init__(self, *, asynchronous: bool) -> None:
        self.asynchronous = asynchronous
        self.ran = 0
        kept = options(embedder=OddEmbedder(dim=64), ignore=("self",), name="scripted", namespace="n")

        def answer(question: str, *, user: str, fail: bool = False, stream: bool = False) -> str:
            return self.answer(question, user, fail)

        async def later(question: str, *, user: str, fail: bool = False, stream: bool = False) -> str:
            await asyncio.sleep(0)
            return self.answer(question, user, fail)

        self.cached: Any = semantic_cache(**kept)(later if asynchronous else answer)

    def answer(self, question: str, user: str, fail: bool) -> str:
        """Answer each run differently."""
        self.ran += 1
        if fail:
            raise RefusedError(question)
        return f"{question} for {user} #{self.ran}"

    async def perform(self, operation: str, question: str, user: str) -> object:
        """Return what one operation gives its caller."""
        handle = {"raise": "", "bypass": "", "ask": ""}.get(operation, operation)
        if self.asynchronous and handle:
            handle = f"a{handle}"
        call = getattr(self.cached, handle) if handle else self.cached
        extra = {"raise": {"fail": True}, "bypass": {"stream": True}}.get(operation, {})
        try:
            result = call() if operation == "clear" else call(question, user=user, **extra)
            if self.asynchronous:
                result = await result
        except (RefusedError, OddVectorError) as error:
            return repr(error)
        return replace(result, age=None) if operation == "explain" else result


@settings(deadline=None)
@given(operations)
def test_sync_and_async_come_to_the_same(script: list[tuple[str, str, str]]) -> None:
    """Any operations give the same results, runs and statistics on a sync and on an async function."""

    async def played(scripted: Scripted) -> tuple[list[object], int, CacheStats]:
        results = [await scripted.perform(*step) for step in script]
        return results, scripted.ran, replace(scripted.cached.stats(), saved_seconds=0.0)

    one = asyncio.run(played(Scripted(asynchronous=False)))
    other = asyncio.run(played(Scripted(asynchronous=True)))
    assert one == other


@settings(deadline=None)
@given(operations)
def test_every_call_is_counted_once_and_answers_its_own_user(script: list[tuple[str, str, str]]) -> None:
    """Hits, misses and bypasses add up to the calls, and nobody gets another user's answer."""
    scripted, calls = Scripted(asynchronous=False), 0

    async def play() -> None:
        nonlocal calls
        for operation, question, user in script:
            result = await scripted.perform(operation, question, user)
            if operation in ("ask", "refresh", "bypass"):
                assert f"for {user} #" in str(result)
            calls += operation in ("ask", "refresh", "bypass", "raise")

    asyncio.run(play())
    stats = scripted.cached.stats()
    assert stats.hits + stats.misses + sum(stats.bypasses.values()) == calls
    assert scripted.ran == stats.misses + sum(stats.bypasses.values())
    assert sum(stats.namespace_sizes.values()) <= stats.stored <= stats.misses


@dataclass
class Usage:
    """A part of a response."""

    total_tokens: int
    labels: list[str]


class Reply(BaseModel):
    """A response as client libraries define it."""

    texts: list[str]
    extra: dict[str, list[int]]


def spoil(value: Any) -> None:
    """Change everything in a response that can be changed."""
    if isinstance(value, dict):
        for item in tuple(value.values()):
            spoil(item)
        value["spoilt"] = True
    elif isinstance(value, list):
        for item in value:
            spoil(item)
        value.append("spoilt")
    elif isinstance(value, set):
        value.add("spoilt")
    elif isinstance(value, tuple):
        for item in value:
            spoil(item)
    elif isinstance(value, Usage):
        spoil(value.labels)
        value.total_tokens = -1
    elif isinstance(value, Reply):
        spoil(value.texts)
        spoil(value.extra)


responses = st.recursive(
    st.sampled_from(["", "text", b"bytes", 0, 1.5, True])
    | st.builds(Usage, st.integers(0, 9), st.lists(st.text(max_size=3), max_size=2))
    | st.builds(Reply, texts=st.lists(st.text(max_size=3), max_size=2), extra=st.just({"a": [1]})),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.text(max_size=2), inner, max_size=2)
        | st.tuples(inner, inner)
        | st.sets(st.integers(0, 3))
    ),
    max_leaves=5,
)


@pytest.mark.parametrize("asynchronous", [False, True])
@given(response=responses)
def test_a_hit_never_aliases(asynchronous: bool, response: Any) -> None:
    """Changing the response of a miss or of a hit never changes what the next call returns."""
    whole = copy.deepcopy(response)

    def answer(prompt: str) -> Any:
        return response

    async def later(prompt: str) -> Any:
        return response

    cached: Any = semantic_cache(**options(ignore=("response",), store_if=lambda _: True))(
        later if asynchronous else answer
    )

    async def scenario() -> None:
        for question in ("what is it", "what is it", "is it what", "what is it"):
            got = await cached(question) if asynchronous else cached(question)
            assert got == whole
            assert type(got) is type(whole)
            spoil(got)

    asyncio.run(scenario())
    stats = cached.stats()
    assert (stats.exact_hits, stats.semantic_hits, stats.misses) == (2, 1, 1)
