"""For every shape of function and every end of a call: the result, the runs of the function, and the counts."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from recallm import CacheConfig, InMemoryStorage, SemanticCache, semantic_cache
from recallm.errors import CorruptPayloadError, MissingContextError, OddVectorError
from recallm.testing import FakeEmbedder


class RefusedError(Exception):
    """The error that the functions raise when they are asked to."""


@dataclass
class Calls:
    """The prompts that the functions were called with; `last` is what they returned or raised."""

    prompts: list[str] = field(default_factory=list)
    last: Any = None

    def answer(self, question: str) -> Any:
        """Record a call, and answer or raise as the question asks."""
        self.prompts.append(question)
        if question == "raise":
            self.last = RefusedError(question)
            raise self.last
        self.last = iter(["chunk"]) if question == "stream" else {"answer": question}
        return self.last


CALLS = Calls()


def options() -> dict[str, Any]:
    """Return options that cache whatever is decorated."""
    return {"context": {}, "storage": InMemoryStorage(), "embedder": FakeEmbedder(), "guards": ()}


def cached_by_decorator(fn: Any) -> Any:
    """Return `fn`, decorated."""
    return semantic_cache(**options())(fn)


def wrapped_as(mode: Any) -> Callable[[Any], Any]:
    """Return a function that wraps another with a `SemanticCache` in one mode."""

    def wrap(fn: Any) -> Any:
        cache = SemanticCache(InMemoryStorage(), CacheConfig(), FakeEmbedder(), guards=())
        return cache.wrap(fn, mode=mode, context={})

    return wrap


def sync_function(question: str, *, stream: bool = False) -> Any:
    """Answer."""
    return CALLS.answer(question)


async def async_function(question: str, *, stream: bool = False) -> Any:
    """Answer later."""
    await asyncio.sleep(0)
    return CALLS.answer(question)


def with_style(style: int, question: str, *, stream: bool = False) -> Any:
    """Answer in a style."""
    return CALLS.answer(question)


async def async_with_style(style: int, question: str, *, stream: bool = False) -> Any:
    """Answer in a style, later."""
    return CALLS.answer(question)


class SyncObject:
    """A callable object."""

    def __call__(self, question: str, *, stream: bool = False) -> Any:
        """Answer."""
        return CALLS.answer(question)


class AsyncObject:
    """A callable object that is awaited."""

    async def __call__(self, question: str, *, stream: bool = False) -> Any:
        """Answer later."""
        return CALLS.answer(question)


class Owner:
    """A class that is given cached methods."""


def owner() -> Any:
    """Return a class whose methods are cached anew."""

    def of_self(self: Any, question: str, *, stream: bool = False) -> Any:
        return CALLS.answer(question)

    async def async_of_self(self: Any, question: str, *, stream: bool = False) -> Any:
        return CALLS.answer(question)

    methods = {
        "method": semantic_cache(**options(), ignore=("self",))(of_self),
        "async_method": semantic_cache(**options(), ignore=("self",))(async_of_self),
        "of_class": cached_by_decorator(classmethod(of_self)),
        "async_of_class": classmethod(cached_by_decorator(async_of_self)),
        "static": cached_by_decorator(staticmethod(sync_function)),
        "async_static": staticmethod(cached_by_decorator(async_function)),
    }
    for name, method in methods.items():
        setattr(Owner, name, method)
    return Owner


SHAPES: dict[str, tuple[Callable[[], Any], bool]] = {
    "sync": (lambda: cached_by_decorator(sync_function), False),
    "async": (lambda: cached_by_decorator(async_function), True),
    "method": (lambda: owner()().method, False),
    "async method": (lambda: owner()().async_method, True),
    "classmethod": (lambda: owner().of_class, False),
    "async classmethod": (lambda: owner()().async_of_class, True),
    "staticmethod": (lambda: owner().static, False),
    "async staticmethod": (lambda: owner()().async_static, True),
    "partial": (lambda: cached_by_decorator(partial(with_style, 1)), False),
    "async partial": (lambda: cached_by_decorator(partial(async_with_style, 1)), True),
    "object": (lambda: cached_by_decorator(SyncObject()), False),
    "async object": (lambda: cached_by_decorator(AsyncObject()), True),
    "bound method": (lambda: cached_by_decorator(SyncObject().__call__), False),
    "lambda": (lambda: cached_by_decorator(lambda prompt, stream=False: CALLS.answer(prompt)), False),
    "wrap auto": (lambda: wrapped_as("auto")(sync_function), False),
    "wrap auto async": (lambda: wrapped_as("auto")(async_function), True),
    "wrap sync": (lambda: wrapped_as("sync")(sync_function), False),
    "wrap async": (lambda: wrapped_as("async")(async_function), True),
    "wrap async of sync": (lambda: wrapped_as("async")(sync_function), True),
    "wrap async of object": (lambda: wrapped_as("async")(SyncObject()), True),
    "wrap async of partial": (lambda: wrapped_as("async")(partial(with_style, 1)), True),
}


@dataclass(frozen=True)
class Expected:
    """The outcome of a sequence of calls."""

    asked: tuple[tuple[str, dict[str, Any]], ...]
    ran: int
    hits: int = 0
    misses: int = 0
    stored: int = 0
    bypasses: tuple[tuple[str, int], ...] = ()


OUTCOMES: dict[str, Expected] = {
    "miss": Expected((("a b", {}),), ran=1, misses=1, stored=1),
    "unlike": Expected((("a b", {}), ("c d", {})), ran=2, misses=2, stored=2),
    "exact hit": Expected((("a b", {}), ("a b", {})), ran=1, hits=1, misses=1, stored=1),
    "similar hit": Expected((("a b", {}), ("b a", {})), ran=1, hits=1, misses=1, stored=1),
    "exception": Expected((("raise", {}), ("raise", {})), ran=2, misses=2),
    "stream": Expected((("stream", {}), ("stream", {})), ran=2, bypasses=(("stream", 2),)),
    "stream asked for": Expected((("a b", {"stream": True}),) * 2, ran=2, bypasses=(("stream", 2),)),
}


def settled(call: Callable[[], Any], asynchronous: bool) -> Any:
    """Return the result of a call, awaited if need be."""
    if not asynchronous:
        return call()

    async def wait() -> Any:
        result = call()
        assert inspect.isawaitable(result)
        return await result

    return asyncio.run(wait())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_shape_comes_to_every_outcome(shape: str, outcome: str) -> None:
    """For each shape of function the caller gets its answer or exception, and each call is counted once."""
    make, asynchronous = SHAPES[shape]
    expected, cached = OUTCOMES[outcome], make()
    CALLS.prompts.clear()
    for question, extra in expected.asked:
        ran = len(CALLS.prompts)
        if question == "raise":
            with pytest.raises(RefusedError) as caught:
                settled(lambda: cached("raise"), asynchronous)
            assert caught.value is CALLS.last
            continue
        got = settled(lambda: cached(question, **extra), asynchronous)  # noqa: B023  # called at once
        if len(CALLS.prompts) > ran:
            assert got is CALLS.last
        else:
            assert got == {"answer": "a b"}
        if question == "stream":
            assert list(got) == ["chunk"]
    stats = cached.stats()
    assert len(CALLS.prompts) == expected.ran
    assert (stats.hits, stats.misses, stats.stored) == (expected.hits, expected.misses, expected.stored)
    assert dict(stats.bypasses) == dict(expected.bypasses)
    assert dict(stats.errors) == {}


class Broken(FakeEmbedder):
    """An embedder that always fails."""

    def embed(self, text: str) -> Any:
        """Fail."""
        raise ConnectionError(text)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_answers_where_the_cache_cannot(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the embedder fails, each shape of function answers itself, and the call is a bypass that stores nothing."""
    monkeypatch.setattr(FakeEmbedder, "embed", Broken.embed)
    make, asynchronous = SHAPES[shape]
    cached = make()
    CALLS.prompts.clear()
    assert settled(lambda: cached("a b"), asynchronous) is CALLS.last
    assert CALLS.prompts == ["a b"]
    stats = cached.stats()
    assert (stats.hits, stats.misses, stats.stored) == (0, 0, 0)
    assert dict(stats.bypasses) == dict(stats.errors) == {"embedding": 1}


