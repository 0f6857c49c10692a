"""What a REPL types: statistics, invalidation and clearing over every cache of the process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import recallm
from recallm import InMemoryStorage, semantic_cache
from recallm.testing import FakeEmbedder


def cached(name: str, **options: Any) -> Any:
    """Return a cached function whose cache has this name."""
    known = {"context": {}, "storage": InMemoryStorage(), "embedder": FakeEmbedder(), "namespace": "n", "name": name}
    return semantic_cache(**{**known, **options})(lambda prompt: f"an answer to {prompt}")


def test_statistics_of_one_and_of_all() -> None:
    """Those of all are the sum of each."""
    one, other = cached("one"), cached("other")
    before = recallm.stats()
    one("q"), one("q"), other("q")  # three calls
    assert {"one", "other"} <= set(recallm.caches())
    assert (recallm.stats("one").hits, recallm.stats("one").misses) == (1, 1)
    assert recallm.stats("other").namespace_sizes == {"n": 1}
    total = recallm.stats()
    assert (total.hits - before.hits, total.misses - before.misses) == (1, 2)


def test_functions_of_one_name_are_reported_together() -> None:
    """Each keeps its own statistics as well."""
    one, same = cached("shared"), cached("shared")
    one("q"), same("q")  # two calls
    assert recallm.stats("shared").misses == 2
    assert one.stats().misses == 1


def test_resetting_leaves_the_entries() -> None:
    """Of one cache, or of all."""
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
    """As a `LookupError`."""
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
    """Entries of other namespaces stay."""
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
    """And tells how many entries there were."""
    recallm.clear()
    one, other = cached("one"), cached("other", namespace=lambda kw: f"n-{kw['prompt']}")
    one("q"), other("q"), other("r")  # three calls
    assert clear() == 3
    assert recallm.stats("other").namespace_sizes == {}


@pytest.mark.parametrize("namespace", ["", 7, None])
def test_a_namespace_that_is_none_is_refused(namespace: Any) -> None:
    """The message has the value."""
    ask = cached("one")
    with pytest.raises((TypeError, ValueError), match="namespace="):
        recallm.invalidate_namespace(namespace)
    assert ask.stats().misses == 0
