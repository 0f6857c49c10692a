"""The cache as an object: how it is made, what it wraps, what it counts, empties and warms up."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from functools import wraps
from typing import Any

import pytest
from support.faulty import PATIENT, Away
from support.ids import named

import recallm
from recallm import CacheConfig, InMemoryStorage, SemanticCache, ThreadSafeInMemoryStorage
from recallm.concurrency import breaker
from recallm.engine import core
from recallm.errors import (
    InvalidTypeError,
    InvalidValueError,
    MissingContextError,
    RecallmError,
    SignatureMismatchError,
    UnknownNameError,
)
from recallm.testing import Clock, FakeEmbedder

SECRET = "hunter2"  # noqa: S105  # what must not be shown


def made(**changes: Any) -> SemanticCache:
    """Return an empty cache without guards, of an own storage and an embedder without a model."""
    return SemanticCache(**{"storage": InMemoryStorage(), "embedder": FakeEmbedder(), "guards": (), **changes})


def asked(text: str) -> list[dict[str, str]]:
    """Return a conversation that ends with this question."""
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]


class Model:
    """Answers as a chat model does, and notes what it was called with."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def chat(self, **kwargs: Any) -> dict[str, Any]:
        """Answer."""
        self.calls.append(kwargs)
        return {"answer": kwargs["messages"][-1]["content"], "number": len(self.calls)}

    async def achat(self, **kwargs: Any) -> dict[str, Any]:
        """Answer later."""
        await asyncio.sleep(0)
        return self.chat(**kwargs)


@pytest.fixture
def model() -> Model:
    """Return a model that was never called."""
    return Model()


def reached(result: Any) -> Any:
    """Return a result, awaited where it must be."""
    return asyncio.run(result) if asyncio.iscoroutine(result) else result


class Embedless:
    """Has no embed method."""

    model_id = "m"


STORAGE = "use a StorageBackend, a registered name or a URL"
MISTAKES: list[tuple[dict[str, Any], type[Exception], type[Exception], str, str]] = [
    ({"storage": 7}, InvalidTypeError, TypeError, "storage=7 is an int", STORAGE),
    ({"storage": {}}, InvalidTypeError, TypeError, "storage={} is a dict", STORAGE),
    ({"storage": InMemoryStorage}, InvalidTypeError, TypeError, "InMemoryStorage", STORAGE),
    ({"storage": "absent"}, UnknownNameError, LookupError, "'absent'", "registered: 'default'"),
    ({"storage": "ftp://h"}, UnknownNameError, LookupError, "'ftp'", "use memory://, null://, redis://"),
    ({"storage": "memory://?max_entries=x"}, InvalidValueError, ValueError, "max_entries=x", "<positive int>"),
    ({"storage": "memory://?max_entries=0"}, InvalidValueError, ValueError, "max_entries=0", "use a positive int"),
    ({"config": {"threshold": 1}}, InvalidTypeError, TypeError, "config={'threshold': 1}", "use a CacheConfig"),
    ({"config": CacheConfig}, InvalidTypeError, TypeError, "is a type", "use a CacheConfig"),
    ({"config": "strict"}, InvalidTypeError, TypeError, "config='strict' is a str", "use a CacheConfig"),
    ({"embedder": Embedless()}, InvalidTypeError, TypeError, "Embedless", "an embedder has model_id: str and embed"),
    ({"embedder": FakeEmbedder}, InvalidTypeError, TypeError, "FakeEmbedder", "an embedder has model_id"),
    ({"embedder": "bge"}, InvalidTypeError, TypeError, "embedder='bge'", "an embedder has model_id"),
    ({"guards": None}, InvalidTypeError, TypeError, "guards=None", "use a sequence of callables"),
    ({"guards": len}, InvalidTypeError, TypeError, "guards=<built-in", "use a sequence of callables"),
    ({"guards": ["numbers"]}, InvalidTypeError, TypeError, "guards=['numbers']", "use a sequence of callables"),
    ({"name": 7}, InvalidTypeError, TypeError, "name=7 is an int", "use a non-empty str"),
    ({"name": ""}, InvalidValueError, ValueError, "name='' is empty", "use a non-empty str"),
]