def generator(question: str) -> Iterator[str]:
    """Record the call, then yield."""
    CALLS.prompts.append(question)
    if question == "raise":
        raise RefusedError(question)
    yield from ("a", "b")


async def async_generator(question: str) -> AsyncIterator[str]:
    """Record the call, then yield."""
    CALLS.prompts.append(question)
    if question == "raise":
        raise RefusedError(question)
    for chunk in ("a", "b"):
        yield chunk


class GeneratingObject:
    """A callable object that yields."""

    def __call__(self, question: str) -> Iterator[str]:
        """Yield."""
        return (yield from generator(question))


async def gathered(stream: Any) -> list[str]:
    """Return the items of an async generator."""
    return [chunk async for chunk in stream]


GENERATORS: dict[str, Callable[[], Any]] = {
    "generator": lambda: cached_by_decorator(generator),
    "async generator": lambda: cached_by_decorator(async_generator),
    "partial": lambda: cached_by_decorator(partial(generator)),
    "object": lambda: cached_by_decorator(GeneratingObject()),
    "wrap auto": lambda: wrapped_as("auto")(generator),
    "wrap sync": lambda: wrapped_as("sync")(generator),
    "wrap async": lambda: wrapped_as("async")(async_generator),
}


@pytest.mark.parametrize("shape", GENERATORS)
@pytest.mark.parametrize("question", ["stream", "raise"])
def test_generators_pass_through(shape: str, question: str) -> None:
    """Each call of a generator function is a bypass and returns a fresh generator that has not begun."""
    cached = GENERATORS[shape]()
    CALLS.prompts.clear()
    for call in (1, 2):
        stream = cached(question, cache_context={}, cache_namespace="n")
        assert inspect.isgenerator(stream) or inspect.isasyncgen(stream)
        assert len(CALLS.prompts) == call - 1

        def read(stream: Any = stream) -> Any:
            return asyncio.run(gathered(stream)) if inspect.isasyncgen(stream) else list(stream)

        if question == "raise":
            with pytest.raises(RefusedError):
                read()
        else:
            assert read() == ["a", "b"]
    stats = cached.stats()
    assert dict(stats.bypasses) == {"generator": 2}
    assert (stats.hits, stats.misses, stats.stored, dict(stats.errors)) == (0, 0, 0, {})


