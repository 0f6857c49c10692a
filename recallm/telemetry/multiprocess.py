"""What processes that set ``PROMETHEUS_MULTIPROC_DIR`` write down for each other, as pre-fork servers do.

There, whoever is scraped adds up files of all processes and asks no collector. So counts are written into files of
recallm's own with each event: not by the classes of the metrics, as a call must not touch their locks. Gauges have to
be in the files that `prometheus_client.multiprocess.mark_process_dead` removes: a thread sets those.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from recallm.concurrency.turns import Turns
from recallm.concurrency.workers import start
from recallm.telemetry.definitions import CIRCUITS, ENTRIES, TIERS, definition_of, label_values
from recallm.telemetry.foreign_locks import in_foreign_locks
from recallm.telemetry.labels import OTHER, SHOWN_NAMESPACES, encodable
from recallm.telemetry.stats import Counts, Place

PAUSE_SECONDS = 0.1
"""How long the gauges' thread rests at the least after it has asked the storages for their sizes."""

REST = 10
"""How many times as long as it took to ask them it rests."""

REFRESH_SECONDS = 15.0
"""After how many seconds without events gauges are set, as entries expire."""

Sizes: TypeAlias = Iterable[tuple[Mapping[str, int], bool]]
"""Of each storage: namespace → live entries, and whether other processes may share it."""

Circuits: TypeAlias = Mapping[str, Iterable[str]]
"""Cache → the parts that are skipped because they keep failing."""

Report: TypeAlias = Callable[[Exception | None], object]
"""Is told how writing went: None, or why it failed: the disk is full, or the directory is gone."""


class Counted(Protocol):
    """What has counts, of one cache."""

    cache: str

    @property
    def counts(self) -> Counts:
        """What was counted up to now."""
        ...


class Mirror:
    """Writes counts into files of this process, under names that no other file has.

    Args:
        report: is told how it went.
    """

    def __init__(self, report: Report) -> None:
        from prometheus_client import values

        name = f"{os.getpid()}-{os.urandom(4).hex()}"
        self._report = report
        make: Any = values.MultiProcessValue
        self._value_class = make(lambda: name)
        self._due: dict[str, Counted] = {}
        self._written: dict[str, dict[Place, float]] = {}
        self._values: dict[tuple[str, Place], Any] = {}
        self._turns = Turns(self._write)

    def update(self, counted: Counted) -> None:
        """Write down the counts as they are now; whoever is writing does it, even if the caller has interrupted it."""
        self._due[counted.cache] = counted
        while self._due and self._turns.take():
            pass

    def _write(self) -> None:
        while self._due:
            cache, counted = self._due.popitem()
            written = self._written.setdefault(cache, {})
            try:
                for place, amount in counted.counts.items():
                    if written.get(place) != amount:
                        self._set(cache, place, amount)
                        written[place] = amount
            except Exception as error:  # noqa: BLE001  # counted with each event
                self._report(error)
            else:
                self._report(None)

    def _set(self, cache: str, place: Place, amount: float) -> None:
        if (cache, place) not in self._values:
            self._values[cache, place] = self._value(cache, *place)
        value = self._values[cache, place]
        if value is not None:
            value.set(amount)

    def _value(self, cache: str, name: str, by: Any) -> Any:
        """Return where a count is written down, or None if it is only a statistic."""
        definition = definition_of(name)
        if definition is None:
            return None
        metric, labels = f"recallm_{definition.name}", definition.labels
        if not definition.buckets:
            values = label_values(cache, TIERS.get(name, by))
            return self._value_class("counter", metric, f"{metric}_total", labels, values, definition.meaning)
        sample, values = f"{metric}_sum", label_values(cache)
        if by is not None:
            sample, labels, values = f"{metric}_bucket", (*labels, "le"), label_values(cache, definition.bounds[by])
        return self._value_class("histogram", metric, sample, labels, values, definition.meaning)