@pytest.mark.parametrize(
    ("mistake", "error", "builtin", "got", "remedy"), MISTAKES, ids=[named(row[0], 60) for row in MISTAKES]
)
def test_a_mistake_is_told_when_the_cache_is_made(
    mistake: dict[str, Any], error: type[Exception], builtin: type[Exception], got: str, remedy: str
) -> None:
    """A wrong argument raises at construction, with the value and the remedy, and leaves no cache behind."""
    before = set(recallm.caches())
    with pytest.raises(error) as caught:
        made(**mistake)
    assert isinstance(caught.value, RecallmError)
    assert isinstance(caught.value, builtin)
    assert got in str(caught.value)
    assert remedy in str(caught.value)
    assert set(recallm.caches()) <= before


def test_what_follows_the_embedder_is_passed_by_name() -> None:
    """Guards cannot be passed by position, where a reader could take them for anything."""
    positional: Any = SemanticCache
    with pytest.raises(TypeError):
        positional(InMemoryStorage(), CacheConfig(), FakeEmbedder(), ())


def test_everything_has_a_default() -> None:
    """A cache made without arguments uses the process's storage and embedder, made when they are needed."""
    mine = FakeEmbedder()
    recallm.set_default_embedder(mine)
    cache = SemanticCache()
    assert not isinstance(recallm.storages()["default"], ThreadSafeInMemoryStorage)
    assert (cache.config, cache.name, cache.guards) == (CacheConfig(), "default", recallm.DEFAULT_GUARDS)
    assert cache.embedder is mine
    assert cache.storage is recallm.get_storage()
    assert cache._core.namespaces == ()


def test_without_a_name_a_cache_is_called_as_its_namespace_is() -> None:
    """A cache is named by its default namespace, unless it is given a name."""
    config = CacheConfig(default_namespace="docs")
    assert made(config=config).name == "docs"
    assert made(config=config, name="mine").name == "mine"


def test_the_process_knows_a_cache_while_it_lives() -> None:
    """`recallm.caches` lists a cache until its last user drops it."""
    cache = made(name="short-lived")
    assert "short-lived" in recallm.caches()
    del cache
    gc.collect()
    assert "short-lived" not in recallm.caches()


@pytest.mark.parametrize("storage", ["mine", "memory://?max_entries=9"])
def test_a_storage_is_given_by_name_or_url(storage: str) -> None:
    """A cache given a name or a URL uses the storage that the process has under it."""
    recallm.register_storage("mine", InMemoryStorage)
    assert made(storage=storage).storage is recallm.get_storage(storage)


def test_a_named_storage_may_be_replaced_under_a_cache(model: Model) -> None:
    """A cache given a name uses the new storage once the name stands for another."""
    recallm.register_storage("mine", InMemoryStorage())
    cache = made(storage="mine")
    cached = cache.wrap(model.chat, context={})
    cached(messages=asked("q"))
    recallm.register_storage("mine", InMemoryStorage(), replace=True)
    assert cache.stats().namespace_sizes == {}
    cached(messages=asked("q"))
    assert (len(model.calls), cache.stats().namespace_sizes) == (2, {"default": 1})


@pytest.mark.parametrize("mode", ["auto", "sync", "async"])
def test_the_documented_call(model: Model, mode: Any) -> None:
    """The cache's keywords reach the cache, all others reach the function, and a repetition is a hit."""
    cache = made()
    cached: Any = cache.wrap(model.chat, mode=mode)

    def call() -> Any:
        options = {"cache_context": {"document_id": "v1"}, "cache_namespace": "docs"}
        return reached(cached(model="gpt-4o-mini", messages=asked("hello"), **options))

    assert call() == call() == {"answer": "hello", "number": 1}
    assert model.calls == [{"model": "gpt-4o-mini", "messages": asked("hello")}]
    stats = cache.stats()
    assert (stats.exact_hits, stats.misses, stats.namespace_sizes) == (1, 1, {"docs": 1})


