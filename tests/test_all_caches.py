"""What a REPL types: statistics, invalidation and clearing over every cache of the process."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY, generate_latest
from support.faulty import PATIENT, Away

import recallm
from recallm import InMemoryStorage, SemanticCache, SQLiteStorage, StorageBackend, semantic_cache
from recallm.concurrency import breaker
from recallm.testing import FakeEmbedder


def cached(name: str, **options: Any) -> Any:
    """Return a cached function whose cache has this name."""
    known = {"context": {}, "storage": InMemoryStorage(), "embedder": FakeEmbedder(), "namespace": "n", "name": name}
    return semantic_cache(**{**known, **options})(lambda prompt: f"an answer to {prompt}")


def test_statistics_of_one_and_of_all() -> None:
    """The statistics of all caches are the sum of each one's."""
    one, other = cached("one"), cached("other")
    before = recallm.stats()
    one("q"), one("q"), other("q")  # three calls
    assert {"one", "other"} <= set(recallm.caches())
    assert (recallm.stats("one").hits, recallm.stats("one").misses) == (1, 1)
    assert recallm.stats("other").namespace_sizes == {"n": 1}
    total = recallm.stats()
    assert (total.hits - before.hits, total.misses - before.misses) == (1, 2)


def test_functions_of_one_name_are_reported_together() -> None:
    """Caches of one name are reported together, and each keeps its own statistics as well."""
    one, same = cached("shared"), cached("shared")
    one("q"), same("q")  # two calls
    assert recallm.stats("shared").misses == 2
    assert one.stats().misses == 1


def test_resetting_leaves_the_entries() -> None:
    """Resetting the statistics of one cache, or of all, removes no entry."""
    one, other = cached("one"), cached("other")
    for ask in (one, other):
        ask("q")
    recallm.reset_stats("one")
    assert (one.stats().misses, other.stats().misses) == (0, 1)
    recallm.reset_stats()
    assert other.stats().misses == 0
    assert one("q") == "an answer to q"
    assert one.stats().hits == 1


@pytest.mark.parametrize("ask", [recallm.stats, recallm.reset_stats])
def test_an_unknown_name_tells_which_are_live(ask: Any) -> None:
    """An unknown name raises a `LookupError` that lists the live caches."""
    one = cached("one")
    with pytest.raises(LookupError, match=r"no live cache is named 'absent'; there are: .*'one'"):
        ask("absent")
    assert one.cache.name == "one"


@pytest.mark.parametrize(
    "invalidate",
    [recallm.invalidate_namespace, lambda namespace: asyncio.run(recallm.ainvalidate_namespace(namespace))],
    ids=["sync", "async"],
)
def test_a_namespace_is_invalidated_in_every_storage_once(invalidate: Any) -> None:
    """Invalidating a namespace reaches every storage in use and leaves other namespaces."""
    shared = InMemoryStorage()
    one, same, other = cached("one", storage=shared), cached("two", storage=shared), cached("three")
    stays = cached("four", namespace="m", storage=shared)
    for ask in (one, other, stays):
        ask("q")
    same("another question")
    assert invalidate("n") == 3
    assert len(shared) == 1
    assert invalidate("n") == 0
    assert one("q") == "an answer to q"
    assert one.stats().misses == 2


@pytest.mark.parametrize("clear", [recallm.clear, lambda: asyncio.run(recallm.aclear())], ids=["sync", "async"])
def test_clearing_empties_what_live_caches_have_used(clear: Any) -> None:
    """Clearing removes the entries of all live caches and returns how many there were."""
    recallm.clear()
    one, other = cached("one"), cached("other", namespace=lambda kw: f"n-{kw['prompt']}")
    one("q"), other("q"), other("r")  # three calls
    assert clear() == 3
    assert recallm.stats("other").namespace_sizes == {}


