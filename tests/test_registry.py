"""The process's names: storages, the default embedder, the metrics."""

from __future__ import annotations

import gc
import re
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from support.interrupting import each_point, interrupt

import recallm
from recallm import InMemoryStorage, SemanticCache, StorageBackend, ThreadSafeInMemoryStorage, registry, semantic_cache
from recallm.concurrency import once
from recallm.errors import InvalidTypeError, InvalidValueError, UnknownNameError
from recallm.testing import FakeEmbedder
from recallm.testing.threads import run_at_once


def test_the_default_is_made_on_first_use_and_kept() -> None:
    """The default storage is a thread-safe one with a bound, made once for everybody."""
    assert not isinstance(recallm.storages()["default"], ThreadSafeInMemoryStorage)
    made = recallm.get_storage()
    assert isinstance(made, ThreadSafeInMemoryStorage)
    assert made.max_entries == 50_000
    assert recallm.get_storage("default") is recallm.storages()["default"] is made


def test_a_factory_is_called_once_and_only_when_it_is_needed() -> None:
    """Decorating with a registered name does not make its storage; the first call does."""
    made: list[InMemoryStorage] = []

    def factory() -> InMemoryStorage:
        made.append(InMemoryStorage())
        return made[-1]

    recallm.register_storage("later", factory)
    ask = semantic_cache(context={}, storage="later", embedder=FakeEmbedder())(lambda prompt: "a")
    assert made == []
    ask("q")
    assert recallm.get_storage("later") is made[0]
    assert len(made) == 1


def test_replacing_the_default_moves_functions_from_their_next_call_on() -> None:
    """Functions decorated with ``"default"``, or with no storage, use its replacement from their next call on."""
    ask = semantic_cache(context={}, embedder=FakeEmbedder())(lambda prompt: "a")
    ask("q")
    other = InMemoryStorage()
    recallm.register_storage("default", other, replace=True)
    ask("q")
    assert (ask.stats().misses, len(other)) == (2, 1)
    recallm.unregister_storage("default")
    ask("q")
    assert (ask.stats().misses, len(other)) == (3, 1)


@pytest.mark.parametrize(
    ("name", "storage", "error", "told"),
    [
        ("default", InMemoryStorage(), InvalidValueError, "replace=True"),
        ("", InMemoryStorage(), InvalidValueError, "name='' is empty"),
        ("redis://host", InMemoryStorage(), InvalidValueError, "looks like a URL; use a plain name"),
        (7, InMemoryStorage(), InvalidTypeError, "name=7 is an int"),
        ("mine", 7, InvalidTypeError, "storage_or_factory=7 is neither"),
    ],
)
def test_a_registration_that_cannot_be_is_refused(name: Any, storage: Any, error: type[Exception], told: str) -> None:
    """A wrong name or storage raises, with the value and what to do."""
    with pytest.raises(error, match=told):
        recallm.register_storage(name, storage)


def test_an_unknown_name_tells_which_are_known() -> None:
    """An unknown name raises a `LookupError` that lists the registered ones."""
    recallm.register_storage("mine", InMemoryStorage())
    for look in (recallm.get_storage, recallm.unregister_storage):
        with pytest.raises(UnknownNameError, match=r"'absent'; registered: 'default', 'mine'; register_storage"):
            look("absent")
    recallm.unregister_storage("mine")
    with pytest.raises(LookupError):
        recallm.get_storage("mine")


def test_a_factory_that_makes_no_storage_is_told() -> None:
    """A factory that makes something else than a storage raises when the storage is asked for."""
    wrong: Any = dict
    recallm.register_storage("wrong", wrong)
    with pytest.raises(InvalidTypeError, match="the factory of storage 'wrong' made a dict"):
        recallm.get_storage("wrong")


def test_equal_urls_share_one_storage() -> None:
    """Equal URLs share one storage, and others do not."""
    assert recallm.get_storage("memory://") is recallm.get_storage("memory://")
    bounded = recallm.get_storage("memory://?max_entries=7")
    assert isinstance(bounded, ThreadSafeInMemoryStorage)
    assert bounded.max_entries == 7