@pytest.mark.parametrize(
    ("change", "hits"),
    [
        ({}, 1),
        ({"messages": asked("is a refund what")}, 1),
        ({"messages": asked("where is my parcel")}, 0),
        ({"messages": asked("what is a refund")[1:]}, 0),
        ({"model": "another"}, 0),
        ({"temperature": 0.5}, 0),
        ({"cache_context": {"document_id": "v2"}}, 0),
        ({"cache_context": {}}, 0),
        ({"cache_namespace": "elsewhere"}, 0),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_calls_must_have_in_common(model: Model, change: dict[str, Any], hits: int) -> None:
    """Two calls share an answer if their prompts are similar and everything else is equal."""
    cache = made()
    cached: Any = cache.wrap(model.chat)
    first = {"model": "m", "messages": asked("what is a refund"), "cache_context": {"document_id": "v1"}}
    cached(**first)
    cached(**{**first, **change})
    assert (cache.stats().hits, cache.stats().misses) == (hits, 2 - hits)


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({}, MissingContextError, "pass cache_context="),
        ({"cache_context": 7}, InvalidTypeError, "cache_context gave an int; it must be a mapping"),
        ({"cache_context": {}, "cache_namespace": 7}, InvalidTypeError, "cache_namespace is an int"),
        ({"cache_context": {}, "cache_namespace": ""}, InvalidValueError, "cache_namespace='' is empty"),
        ({"cache_context": {}, "cache_ttl": -1}, InvalidValueError, "cache_ttl is not positive"),
    ],
)
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_mistake_in_a_call_is_told_and_the_function_not_called(
    model: Model, mode: Any, options: dict[str, Any], error: type[Exception], told: str
) -> None:
    """A wrong context, namespace or ttl raises (once awaited, if async), and the function is not called."""
    cached: Any = made().wrap(model.chat, mode=mode)
    with pytest.raises(error, match=told):
        reached(cached(messages=asked("q"), **options))
    assert model.calls == []


def generating(prompt: str) -> Iterator[str]:
    """Yield the prompt."""
    yield prompt


async def async_generating(prompt: str) -> AsyncIterator[str]:
    """Yield the prompt."""
    yield prompt


@pytest.mark.parametrize(
    ("method", "mode", "is_async"),
    [
        ("chat", "auto", False),
        ("chat", "sync", False),
        ("chat", "async", True),
        ("achat", "auto", True),
        ("achat", "async", True),
    ],
)
def test_the_mode_chooses_how_the_result_is_had(model: Model, method: str, mode: Any, is_async: bool) -> None:
    """The result of an async function is awaited, and the answer and its repetition are the same in every mode."""
    cached: Any = made().wrap(getattr(model, method), mode=mode, context={})
    assert asyncio.iscoroutinefunction(cached) is is_async
    for _ in range(2):
        assert reached(cached(messages=asked("q"))) == {"answer": "q", "number": 1}


def test_async_mode_awaits_what_a_plain_function_returns(model: Model) -> None:
    """With ``mode="async"`` a plain function may return an awaitable, as a lambda around an async client does."""
    cache = made()

    def through_a_client(**kwargs: Any) -> Any:
        return model.achat(**kwargs)

    cached: Any = cache.wrap(through_a_client, mode="async", context={}, ignore=("model",))
    answers = [asyncio.run(cached(messages=asked("q"))) for _ in range(2)]
    assert answers == [{"answer": "q", "number": 1}] * 2
    assert cache.stats().hits == 1


