"""Prometheus metrics: made on first use, once per registry, and in step with the statistics."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from support.interrupting import each_point, in_time

import recallm
from recallm import InMemoryStorage, semantic_cache
from recallm.records import Coalesced
from recallm.telemetry.labels import OTHER, SHOWN_NAMESPACES
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
    """If the application has metrics of these names, a call goes on without recallm's, and the trouble is counted."""
    Counter("recallm_misses", "The application's own.", registry=exported)
    ask = cached()
    assert ask("q") == ask("q") == "an answer"
    assert ask.stats().errors["metrics"] > 0
    assert ask.stats().hits == 1


def test_using_a_registry_again_counts_on(exported: CollectorRegistry) -> None:
    """Naming the registry in use again, or coming back to one, neither fails nor loses or doubles a count."""
    ask = cached()
    for registry in (exported, CollectorRegistry(), exported):
        recallm.use_metrics_registry(registry)
        ask("q")
    assert value(exported, "misses_total") + value(exported, "hits_total", tier="exact") == 2
    assert ask.stats().errors == {}


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


def test_a_part_of_any_cache_of_a_name_is_shown(exported: CollectorRegistry) -> None:
    """If several caches have one name, an open circuit of any of them is shown."""
    first, second = cached(), cached()
    first("q")
    second("q")
    first.cache._core.verifying.record(TimeoutError(), late=True)
    assert value(exported, "circuit_open", part="verifier") == 1


def test_calls_that_waited_are_counted(exported: CollectorRegistry) -> None:
    """Coalesced hits are counted as in the statistics."""
    ask = cached()
    ask.cache._core.recorder.record(Coalesced(), 0.0)
    assert value(exported, "coalesced_total") == ask.stats().coalesced == 1


@pytest.mark.parametrize("name", ["\ud800", "a\\ud800", "\\ud800", "\n", '"', "\x00", "größer"])
def test_any_name_can_be_scraped(exported: CollectorRegistry, name: str) -> None:
    """Whatever a namespace, a cache or a guard is called, all metrics of the registry can be scraped."""
    Gauge("of_the_application", "", registry=exported).set(7)

    def refuse(prompt: str, cached_prompt: str) -> bool:
        return False

    refuse.__name__ = name
    ask = cached(namespace=lambda kw: name, name=name, guards=(refuse,), threshold=0.6)
    ask("one two three")
    ask("three two one")
    scraped = generate_latest(exported).decode()
    assert "of_the_application 7.0" in scraped
    assert scraped.count("recallm_entries{") == 1
    assert repr(ask.stats()).encode()


def test_a_hundred_namespaces_have_series_of_their_own(exported: CollectorRegistry) -> None:
    """If each user has a namespace, a scrape shows the largest ones and the sum of all others."""
    ask = cached(namespace=lambda kw: kw["prompt"].split()[0])
    for number in range(3 * SHOWN_NAMESPACES):
        ask(f"user{number} asks")
    ask("user7 asks again")
    samples = [line for line in generate_latest(exported).decode().splitlines() if line.startswith("recallm_entries{")]
    assert len(samples) == SHOWN_NAMESPACES + 1
    assert 'recallm_entries{namespace="user7"} 2.0' in samples
    assert exported.get_sample_value("recallm_entries", {"namespace": OTHER}) == 2 * SHOWN_NAMESPACES
    assert sum(float(line.rpartition(" ")[2]) for line in samples) == 3 * SHOWN_NAMESPACES + 1


@pytest.mark.parametrize("action", ["count", "read", "scrape", "register"])
def test_a_call_may_strike_anywhere_in_prometheus(exported: CollectorRegistry, action: str) -> None:
    """A finalizer or handler that asks at any point of the application's own use of Prometheus gets its answer."""
    counter = Counter("of_the_application", "", registry=exported)

    def register() -> None:
        exported.unregister(counter)
        exported.register(counter)

    acts: dict[str, tuple[Callable[[], object], str]] = {
        "count": (counter.inc, "prometheus_client/values.py"),
        "read": (lambda: list(counter.collect()), "prometheus_client/values.py"),
        "scrape": (lambda: list(exported.collect()), "prometheus_client/registry.py"),
        "register": (register, "prometheus_client/registry.py"),
    }
    act, within = acts[action]
    ask = cached()
    ask("q")

    def check() -> None:
        for asked, _ in enumerate(each_point(lambda: act, (within,), lambda _: ask("q")), 1):
            assert ask.stats().hits == value(exported, "hits_total", tier="exact") == asked

    in_time(check)
    assert ask.stats().hits > 1


def test_a_first_call_that_strikes_in_a_registration_does_not_wait_for_it(
    exported: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first event of a process may strike while its own thread is in the registry; its metrics follow later."""
    from recallm.telemetry import metrics

    monkeypatch.setattr(metrics, "EXPOSE_SECONDS", 0.05)
    ask = cached()

    class Own:
        def describe(self) -> Any:
            ask("q")  # as a finalizer may, with the registry locked
            return []

        def collect(self) -> Any:
            return []

    in_time(lambda: exported.register(Own()))
    for thread in threading.enumerate():
        if thread.name == "recallm-metrics":
            thread.join(10)
    assert value(exported, "misses_total") == 1


REIMPORT = """
import importlib, sys
from prometheus_client import CollectorRegistry, REGISTRY, generate_latest
def use():
    import recallm
    from recallm.testing import FakeEmbedder
    recallm.use_metrics_registry(REGISTRY)
    recallm.use_metrics_registry(REGISTRY)
    ask = recallm.semantic_cache(
        context={}, storage=recallm.InMemoryStorage(), embedder=FakeEmbedder(), name="measured", namespace="here"
    )(lambda prompt: "an answer")
    ask("q"), ask("q")
    assert not ask.stats().errors, ask.stats()
    return ask
first = use()
for name in [name for name in sys.modules if name.partition(".")[0] == "recallm"]:
    del sys.modules[name]
second = use()
importlib.reload(sys.modules["recallm.telemetry.metrics"])
importlib.reload(sys.modules["recallm.registry"])
importlib.reload(sys.modules["recallm"])
third = use()
first("q")
assert REGISTRY.get_sample_value("recallm_hits_total", {"cache": "measured", "tier": "exact"}) == 4
assert REGISTRY.get_sample_value("recallm_misses_total", {"cache": "measured"}) == 3
assert REGISTRY.get_sample_value("recallm_entries", {"namespace": "here"}) == 3
generate_latest(REGISTRY)
"""


@pytest.mark.parametrize("multiprocess", [False, True], ids=["one_process", "several"])
def test_a_second_import_joins_the_first(tmp_path: Any, multiprocess: bool) -> None:
    """After a purge of the modules, or a reload, metrics go on, and show what functions of each import counted."""
    environment = {**os.environ, **({"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)} if multiprocess else {})}
    finished = subprocess.run(
        [sys.executable, "-c", REIMPORT], capture_output=True, text=True, timeout=60, env=environment
    )
    assert finished.returncode == 0, finished.stderr