@pytest.mark.parametrize("namespace", ["", 7, None])
def test_a_namespace_that_is_none_is_refused(namespace: Any) -> None:
    """Invalidating something else than a text raises, without quoting what may be a user's id."""
    ask = cached("one")
    with pytest.raises((TypeError, ValueError), match=r"^namespace(='')? is "):
        recallm.invalidate_namespace(namespace)
    assert ask.stats().misses == 0


def test_a_process_without_caches_has_done_nothing() -> None:
    """Statistics of a process without caches are all zero."""
    assert recallm.caches() == ()
    assert recallm.stats() == recallm.CacheStats()
    assert (recallm.clear(), recallm.invalidate_namespace("n")) == (0, 0)
    assert (asyncio.run(recallm.aclear()), asyncio.run(recallm.ainvalidate_namespace("n"))) == (0, 0)
    recallm.reset_stats()
    with pytest.raises(LookupError, match=r"no live cache is named 'absent'; there are: none"):
        recallm.stats("absent")


def test_names_are_told_once_and_in_order() -> None:
    """The names of live caches, made by either front door, are listed once and sorted."""
    kept = [cached("b"), cached("a"), cached("b"), SemanticCache(embedder=FakeEmbedder(), name="c")]
    assert recallm.caches() == ("a", "b", "c")
    del kept[1:]
    gc.collect()
    assert recallm.caches() == ("b",)


def test_a_function_is_reported_under_its_own_name() -> None:
    """A decorated function without a name is reported by its module and qualified name."""
    ask = semantic_cache(context={}, storage=InMemoryStorage(), embedder=FakeEmbedder())(answer_in_full)
    ask("q")
    (name,) = recallm.caches()
    assert name.endswith("answer_in_full")
    assert recallm.stats(name).namespace_sizes == {name: 1}


def answer_in_full(prompt: str) -> str:
    """Answer."""
    return f"an answer to {prompt}"


def test_the_total_sums_every_field() -> None:
    """Caches that share a storage count their own calls each, and the entries once."""
    shared = InMemoryStorage()

    def refuses(prompt: str, cached_prompt: str) -> bool:
        return False

    one, other = cached("one", storage=shared), cached("other", storage=shared, guards=(refuses,))
    for ask in (one, other):
        ask("a b c"), ask("a b c"), ask("c b a"), ask(None)  # four calls
    first, second, total = recallm.stats("one"), recallm.stats("other"), recallm.stats()
    assert (first.exact_hits, first.semantic_hits, first.misses) == (1, 1, 1)
    assert (second.exact_hits, second.semantic_hits, second.misses) == (2, 0, 1)
    assert (total.exact_hits, total.semantic_hits, total.misses, total.stored) == (3, 1, 2, 2)
    assert dict(total.vetoes) == dict(second.vetoes) == {"refuses": 1}
    assert dict(total.bypasses) == {"no_prompt": 2}
    assert total.similarity_sum == pytest.approx(first.similarity_sum + second.similarity_sum)
    assert total.hit_rate == pytest.approx(4 / 6)
    assert total.namespace_sizes == first.namespace_sizes == second.namespace_sizes == {"n": 2}


def test_a_representation_reads_as_a_report() -> None:
    """The ``repr`` of the statistics has a line for each figure, and no prompt or answer."""
    ask = cached("one")
    ask("my password is hunter2"), ask("my password is hunter2")  # two calls
    lines = [line.split() for line in repr(recallm.stats()).splitlines()]
    assert ["hits", "1", "(1", "exact,", "0", "semantic)"] in lines
    assert ["misses", "1"] in lines
    assert ["hit_rate", "50.0%"] in lines
    assert ["namespace_sizes", "n", "1"] in lines
    assert "hunter2" not in repr(recallm.stats())


