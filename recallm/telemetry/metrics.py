"""Prometheus metrics, made on first use and once per registry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from recallm.records import Embedded, Event, Hit
from recallm.telemetry.stats import counters, increments

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter
    from prometheus_client.core import GaugeMetricFamily

SIMILARITY_BUCKETS = (0.7, 0.8, 0.85, 0.88, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99, 1.0)
"""Upper bounds of cosines, closest where thresholds lie."""

LOOKUP_BUCKETS = (1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 1e-3, 2.5e-3, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0)
"""Upper bounds in seconds, from an exact hit in memory to the default time limit of an embedding."""


def default_registry() -> CollectorRegistry:
    """Return Prometheus' own registry."""
    from prometheus_client import REGISTRY

    return REGISTRY


class Metrics:
    """The metrics in one Prometheus registry.

    Each field of `CacheStats` that counts events is a counter; hits have a label for the tier, ``exact`` or
    ``semantic``; similarities and times have histograms.

    Args:
        registry: the registry that the metrics are registered in.
        sizes: returns namespace → live entries; called on each scrape.
        circuits: returns cache → the parts that are skipped because they keep failing; called on each scrape.

    Raises:
        ValueError: the registry holds metrics of these names already.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        sizes: Callable[[], Mapping[str, int]],
        circuits: Callable[[], Mapping[str, Iterable[str]]] = dict,
    ) -> None:
        from prometheus_client import Counter, Histogram  # half of recallm's import time; paid by the first call

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"recallm_{name}", text, ("cache", *labels), registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"recallm_{name}", text, ("cache",), registry=registry, buckets=buckets)

        self.counters = {
            each.name: counter(each.name, meaning, *([] if label is None else [label]))
            for each, meaning, label in counters()
        }
        self.hits = counter("hits", "Calls answered from the cache.", "tier")
        self.saved_seconds = counter("saved_seconds", "Time the function took when the served entries were made.")
        self.saved_tokens = counter("saved_tokens", "Tokens the function reported when the served entries were made.")
        self.similarity = histogram("similarity", "Cosine of semantic hits.", SIMILARITY_BUCKETS)
        self.lookup = histogram("lookup_seconds", "Time to decide on a hit or a miss.", LOOKUP_BUCKETS)
        self.embedding = histogram("embedding_seconds", "Time to embed one prompt.", LOOKUP_BUCKETS)
        registry.register(_Gauges(sizes, circuits))

    def of(self, cache: str) -> CacheMetrics:
        """Return the metrics of one cache."""
        return CacheMetrics(self, cache)


class _Gauges:
    """The gauges, read when they are scraped."""

    def __init__(
        self, sizes: Callable[[], Mapping[str, int]], circuits: Callable[[], Mapping[str, Iterable[str]]]
    ) -> None:
        self._sizes = sizes
        self._circuits = circuits

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return self._families()

    def collect(self) -> Iterable[GaugeMetricFamily]:
        entries, circuits = self._families()
        for namespace, size in self._sizes().items():
            entries.add_metric([namespace], size)
        for cache, parts in self._circuits().items():
            for part in parts:
                circuits.add_metric([cache, part], 1)
        return entries, circuits

    def _families(self) -> tuple[GaugeMetricFamily, GaugeMetricFamily]:
        from prometheus_client.core import GaugeMetricFamily

        return (
            GaugeMetricFamily("recallm_entries", "Live entries.", labels=["namespace"]),
            GaugeMetricFamily("recallm_circuit_open", "1 while a part is skipped.", labels=["cache", "part"]),
        )


class CacheMetrics:
    """The metrics of one cache, with their labels looked up once."""

    def __init__(self, metrics: Metrics, cache: str) -> None:
        self._metrics = metrics
        self._cache = cache
        self._hits = {True: metrics.hits.labels(cache, "exact"), False: metrics.hits.labels(cache, "semantic")}
        self._similarity = metrics.similarity.labels(cache)
        self._lookup = metrics.lookup.labels(cache)
        self._embedding = metrics.embedding.labels(cache)
        self._saved_seconds = metrics.saved_seconds.labels(cache)
        self._saved_tokens = metrics.saved_tokens.labels(cache)
        self._counters: dict[tuple[str, str | None], Any] = {
            (each.name, None): metrics.counters[each.name].labels(cache)
            for each, _, label in counters()
            if label is None
        }

    def record(self, event: Event, elapsed: float) -> None:
        """Count one event.

        Args:
            event: what happened.
            elapsed: seconds since the call began.
        """
        if isinstance(event, Hit):
            self._record_hit(event, elapsed)
            return
        if isinstance(event, Embedded):
            self._embedding.observe(event.seconds)
        for name, by, count in increments(event):
            self._counter(name, by).inc(count)

    def _counter(self, name: str, by: str | None) -> Any:
        place = (name, by)
        if place not in self._counters:
            self._counters[place] = self._metrics.counters[name].labels(self._cache, by)
        return self._counters[place]

    def _record_hit(self, hit: Hit, elapsed: float) -> None:
        entry = hit.candidate.entry
        self._hits[hit.exact].inc()
        self._lookup.observe(elapsed)
        self._saved_seconds.inc(entry.seconds)
        if entry.tokens:
            self._saved_tokens.inc(entry.tokens)
        if not hit.exact:
            self._similarity.observe(hit.candidate.similarity)