@pytest.mark.parametrize(
    "url",
    ["memory://?max_entries=-1", "memory://?size=3", "memory://?max_entries=", "memory://?max_entries=3&max_entries=9"],
)
def test_a_url_with_unknown_options_is_refused(url: str) -> None:
    """A memory URL with unknown options raises, and the message says which it takes."""
    with pytest.raises(InvalidValueError, match="max_entries=<positive int> and nothing else"):
        recallm.get_storage(url)


def test_a_url_of_an_unknown_scheme_tells_which_are_known() -> None:
    """A URL of an unknown scheme raises a `LookupError` that lists the known ones."""
    with pytest.raises(UnknownNameError, match=r"'ftp'; use memory://, .*redis://"):
        recallm.get_storage("ftp://host")


def test_redis_without_its_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, a Redis storage raises with the line to install, and quotes no password of a URL."""
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ImportError, match=r'pip install "recallm\[redis\]"'):
        recallm.RedisStorage()
    with pytest.raises(ImportError, match=r'pip install "recallm\[redis\]"') as caught:
        recallm.get_storage("redis://:hunter2@localhost")
    assert "hunter2" not in str(caught.value)


def test_the_default_embedder_may_be_set_and_unset() -> None:
    """Functions that name no embedder use the default one from their next call on."""
    mine = FakeEmbedder()
    ask = semantic_cache(context={}, storage=InMemoryStorage())(lambda prompt: "a")
    recallm.set_default_embedder(mine)
    assert recallm.get_default_embedder() is mine
    ask("q")
    assert mine.embedded == ["q"]
    assert ask.cache.embedder is mine
    recallm.set_default_embedder(None)
    assert recallm.get_default_embedder() is not mine


def test_an_embedder_without_embed_is_refused_as_default() -> None:
    """A default embedder without `embed` raises, and the message says what an embedder has."""
    wrong: Any = object()
    with pytest.raises(InvalidTypeError, match="no embed method"):
        recallm.set_default_embedder(wrong)


def test_one_embedder_is_managed_once_while_it_lives() -> None:
    """Users of one embedder share its memo and its load; an object that takes its place in memory is another."""
    mine = FakeEmbedder()
    assert registry.managed(mine) is registry.managed(mine)
    assert registry.managed(mine) is not registry.managed(FakeEmbedder())
    before = len(registry._managed)
    for _ in range(50):
        registry.managed(FakeEmbedder())
    gc.collect()
    assert len(registry._managed) <= before + 1


def test_each_storage_has_one_circuit_while_it_lives() -> None:
    """Each storage has a circuit of its own, even one that equals others and has no hash."""

    class Equal(InMemoryStorage):
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Equal)

    one, other = Equal(), Equal()
    assert registry.breaker_of(one) is registry.breaker_of(one)
    assert registry.breaker_of(one) is not registry.breaker_of(other)
    before = len(registry._breakers)
    del other
    gc.collect()
    assert len(registry._breakers) == before - 1


def test_metrics_live_in_the_registry_given_once_each() -> None:
    """Going back to a Prometheus registry finds the metrics that are there."""
    one, other = CollectorRegistry(), CollectorRegistry()
    recallm.use_metrics_registry(one)
    first = registry.metrics()
    recallm.use_metrics_registry(one)
    assert registry.metrics() is first
    recallm.use_metrics_registry(other)
    assert registry.metrics() is not first
    recallm.use_metrics_registry(one)
    assert registry.metrics() is first


def test_entries_of_a_shared_storage_count_once() -> None:
    """Two caches of one storage count the same entries once; two storages have entries of their own."""
    shared = InMemoryStorage()
    options: dict[str, Any] = {"context": {}, "embedder": FakeEmbedder(), "namespace": "n"}
    functions = [
        semantic_cache(**options, storage=storage)(answer)
        for storage, answer in (
            (shared, lambda prompt: "a"),
            (shared, lambda prompt: "b"),
            (InMemoryStorage(), lambda prompt: "c"),
        )
    ]
    for ask in functions:
        ask("q")
    assert registry.entries_by_namespace([ask.cache._core for ask in functions]) == {"n": 3}
    assert registry.entries_by_namespace([ask.cache._core for ask in functions[:2]]) == {"n": 2}


def test_threads_that_come_first_together_share_one_storage() -> None:
    """Threads that ask for a storage at once wait for the one that the factory makes."""
    making, go_on = threading.Event(), threading.Event()
    made: list[InMemoryStorage] = []
    got: list[object] = []

    def factory() -> InMemoryStorage:
        making.set()
        assert go_on.wait(10)
        made.append(ThreadSafeInMemoryStorage())
        return made[-1]

    recallm.register_storage("slow", factory)
    asking = threading.Barrier(4)

    def first() -> None:
        got.append(recallm.get_storage("slow"))

    def later() -> None:
        asking.wait(10)
        got.append(recallm.get_storage("slow"))

    threads = [threading.Thread(target=first)]
    threads[0].start()
    assert making.wait(10)
    threads += [threading.Thread(target=later) for _ in range(3)]
    for thread in threads[1:]:
        thread.start()
    asking.wait(10)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert len(made) == 1
    assert got == made * 4


def test_a_factory_that_failed_is_asked_again() -> None:
    """The error of a factory reaches whoever asked, and the next one asks the factory again."""
    attempts: list[int] = []

    def factory() -> InMemoryStorage:
        attempts.append(1)
        if len(attempts) == 1:
            raise ConnectionError("down")
        return InMemoryStorage()

    recallm.register_storage("flaky", factory)
    with pytest.raises(ConnectionError, match="down"):
        recallm.get_storage("flaky")
    assert recallm.storages()["flaky"] is factory
    assert recallm.get_storage("flaky") is recallm.get_storage("flaky")
    assert len(attempts) == 2


def test_those_who_wait_for_a_factory_share_its_failure() -> None:
    """Threads that wait for a factory get the error that it raises, and do not ask it one after the other."""
    making, go_on = threading.Event(), threading.Event()
    attempts: list[int] = []

    def factory() -> InMemoryStorage:
        attempts.append(1)
        making.set()
        assert go_on.wait(10)
        raise ConnectionError("down")

    recallm.register_storage("down", factory)
    outcomes: list[str] = []

    def ask() -> None:
        try:
            recallm.get_storage("down")
        except ConnectionError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    threads[0].start()
    assert making.wait(10)
    for thread in threads[1:]:
        thread.start()
    deadline = time.monotonic() + 10
    while list(once._waiting.values()).count(registry._registered["down"]) < 3 and time.monotonic() < deadline:
        time.sleep(0.001)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert (outcomes, attempts) == (["down"] * 4, [1])


def test_while_a_factory_runs_everything_else_goes_on() -> None:
    """A factory that takes its time keeps nobody from other storages, from decorating, nor from statistics."""
    making, go_on = threading.Event(), threading.Event()

    def factory() -> InMemoryStorage:
        making.set()
        assert go_on.wait(30)
        return InMemoryStorage()

    recallm.register_storage("slow", factory)
    recallm.register_storage("quick", InMemoryStorage)
    thread = threading.Thread(target=recallm.get_storage, args=("slow",))
    thread.start()
    assert making.wait(10)

    def use_everything() -> None:
        ask = semantic_cache(context={}, storage="quick", embedder=FakeEmbedder())(lambda prompt: "a")
        waiting = semantic_cache(context={}, storage="slow", embedder=FakeEmbedder())(lambda prompt: "a")
        assert [ask("q"), ask("q"), ask.stats().hits] == ["a", "a", 1]
        assert waiting.cache._core.existing_storage() is None
        assert recallm.storages()["slow"] is factory
        recallm.register_storage("other", InMemoryStorage())
        recallm.unregister_storage("other")
        recallm.use_metrics_registry(CollectorRegistry())
        assert registry.metrics() is not None

    run_at_once([use_everything], wait_seconds=10)
    go_on.set()
    thread.join(10)
    assert isinstance(recallm.get_storage("slow"), InMemoryStorage)


def test_a_storage_that_takes_the_name_meanwhile_wins() -> None:
    """Whoever asks for a name gets what is registered when its making ends, though another was being made."""
    newer = InMemoryStorage()

    def factory() -> InMemoryStorage:
        recallm.register_storage("mine", newer, replace=True)
        return InMemoryStorage()

    recallm.register_storage("mine", factory)
    assert recallm.get_storage("mine") is newer

    def leave() -> InMemoryStorage:
        recallm.unregister_storage("gone")
        return InMemoryStorage()

    recallm.register_storage("gone", leave)
    with pytest.raises(UnknownNameError):
        recallm.get_storage("gone")


def test_a_scheme_that_is_taken_while_its_storage_is_made_wins() -> None:
    """A URL's storage that is made by a factory replaced meanwhile is not the URL's."""
    newer = InMemoryStorage()

    def factory(url: str) -> InMemoryStorage:
        recallm.register_scheme("mine", lambda url: newer, replace=True)
        return InMemoryStorage()

    recallm.register_scheme("mine", factory)
    assert recallm.get_storage("mine://host") is newer


def test_a_factory_that_asks_for_its_own_storage_is_told() -> None:
    """A factory that asks for the storage that it makes raises at once, and so do two that ask for each other's."""
    recallm.register_storage("itself", lambda: recallm.get_storage("itself"))
    with pytest.raises(InvalidValueError, match="storage 'itself' is asked for by what makes it"):
        recallm.get_storage("itself")
    both = threading.Barrier(2)
    names = ["one", "other"]

    def asks_for(name: str) -> StorageBackend:
        both.wait(10)
        return recallm.get_storage(name)

    for name, wanted in zip(names, reversed(names), strict=True):
        recallm.register_storage(name, partial(asks_for, wanted))

    def told(name: str) -> bool:
        try:
            recallm.get_storage(name)
        except InvalidValueError:
            return True
        return False

    assert run_at_once([lambda: told("one"), lambda: told("other")], wait_seconds=10) == [True, True]


