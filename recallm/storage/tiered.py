"""Keeps copies of a shared storage's entries in this process, for as long as it is certain that they are right."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import count
from math import inf
from typing import TYPE_CHECKING, Any, TypeAlias

from recallm import checks
from recallm.concurrency.forking import reset_after_fork
from recallm.errors import InvalidTypeError, InvalidValueError, a_kind
from recallm.records import Candidate, Entry, Recalled, Stored
from recallm.storage.base import (
    Invalidate,
    Put,
    PutTagged,
    Recall,
    RecallAndSearch,
    Remove,
    RemoveTagged,
    Search,
    Sizes,
    StorageBackend,
    StorageOperation,
)
from recallm.storage.copies import Copies, Lease
from recallm.storage.memory import InMemoryStorage, ThreadSafeInMemoryStorage

if TYPE_CHECKING:
    from recallm.typing import Vector

Steps: TypeAlias = Generator[StorageOperation, Any, Any]
"""Yields operations for the far storage, and is sent their results."""

NEAR_ENTRIES = 4096
"""How many copies are kept unless the near storage says otherwise."""

_rooms = count()
"""Numbers of rooms: two tiers that were given the same near storage have none in common."""

MAX_NAMESPACES = 10_000
"""How many namespaces are known at a time, and how many removals of this process."""


def _now() -> float:
    """Return seconds that never go back and go on while the machine sleeps, where the system has such a clock."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class TieredStorage(StorageBackend):
    """Answers from copies in this process what a shared storage has answered before, while nothing can have changed.

    *What is certain.* Each look-up of the far storage tells the namespace's epoch, which every removal and invalidation
    replaces, and how many entries were replaced in it. While that is not older than `staleness` seconds, this process
    answers from its copies; then the next look-up of the namespace asks the far storage, and all copies of it are
    dropped if something has changed. So what others remove or replace is seen after `staleness` seconds at the latest,
    whatever becomes of the network; nothing has to be told for that, and no thread or connection waits for news. If the
    far storage does not answer, nothing is served from copies after that time, and calls fail as they would without.
    What this process removes is seen by it at once.

    *What is answered.* The very same prompt, if this process has stored or read its answer; a similar one only if this
    process has searched for the very same prompt within `staleness` seconds, and stored nothing like it since: the far
    storage may hold a closer answer of another process. That nothing was found is never remembered. Copies expire with
    their entries, are read anew after a minute, and leave out entries above 64 kB.

    *What it costs.* One look-up of the far storage in `staleness` seconds for each namespace in use, and for each
    prompt that is answered by a similar one; a store's copy takes about 20 µs.

    Args:
        near: a storage of this process with a bound, for copies only; None: one of 4096 entries.
        far: the storage that others share; it has to tell changes (`StorageBackend.tells_changes`).
        staleness: seconds, or a timedelta, for which an answer may be served after others have removed it.
        clock: seconds that never go back.

    Raises:
        InvalidTypeError: `near` is no storage of this process, or `far` none that tells what others change.
        InvalidValueError: `near` has no bound, or `staleness` is not positive and finite.
    """

    recalls_and_searches = True

    def __init__(
        self,
        near: StorageBackend | None,
        far: StorageBackend,
        *,
        staleness: float = 1.0,
        clock: Callable[[], float] = _now,
    ) -> None:
        near = ThreadSafeInMemoryStorage(max_entries=NEAR_ENTRIES) if near is None else _checked_near(near)
        self._copies = Copies(near, clock)
        self._far = _checked_far(far)
        self.staleness = checks.seconds(staleness, "staleness")
        self.serves_sync, self.serves_async = far.serves_sync, far.serves_async
        self.keeps_tags = far.keeps_tags
        self._clock = clock
        # What is done to these is one operation on a dict each: neither threads nor signal handlers need a lock.
        self._leases: dict[str, Lease] = {}
        self._ended: dict[str, float] = {}
        self._all_ended = -inf
        reset_after_fork(self)

    def after_fork(self) -> None:
        """Trust no copy: the near storage may have lost them, and a look-up that was under way is the parent's."""
        self._leases = {}

    def __reduce__(self) -> tuple[Callable[..., TieredStorage], tuple[Any, ...]]:
        # Copies stay in their process.
        return _remade, (getattr(self._copies.near, "max_entries", NEAR_ENTRIES), self._far, self.staleness)

    def __repr__(self) -> str:
        return f"<TieredStorage of {self._copies.near!r} and {self._far!r}, staleness={self.staleness}>"

    def at_once(self, operation: StorageOperation) -> Any | None:
        """Return what copies answer; None: the far storage is to be asked."""
        match operation:
            case Recall(namespace, key):
                return self._recalled(namespace, key, None)
            case RecallAndSearch(namespace, key, search):
                return self._recalled(namespace, key, search)
            case Search(namespace):
                lease = self._lease(namespace)
                return None if lease is None else self._copies.found(lease, operation)
        return None

    def recall(self, namespace: str, key: str) -> Recalled:
        """Return the live entry under `key`, and the namespace's epoch."""
        recalled: Recalled = self._perform(Recall(namespace, key))
        return recalled

    def recall_and_search(self, namespace: str, key: str, search: Search) -> Recalled:
        """Return the live entry under `key`; if there is none, perhaps what is similar."""
        recalled: Recalled = self._perform(RecallAndSearch(namespace, key, search))
        return recalled

    def search(
        self, namespace: str, partition: str, vector: Vector, threshold: float, limit: int | None
    ) -> Sequence[Candidate]:
        """Return the partition's most similar live entries at or above `threshold`."""
        found: Sequence[Candidate] = self._perform(Search(namespace, partition, vector, threshold, limit))
        return found

    def put(self, entry: Entry, epoch: int, ttl: float | None) -> Stored:
        """Store `entry` in the far storage and, if that keeps it, a copy here."""
        stored: Stored = self._perform(Put(entry, epoch, ttl))
        return stored

    def put_tagged(self, entry: Entry, epoch: int, ttl: float | None, began: float) -> Stored:
        """Store `entry`, which has tags, as `put` does."""
        stored: Stored = self._perform(PutTagged(entry, epoch, ttl, began))
        return stored

    def remove(self, namespace: str, keys: Sequence[str]) -> int:
        """Remove single entries from the far storage, then what was copied of the namespace."""
        removed: int = self._perform(Remove(namespace, keys))
        return removed

    def remove_tagged(self, tag: str) -> int:
        """Remove the entries that have a tag from the far storage, then all copies."""
        removed: int = self._perform(RemoveTagged(tag))
        return removed

    def invalidate(self, namespace: str) -> int:
        """Remove all entries of a namespace from the far storage, then what was copied of it."""
        removed: int = self._perform(Invalidate(namespace))
        return removed

    def sizes(self, namespaces: Iterable[str]) -> Mapping[str, int]:
        """Return the number of live entries of each namespace in the far storage."""
        return self._far.sizes(namespaces)

    def namespaces(self) -> Iterable[str]:
        """Return the namespaces that hold live entries in the far storage."""
        return self._far.namespaces()

    def entries(self, namespace: str) -> Iterator[Candidate]:
        """Yield each live entry of a namespace in the far storage."""
        return self._far.entries(namespace)

    async def aperform(self, operation: StorageOperation) -> Any:
        """Perform an operation without blocking the event loop."""
        steps, result = self._steps(operation), None
        try:
            while True:
                asked = steps.send(result)
                result = await self._far.aperform(asked)
        except StopIteration as end:
            return end.value
        finally:
            steps.close()

    def _perform(self, operation: StorageOperation) -> Any:
        steps, result = self._steps(operation), None
        try:
            while True:
                result = steps.send(result).on(self._far)
        except StopIteration as end:
            return end.value
        finally:
            steps.close()

    def _steps(self, operation: StorageOperation) -> Steps:
        """Return the steps of an operation; they are closed if the far storage fails."""
        match operation:
            case Recall() | RecallAndSearch():
                return self._recalling(operation)
            case Search():
                return self._searching(operation)
            case Put(entry, epoch, ttl) | PutTagged(entry, epoch, ttl):
                return self._putting(operation, entry, epoch, ttl)
            case Remove(namespace) | Invalidate(namespace):
                return self._ending(operation, namespace)
            case RemoveTagged():
                return self._ending(operation, None)
            case Sizes():
                return _asking(operation)
        raise InvalidTypeError(f"{a_kind(operation)} is no operation of a storage")

    def _recalling(self, operation: Recall | RecallAndSearch) -> Steps:
        known = self.at_once(operation)
        if known is not None:
            return known
        search = operation.search if isinstance(operation, RecallAndSearch) else None
        both = search is not None and self._far.recalls_and_searches
        before, last, began = self._leases.get(operation.namespace), self._copies.last, self._clock()
        recalled: Recalled = yield operation if both else Recall(operation.namespace, operation.key)
        lease = self._confirmed(operation.namespace, recalled, began)
        if lease is not None:
            if recalled.candidate is not None:
                self._copies.copy(lease, recalled.candidate, began)
            elif recalled.similar and search is not None and lease is before:
                self._copies.keep(lease, search, recalled.similar, began, began + self.staleness, last)
        return recalled

    def _searching(self, search: Search) -> Steps:
        # Whatever the search sees was there after this state was.
        lease = self._lease(search.namespace)
        known = None if lease is None else self._copies.found(lease, search)
        if known is not None:
            return known
        last, began = self._copies.last, self._clock()
        found: Sequence[Candidate] = yield search
        if lease is not None and found:
            self._copies.keep(lease, search, found, began, began + self.staleness, last)
        return found

    def _putting(self, operation: StorageOperation, entry: Entry, epoch: int, ttl: float | None) -> Steps:
        lease, began = self._lease(entry.namespace), self._clock()
        is_known = False
        try:
            stored: Stored = yield operation
            is_known = True
        finally:
            if not is_known:
                self._end(entry.namespace)
        now = self._leases.get(entry.namespace)
        if not stored.kept:
            if now is not None and now.state[0] == epoch:
                # Others have ended this epoch: what is looked up next must not be told of it again.
                self._end(entry.namespace)
            return stored
        self._copies.note(entry)
        if now is not None and self._copies.has(now, entry.key):
            # A look-up that is under way may bring back what was replaced.
            self._end(entry.namespace)
        elif now is not None and now is lease and lease.state[0] == epoch:
            self._copies.copy(lease, Candidate(entry, 1.0, 0.0, inf if ttl is None else ttl), began)
        return stored

    def _ending(self, operation: StorageOperation, namespace: str | None) -> Steps:
        try:
            return (yield operation)
        finally:
            # If it failed too: whoever wants answers gone must not be served copies of them.
            self._end(namespace)

    def _lease(self, namespace: str) -> Lease | None:
        """Return what makes a namespace's copies certain now, if anything does."""
        lease = self._leases.get(namespace)
        if lease is None or self._clock() >= lease.until:
            return None
        return lease if self._is_after_all_ends(namespace, lease.began) else None

    def _is_after_all_ends(self, namespace: str, began: float) -> bool:
        return began > max(self._ended.get(namespace, -inf), self._all_ended)

    def _confirmed(self, namespace: str, recalled: Recalled, began: float) -> Lease | None:
        """Return the lease that a look-up of the far storage begins, or makes longer.

        A look-up may end after another one that began later and saw a newer state. Then it may begin a lease of its own
        state, which ends in time all the same; copies of one state are never in the room of another.
        """
        if recalled.replacements is None or not self._is_after_all_ends(namespace, began):
            return None
        state, until = (recalled.epoch, recalled.replacements), began + self.staleness
        lease = self._leases.get(namespace)
        if lease is not None and lease.state == state and self._is_after_all_ends(namespace, lease.began):
            lease.until = max(lease.until, until)
            return lease
        mine = self._leases[namespace] = Lease(state, began, until, f"{next(_rooms)} {namespace}")
        if lease is not None:
            self._copies.drop(lease)
        if len(self._leases) > MAX_NAMESPACES:
            with suppress(RuntimeError):  # another thread has just added one, and sees to it
                self._leases.pop(next(iter(self._leases)), None)
        return mine

    def _end(self, namespace: str | None) -> None:
        """Trust no copy of a namespace, or of any, of which a look-up learnt that began before now."""
        now = self._clock()
        if namespace is None or len(self._ended) > MAX_NAMESPACES:
            self._all_ended = now
            self._ended.clear()
            return
        self._ended[namespace] = now
        lease = self._leases.pop(namespace, None)
        if lease is not None:
            self._copies.drop(lease)

    def _recalled(self, namespace: str, key: str, search: Search | None) -> Recalled | None:
        lease = self._lease(namespace)
        if lease is None:
            return None
        candidate = self._copies.copied(lease, key, 1.0)
        if candidate is not None:
            return Recalled(candidate, lease.state[0])
        similar = None if search is None else self._copies.found(lease, search)
        return None if similar is None else Recalled(None, lease.state[0], similar)


def _remade(max_entries: int, far: StorageBackend, staleness: float) -> TieredStorage:
    return TieredStorage(ThreadSafeInMemoryStorage(max_entries=max_entries), far, staleness=staleness)


def _asking(operation: StorageOperation) -> Steps:
    return (yield operation)


def _checked_near(near: object) -> StorageBackend:
    if not isinstance(near, StorageBackend) or near.blocking:
        raise InvalidTypeError(
            f"near is {a_kind(near)}; use a storage of this process, such as "
            "ThreadSafeInMemoryStorage(max_entries=10_000), or None"
        )
    if isinstance(near, InMemoryStorage) and near.max_entries is None:
        raise InvalidValueError("near has max_entries=None; give it a bound, or leave near=None")
    return near


def _checked_far(far: object) -> StorageBackend:
    if not isinstance(far, StorageBackend) or not far.tells_changes:
        raise InvalidTypeError(
            f"far is {a_kind(far)}, which does not tell what others change; use a RedisStorage, or a "
            "StorageBackend with tells_changes=True"
        )
    return far
