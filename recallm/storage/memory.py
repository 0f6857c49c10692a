"""Storages that keep entries in this process: one for a single thread, one for many."""

from __future__ import annotations

import heapq
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from math import inf
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from recallm import checks
from recallm.concurrency.forking import is_held, reset_after_fork
from recallm.records import REFUSAL, Candidate, Entry, Recalled, Stored
from recallm.storage.base import StorageBackend
from recallm.storage.parted import PartedDict

if TYPE_CHECKING:
    from recallm.storage.index.vector_index import VectorIndex
    from recallm.typing import Vector

MAX_EPOCHS = 10_000
"""How many namespaces have an epoch of their own; the others share one, which changes whenever one of them joins."""

MAX_TAGS = 10_000
"""How many removed tags are remembered; the others count as removed when the last of them was forgotten."""

_lock: Any = threading.RLock()
"""One lock for all storages of the process, held for microseconds.

The garbage collector may run a finalizer while it is held, and the finalizer may ask another storage: with a lock each,
two threads could wait for each other.
"""

_Kept: TypeAlias = tuple[Any, ...]
"""What is kept of an entry beside its key, its namespace and its vector, which are kept elsewhere.

Its partition, its prompt, its fields from the payload on, the length of its vector (None: it has none), when it was
stored, and when it expires (None: never), in seconds of the storage's clock.

Plain tuples of objects that refer to no others are not tracked by the garbage collector. With tracked objects, a full
collection stopped the program for 0.1 s at 100,000 entries.
"""


class _Shelf(NamedTuple):
    """The vectors of one partition and length; all entries with a vector here share the one text that names it."""

    partition: str
    vectors: VectorIndex


_PARTITION: Final = 0
_PAYLOAD: Final = 2
_TAGS: Final = 6
_DIM: Final = -3
"""Places in what is kept of an entry."""


class _Namespace:
    """The entries of a namespace by key, and their vectors: an index for each partition and length.

    An invalidation drops it whole, in one step. Whatever is stored in it later is dead.
    """

    __slots__ = ("entries", "shelves")

    def __init__(self) -> None:
        self.entries: PartedDict[_Kept] = PartedDict()
        self.shelves: dict[tuple[str, int], _Shelf] = {}