def test_a_factory_may_decorate_functions_of_its_own_storage() -> None:
    """A function that a factory decorates with the name that it makes works once the storage is made."""
    functions: list[Any] = []

    def factory() -> InMemoryStorage:
        functions.append(semantic_cache(context={}, storage="mine", embedder=FakeEmbedder())(lambda prompt: "a"))
        return InMemoryStorage()

    recallm.register_storage("mine", factory)
    recallm.get_storage("mine")
    assert [functions[0]("q"), functions[0]("q"), functions[0].stats().hits] == ["a", "a", 1]


def test_whether_a_storage_exists_is_asked_without_making_it() -> None:
    """What a name or URL stands for is found if it is made, and a name that is gone raises."""
    recallm.register_storage("mine", InMemoryStorage)
    recallm.register_scheme("own", lambda url: InMemoryStorage())
    of_name, of_url = (registry.existing_storage_finder(source) for source in ("mine", "own://host"))
    assert of_name() is of_url() is None
    assert [recallm.get_storage("mine"), recallm.get_storage("own://host")] == [of_name(), of_url()]
    given = InMemoryStorage()
    assert registry.existing_storage_finder(given)() is given
    assert registry.opening_finder("mine")() is registry.opening_finder("mine")()
    assert registry.opening_finder(given)() is registry.breaker_of(given)
    recallm.unregister_storage("mine")
    for find in (of_name, registry.opening_finder("mine")):
        with pytest.raises(UnknownNameError, match="no storage is named 'mine'"):
            find()


