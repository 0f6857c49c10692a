"""Prometheus metrics, made on first use and once per registry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from recallm.records import Bypass, Coalesced, Embedded, Event, Failure, Hit, Miss, Spared, Stored, Veto

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter
    from prometheus_client.core import GaugeMetricFamily

SIMILARITY_BUCKETS = (0.7, 0.8, 0.85, 0.88, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99, 1.0)
LOOKUP_BUCKETS = (1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 1e-3, 2.5e-3, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0)


class Metrics:
    """The metrics in one Prometheus registry.

    Args:
        registry: where they are registered.
        sizes: gives namespace → live entries, asked on each scrape.
        circuits: gives cache → the parts that are left alone for failing, likewise.

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

        self.hits = counter("hits", "Calls answered from the cache.", "tier")
        self.coalesced = counter("coalesced", "Hits of calls that waited for another to make the answer.")
        self.stale = counter("stale", "Calls whose function failed that got an answer which had expired.")
        self.misses = counter("misses", "Cacheable calls for which the function was called.")
        self.bypasses = counter("bypasses", "Calls for which the cache stood aside.", "reason")
        self.errors = counter("errors", "Troubles kept from callers.", "stage")
        self.vetoes = counter("vetoes", "Candidates that a guard refused.", "guard")
        self.stored = counter("stored", "Answers kept.")
        self.evicted = counter("evicted", "Entries that made room for others.")
        self.saved_tokens = counter("saved_tokens", "Tokens the function reported when the served entries were made.")
        self.similarity = histogram("similarity", "Cosine of semantic hits.", SIMILARITY_BUCKETS)
        self.lookup = histogram("lookup_seconds", "Time to decide on a hit or a miss.", LOOKUP_BUCKETS)
        self.embedding = histogram("embedding_seconds", "Time to embed one prompt.", LOOKUP_BUCKETS)
        self.saved = counter("saved_seconds", "Time the function took when the served entries were made.")
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
            GaugeMetricFamily("recallm_circuit_open", "1 while a part is left alone.", labels=["cache", "part"]),
        )


class CacheMetrics:
    """The metrics of one cache, with the labels of the hot path looked up once."""

    def __init__(self, metrics: Metrics, cache: str) -> None:
        self._metrics = metrics
        self._cache = cache
        self._hits = {True: metrics.hits.labels(cache, "exact"), False: metrics.hits.labels(cache, "semantic")}
        self._misses = metrics.misses.labels(cache)
        self._similarity = metrics.similarity.labels(cache)
        self._lookup = metrics.lookup.labels(cache)
        self._embedding = metrics.embedding.labels(cache)
        self._saved = metrics.saved.labels(cache)
        self._saved_tokens = metrics.saved_tokens.labels(cache)
        self._stored = metrics.stored.labels(cache)
        self._evicted = metrics.evicted.labels(cache)
        self._named: dict[tuple[int, str], Counter] = {}

    def record(self, event: Event, elapsed: float) -> None:
        """Count one event.

        Args:
            event: what happened.
            elapsed: seconds since the call began.
        """
        match event:
            case Hit():
                self._record_hit(event, elapsed)
            case Miss():
                self._misses.inc()
            case Embedded(seconds):
                self._embedding.observe(seconds)
            case Coalesced():
                self._metrics.coalesced.labels(self._cache).inc()
            case Spared():
                self._metrics.stale.labels(self._cache).inc()
            case Bypass(reason):
                self._inc(self._metrics.bypasses, reason)
            case Failure(stage):
                self._inc(self._metrics.errors, stage)
            case Veto(guard):
                self._inc(self._metrics.vetoes, guard)
            case Stored(kept, evicted):
                self._stored.inc(kept)
                self._evicted.inc(evicted)

    def _inc(self, family: Counter, name: str) -> None:
        place = (id(family), name)
        if place not in self._named:
            self._named[place] = family.labels(self._cache, name)
        self._named[place].inc()

    def _record_hit(self, hit: Hit, elapsed: float) -> None:
        entry = hit.candidate.entry
        self._hits[hit.exact].inc()
        self._lookup.observe(elapsed)
        self._saved.inc(entry.seconds)
        if entry.tokens:
            self._saved_tokens.inc(entry.tokens)
        if not hit.exact:
            self._similarity.observe(hit.candidate.similarity)