class InMemoryStorage(StorageBackend):
    """Keeps entries in this process, for use by one thread.

    What look-ups find has no vector: that is kept in an index only.

    Any exception may cut an operation short between any two instructions, as Ctrl-C does. A signal handler or a
    finalizer that runs in the middle of an operation may ask any storage: there it finds nothing by similarity and
    stores nothing, a removal empties the namespace, and one by tag all.

    Args:
        max_entries: the most entries to keep; the least recently used answer makes room. None: no bound.
        clock: seconds that never go back.

    Raises:
        InvalidTypeError: `max_entries` is not an int.
        InvalidValueError: `max_entries` is below 1.
    """

    # Entries live in `_namespaces`. What bounds them, `_used` and `_deadlines`, learns of an entry before it is there
    # and forgets it after; its vector comes after it and goes before. So whatever is cut short leaves at most an entry
    # that is not found by similarity, and traces of entries that are not there. What is performed in the middle of an
    # operation changes `_epochs`, `_dropped` and takes namespaces away, and nothing else.

    blocking = False
    keeps_tags = True

    def __init__(self, *, max_entries: int | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.max_entries = checks.bound(max_entries, "max_entries")
        self._clock = clock
        self._lock = _lock
        self._numbers = _unique_numbers()
        self._begin()
        reset_after_fork(self)

    def _begin(self) -> None:
        self._namespaces: dict[str, _Namespace] = {}
        self._dropped: list[tuple[str, _Namespace]] = []
        # The namespace of each key; if there is a bound, the least recently used first.
        self._used: PartedDict[str] | OrderedDict[str, str] = (
            PartedDict() if self.max_entries is None else OrderedDict()
        )
        self._deadlines: list[tuple[float, str]] = []
        self._epochs: OrderedDict[str, int] = OrderedDict()
        self._shared_epoch = next(self._numbers)
        # When each tag was last removed, by `time.perf_counter`; None: when any of those that are forgotten was.
        self._removed_tags: dict[str | None, float] = {}

    def after_fork(self) -> None:
        """Begin empty if another thread held the lock at the fork, as it may have left the entries half changed."""
        self._numbers = _unique_numbers()
        if is_held(self._lock):
            self._lock = _free_lock()
            self._begin()

    def __len__(self) -> int:
        self._tidy_first()
        return sum(len(namespace.entries) for namespace in list(self._namespaces.values()))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} entries, max_entries={self.max_entries}>"

    def recall(self, namespace: str, key: str) -> Recalled:
        """Return the live entry under `key`, and the namespace's epoch."""
        epoch = self._epoch(namespace)
        return Recalled(self._candidate(namespace, key, 1.0), epoch)

    def search(
        self, namespace: str, partition: str, vector: Vector, threshold: float, limit: int | None
    ) -> Sequence[Candidate]:
        """Return the most similar live entries at or above `threshold`, of those with vectors of this length."""
        if self._is_within():
            return []
        self._tidy_first()
        place = self._namespaces.get(namespace)
        shelf = None if place is None else place.shelves.get((partition, vector.size))
        if shelf is None:
            return []
        # Without the lock, so that look-ups score in parallel; the index copes with changes meanwhile.
        found = shelf.vectors.search(vector, threshold, limit=limit)
        # The best comes last, so that it is the most recently used.
        candidates = [self._candidate(namespace, key, cosine) for key, cosine in reversed(found)]
        return [
            candidate
            for candidate in reversed(candidates)
            if candidate is not None and candidate.entry.partition == partition
        ]

    def put_tagged(self, entry: Entry, epoch: int, ttl: float | None, began: float) -> Stored:
        """Store `entry`, unless its namespace has another epoch by now, or a tag of it was removed since `began`."""
        return self._put(entry, epoch, ttl, began)

    def put(self, entry: Entry, epoch: int, ttl: float | None) -> Stored:
        """Store `entry`, unless its namespace has another epoch by now."""
        return self._put(entry, epoch, ttl, inf)

    def _put(self, entry: Entry, epoch: int, ttl: float | None, began: float) -> Stored:
        if self._is_within():
            return Stored(kept=False)
        with self._lock:
            if self._epoch(entry.namespace) != epoch or self._has_removed_tag(entry.tags, began):
                return Stored(kept=False)
            self._tidy()
            if entry.vector is not None:
                # numpy takes longer to import than all of recallm; a program that stores nothing does not import it.
                from recallm.storage.index.vector_index import unit_row

                unit_row(entry.vector)
            if self._used.get(entry.key, entry.namespace) != entry.namespace:
                self._drop(entry.key)
            evicted = self._make_room(entry.key)
            # In this order: an invalidation from now on either drops this very namespace, or has begun another epoch.
            place = self._namespaces.get(entry.namespace)
            if place is None:
                place = self._namespaces.setdefault(entry.namespace, _Namespace())
            kept = self._epoch(entry.namespace) == epoch and self._store(place, entry, ttl)
            return Stored(kept, evicted)

    def remove(self, namespace: str, keys: Sequence[str]) -> int:
        """Remove single entries, and begin a new epoch."""
        if self._is_within():
            place = self._namespaces.get(namespace)
            removed = 0 if place is None else sum(key in place.entries for key in set(keys))
            self._invalidate(namespace)
            return removed
        with self._lock:
            self._tidy()
            return self._remove(namespace, keys)

    def _remove(self, namespace: str, keys: Sequence[str]) -> int:
        self._begin_epoch(namespace)
        place = self._namespaces.get(namespace)
        return 0 if place is None else sum(self._drop(key) for key in keys if key in place.entries)

    def invalidate(self, namespace: str) -> int:
        """Remove all entries of a namespace, and begin a new epoch."""
        if self._is_within():
            return self._invalidate(namespace)
        with self._lock:
            self._tidy()
            removed = self._invalidate(namespace)
            self._tidy()
            return removed

    def remove_tagged(self, tag: str) -> int:
        """Remove the entries that have a tag, which takes time with the number of all entries."""
        if self._is_within():
            # What is in the middle of being stored may have the tag, wherever it goes.
            self._remember_removed(tag)
            self._shared_epoch = next(self._numbers)
            self._epochs.clear()
            return sum(self._invalidate(namespace) for namespace in list(self._namespaces))
        with self._lock:
            self._tidy()
            self._remember_removed(tag)
            tagged = {
                name: [key for key, kept in place.entries.items() if tag in kept[_TAGS]]
                for name, place in self._namespaces.items()
            }
            return sum(self._remove(name, keys) for name, keys in tagged.items() if keys)

    def sizes(self, namespaces: Iterable[str]) -> Mapping[str, int]:
        """Return the number of live entries of each namespace that has any."""
        self._tidy_first()
        places = {name: self._namespaces.get(name) for name in namespaces}
        return {name: len(place.entries) for name, place in places.items() if place is not None and place.entries}

    def namespaces(self) -> Iterable[str]:
        """Return the namespaces that hold live entries."""
        self._tidy_first()
        return [name for name, place in list(self._namespaces.items()) if place.entries]

    def entries(self, namespace: str) -> Iterator[Candidate]:
        """Yield each live entry of a namespace; none of them counts as used."""
        self._tidy_first()
        place = self._namespaces.get(namespace)
        for key in () if place is None else place.entries:
            if self._namespaces.get(namespace) is not place:
                return
            kept = None if place is None else place.entries.get(key)
            now = self._clock()
            if place is None or kept is None or (kept[-1] is not None and kept[-1] <= now):
                continue
            partition, prompt, *rest, _, stored_at, deadline = kept
            shelf = place.shelves.get(_shelf(kept) or ("", 0))
            vector = None if shelf is None or self._is_within() else shelf.vectors.vector(key)
            if vector is None and kept[_DIM] is not None and place.entries.get(key) is not kept:
                continue  # it has just been replaced or dropped
            entry = Entry(key, namespace, partition, prompt, vector, *rest)
            yield Candidate(entry, 1.0, now - stored_at, inf if deadline is None else deadline - now)

    def _is_within(self) -> bool:
        """Return whether this thread is in the middle of an operation, on whichever storage."""
        return bool(self._lock._is_owned())

    def _candidate(self, namespace: str, key: str, cosine: float) -> Candidate | None:
        place = self._namespaces.get(namespace)
        kept = None if place is None else place.entries.get(key)
        if kept is None:
            return None
        partition, prompt, *rest, _, stored_at, deadline = kept
        now = self._clock()
        if (deadline is not None and deadline <= now) or not self._use(key):
            return None
        entry = Entry(key, namespace, partition, prompt, None, *rest)
        return Candidate(entry, cosine, now - stored_at)

    def _use(self, key: str) -> bool:
        """Make a key the most recently used one, if there is a bound; return False if it has just been dropped."""
        used = self._used
        if isinstance(used, OrderedDict):
            try:
                used.move_to_end(key)
            except KeyError:
                return False
        return True

    def _store(self, place: _Namespace, entry: Entry, ttl: float | None) -> bool:
        now = self._clock()
        deadline = None if ttl is None else now + ttl
        self._used[entry.key] = entry.namespace
        self._use(entry.key)
        if deadline is not None:
            self._watch(deadline, entry.key)
        before, kept = place.entries.get(entry.key), _kept(place, entry, now, deadline)
        if before is not None and _shelf(before) != _shelf(kept):
            _forget_vector(place, entry.key, before)
        place.entries[entry.key] = kept
        if entry.vector is not None:
            self._index(place, entry, entry.vector)
        return self._namespaces.get(entry.namespace) is place

    def _index(self, place: _Namespace, entry: Entry, vector: Vector) -> None:
        shelf = place.shelves.get((entry.partition, vector.size))
        if shelf is None:
            from recallm.storage.index.vector_index import VectorIndex

            shelf = _Shelf(entry.partition, VectorIndex(vector.size, lock=self._lock))
        shelf.vectors.put(entry.key, vector)
        place.shelves[entry.partition, vector.size] = shelf

    def _drop(self, key: str) -> bool:
        name = self._used.get(key, "")
        place = self._namespaces.get(name)
        kept = None if place is None else place.entries.get(key)
        if place is not None and kept is not None:
            _forget_vector(place, key, kept)
            place.entries.pop(key, None)
            if not place.entries:
                self._namespaces.pop(name, None)
        self._used.pop(key, None)
        return kept is not None

    def _invalidate(self, namespace: str) -> int:
        self._begin_epoch(namespace)
        place = self._namespaces.get(namespace)
        if place is None:
            return 0
        self._dropped.append((namespace, place))
        self._namespaces.pop(namespace, None)
        now = self._clock()
        return sum(kept[-1] is None or kept[-1] > now for _, kept in place.entries.items())

    def _make_room(self, key: str) -> int:
        if self.max_entries is None:
            return 0
        evicted, spared, room = 0, 0, self.max_entries - (key not in self._used)
        while len(self._used) > room:
            try:
                oldest = next(iter(self._used))
            except RuntimeError:  # a look-up has just used one
                continue
            kept = self._kept(oldest) if spared < room else None
            if kept is not None and kept[_PAYLOAD] == REFUSAL:
                spared += self._use(oldest)
            else:
                evicted += self._drop(oldest)
        return evicted

    def _watch(self, deadline: float, key: str) -> None:
        # Entries that are replaced or evicted leave their deadlines behind.
        if len(self._deadlines) > 2 * len(self._used) + 64:
            kept = [item for place in list(self._namespaces.values()) for item in place.entries.items()]
            deadlines = [(fields[-1], key) for key, fields in kept if fields[-1] is not None]
            heapq.heapify(deadlines)
            self._deadlines = deadlines
        heapq.heappush(self._deadlines, (deadline, key))

    def _tidy_first(self) -> None:
        """Tidy up, unless this thread is in the middle of an operation."""
        if (self._deadlines or self._dropped) and not self._is_within():
            with self._lock:
                self._tidy()

    def _tidy(self) -> None:
        """Take away expired entries, and what led to the entries of namespaces that were dropped."""
        if self._deadlines:
            now = self._clock()
            while self._deadlines and self._deadlines[0][0] <= now:
                key = self._deadlines[0][1]
                kept = self._kept(key)
                if kept is not None and kept[-1] is not None and kept[-1] <= now:
                    self._drop(key)
                heapq.heappop(self._deadlines)
        for dropped in tuple(self._dropped):
            name, place = dropped
            if self._namespaces.get(name) is not place:
                for key in place.entries:
                    if self._kept(key) is None:
                        self._used.pop(key, None)
            self._dropped.remove(dropped)

    def _kept(self, key: str) -> _Kept | None:
        place = self._namespaces.get(self._used.get(key, ""))
        return None if place is None else place.entries.get(key)

    def _epoch(self, namespace: str) -> int:
        own = self._epochs.get(namespace)
        # Read last: it is changed before a namespace loses its own.
        return self._shared_epoch if own is None else own

    def _has_removed_tag(self, tags: Sequence[str], began: float) -> bool:
        forgotten = self._removed_tags.get(None, -inf)
        return any(self._removed_tags.get(tag, forgotten) >= began for tag in tags)

    def _remember_removed(self, tag: str) -> None:
        self._removed_tags[tag] = now = time.perf_counter()
        if len(self._removed_tags) > MAX_TAGS:
            self._removed_tags = {None: now, tag: now}

    def _begin_epoch(self, namespace: str) -> None:
        self._epochs[namespace] = next(self._numbers)
        while len(self._epochs) > MAX_EPOCHS:
            self._shared_epoch = next(self._numbers)
            self._epochs.popitem(last=False)