def test_the_registry_survives_interrupts_and_company() -> None:
    """At any point, what a signal handler raises, or another use of the registry, leaves every name usable."""
    numbers = count()

    class Using:
        def __init__(self) -> None:
            self.name = f"name {next(numbers)}"
            recallm.register_storage(self.name, InMemoryStorage)

        def __call__(self) -> None:
            storage = recallm.get_storage(self.name)
            registry.breaker_of(storage)
            registry.managed(FakeEmbedder())
            recallm.register_storage(self.name, InMemoryStorage, replace=True)
            recallm.get_storage(self.name)

    def use_too(using: Using) -> None:
        registry.live_cores()
        with suppress(InvalidValueError):  # it is just being made
            using()

    for do in (interrupt, use_too):
        for _, using in each_point(Using, ("recallm/registry.py", "concurrency/once.py"), do):
            storage = recallm.get_storage(using.name)
            assert recallm.storages()[using.name] is storage
            assert run_at_once([partial(recallm.get_storage, using.name)], wait_seconds=10) == [storage]
            recallm.unregister_storage(using.name)


def test_a_factory_may_ask_for_another_storage() -> None:
    """A factory may ask for another storage, as one that wraps the default does."""
    recallm.register_storage("wrapping", recallm.get_storage)
    assert recallm.get_storage("wrapping") is recallm.get_storage("default")


