"""The decorated function's handles, on the function and on bound methods, sync and async."""

from __future__ import annotations

import asyncio
import pydoc
import rlcompleter
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from typing import Any

import pytest

from recallm import Explanation, InMemoryStorage, SemanticCache, ThreadSafeInMemoryStorage, semantic_cache
from recallm.cache import BoundCachedFunction, CachedFunction, CacheInfo
from recallm.errors import MissingContextError
from recallm.testing import Clock, FakeEmbedder


def options(**changes: Any) -> dict[str, Any]:
    """Return options that cache whatever is decorated."""
    return {"context": {}, "storage": InMemoryStorage(), "embedder": FakeEmbedder(), "guards": (), **changes}


class Versions:
    """Answers each call with the number of the call."""

    def __init__(self) -> None:
        self.version = 0

    def next(self, question: str) -> str:
        """Return a new answer."""
        self.version += 1
        return f"{question} #{self.version}"

    def cached(self, *, asynchronous: bool = False, **changes: Any) -> Any:
        """Return a cached function whose every run answers differently."""

        def answer(question: str, *, user: Any = "u") -> str:
            return self.next(question)

        async def later(question: str, *, user: Any = "u") -> str:
            return self.next(question)

        return semantic_cache(**options(ignore=("self",), **changes))(later if asynchronous else answer)


def upper(question: str) -> str:
    """Answer."""
    return question.upper()


class Agent:
    """Has cached methods of every kind."""

    versions = Versions()

    @semantic_cache(**options(ignore=("self",)))
    def ask(self, question: str) -> str:
        """Answer."""
        return Agent.versions.next(question)

    @semantic_cache(**options(ignore=("self",)))
    async def later(self, question: str) -> str:
        """Answer later."""
        return Agent.versions.next(question)

    @semantic_cache(**options())
    @classmethod
    def of_class(cls, question: str) -> str:
        """Answer."""
        return Agent.versions.next(question)

    @semantic_cache(**options())
    @staticmethod
    def static(question: str) -> str:
        """Answer."""
        return Agent.versions.next(question)


@pytest.fixture
def versions() -> Versions:
    """Return a counter of answers."""
    return Versions()


BOUND = {
    "function": lambda: Versions().cached(),
    "method": lambda: Agent().ask,
    "classmethod": lambda: Agent.of_class,
    "classmethod of an instance": lambda: Agent().of_class,
    "staticmethod": lambda: Agent.static,
    "staticmethod of an instance": lambda: Agent().static,
}


@pytest.fixture(params=BOUND)
def cached(request: pytest.FixtureRequest) -> Any:
    """Return a cached callable, its cache empty and uncounted."""
    made: Any = BOUND[request.param]()  # type: ignore[no-untyped-call]  # a table of lambdas
    made.cache_clear()
    return made


def test_refresh_overwrites_the_answer(cached: Any) -> None:
    """`refresh` runs the function whatever is stored, counts as a miss, and later calls get the new answer."""
    first = cached("q")
    second = cached.refresh("q")
    assert second != first
    assert cached("q") == second
    stats = cached.stats()
    assert (stats.hits, stats.misses, stats.stored) == (1, 2, 2)
    assert sum(stats.namespace_sizes.values()) == 1


def test_refresh_leaves_similar_answers(cached: Any) -> None:
    """`refresh` replaces the answer of this very prompt alone."""
    one = cached("what is a refund")
    cached.refresh("a refund is what")
    assert cached("what is a refund") == one


def test_invalidate_removes_what_the_call_would_hit(cached: Any) -> None:
    """`invalidate` removes the exact and similar entries that the call would hit, and returns how many."""
    cached("what is a refund")
    cached.refresh("a refund is what")
    kept = cached("where is my parcel")
    assert cached.invalidate("refund a what is") == 2
    assert cached.invalidate("what is a refund") == 0
    assert cached("where is my parcel") == kept
    assert cached.explain("what is a refund").outcome == "miss"