def test_statistics_are_had_while_one_storage_is_away() -> None:
    """If one storage is in trouble, only its sizes are missing, and the trouble is counted where it is."""
    up, down = cached("up"), cached("down", storage=Away(), config=PATIENT)
    up("q"), down("q")  # two calls
    stats = recallm.stats()
    assert (stats.misses, stats.namespace_sizes) == (2, {"n": 1})
    assert dict(recallm.stats("down").errors) == {"storage": 1}
    assert dict(recallm.stats("up").errors) == {}


def test_the_total_tells_which_parts_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The statistics of all caches show open circuits; an operation that was not tried is no further error."""
    monkeypatch.setattr(breaker, "FIRST_PAUSE", 60.0)
    ask = cached("down", storage=Away(), config=PATIENT)
    for _ in range(4):
        stats = recallm.stats("down")
    assert dict(stats.circuits) == dict(recallm.stats().circuits) == {"storage": "open"}
    assert "storage open" in repr(recallm.stats())
    assert dict(ask.stats().errors) == {"storage": 3}


@pytest.mark.parametrize(
    "empty",
    [
        lambda: recallm.invalidate_namespace("n"),
        lambda: asyncio.run(recallm.ainvalidate_namespace("n")),
        recallm.clear,
        lambda: asyncio.run(recallm.aclear()),
    ],
    ids=["invalidate_namespace", "ainvalidate_namespace", "clear", "aclear"],
)
def test_whoever_empties_a_storage_that_is_away_learns_of_it(empty: Any) -> None:
    """Emptying raises if a storage does: what could not be removed must not be reported as gone."""
    up, down = cached("up"), cached("down", storage=Away(), config=PATIENT)
    up("q"), down("q")  # two calls
    with pytest.raises(ConnectionError, match="down"):
        empty()
    assert len(down.cache.storage) == 1


class Counted(InMemoryStorage):
    """Notes which namespaces it was asked to empty."""

    def __init__(self) -> None:
        super().__init__()
        self.emptied: list[str] = []

    def invalidate(self, namespace: str) -> int:
        """Note the namespace, and empty it."""
        self.emptied.append(namespace)
        return super().invalidate(namespace)


@pytest.mark.parametrize(
    "invalidate",
    [recallm.invalidate_namespace, lambda namespace: asyncio.run(recallm.ainvalidate_namespace(namespace))],
    ids=["sync", "async"],
)
def test_a_shared_storage_is_asked_once(invalidate: Any) -> None:
    """A storage shared by many caches is invalidated once: each time would drop the answers under way."""
    shared = Counted()
    kept = [cached(name, storage=shared) for name in ("one", "two", "three")]
    kept[0]("q")
    assert invalidate("n") == 1
    assert shared.emptied == ["n"]


def test_statistics_are_had_though_a_storage_is_no_longer_registered() -> None:
    """A cache whose storage is no longer registered hides no other's statistics; the trouble is counted."""
    recallm.use_metrics_registry(REGISTRY)
    recallm.register_storage("mine", InMemoryStorage())
    lost, sound = cached("lost", storage="mine"), cached("sound")
    lost("q"), sound("q")
    recallm.unregister_storage("mine")
    assert recallm.stats().misses == 2
    assert recallm.stats("lost").namespace_sizes == {}
    assert lost.stats().errors["storage"] > 0
    assert b"recallm_entries" in generate_latest(REGISTRY)
    with pytest.raises(LookupError):
        recallm.invalidate_namespace("n")
    assert sound("q") == "an answer to q"
    assert sound.stats().misses == 2


class Down(InMemoryStorage):
    """A storage that cannot be emptied."""

    def invalidate(self, namespace: str) -> int:
        """Fail."""
        raise ConnectionError("away")