def test_a_call_goes_on_where_its_storage_cannot_be_made() -> None:
    """A call whose storage cannot be made is a bypass, counted as trouble with the storage."""

    def factory() -> InMemoryStorage:
        raise ConnectionError("down")

    recallm.register_storage("down", factory)
    ask = semantic_cache(context={}, storage="down", embedder=FakeEmbedder())(lambda prompt: f"an answer to {prompt}")
    assert ask("q") == "an answer to q"
    recallm.register_storage("down", InMemoryStorage(), replace=True)
    assert dict(ask.stats().bypasses) == {"storage": 1}
    assert dict(ask.stats().errors) == {"storage": 1}
    assert [ask("q"), ask("q")] == ["an answer to q"] * 2
    assert (ask.stats().hits, ask.stats().misses) == (1, 1)


def test_the_names_are_a_look_and_not_a_handle() -> None:
    """The mapping of registered names cannot be written to and does not change later."""
    names: Any = recallm.storages()
    with pytest.raises(TypeError):
        names["mine"] = InMemoryStorage()
    recallm.register_storage("mine", InMemoryStorage())
    assert set(names) == {"default"}
    assert set(recallm.storages()) == {"default", "mine"}


def test_urls_are_not_names() -> None:
    """URLs are found without registering and are not listed among the names."""
    recallm.get_storage("memory://?max_entries=5")
    assert set(recallm.storages()) == {"default"}
    with pytest.raises(UnknownNameError):
        recallm.unregister_storage("memory://?max_entries=5")


@pytest.mark.parametrize(
    ("storage", "told"),
    [
        ("absent", "no storage is named 'absent'; registered: 'default'"),
        ("ftp://h", "no storage has URLs of scheme 'ftp'; use memory://"),
    ],
)
def test_a_cache_of_an_unknown_storage_is_refused(storage: str, told: str) -> None:
    """A cache of an unknown storage raises when it is made, not at its first call."""
    with pytest.raises(UnknownNameError, match=told):
        SemanticCache(storage)
    with pytest.raises(UnknownNameError, match=told):
        semantic_cache(context={}, storage=storage)(lambda prompt: prompt)


@pytest.mark.parametrize("url", ["redis://:hunter2@h:1/2", "rediss://:hunter2@h:1/2", "unix://:hunter2@/run/r?db=2"])
def test_urls_of_redis_lead_to_its_storage(url: str) -> None:
    """Each Redis URL has one storage, whose ``repr`` shows no password."""
    storage = recallm.get_storage(url)
    assert isinstance(storage, recallm.RedisStorage)
    assert recallm.get_storage(url) is storage
    assert "/2," in repr(storage)
    assert "hunter2" not in repr(storage)


EMBEDDERS: list[tuple[str, Callable[[], Any]]] = [
    ("of the argument", lambda: recallm.get_default_embedder("an/other")),
    ("of a cache", lambda: SemanticCache(config=recallm.CacheConfig(embedding_model="an/other")).embedder),
]


@pytest.mark.parametrize("get", [get for _, get in EMBEDDERS], ids=[name for name, _ in EMBEDDERS])
def test_a_default_embedder_is_made_once_for_each_model(monkeypatch: pytest.MonkeyPatch, get: Any) -> None:
    """The default embedder loads nothing, and ``RECALLM_EMBEDDER`` comes before the model asked for."""
    monkeypatch.setattr(registry, "_default_embedders", {})
    monkeypatch.setenv("RECALLM_EMBEDDER", "named/by-environment")
    embedder = get()
    assert embedder.model_name == "named/by-environment"
    assert get() is embedder
    assert recallm.get_default_embedder() is not embedder