class Gauges:
    """Sets the gauges of this process in a thread, soon after an event and at times without one.

    They are summed over live processes. What several processes share is set by one of them only.

    Args:
        sizes: returns the live entries.
        circuits: returns what is skipped.
        report: is told how it went.
    """

    def __init__(self, sizes: Callable[[], Sizes], circuits: Callable[[], Circuits], report: Report) -> None:
        self._sizes = sizes
        self._circuits = circuits
        self._report = report
        self._events: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._due = False
        self._thread: dict[str, threading.Thread] = {}
        self._values: dict[tuple[str, ...], Any] = {}
        self._named: dict[str, str] = {}
        self._claims = _Claims()

    def update(self) -> None:
        """Have the gauges set soon."""
        if not self._thread:
            self._start()
        # Asking the storages may fail and be counted, which is no reason to ask them again.
        if not self._due and threading.get_ident() != self._thread["thread"].ident:
            self._due = True
            self._events.put(None)

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="recallm-gauges", daemon=True)
        if self._thread.setdefault("thread", thread) is not thread:
            return
        try:
            start(thread)
        except RuntimeError:  # the program ends, and with it what is live
            return
        except BaseException:
            self._thread.clear()
            raise

    def _run(self) -> None:
        while True:
            with suppress(queue.Empty):
                self._events.get(timeout=REFRESH_SECONDS)
            self._due = False
            began = time.perf_counter()
            try:
                self._tell()
            except Exception as error:  # noqa: BLE001  # counted with each event
                self._report(error)
            time.sleep(max(PAUSE_SECONDS, REST * (time.perf_counter() - began)))

    def _tell(self) -> None:
        found: dict[tuple[str, ...], float] = dict.fromkeys(self._values, 0)
        for sizes, shared in self._sizes():
            for namespace in sorted(sizes, key=lambda name: -sizes[name]):
                if not shared or self._claims.owns(namespace):
                    place = ENTRIES.name, self._shown(namespace)
                    found[place] = found.get(place, 0) + sizes[namespace]
        for cache, parts in self._circuits().items():
            for part in parts:
                found[CIRCUITS.name, *label_values(cache, part)] = 1
        with in_foreign_locks:
            for (name, *labels), value in found.items():
                self._value(name, labels).set(value)

    def _shown(self, namespace: str) -> str:
        """Return the label of a namespace. Labels cannot be removed, so the first large ones keep theirs."""
        if namespace not in self._named and len(self._named) < SHOWN_NAMESPACES:
            self._named[namespace] = encodable(namespace)
        return self._named.get(namespace, OTHER)

    def _value(self, name: str, labels: list[str]) -> Any:
        from prometheus_client import values

        place = (name, *labels)
        if place not in self._values:
            definition, names, mode = (
                (ENTRIES, ("namespace",), "livesum") if name == ENTRIES.name else (CIRCUITS, CIRCUITS.labels, "livemax")
            )
            metric = f"recallm_{name}"
            self._values[place] = values.ValueClass(
                "gauge", metric, metric, names, labels, definition.meaning, multiprocess_mode=mode
            )
        return self._values[place]


class _Claims:
    """Decides which process tells of a namespace that several share: the first to ask, for as long as it lives."""

    def __init__(self) -> None:
        self._owned: set[str] = set()
        self._file: int | None = None

    def owns(self, namespace: str) -> bool:
        """Return whether this process is the one."""
        if namespace in self._owned:
            return True
        try:
            import fcntl
        except ImportError:  # pre-fork servers are for POSIX
            return True
        if self._file is None:
            # Never closed: POSIX gives up a process's locks on a file when it closes any descriptor of it.
            path = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]) / "recallm.lock"
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        digest = blake2b(namespace.encode("utf-8", "surrogatepass"), digest_size=7).digest()
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, int.from_bytes(digest))
        except OSError:
            return False
        self._owned.add(namespace)
        return True
