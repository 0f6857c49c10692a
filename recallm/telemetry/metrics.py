"""Prometheus metrics: counted here, and read by a collector in the user's registry when it is scraped.

A call touches nothing of prometheus_client, whose locks are held while Python runs: a finalizer or signal handler that
strikes in there, and asks a cached function, would wait for its own thread for ever.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from recallm.concurrency.forking import reset_after_fork
from recallm.concurrency.workers import start
from recallm.telemetry.definitions import (
    CIRCUITS,
    DEFINITIONS,
    ENTRIES,
    STARTING,
    TIERS,
    Definition,
    definition_of,
    label_values,
)
from recallm.telemetry.foreign_locks import in_foreign_locks
from recallm.telemetry.journal import Journal
from recallm.telemetry.labels import encodable, largest, total
from recallm.telemetry.multiprocess import Circuits, Gauges, Mirror, Sizes
from recallm.telemetry.stats import Counts, Place, Row, folded

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

IMPORT_SECONDS = 10.0
"""How long the first event waits until prometheus_client is imported, which takes some time on a busy machine."""

EXPOSE_SECONDS = 2.0
"""How long the first event waits until its metrics are in the registry; if a thread is in there, they follow later."""


class Series:
    """The metrics of the caches of one name. Any thread, signal handler or finalizer may use it at any moment."""

    def __init__(self, cache: str, metrics: Metrics) -> None:
        self.cache = cache
        self._metrics = metrics
        self.begin_anew()

    def begin_anew(self) -> None:
        """Begin from nothing."""
        self._journal: Journal[Counts, Row] = Journal(STARTING, folded)

    @property
    def counts(self) -> Counts:
        """What was counted up to now."""
        return self._journal.totals

    def add(self, row: Row) -> None:
        """Count what an event adds."""
        self._journal.add(row)
        self._metrics.added(self)


class Metrics:
    """The metrics of the process's caches, for one registry. They are put into it with the first event.

    Args:
        registry: a registry; None: Prometheus' own.
        sizes: returns the live entries; called on each scrape, and by a thread.
        circuits: returns what is skipped; called on each scrape, and by a thread.
    """

    def __init__(
        self,
        registry: CollectorRegistry | None,
        sizes: Callable[[], Sizes] = tuple,
        circuits: Callable[[], Circuits] = dict,
    ) -> None:
        self._registry = registry
        self.sizes = sizes
        self.circuits = circuits
        self._refused: Exception | None = None
        self._unwritten: Exception | None = None
        self._shared: tuple[Mirror, Gauges] | None = None
        self._series: dict[str, Series] = {}
        self._exposing: dict[str, threading.Event] = {}
        reset_after_fork(self)

    @property
    def trouble(self) -> Exception | None:
        """Why these metrics are not to be seen, if they are not."""
        return self._refused or self._unwritten

    def after_fork(self) -> None:
        """Begin from nothing if each process writes down its own; begin again what a thread was doing."""
        if self._shared is not None:
            for series in self.series():
                series.begin_anew()
            self._shared = self._for_other_processes()
        elif not all(exposed.is_set() for exposed in self._exposing.values()):
            self._exposing = {}

    def added(self, series: Series) -> None:
        """Write down what was added to a series, if other processes are to read it."""
        shared = self._shared
        if shared is not None:
            mirror, gauges = shared
            mirror.update(series)
            gauges.update()

    def of(self, cache: str) -> Series:
        """Return the series of a cache, or of caches of one name."""
        if not self._exposing:
            self._expose_soon()
        return self._series.setdefault(cache, Series(cache, self))

    def series(self) -> tuple[Series, ...]:
        """Return the series that there are."""
        return (*self._series.values(),)

    def _expose_soon(self) -> None:
        """Have a thread put these metrics into the registry, as only a thread of its own can safely wait for it."""
        imported, exposed = threading.Event(), threading.Event()
        if self._exposing.setdefault("exposed", exposed) is not exposed:
            return
        try:
            start(threading.Thread(target=self._expose, args=(imported, exposed), name="recallm-metrics", daemon=True))
        except BaseException:
            self._exposing.clear()
            raise
        if imported.wait(IMPORT_SECONDS):
            exposed.wait(EXPOSE_SECONDS)

    def _expose(self, imported: threading.Event, exposed: threading.Event) -> None:
        try:
            import prometheus_client  # half of recallm's import time
            from prometheus_client import values

            imported.set()
            with in_foreign_locks:
                _join(prometheus_client.REGISTRY if self._registry is None else self._registry, self)
            if values.ValueClass._multiprocess:
                self._shared = self._for_other_processes()
                for series in self.series():  # what was counted meanwhile
                    self.added(series)
        except Exception as error:  # noqa: BLE001  # counted with each event
            self._refused = error
        finally:
            imported.set()
            exposed.set()

    def _for_other_processes(self) -> tuple[Mirror, Gauges]:
        return Mirror(self._written), Gauges(self.sizes, self.circuits, self._written)

    def _written(self, error: Exception | None) -> None:
        self._unwritten = error


class Collector:
    """Stands in a registry for as long as that lives; a recallm that is imported anew joins the one that is there."""

    def __init__(self) -> None:
        self.sources: list[Metrics] = []
        self.registered = False

    def describe(self) -> Iterable[Metric]:
        """Return the metrics without samples, by which the registry knows their names."""
        return _families({}, (), {})

    def collect(self) -> Iterable[Metric]:
        """Return the metrics as they are now."""
        counts: dict[str, dict[Place, float]] = {}
        for each in [series for source in self.sources for series in source.series()]:
            known = counts.setdefault(each.cache, {})
            for place, amount in each.counts.items():
                known[place] = known.get(place, 0) + amount
        # Several sources of one process tell of the same storages.
        sizes = [size for tell in dict.fromkeys(source.sizes for source in self.sources) for size in tell()]
        circuits: dict[str, set[str]] = {}
        for tell in dict.fromkeys(source.circuits for source in self.sources):
            for cache, parts in tell().items():
                circuits.setdefault(cache, set()).update(parts)
        return _families(counts, sizes, circuits)


def _join(registry: Any, metrics: Metrics) -> None:
    """Have a registry's collector collect these metrics too.

    Raises:
        ValueError: the registry holds metrics of these names that are not recallm's.
    """
    # The registry itself knows its collector, as module-level state ends with each import.
    collector = vars(registry).setdefault("_recallm_collector", Collector())
    try:
        registry.register(collector)
        collector.registered = True
    except ValueError:
        if not collector.registered:
            raise
    if metrics not in collector.sources:  # Ctrl-C may have had two threads come here
        collector.sources.append(metrics)


def _families(counts: Mapping[str, Counts], sizes: Sizes, circuits: Circuits) -> Iterable[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    families: dict[str, Any] = {}
    for name, definition in DEFINITIONS.items():
        make = HistogramMetricFamily if definition.buckets else CounterMetricFamily
        families[name] = make(f"recallm_{name}", definition.meaning, labels=definition.labels)
    for cache, counted in counts.items():
        for (name, by), amount in counted.items():
            found = definition_of(name)
            if found is not None and not found.buckets:
                families[found.name].add_metric(label_values(cache, TIERS.get(name, by)), amount)
        for definition in DEFINITIONS.values():
            if definition.buckets:
                families[definition.name].add_metric(label_values(cache), *_cumulative(definition, counted))
    entries = GaugeMetricFamily(f"recallm_{ENTRIES.name}", ENTRIES.meaning, labels=["namespace"])
    for namespace, size in largest(total(size for size, _ in sizes)).items():
        entries.add_metric([encodable(namespace)], size)
    skipped = GaugeMetricFamily(f"recallm_{CIRCUITS.name}", CIRCUITS.meaning, labels=CIRCUITS.labels)
    for cache, parts in circuits.items():
        for part in parts:
            skipped.add_metric(label_values(cache, part), 1)
    return (*families.values(), entries, skipped)


def _cumulative(definition: Definition, counted: Counts) -> tuple[list[tuple[str, float]], float]:
    """Return a histogram's buckets, each with those before it, and its sum."""
    buckets, below = [], 0.0
    for bucket, bound in enumerate(definition.bounds):
        below += counted.get((definition.name, bucket), 0)
        buckets.append((bound, below))
    return buckets, counted.get((definition.name, None), 0.0)