def test_a_chosen_embedder_comes_before_every_model_name() -> None:
    """A default embedder that was set comes before every model's name, but not before a cache's own."""
    chosen, given = FakeEmbedder(), FakeEmbedder()
    recallm.set_default_embedder(chosen)
    assert recallm.get_default_embedder("an/other") is chosen
    assert SemanticCache(embedder=given).embedder is given


def test_metrics_move_with_the_registry() -> None:
    """After a move, events count in the new Prometheus registry; entries show in whichever is scraped."""
    first, second = CollectorRegistry(), CollectorRegistry()
    options: dict[str, Any] = {"context": {}, "storage": InMemoryStorage(), "embedder": FakeEmbedder()}
    ask = semantic_cache(**options, name="moving", namespace="moving")(lambda prompt: "a")
    for exported, times in ((first, 2), (second, 3)):
        recallm.use_metrics_registry(exported)
        for _ in range(times):
            ask("q")
    counted = [
        each.get_sample_value("recallm_hits_total", {"cache": "moving", "tier": "exact"}) for each in (first, second)
    ]
    assert counted == [1, 3]
    assert second.get_sample_value("recallm_entries", {"namespace": "moving"}) == 1
    assert b"recallm_circuit_open{" not in generate_latest(second)


@pytest.mark.parametrize("name", [7, [], None, b"default"])
def test_a_name_that_is_no_text_is_refused(name: Any) -> None:
    """Asking for a storage by something else than a text raises, with the value."""
    with pytest.raises(InvalidTypeError, match="name="):
        recallm.get_storage(name)


def test_a_password_in_a_name_is_not_told() -> None:
    """The error about a URL used as a name quotes no password."""
    with pytest.raises(InvalidValueError) as caught:
        recallm.register_storage("redis://:hunter2@host", InMemoryStorage())
    assert "hunter2" not in str(caught.value)


def test_caches_may_be_made_while_they_are_listed() -> None:
    """Listing caches is safe while other threads make some."""
    stop = threading.Event()

    def make() -> None:
        while not stop.is_set():
            kept = [SemanticCache(embedder=FakeEmbedder()) for _ in range(100)]
            del kept

    maker = threading.Thread(target=make)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        maker.start()
        for _ in range(200):
            recallm.caches()
    finally:
        stop.set()
        maker.join()
        sys.setswitchinterval(interval)


def test_a_scheme_of_ones_own_makes_urls_of_a_storage() -> None:
    """The factory runs at the URL's first use, gets the URL, and equal URLs share one storage."""
    urls: list[str] = []

    def factory(url: str) -> InMemoryStorage:
        urls.append(url)
        return InMemoryStorage()

    recallm.register_scheme("mine", factory)
    assert urls == []
    ask = semantic_cache(context={}, storage="mine://host/1", embedder=FakeEmbedder())(lambda prompt: prompt)
    assert ask("q") == ask("q") == "q"
    assert ask.cache.storage is recallm.get_storage("mine://host/1")
    assert recallm.get_storage("mine://host/2") is not recallm.get_storage("mine://host/1")
    assert urls == ["mine://host/1", "mine://host/2"]


def test_a_scheme_that_is_taken_is_replaced_only_on_purpose() -> None:
    """Replacing a scheme gives its URLs another storage from their next use on; recallm's own may be replaced, too."""
    for scheme in ("memory", "redis", "mine"):
        if scheme == "mine":
            recallm.register_scheme(scheme, lambda url: InMemoryStorage())
        before = recallm.get_storage(f"{scheme}://") if scheme != "redis" else None
        with pytest.raises(InvalidValueError, match=f"'{scheme}' is registered; pass replace=True"):
            recallm.register_scheme(scheme, lambda url: InMemoryStorage())
        recallm.register_scheme(scheme, lambda url: InMemoryStorage(max_entries=7), replace=True)
        after = recallm.get_storage(f"{scheme}://")
        assert after is not before
        assert isinstance(after, InMemoryStorage)
        assert after.max_entries == 7