class ThreadSafeInMemoryStorage(InMemoryStorage):
    """Keeps entries in this process, for any number of threads and event loops. Arguments as `InMemoryStorage`."""


def _unique_numbers() -> Iterator[int]:
    """Return ascending numbers that no other storage of this process, of its forked children or of others counts."""
    return count(int.from_bytes(os.urandom(8), "big") << 64)


def _free_lock() -> Any:
    """Return the lock of all storages, renewed if its holder is gone."""
    global _lock  # noqa: PLW0603  # one for the process, and another for a child
    if is_held(_lock):
        _lock = threading.RLock()
    return _lock


def _kept(place: _Namespace, entry: Entry, now: float, deadline: float | None) -> _Kept:
    """Return what is kept of an entry."""
    partition, vector = entry.partition, entry.vector
    dim = None if vector is None else vector.size
    shelf = None if dim is None else place.shelves.get((partition, dim))
    if shelf is not None:
        partition, dim = shelf.partition, shelf.vectors.dim
    _, _, _, prompt, _, *rest = entry
    return partition, prompt, *rest, dim, now, deadline


def _shelf(kept: _Kept) -> tuple[str, int] | None:
    """Return the partition and length of an entry's vector, or None if it has none."""
    dim = kept[_DIM]
    return None if dim is None else (kept[_PARTITION], dim)


def _forget_vector(place: _Namespace, key: str, kept: _Kept) -> None:
    name = _shelf(kept)
    shelf = None if name is None else place.shelves.get(name)
    if name is None or shelf is None:
        return
    shelf.vectors.discard(key)
    if not len(shelf.vectors):
        place.shelves.pop(name, None)


def from_url(url: str) -> ThreadSafeInMemoryStorage:
    """Return the storage of ``memory://``, with ``?max_entries=`` a bounded one.

    Raises:
        InvalidValueError: the URL has other options.
    """
    from urllib.parse import urlsplit

    from recallm.storage.urls import max_entries_in

    return ThreadSafeInMemoryStorage(max_entries=max_entries_in(urlsplit(url).query, "memory"))