def checked_first(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Look at the arguments in a sync wrapper, as SDKs do for their async functions too."""

    @wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if not args and "messages" not in kwargs:
            raise TypeError("Missing messages")
        return fn(*args, **kwargs)

    return wrapper


@pytest.mark.parametrize(("mode", "shown"), [("auto", False), ("async", True)])
def test_an_async_function_behind_a_sync_wrapper_is_cached(model: Model, mode: Any, shown: bool) -> None:
    """A wrapper that hands on a coroutine is awaited; it becomes a coroutine function only if it is asked to."""
    cache = made()
    cached: Any = cache.wrap(checked_first(model.achat), mode=mode, context={})
    assert asyncio.iscoroutinefunction(cached) is shown
    assert [asyncio.run(cached(messages=asked("q"))) for _ in range(2)] == [{"answer": "q", "number": 1}] * 2
    assert cache.stats().hits == 1


@pytest.mark.parametrize("mode", ["auto", "sync"])
def test_a_wrapper_that_runs_an_async_function_is_called(model: Model, mode: Any) -> None:
    """A wrapper that runs an async function to its end returns the answer, cached or not."""

    @wraps(model.achat)
    def chat(**kwargs: Any) -> Any:
        return asyncio.run(model.achat(**kwargs))

    cached: Any = made().wrap(chat, mode=mode, context={})
    assert [cached(messages=asked("q")) for _ in range(2)] == [{"answer": "q", "number": 1}] * 2


@pytest.mark.parametrize("mode", ["auto", "sync", "async"])
def test_generators_pass_through_in_every_mode(mode: Any) -> None:
    """Calls of generator functions are bypasses, and nothing of them is stored."""

    async def gather(values: AsyncIterator[str]) -> list[str]:
        return [value async for value in values]

    cache = made()
    assert list(cache.wrap(generating, mode=mode, context={})("q")) == ["q"]
    assert asyncio.run(gather(cache.wrap(async_generating, mode=mode, context={})("q"))) == ["q"]
    assert dict(cache.stats().bypasses) == {"generator": 2}
    assert cache.stats().namespace_sizes == {}


SECONDS = "use a positive number of seconds, a datetime.timedelta or a text such as '1h30m', or None for no expiry"
TAKEN = {
    **dict.fromkeys(("context", "prompt", "namespace", "skip_if"), "kw"),
    **dict.fromkeys(("store_if", "ttl", "price"), "response"),
    "tags": "kw, response",
    "verify": "prompt, cached_prompt, response",
    "same": "prompt, cached_response, response",
}
WRAPPING_MISTAKES: list[tuple[dict[str, Any], type[Exception], str, str]] = [
    ({"mode": "threads"}, InvalidValueError, "mode='threads' is unknown", "use 'auto', 'sync', 'async'"),
    ({"mode": None}, InvalidValueError, "mode=None is unknown", "use 'auto', 'sync', 'async'"),
    ({"context": "user"}, InvalidTypeError, "context='user' is a str", "use a mapping, or a callable"),
    ({"prompt": 7}, InvalidTypeError, "prompt=7 is an int", "use an argument's name or a callable"),
    ({"prompt": "absent"}, SignatureMismatchError, "prompt='absent'", "its parameters are 'prompt', 'user'"),
    ({"namespace": 7}, InvalidTypeError, "namespace=7 is an int", "use a non-empty str, or a callable"),
    *(({name: asyncio.sleep}, InvalidTypeError, f"{name}=", "is async") for name in ("context", "prompt", "namespace")),
    ({"namespace": ""}, InvalidValueError, "namespace='' is empty", "use a non-empty str"),
    *(
        ({name: lambda: None}, InvalidTypeError, f"{name}=<function", f"takes (), and is called with ({wanted}); use")
        for name, wanted in TAKEN.items()
    ),
    ({"ignore": "user"}, InvalidTypeError, "ignore='user'", "use ignore=('timeout',)"),
    ({"ignore": ("absent",)}, SignatureMismatchError, "'absent'", "its parameters are 'prompt', 'user'"),
    ({"ignore": ("prompt",)}, SignatureMismatchError, "'prompt', which carries the prompt", "leave it out"),
    ({"ttl": 0}, InvalidValueError, "ttl=0 is not positive", SECONDS),
    ({"ttl": "1 hour"}, InvalidValueError, "ttl='1 hour' says no time", SECONDS),
    ({"store_if": asyncio.sleep}, InvalidTypeError, "is async", "use a callable that returns a bool"),
    ({"store_if": True}, InvalidTypeError, "store_if=True is a bool", "use a callable that returns a bool"),
    ({"verify": "yes"}, InvalidTypeError, "verify='yes' is a str", "use a callable that returns a bool"),
    ({"response_type": 7}, InvalidTypeError, "response_type=7 is an int", "use a class or a type expression"),
    ({"coalesce": 1}, InvalidTypeError, "coalesce=1 is an int", "use True or False"),
]


def plain(prompt: str, user: str = "u") -> str:
    """Answer."""
    return f"{prompt} for {user}"


@pytest.mark.parametrize(
    ("mistake", "error", "got", "remedy"), WRAPPING_MISTAKES, ids=[named(row[0]) for row in WRAPPING_MISTAKES]
)
def test_a_mistake_is_told_when_a_function_is_wrapped(
    mistake: dict[str, Any], error: type[Exception], got: str, remedy: str
) -> None:
    """A wrong option raises when the function is wrapped, with the value, what is allowed and what to do."""
    with pytest.raises(error) as caught:
        made().wrap(plain, **mistake)
    assert got in str(caught.value)
    assert remedy in str(caught.value)


@pytest.mark.parametrize("thing", ["strict", 7, None, {}])
def test_only_what_can_be_called_is_wrapped(thing: Any) -> None:
    """Wrapping something else than a callable raises, and the message shows what it was."""
    with pytest.raises(InvalidTypeError, match="only what can be called can be cached") as caught:
        made().wrap(thing)
    assert repr(thing) in str(caught.value)


def test_an_async_function_is_not_made_sync(model: Model) -> None:
    """``mode="sync"`` for an async function raises, and the message names the function and the modes that fit."""
    with pytest.raises(InvalidTypeError, match=r"mode='sync' does not fit .*achat, which is async; use 'auto'"):
        made().wrap(model.achat, mode="sync")


class AsyncOnly(InMemoryStorage):
    """A storage with an async client only."""

    serves_sync = False


def test_a_sync_function_on_an_async_storage_is_refused(model: Model) -> None:
    """A sync function on an async-only storage raises when it is wrapped; in async mode it is served."""
    cache = made(storage=AsyncOnly())
    with pytest.raises(InvalidTypeError, match=r"only an async client.*give it a sync_client as well, or decorate"):
        cache.wrap(model.chat)
    assert callable(cache.wrap(model.chat, mode="async"))


@pytest.mark.parametrize(
    ("default_ttl", "options", "call", "lives"),
    [
        (None, {}, {}, True),
        (60, {}, {}, False),
        (60, {"ttl": None}, {}, True),
        (60, {"ttl": 600}, {}, True),
        (None, {"ttl": timedelta(minutes=1)}, {}, False),
        (600, {"ttl": 600}, {"cache_ttl": 60}, False),
        (60, {}, {"cache_ttl": None}, True),
    ],
)
def test_the_nearest_time_to_live_counts(default_ttl: Any, options: Any, call: Any, lives: bool) -> None:
    """The ttl of the call comes first, then the function's, then the config's."""
    clock = Clock()
    cache = made(storage=InMemoryStorage(clock=clock), config=CacheConfig(default_ttl=default_ttl))
    cached: Any = cache.wrap(plain, context={}, **options)
    cached("q", **call)
    clock.advance(300)
    assert (cached.explain("q").outcome == "hit") is lives


def test_settings_are_those_of_the_cache() -> None:
    """The cache's threshold and guards hold for every function that it wraps."""

    def never(prompt: str, cached_prompt: str) -> bool:
        return False

    strict, loose = CacheConfig(threshold=0.999), CacheConfig(threshold=0.3)
    outcomes = []
    for config, guards in ((strict, ()), (loose, ()), (loose, (never,))):
        cached = made(config=config, guards=guards).wrap(plain, context={})
        cached("what is a refund please")
        told = cached.explain("what is a refund")
        outcomes.append((told.outcome, told.vetoed_by))
    assert outcomes == [("miss", None), ("hit", None), ("miss", "never")]


def test_functions_of_one_cache_do_not_share_answers() -> None:
    """Functions of one cache share its storage, namespace and statistics, and no answers."""
    cache = made()
    one, other = cache.wrap(lambda prompt: "one", context={}), cache.wrap(lambda prompt: "other", context={})
    assert [one("q"), other("q"), one("q"), other("q")] == ["one", "other", "one", "other"]
    stats = cache.stats()
    assert (stats.hits, stats.misses, stats.namespace_sizes) == (2, 2, {"default": 2})
    assert one.cache is other.cache is cache


class Counted(InMemoryStorage):
    """Notes which namespaces it was asked to empty."""

    def __init__(self) -> None:
        super().__init__()
        self.emptied: list[str] = []

    def invalidate(self, namespace: str) -> int:
        """Note the namespace, and empty it."""
        self.emptied.append(namespace)
        return super().invalidate(namespace)


EMPTYING: dict[str, Callable[[SemanticCache], Any]] = {
    "invalidate_namespace": lambda cache: cache.invalidate_namespace("n"),
    "ainvalidate_namespace": lambda cache: cache.ainvalidate_namespace("n"),
}
CLEARING: dict[str, Callable[[SemanticCache], Any]] = {
    "clear": lambda cache: cache.clear(),
    "aclear": lambda cache: cache.aclear(),
}


@pytest.mark.parametrize("name", EMPTYING)
def test_a_namespace_is_emptied_alone(name: str) -> None:
    """Invalidating a namespace removes its entries, whichever function stored them, and returns how many there were."""
    storage = Counted()
    cache = made(storage=storage)
    for number in range(2):
        cached: Any = cache.wrap(plain, context={"number": number}, namespace="n")
        cached("q")
        cached("q", cache_namespace="m")
    assert [reached(EMPTYING[name](cache)), reached(EMPTYING[name](cache))] == [2, 0]
    assert cache.stats().namespace_sizes == {"m": 2}
    assert storage.emptied == ["n", "n"]


@pytest.mark.parametrize("name", CLEARING)
def test_clearing_empties_what_the_cache_has_used(name: str) -> None:
    """Clearing removes this cache's entries, not those of others in the same storage, and keeps the statistics."""
    storage = Counted()
    cache, other = made(storage=storage), made(storage=storage, config=CacheConfig(default_namespace="others"))
    cached: Any = cache.wrap(plain, context={}, namespace=lambda kw: f"of {kw['user']}")
    cached("q", "ann"), cached("q", "bob"), cached("q", cache_namespace="m")  # three calls
    other.wrap(plain, context={})("q")
    assert cache._core.namespaces == ("of ann", "of bob", "m")
    assert [reached(CLEARING[name](cache)), reached(CLEARING[name](cache))] == [3, 0]
    assert "others" not in storage.emptied
    assert other.stats().namespace_sizes == {"others": 1}
    assert cache.stats().misses == 3


@pytest.mark.parametrize(("namespace", "error"), [("", ValueError), (7, TypeError), (None, TypeError)])
@pytest.mark.parametrize("name", ["invalidate_namespace", "ainvalidate_namespace"])
def test_a_namespace_that_is_none_is_refused(name: str, namespace: Any, error: type[Exception]) -> None:
    """Invalidating something else than a text raises before any entry is touched."""
    storage = Counted()
    with pytest.raises(error, match=r"namespace(='')? is .*use a non-empty str"):
        reached(getattr(made(storage=storage), name)(namespace))
    assert storage.emptied == []


@pytest.mark.parametrize("name", CLEARING)
def test_clearing_reaches_very_many_namespaces(name: str) -> None:
    """A namespace for each user, of very many users, is counted and cleared."""
    cache = made()
    cached: Any = cache.wrap(plain, context={}, namespace=lambda kw: f"of {kw['user']}")
    cached("q", "the first")
    for number in range(20_000):
        cache._core.remember_namespace(f"of user {number}")
    assert cache.stats().namespace_sizes == {"of the first": 1}
    assert reached(CLEARING[name](cache)) == 1
    cached("q", "the first")
    assert cache.stats().hits == 0


@pytest.mark.parametrize("name", CLEARING)
def test_clearing_says_if_it_may_not_reach_everything(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If a namespace that holds answers had to be forgotten, clearing logs it, once."""
    monkeypatch.setattr(core, "MAX_NAMESPACE_BYTES", 2_000)
    cache = made(name="many")
    cached: Any = cache.wrap(plain, context={}, namespace=lambda kw: f"of {kw['user']}")
    for number in range(5):
        cached("q", f"user {number}")
    reached(CLEARING[name](cache))
    assert caplog.messages == []
    for number in range(20):
        cached("q", f"user {number}")
    for _ in range(2):
        reached(CLEARING[name](cache))
    (message,) = caplog.messages
    assert "cache 'many' has used more namespaces than it can remember" in message


@pytest.mark.parametrize("name", [*EMPTYING, *CLEARING])
def test_whoever_empties_a_storage_that_is_away_learns_of_it(name: str) -> None:
    """Emptying raises if the storage does: what could not be removed may still be served."""
    cache = made(storage=Away(), config=PATIENT)
    cache._core.remember_namespace("n")
    with pytest.raises(ConnectionError, match="down"):
        reached({**EMPTYING, **CLEARING}[name](cache))


def test_statistics_are_had_while_the_storage_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Statistics of a storage in trouble have no sizes; each failure counts until the circuit opens."""
    monkeypatch.setattr(breaker, "FIRST_PAUSE", 60.0)
    cache = made(storage=Away(), config=PATIENT)
    cache._core.remember_namespace("n")
    seen = [cache.stats() for _ in range(5)]
    assert [stats.errors.get("storage") for stats in seen] == [1, 2, 3, 3, 3]
    assert [dict(stats.circuits) for stats in seen[2:]] == [{"storage": "open"}] * 3
    assert all(stats.namespace_sizes == {} for stats in seen)
    assert cache._core.circuits == {"storage": "open"}


def test_a_call_stores_where_it_has_looked() -> None:
    """If a storage, empty until then, is replaced while the function runs, the answer still goes to it."""
    older, newer = InMemoryStorage(), InMemoryStorage()
    recallm.register_storage("mine", older)
    cache = made(storage="mine")

    def answer(prompt: str) -> str:
        recallm.register_storage("mine", newer, replace=True)
        return "an answer"

    try:
        cache.wrap(answer, context={}, version="1")("q")
    finally:
        recallm.unregister_storage("mine")
    assert (len(older), len(newer)) == (1, 0)


@pytest.mark.parametrize("look", [lambda ask: ask.stats(), lambda ask: ask.explain("other")], ids=["stats", "explain"])
def test_whoever_looks_does_not_open_the_circuit_of_calls(look: Any) -> None:
    """A storage that is late to count all, or to rank all, is not left alone by calls, which ask for less."""

    class Large(ThreadSafeInMemoryStorage):
        blocking = True

        def sizes(self, namespaces: Any) -> Any:
            go.wait(20.0)
            return super().sizes(namespaces)

        def search(self, namespace: str, partition: str, vector: Any, threshold: float, limit: int | None) -> Any:
            if threshold < 0:
                go.wait(20.0)
            return super().search(namespace, partition, vector, threshold, limit)

    go = threading.Event()
    cache = made(storage=Large(), config=CacheConfig(cache_timeout_seconds=0.05))
    ask = cache.wrap(lambda prompt: "an answer", context={}, version="1")
    ask("q")
    try:
        look(ask)
    finally:
        go.set()
    assert cache._core.circuits == {}
    assert ask.explain("q").outcome == "hit"


def test_statistics_begin_anew_and_entries_stay(model: Model) -> None:
    """Resetting the statistics removes no entry."""
    cache = made()
    cached = cache.wrap(model.chat, context={})
    cached(messages=asked("q"))
    cache.reset_stats()
    assert (cache.stats().misses, cache.stats().namespace_sizes) == (0, {"default": 1})
    cached(messages=asked("q"))
    assert (cache.stats().hits, len(model.calls)) == (1, 1)


class Unloadable(FakeEmbedder):
    """An embedder whose model is not there."""

    def load(self) -> None:
        """Fail."""
        raise OSError(f"no model at /home/{SECRET}")


WARMING: dict[str, Callable[[SemanticCache], Any]] = {
    "warmup": lambda cache: cache.warmup(),
    "async_warmup": lambda cache: cache.async_warmup(),
}


@pytest.mark.parametrize("name", WARMING)
def test_warming_up_loads_the_model_and_embeds_nothing(name: str) -> None:
    """Warming up loads the model, once however often it is done, and embeds no text."""
    loads: list[bool] = []

    class Loadable(FakeEmbedder):
        def load(self) -> None:
            loads.append(True)

    embedder = Loadable()
    cache = made(embedder=embedder)
    assert [reached(WARMING[name](cache)), reached(WARMING[name](cache))] == [True, True]
    assert (loads, embedder.embedded) == ([True], [])
    assert dict(cache.stats().errors) == {}


@pytest.mark.parametrize("name", WARMING)
def test_a_service_starts_without_its_model(name: str, model: Model) -> None:
    """If the model cannot be loaded, warming up returns False and counts it, and calls go straight to the function."""
    cache = made(embedder=Unloadable())
    assert reached(WARMING[name](cache)) is False
    assert dict(cache.stats().errors) == {"model": 1}
    cached = cache.wrap(model.chat, context={})
    assert [cached(messages=asked("q"))["number"] for _ in range(2)] == [1, 2]
    assert dict(cache.stats().bypasses) == {"model": 2}


def test_a_representation_tells_the_name_and_the_counts(model: Model) -> None:
    """The ``repr`` of a cache shows no prompt, context, answer or storage address."""
    cache = made(name="mine")
    cached: Any = cache.wrap(model.chat)
    for _ in range(2):
        cached(messages=asked(f"my password is {SECRET}"), cache_context={"key": SECRET})
    assert repr(cache) == "<SemanticCache 'mine': 1 hits, 1 misses>"
    assert SECRET not in repr(cache.stats()) + repr(cache.storage) + repr(cached)


def test_a_representation_needs_no_storage() -> None:
    """The ``repr`` of a cache works though its storage was never made, or cannot be."""

    def unmade() -> Any:
        raise ConnectionError(SECRET)

    recallm.register_storage("unmade", unmade)
    assert repr(made(storage="unmade", name="mine")) == "<SemanticCache 'mine': 0 hits, 0 misses>"


def test_a_storage_url_that_is_refused_keeps_its_password() -> None:
    """The error about a storage URL quotes no password."""
    with pytest.raises(UnknownNameError) as caught:
        made(storage=f"ftp://user:{SECRET}@host")
    assert SECRET not in str(caught.value)