def test_explain_neither_calls_nor_counts(cached: Any) -> None:
    """`explain` describes a miss, an exact hit and a similar hit without calling or counting."""
    assert cached.explain("what is a refund").reason == "empty"
    cached("what is a refund")
    before = cached.stats()
    exact, similar = cached.explain("what is a refund"), cached.explain("a refund is what")
    unlike = cached.explain("where is a parcel")
    assert (exact.outcome, exact.exact, exact.similarity) == ("hit", True, 1.0)
    assert (similar.outcome, similar.exact, similar.cached_prompt) == ("hit", False, "what is a refund")
    assert (unlike.outcome, unlike.reason, unlike.cached_prompt) == ("miss", "unlike", "what is a refund")
    assert similar.namespace == cached.cache.name
    assert unlike.similarity is not None
    assert unlike.threshold is not None
    assert unlike.similarity < unlike.threshold <= similar.similarity
    assert cached.stats() == before


def test_clear_empties_the_namespaces_and_keeps_the_statistics(cached: Any) -> None:
    """`clear` removes the entries, returns how many there were, and keeps the statistics."""
    cached("a")
    cached("b", cache_namespace="elsewhere")
    assert cached.clear() == 2
    assert cached.stats().misses == 2
    assert cached.stats().namespace_sizes == {}


NAMES = (
    "cache stats explain refresh invalidate wrong clear warmup arefresh aexplain ainvalidate awrong aclear awarmup "
    "cache_info cache_clear"
).split()


def test_dir_shows_the_handles(cached: Any) -> None:
    """`dir`, which completion asks, shows each handle besides what the function has, and all that it shows is there."""
    shown = dir(cached)
    assert {*NAMES, *dir(cached.__wrapped__)} == set(shown)
    assert all(hasattr(cached, name) for name in shown if name != "__abstractmethods__")


def test_completion_shows_the_handles(cached: Any) -> None:
    """The tab key of an interactive Python completes handles."""
    complete = rlcompleter.Completer({"cached": cached}).attr_matches
    assert {each.rstrip("()") for each in complete("cached.a")} >= {
        f"cached.{name}" for name in NAMES if name[0] == "a"
    }
    assert any(each.startswith("cached.explain") for each in complete("cached.exp"))


@pytest.mark.parametrize(
    ("make", "begin"),
    [
        (lambda: semantic_cache(**options())(upper), "<CachedFunction {}.upper:"),
        (lambda: Agent().ask, "<BoundCachedFunction {}.Agent.ask:"),
        (lambda: Agent.of_class, "<BoundCachedFunction {}.Agent.of_class:"),
        (lambda: Agent().static, "<BoundCachedFunction {}.Agent.static:"),
        (lambda: semantic_cache(**options())(partial(Versions.next, Versions())), "<CachedFunction {}.Versions.next:"),
    ],
)
def test_repr_shows_the_name_and_what_was_counted(make: Any, begin: str) -> None:
    """The repr names the function under partials and methods, and counts hits and misses."""
    cached = make()
    cached.cache_clear()
    cached("q")
    cached("q")
    assert repr(cached) == f"{begin.format(__name__)} 1 hits, 1 misses>"


def test_help_shows_the_function_and_its_handles(cached: Any) -> None:
    """`help` shows a cached function as it would the function, and each handle with its own docstring."""
    plain = pydoc.TextDoc()
    assert pydoc.render_doc(cached, renderer=plain) == pydoc.render_doc(cached.__wrapped__, renderer=plain)
    for name in NAMES:
        assert getattr(type(cached), name).__doc__ in pydoc.render_doc(type(cached), renderer=plain)
        if name != "cache":
            assert getattr(cached, name).__doc__ in pydoc.render_doc(getattr(cached, name), renderer=plain)


def test_annotations_outlive_a_look_at_the_class(cached: Any) -> None:
    """Whoever asks the class for its annotations, as `help` does, does not hide those of the functions."""
    assert type(cached).__annotations__ == {}
    assert cached.__annotations__ == cached.__wrapped__.__annotations__ != {}


def test_functools_habits(cached: Any) -> None:
    """`cache_info` and `cache_clear` work as those of `functools.lru_cache`."""
    cached("a")
    cached("a")
    assert cached.cache_info() == CacheInfo(hits=1, misses=1, maxsize=None, currsize=1)
    assert cached.cache_info()._asdict().keys() == {"hits", "misses", "maxsize", "currsize"}
    cached.cache_clear()
    assert cached.cache_info() == (0, 0, None, 0)