def test_a_base_exception_is_a_miss_that_passes() -> None:
    """An interrupt that the function raises reaches the caller, and the call counts as a miss."""

    def interrupted(question: str) -> str:
        raise KeyboardInterrupt(question)

    cached = cached_by_decorator(interrupted)
    with pytest.raises(KeyboardInterrupt):
        cached("q")
    assert cached.stats().misses == 1


ERRORS = [
    RefusedError("q"),
    StopIteration(1),
    StopAsyncIteration(),
    GeneratorExit(),
    TimeoutError(),
    OddVectorError(),
    CorruptPayloadError(),
    MissingContextError(),
    SystemExit(3),
]


# A coroutine cannot raise StopIteration, with or without a cache.
RAISED = [*(("sync", error) for error in ERRORS), *(("async", error) for error in ERRORS if error is not ERRORS[1])]


@pytest.mark.parametrize(("mode", "error"), RAISED, ids=repr)
def test_whatever_the_function_raises_reaches_the_caller_untouched(mode: Any, error: BaseException) -> None:
    """Any exception of the function reaches the caller, even `StopIteration` or an error of recallm's own."""
    ran: list[str] = []

    def failing(question: str) -> str:
        ran.append(question)
        raise error

    cache = SemanticCache(InMemoryStorage(), embedder=FakeEmbedder())
    cached: Any = cache.wrap(failing, mode=mode, context={}, ignore=("ran", "error"))
    for _ in range(2):
        with pytest.raises(type(error)) as caught:
            settled(lambda: cached("q"), mode == "async")
        assert caught.value is error
    assert ran == ["q", "q"]
    stats = cached.stats()
    assert (stats.misses, stats.stored, dict(stats.bypasses), dict(stats.errors)) == (2, 0, {}, {})


@pytest.mark.parametrize(
    "call", [lambda cached: cached(), lambda cached: cached("q", absent=1), lambda cached: cached("q", "r")]
)
def test_a_call_that_the_function_refuses_raises_what_it_did(call: Callable[[Any], Any]) -> None:
    """Wrong arguments raise a `TypeError` that names the function and its argument, as without the cache."""
    with pytest.raises(TypeError) as plain:
        call(sync_function)
    with pytest.raises(TypeError) as caught:
        call(cached_by_decorator(sync_function))
    assert str(caught.value) == str(plain.value)


def test_a_cancelled_call_is_cancelled() -> None:
    """Cancelling a call cancels the function, stores nothing, and the next call runs it again."""
    started = 0

    async def scenario() -> None:
        hold = asyncio.Event()
        began = asyncio.Event()

        async def slow(question: str) -> str:
            nonlocal started
            started += 1
            began.set()
            await hold.wait()
            return question

        cached = semantic_cache(**options(), ignore=("hold", "began", "started"))(slow)
        task = asyncio.ensure_future(cached("q"))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        hold.set()
        assert await cached("q") == "q"
        stats = cached.stats()
        assert (stats.misses, stats.hits, stats.stored) == (2, 0, 1)

    asyncio.run(scenario())
    assert started == 2