@pytest.mark.parametrize(
    "empty",
    [
        lambda: recallm.invalidate_namespace("n"),
        recallm.clear,
        lambda: asyncio.run(recallm.ainvalidate_namespace("n")),
        lambda: asyncio.run(recallm.aclear()),
    ],
    ids=["invalidate", "clear", "ainvalidate", "aclear"],
)
def test_sound_storages_are_emptied_though_others_cannot_be(empty: Any) -> None:
    """Emptying goes on past a storage that raises, and raises its error, or all of them together, in the end."""
    sound = [InMemoryStorage() for _ in range(4)]
    functions = [cached(f"{number}", storage=storage) for number, storage in enumerate([Down(), *sound, Down()])]
    for ask in functions:
        ask("q")
    with pytest.raises(ExceptionGroup, match="several storages could not be emptied") as caught:
        empty()
    assert [type(error) for error in caught.value.exceptions] == [ConnectionError] * 2
    assert [len(storage) for storage in sound] == [0] * 4


def _aforget(**arguments: Any) -> int:
    return asyncio.run(recallm.aforget(**arguments))


@pytest.mark.parametrize("forget", [recallm.forget, _aforget], ids=["sync", "async"])
def test_what_is_similar_to_a_text_is_forgotten(forget: Any, tmp_path: Path) -> None:
    """Entries of similar prompts go from every cache's namespaces and storage, and the others stay."""
    asked = [
        cached("one", storage=SQLiteStorage(tmp_path / "answers.db")),
        cached("two", namespace="m"),
        cached("exact", threshold="exact"),
    ]
    for ask in asked:
        ask("how do I reset my password"), ask("where is my parcel now")  # two calls
    assert forget(similar_to="how do I my password reset") == 2
    assert [ask.explain("how do I reset my password").outcome for ask in asked] == ["miss", "miss", "hit"]
    assert all(ask.explain("where is my parcel now").outcome == "hit" for ask in asked)
    assert forget(similar_to="how do I my password reset") == 0


def test_forgetting_keeps_to_a_namespace_and_a_threshold() -> None:
    """Only the namespace that is named loses entries, and only those that are similar enough."""
    one, two = cached("one"), cached("two", namespace="m")
    for ask in (one, two):
        ask("how do I reset my password")
    assert recallm.forget(similar_to="how do I reset a password", threshold=1) == 0
    assert recallm.forget(similar_to="how do I reset my password", namespace="m") == 1
    assert (one.explain("how do I reset my password").outcome, two.stats().namespace_sizes) == ("hit", {})


def test_an_answer_that_is_computed_meanwhile_is_not_stored() -> None:
    """Caches that share a storage forget together, and what is removed does not come back from a call under way."""
    storage, embedder = InMemoryStorage(), FakeEmbedder()
    one, two = (cached(name, storage=storage, embedder=embedder) for name in ("one", "two"))
    one("how do I reset my password"), two("how do I reset my password")  # a miss and a hit
    epoch = storage.recall("n", "k").epoch
    assert recallm.forget(similar_to="how do I reset my password") == 1
    assert storage.recall("n", "k").epoch != epoch


def test_a_storage_that_cannot_be_asked_is_told_after_the_others() -> None:
    """If a storage raises, as one that lists nothing does, the others have forgotten."""

    class Unlisted(InMemoryStorage):
        entries = StorageBackend.entries

    one, two = cached("one", storage=Unlisted()), cached("two")
    for ask in (one, two):
        ask("how do I reset my password")
    with pytest.raises(NotImplementedError, match="Unlisted cannot list its entries"):
        recallm.forget(similar_to="how do I reset my password")
    assert two.stats().namespace_sizes == {}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"similar_to": 7}, "similar_to=7 is an int"),
        ({"similar_to": " "}, "is blank; use a text that says what to forget"),
        ({"similar_to": "x", "threshold": "exact"}, "threshold='exact' is not known"),
        ({"similar_to": "x", "namespace": ""}, "namespace='' is empty"),
    ],
)
def test_a_mistake_in_what_to_forget_is_told(arguments: dict[str, Any], told: str) -> None:
    """An argument that cannot be meant raises before anything is removed."""
    with pytest.raises((TypeError, ValueError), match=told):
        recallm.forget(**arguments)
