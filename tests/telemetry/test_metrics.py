"""Prometheus metrics: made on first use, once per registry, and in step with the statistics."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

import recallm
from recallm import InMemoryStorage, semantic_cache
from recallm.records import Coalesced
from recallm.telemetry.metrics import Metrics
from recallm.testing import FakeEmbedder


@pytest.fixture
def exported() -> CollectorRegistry:
    """Return a registry of this test's own, in use."""
    registry = CollectorRegistry()
    recallm.use_metrics_registry(registry)
    return registry


def value(registry: CollectorRegistry, name: str, **labels: str) -> float:
    """Return a sample, or 0."""
    found = registry.get_sample_value(f"recallm_{name}", {"cache": "measured", **labels})
    return 0.0 if found is None else found


def cached(function: Any = lambda prompt: "an answer", **options: Any) -> Any:
    """Return a cached function."""
    known = {"context": {}, "storage": InMemoryStorage(), "embedder": FakeEmbedder(), "name": "measured"}
    return semantic_cache(**{**known, **options})(function)


def test_nothing_is_registered_before_the_first_call(exported: CollectorRegistry) -> None:
    """Decorating registers no metric; the first call does."""
    ask = cached()
    assert b"recallm" not in generate_latest(exported)
    ask("q")
    assert b"recallm_misses_total" in generate_latest(exported)


def test_every_event_of_a_known_sequence_is_counted(exported: CollectorRegistry) -> None:
    """Metrics agree with the statistics, by tier, reason, stage and guard."""

    def no_tea(prompt: str, cached_prompt: str) -> bool:
        return "tea" not in prompt

    ask = cached(storage=InMemoryStorage(max_entries=2), guards=(no_tea,), threshold=0.6)
    for prompt in ("one two three", "one two three", "three two one", "one two tea", "four", "five"):
        ask(prompt)
    ask(object())
    with pytest.raises(ZeroDivisionError):
        cached(lambda prompt: 1 / 0, embedder=FakeEmbedder())("q")
    stats = ask.stats()
    assert (stats.exact_hits, stats.semantic_hits, stats.misses) == (1, 1, 4)
    assert value(exported, "hits_total", tier="exact") == 1
    assert value(exported, "hits_total", tier="semantic") == 1
    assert value(exported, "misses_total") == 5
    assert value(exported, "bypasses_total", reason="no_prompt") == stats.bypasses["no_prompt"] == 1
    assert value(exported, "vetoes_total", guard="no_tea") == stats.vetoes["no_tea"] == 1
    assert value(exported, "stored_total") == stats.stored == 4
    assert value(exported, "evicted_total") == stats.evicted == 2
    assert value(exported, "similarity_count") == 1
    assert value(exported, "lookup_seconds_count") == 2
    assert value(exported, "embedding_seconds_count") == 6
    assert value(exported, "saved_seconds_total") == pytest.approx(stats.saved_seconds)


def test_tokens_and_errors_are_counted(exported: CollectorRegistry) -> None:
    """Saved tokens are those that the stored response reported."""
    ask = cached(lambda prompt: {"usage": {"total_tokens": 7}}, store_if=lambda response: True)
    ask("q"), ask("q")
    assert value(exported, "saved_tokens_total") == ask.stats().saved_tokens == 7

    def fail(response: object) -> bool:
        raise ValueError

    cached(store_if=fail)("q")
    assert value(exported, "errors_total", stage="store_if") == 1


@pytest.fixture
def two_functions(exported: CollectorRegistry) -> tuple[Any, Any]:
    """Return two functions with namespaces of their own."""
    return cached(namespace="one"), cached(namespace="other")


def test_entries_are_counted_when_they_are_scraped(exported: CollectorRegistry, two_functions: tuple[Any, Any]) -> None:
    """Each scrape counts the live entries by namespace."""
    one, other = two_functions
    one("q"), one("r"), other("q")
    assert exported.get_sample_value("recallm_entries", {"namespace": "one"}) == 2
    assert exported.get_sample_value("recallm_entries", {"namespace": "other"}) == 1
    one.clear()
    assert exported.get_sample_value("recallm_entries", {"namespace": "one"}) is None


def test_metrics_do_not_keep_a_cache_alive(exported: CollectorRegistry) -> None:
    """The entries of a cache leave the metrics when the cache is gone."""
    ask = cached(namespace="gone")
    ask("q")
    assert exported.get_sample_value("recallm_entries", {"namespace": "gone"}) == 1
    del ask
    gc.collect()
    assert exported.get_sample_value("recallm_entries", {"namespace": "gone"}) is None


def test_a_registry_with_metrics_of_these_names_is_refused(exported: CollectorRegistry) -> None:
    """Prometheus refuses metrics of the same names twice, and a call goes on without them."""
    Metrics(exported, dict)
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        Metrics(exported, dict)
    ask = cached()
    assert ask("q") == ask("q") == "an answer"
    assert ask.stats().errors["metrics"] > 0
    assert ask.stats().hits == 1


def test_moving_to_another_registry_takes_effect_at_the_next_event(exported: CollectorRegistry) -> None:
    """After a move, events count in the new registry, and the old counts stay where they were."""
    ask = cached()
    ask("q")
    other = CollectorRegistry()
    recallm.use_metrics_registry(other)
    ask("q")
    assert value(exported, "misses_total") == 1
    assert value(other, "hits_total", tier="exact") == 1
    assert value(exported, "hits_total", tier="exact") == 0


def test_a_part_that_is_left_alone_is_shown(exported: CollectorRegistry) -> None:
    """An open circuit is shown until it closes."""
    ask = cached()
    ask("q")
    assert value(exported, "circuit_open", part="embedder") == 0
    ask.cache._core.find_embedder().breaker.record(TimeoutError(), late=True)
    assert value(exported, "circuit_open", part="embedder") == 1


def test_calls_that_waited_are_counted(exported: CollectorRegistry) -> None:
    """Coalesced hits are counted as in the statistics."""
    ask = cached()
    ask.cache._core.recorder.record(Coalesced(), 0.0)
    assert value(exported, "coalesced_total") == ask.stats().coalesced == 1
