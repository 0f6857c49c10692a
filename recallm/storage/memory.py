"""Storages that keep entries in this process: one for a single thread, one for many."""

from __future__ import annotations

import heapq
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypeAlias

from recallm import checks
from recallm.concurrency.forking import is_held, reset_after_fork
from recallm.errors import InvalidValueError
from recallm.records import Candidate, Entry, Recalled, Stored
from recallm.storage.base import StorageBackend

if TYPE_CHECKING:
    from recallm.storage.index.vector_index import VectorIndex
    from recallm.typing import Vector

MAX_EPOCHS = 10_000
"""How many namespaces have an epoch of their own; the others share the highest of those dropped."""


_Kept: TypeAlias = tuple[tuple[Any, ...], float, float | None]
"""An entry's fields, when it was stored, and when it expires (None: never), in seconds of the storage's clock.

Plain tuples of objects that refer to no others are not tracked by the garbage collector. With tracked objects, a full
collection stopped the program for 0.1 s at 100,000 entries.
"""


class InMemoryStorage(StorageBackend):
    """Keeps entries in this process, for use by one thread.

    Args:
        max_entries: the most entries to keep; the least recently used one makes room. None: no bound.
        clock: seconds that never go back.

    Raises:
        InvalidTypeError: `max_entries` is not an int.
        InvalidValueError: `max_entries` is below 1.
    """

    blocking = False

    def __init__(self, *, max_entries: int | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.max_entries = checks.bound(max_entries, "max_entries")
        self._clock = clock
        self._lock: AbstractContextManager[object] = nullcontext()
        self._last_epoch = 0
        self._begin()

    def _begin(self) -> None:
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        # No sets: unlike them, a dict of texts is untracked by the garbage collector.
        self._namespaces: dict[str, dict[str, None]] = {}
        self._partitions: dict[str, VectorIndex] = {}
        self._deadlines: list[tuple[float, str]] = []
        self._epochs: OrderedDict[str, int] = OrderedDict()
        self._oldest_epoch = self._last_epoch

    def __len__(self) -> int:
        with self._lock:
            self._sweep()
            return len(self._kept)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} entries, max_entries={self.max_entries}>"

    def recall(self, namespace: str, key: str) -> Recalled:
        """Return the live entry under `key`, and the namespace's epoch."""
        with self._lock:
            return Recalled(self._candidate(key, 1.0), self._epoch(namespace))

    def search(
        self, namespace: str, partition: str, vector: Vector, threshold: float, limit: int | None
    ) -> Sequence[Candidate]:
        """Return the partition's most similar live entries at or above `threshold`."""
        with self._lock:
            self._sweep()
            index = self._partitions.get(partition)
        if index is None:
            return []
        # Without the lock, so that look-ups score in parallel; the index copes with changes meanwhile.
        found = index.search(vector, threshold, limit=limit)
        with self._lock:
            # The best comes last, so that it is the most recently used.
            candidates = [self._candidate(key, cosine) for key, cosine in reversed(found)]
        return [candidate for candidate in reversed(candidates) if candidate is not None]

    def put(self, entry: Entry, epoch: int, ttl: float | None) -> Stored:
        """Store `entry`, unless its namespace has another epoch by now."""
        with self._lock:
            if self._epoch(entry.namespace) != epoch:
                return Stored(kept=False)
            self._sweep()
            vector = entry.vector
            if vector is not None:
                index = self._index_of(entry.partition, vector.size)
                index.check(vector)
            self._drop(entry.key)
            if vector is not None:
                self._partitions[entry.partition] = index
                index.put(entry.key, vector)
            now = self._clock()
            deadline = None if ttl is None else now + ttl
            self._kept[entry.key] = (tuple(entry), now, deadline)
            self._namespaces.setdefault(entry.namespace, {})[entry.key] = None
            if deadline is not None:
                self._watch(deadline, entry.key)
            return Stored(kept=True, evicted=self._evict())

    def remove(self, namespace: str, keys: Sequence[str]) -> int:
        """Remove single entries, and begin a new epoch."""
        with self._lock:
            self._sweep()
            self._begin_epoch(namespace)
            ours = self._namespaces.get(namespace, {})
            return sum(self._drop(key) for key in keys if key in ours)

    def invalidate(self, namespace: str) -> int:
        """Remove all entries of a namespace, and begin a new epoch."""
        with self._lock:
            self._sweep()
            self._begin_epoch(namespace)
            return sum(self._drop(key) for key in tuple(self._namespaces.get(namespace, ())))

    def sizes(self, namespaces: Iterable[str]) -> Mapping[str, int]:
        """Return the number of live entries of each namespace that has any."""
        with self._lock:
            self._sweep()
            return {name: len(self._namespaces[name]) for name in namespaces if name in self._namespaces}

    def _candidate(self, key: str, cosine: float) -> Candidate | None:
        kept = self._kept.get(key)
        if kept is None:
            return None
        fields, stored_at, deadline = kept
        now = self._clock()
        if deadline is not None and deadline <= now:
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return Candidate(Entry(*fields), cosine, now - stored_at)

    def _index_of(self, partition: str, dim: int) -> VectorIndex:
        """Return the index of a partition, or a new one that the caller may give to it."""
        index = self._partitions.get(partition)
        if index is None:
            # numpy takes longer to import than all of recallm; a program that stores nothing does not import it.
            from recallm.storage.index.vector_index import VectorIndex

            index = VectorIndex(dim, lock=self._lock)
        return index

    def _drop(self, key: str) -> bool:
        kept = self._kept.pop(key, None)
        if kept is None:
            return False
        entry = Entry(*kept[0])
        keys = self._namespaces[entry.namespace]
        keys.pop(key, None)
        if not keys:
            del self._namespaces[entry.namespace]
        index = self._partitions.get(entry.partition) if entry.vector is not None else None
        if index is not None:
            index.discard(key)
            if not len(index):
                del self._partitions[entry.partition]
        return True

    def _evict(self) -> int:
        evicted = 0
        while self.max_entries is not None and len(self._kept) > self.max_entries:
            evicted += self._drop(next(iter(self._kept)))
        return evicted

    def _watch(self, deadline: float, key: str) -> None:
        heapq.heappush(self._deadlines, (deadline, key))
        # Entries that are replaced or evicted leave their deadlines behind.
        if len(self._deadlines) > 2 * len(self._kept) + 64:
            self._deadlines = [(until, key) for key, (_, _, until) in self._kept.items() if until is not None]
            heapq.heapify(self._deadlines)

    def _sweep(self) -> None:
        if not self._deadlines:
            return
        now = self._clock()
        while self._deadlines and self._deadlines[0][0] <= now:
            _, key = heapq.heappop(self._deadlines)
            _, _, until = self._kept.get(key, ((), now, None))
            if until is not None and until <= now:
                self._drop(key)

    def _epoch(self, namespace: str) -> int:
        return self._epochs.get(namespace, self._oldest_epoch)

    def _begin_epoch(self, namespace: str) -> None:
        self._last_epoch += 1
        self._epochs[namespace] = self._last_epoch
        self._epochs.move_to_end(namespace)
        if len(self._epochs) > MAX_EPOCHS:
            _, self._oldest_epoch = self._epochs.popitem(last=False)


class ThreadSafeInMemoryStorage(InMemoryStorage):
    """Keeps entries in this process, for any number of threads and event loops. Arguments as `InMemoryStorage`."""

    def __init__(self, *, max_entries: int | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(max_entries=max_entries, clock=clock)
        self._own_lock = self._lock = threading.RLock()
        reset_after_fork(self)

    def after_fork(self) -> None:
        """Begin empty if another thread held the lock at the fork, as it may have left the entries half changed."""
        if is_held(self._own_lock):
            self._own_lock = self._lock = threading.RLock()
            self._last_epoch += 1
            self._begin()


def from_url(url: str) -> ThreadSafeInMemoryStorage:
    """Return the storage of ``memory://``, with ``?max_entries=`` a bounded one.

    Raises:
        InvalidValueError: the URL has other options.
    """
    from urllib.parse import parse_qsl, urlsplit

    options = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    match options:
        case []:
            return ThreadSafeInMemoryStorage()
        case [("max_entries", bound)] if bound.isdecimal():
            return ThreadSafeInMemoryStorage(max_entries=int(bound))
    given = ", ".join(f"{name}={value}" for name, value in options)
    raise InvalidValueError(f"memory:// with {given}; it takes max_entries=<positive int> and nothing else")