def test_warmup_loads_the_model(cached: Any) -> None:
    """`warmup` loads the model and returns whether it is ready."""
    assert cached.warmup() is True
    assert asyncio.run(cached.awarmup()) is True


def test_async_handles_serve_sync_functions_too(cached: Any) -> None:
    """The async handles of a sync function work from a coroutine without blocking the event loop."""

    async def scenario() -> None:
        first = cached("q")
        assert (await cached.aexplain("q")).outcome == "hit"
        assert await cached.arefresh("q") != first
        assert await cached.ainvalidate("q") == 1
        cached("q")
        assert await cached.aclear() == 1

    asyncio.run(scenario())


def test_the_cache_behind_a_function_is_one(cached: Any) -> None:
    """Every way to a function leads to the same `SemanticCache`."""
    assert isinstance(cached.cache, SemanticCache)
    assert cached.cache is cached.cache
    assert Agent().ask.cache is Agent.ask.cache is Agent.__dict__["ask"].cache
    assert isinstance(cached, CachedFunction | BoundCachedFunction)


@pytest.mark.parametrize("make", [lambda: Versions().cached(asynchronous=True), lambda: Agent().later])
def test_handles_of_async_functions(make: Any) -> None:
    """`refresh` of an async function gives an awaitable; the other handles wait, and have an awaitable twin."""
    later = make()
    later.cache_clear()

    async def scenario() -> None:
        first = await later("what is a refund")
        second = await later.refresh("what is a refund")
        assert first != second
        assert await later("what is a refund") == second
        third = await later.arefresh("what is a refund")
        assert third not in (first, second)
        assert later.explain("a refund is what").outcome == "hit"
        explanation = await later.aexplain("a refund is what")
        assert (explanation.outcome, explanation.exact) == ("hit", False)
        assert await later.ainvalidate("a refund is what") == 1
        assert later.invalidate("what is a refund") == 0
        assert (later.stats().hits, later.stats().misses) == (1, 3)

    asyncio.run(scenario())


HANDLES = ["refresh", "invalidate", "explain", "arefresh", "ainvalidate", "aexplain"]


def reached(result: Any) -> Any:
    """Return a result, awaited where it must be."""
    return asyncio.run(result) if asyncio.iscoroutine(result) else result


@pytest.mark.parametrize("handle", HANDLES)
def test_handles_want_a_context_as_calls_do(versions: Versions, handle: str) -> None:
    """The handles take the same arguments and options as calls, and need a context likewise."""
    cached = versions.cached(context=None)
    with pytest.raises(MissingContextError):
        reached(getattr(cached, handle)("q"))
    assert versions.version == 0
    answer = cached("q", cache_context={"doc": 1})
    told = reached(getattr(cached, handle)("q", cache_context={"doc": 1}))
    assert told in ("q #2", 1) or told.outcome == "hit"
    assert answer == "q #1"


@pytest.mark.parametrize(
    ("make", "args", "reason"),
    [
        (Versions.cached, (), "arguments"),
        (Versions.cached, (None,), "no_prompt"),
        (lambda each: each.cached(namespace=lambda kw: kw["absent"]), ("q",), "keying"),
    ],
)
def test_handles_of_calls_that_are_not_cached(versions: Versions, make: Any, args: Any, reason: str) -> None:
    """For a call that is a bypass there is nothing to remove, and explaining gives the reason."""
    cached = make(versions)
    bypass = Explanation("bypass", reason)
    assert cached.explain(*args) == asyncio.run(cached.aexplain(*args)) == bypass
    assert cached.invalidate(*args) == asyncio.run(cached.ainvalidate(*args)) == 0
    assert dict(cached.stats().bypasses) == {}
    assert versions.version == 0


def test_a_refresh_of_what_is_not_cached_calls_through(versions: Versions) -> None:
    """Refreshing a call that is a bypass calls the function and counts a bypass."""
    cached = versions.cached(namespace=lambda kw: kw["absent"])
    assert [cached.refresh("q"), cached("q")] == ["q #1", "q #2"]
    stats = cached.stats()
    assert (stats.misses, dict(stats.bypasses), dict(stats.errors)) == (0, {"keying": 2}, {"keying": 2})