@pytest.mark.parametrize(
    ("scheme", "factory", "error", "match"),
    [
        ("", InMemoryStorage, InvalidValueError, "scheme='' is empty"),
        (5, InMemoryStorage, InvalidTypeError, "scheme=5 is an int"),
        ("a://", InMemoryStorage, InvalidValueError, "use letters, digits"),
        ("1a", InMemoryStorage, InvalidValueError, "a letter first"),
        ("café", InMemoryStorage, InvalidValueError, "use letters, digits"),
        ("mine", "redis", InvalidTypeError, "factory='redis' is a str; use a callable of one URL"),
    ],
)
def test_a_scheme_that_no_url_can_have_is_refused(
    scheme: Any, factory: Any, error: type[Exception], match: str
) -> None:
    """A scheme is what stands before ``://``, and its factory can be called."""
    with pytest.raises(error, match=re.escape(match)):
        recallm.register_scheme(scheme, factory)


def test_a_scheme_whose_factory_makes_no_storage_is_refused() -> None:
    """The message names the scheme, and not the URL, which may hold a password."""
    recallm.register_scheme("mine", lambda url: object())  # type: ignore[arg-type, return-value]  # that it is wrong is the point
    with pytest.raises(InvalidTypeError, match="the factory of scheme 'mine' made an object, no StorageBackend"):
        recallm.get_storage("mine://user:secret@host")


def test_an_unknown_scheme_is_refused_with_those_that_are_known() -> None:
    """Own schemes are among them."""
    recallm.register_scheme("mine", lambda url: InMemoryStorage())
    with pytest.raises(UnknownNameError, match=r"use memory://, mine://, .*register_scheme\('other', \.\.\.\)"):
        recallm.get_storage("other://host")


@pytest.mark.parametrize("url", ["user:secret@host://x", ":secret@redis://x", "redis:/user:secret@host://x"])
def test_what_cannot_be_a_scheme_is_not_quoted(url: str) -> None:
    """A URL that somebody mangled may begin with its password, which must not reach a log."""
    with pytest.raises(UnknownNameError, match=r"begins with no scheme; use memory://, .*redis://") as raised:
        recallm.get_storage(url)
    assert "secret" not in str(raised.value)


def test_a_url_given_as_a_scheme_is_not_quoted() -> None:
    """Its password must not reach a log."""
    with pytest.raises(InvalidValueError, match="scheme='mine'…; use letters") as raised:
        recallm.register_scheme("mine://user:secret@host", lambda url: InMemoryStorage())
    assert "secret" not in str(raised.value)


def test_a_scheme_is_the_same_in_upper_and_lower_case() -> None:
    """As in every URL (RFC 3986): neither a factory nor a storage that it made before is missed for its case."""
    recallm.register_scheme("Mine", lambda url: InMemoryStorage())
    before = [recallm.get_storage(url) for url in ("mine://host", "MINE://host")]
    with pytest.raises(InvalidValueError, match="'mine' is registered"):
        recallm.register_scheme("mine", lambda url: InMemoryStorage())
    recallm.register_scheme("mine", lambda url: InMemoryStorage(), replace=True)
    assert not {id(recallm.get_storage(url)) for url in ("mine://host", "MINE://host")} & set(map(id, before))


class AsyncOnly(InMemoryStorage):
    """A storage without a sync client."""

    serves_sync = False


@pytest.mark.parametrize(
    ("storage", "asynchronous"), [(InMemoryStorage, False), (InMemoryStorage, True), (AsyncOnly, True)]
)
def test_a_storage_that_serves_the_function_is_returned(storage: Callable[[], Any], asynchronous: bool) -> None:
    """A storage that serves functions of a kind is returned as it is."""
    made = storage()
    assert registry.checked_storage(made, asynchronous=asynchronous) is made


def test_a_sync_function_on_an_async_storage_is_refused() -> None:
    """A storage with an async client alone refuses sync functions, and the message says what to give."""
    with pytest.raises(InvalidTypeError, match=r"only an async client.*sync_client"):
        registry.checked_storage(AsyncOnly(), asynchronous=False)