def test_a_refresh_that_raises_leaves_the_old_answer(versions: Versions) -> None:
    """If the function raises in a refresh, the old answer stays."""
    broken: list[bool] = []

    def answer(question: str) -> str:
        if broken:
            raise ConnectionError(question)
        return versions.next(question)

    cached = semantic_cache(**options(ignore=("broken", "versions")))(answer)
    cached("q")
    broken.append(True)
    with pytest.raises(ConnectionError):
        cached.refresh("q")
    assert cached("q") == "q #1"


@pytest.mark.parametrize("begin", ["invalidate", "clear"])
def test_an_answer_computed_before_an_invalidation_does_not_survive_it(begin: str) -> None:
    """An answer under way when entries are removed reaches its caller and is not stored."""
    running, go_on = threading.Event(), threading.Event()

    def slow(question: str) -> str:
        running.set()
        assert go_on.wait(10)
        return question

    ignore = ("running", "go_on")
    cached = semantic_cache(**options(storage=ThreadSafeInMemoryStorage(), ignore=ignore))(slow)
    got: list[str] = []
    thread = threading.Thread(target=lambda: got.append(cached("q")))
    thread.start()
    assert running.wait(10)
    assert cached.invalidate("q") == 0 if begin == "invalidate" else cached.clear() == 0
    go_on.set()
    thread.join(10)
    assert got == ["q"]
    assert cached.explain("q").outcome == "miss"
    assert cached.stats().stored == 0


def test_an_explanation_tells_the_age() -> None:
    """An explanation has the age of the answer, in seconds since it was stored."""
    clock = Clock()
    cached = Versions().cached(storage=InMemoryStorage(clock=clock))
    cached("q")
    clock.advance(90)
    assert cached.explain("q").age == 90
    assert cached.explain("absent").age == 90


def test_an_explanation_names_the_guard() -> None:
    """An explanation of a vetoed call names the guard and shows the nearest prompt."""

    def never(prompt: str, cached_prompt: str) -> bool:
        return False

    cached = Versions().cached(guards=(never,))
    cached("a b")
    told = cached.explain("b a")
    assert (told.outcome, told.reason, told.vetoed_by, told.cached_prompt) == ("miss", "vetoed", "never", "a b")
    assert dict(cached.stats().vetoes) == {}


def test_the_bound_of_a_storage_is_the_maxsize() -> None:
    """`cache_info` shows a storage's bound as maxsize, and entries that made room count as evicted."""
    cached = Versions().cached(storage=InMemoryStorage(max_entries=2))
    for question in ("a", "b", "c"):
        cached(question)
    assert cached.cache_info() == CacheInfo(hits=0, misses=3, maxsize=2, currsize=2)
    assert cached.stats().evicted == 1


def generating(question: str) -> Iterator[str]:
    """Yield."""
    yield question


async def async_generating(question: str) -> AsyncIterator[str]:
    """Yield."""
    yield question


@pytest.mark.parametrize("fn", [generating, async_generating])
def test_generators_have_handles_that_find_nothing(fn: Any) -> None:
    """The handles of a generator function find nothing, as nothing is ever stored."""
    cached = semantic_cache(**options())(fn)
    assert (cached.explain("q").outcome, cached.explain("q").reason) == ("bypass", "generator")
    assert cached.invalidate("q") == cached.clear() == 0
    assert cached.cache_info() == (0, 0, None, 0)


class BrokenStorage(InMemoryStorage):
    """A storage that is away."""

    def remove(self, namespace: str, keys: Sequence[str]) -> int:
        """Fail."""
        raise ConnectionError("away")

    def invalidate(self, namespace: str) -> int:
        """Fail."""
        raise ConnectionError("away")


def test_whoever_removes_an_answer_learns_that_it_is_still_there(versions: Versions) -> None:
    """`invalidate` and `clear` raise if the storage does, unlike a call."""
    cached = versions.cached(storage=BrokenStorage())
    assert cached("q") == "q #1"
    for remove in (lambda: cached.invalidate("q"), cached.clear, lambda: asyncio.run(cached.aclear())):
        with pytest.raises(ConnectionError):
            remove()


def test_pickled_and_copied_by_name() -> None:
    """Pickling a cached function that is not where its name says raises, as for any function."""
    import pickle

    with pytest.raises((pickle.PicklingError, AttributeError), match="answer"):
        pickle.dumps(Versions().cached())
