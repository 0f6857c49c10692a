"""`StorageBackend`, the base class of storages, and its operations as data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recallm.records import Candidate, Entry, Recalled, Stored

if TYPE_CHECKING:
    from recallm.typing import Vector


class StorageBackend(ABC):
    """Keeps entries. It knows nothing of what thresholds mean, of guards or of responses.

    A subclass implements the six operations; ``recallm.testing.StorageContract`` holds it to them. An operation may
    raise whatever it likes: the call then goes to the function, and the error is counted.

    *Epoch.* Each namespace has an epoch, an int that `remove` and `invalidate` replace by one that the namespace never
    had before. A call reads the epoch (`recall`) before its answer is computed and hands it to `put` with the answer.
    An epoch that has been replaced meanwhile shows that somebody removed entries while the answer was computed: the
    answer may rest on facts that they wanted gone, and is not stored.

    Attributes:
        blocking: True if an operation may wait (disk, network): it then runs in a worker thread, within
            ``cache_timeout_seconds``, several at once. False: it is called in place, on the event loop too.
        serves_sync: False if only `aperform` works.
        serves_async: True if `aperform` is implemented; otherwise async callers use worker threads.
    """

    blocking: ClassVar[bool] = True
    serves_sync: bool = True
    serves_async: bool = False

    @abstractmethod
    def recall(self, namespace: str, key: str) -> Recalled:
        """Look for one key.

        Returns:
            The live entry under `key` as a candidate of similarity 1.0, or None, and the namespace's epoch.
        """

    @abstractmethod
    def search(
        self, namespace: str, partition: str, vector: Vector, threshold: float, limit: int | None
    ) -> Sequence[Candidate]:
        """Look for the most similar live entries of one partition.

        Args:
            namespace: where the partition lies.
            partition: only entries of exactly this partition count.
            vector: shape (dim,), float32, unit length.
            threshold: cosine in [-1, 1] that a candidate must reach.
            limit: how many to return at the most; None: all.

        Returns:
            The most similar candidates, best first.

        Raises:
            OddVectorError: the partition's vectors have another dimension.
        """

    @abstractmethod
    def put(self, entry: Entry, epoch: int, ttl: float | None) -> Stored:
        """Store an entry, replacing one of the same key.

        Args:
            entry: what to store.
            epoch: the namespace's epoch when the call looked for an answer.
            ttl: seconds from now until the entry expires, however often it is read; None: never.

        Returns:
            ``Stored(kept=False)``, and nothing is stored, if the namespace has another epoch by now; else
            ``Stored(kept=True)`` with the number of entries that were evicted to make room.

        Raises:
            OddVectorError: the partition's vectors have another dimension.
        """

    @abstractmethod
    def remove(self, namespace: str, keys: Sequence[str]) -> int:
        """Remove single entries of a namespace and begin a new epoch in it.

        Returns:
            How many of the keys held a live entry.
        """

    @abstractmethod
    def invalidate(self, namespace: str) -> int:
        """Remove all entries of a namespace and begin a new epoch in it.

        Returns:
            How many live entries there were.
        """

    @abstractmethod
    def sizes(self, namespaces: Iterable[str]) -> Mapping[str, int]:
        """Return the number of live entries of each of these namespaces that has any."""

    async def aperform(self, operation: StorageOperation) -> Any:
        """Perform an operation without blocking the event loop; used if `serves_async` is True.

        Args:
            operation: one of `Recall`, `Search`, `Put`, `Remove`, `Invalidate` and `Sizes`; a ``match`` statement takes
                it apart.

        Returns:
            What the method of that name returns. It may raise what that method may raise.
        """
        raise NotImplementedError(f"{type(self).__name__} has no async operations")


class StorageOperation:
    """One operation of a storage, as data: the arguments of the method of that name."""

    __slots__ = ()

    def on(self, storage: StorageBackend) -> object:
        """Perform this on a storage, in place."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Recall(StorageOperation):
    """Look for one key. Result: `Recalled`."""

    namespace: str
    key: str

    def on(self, storage: StorageBackend) -> Recalled:
        """Perform this on a storage."""
        return storage.recall(self.namespace, self.key)


@dataclass(frozen=True, slots=True)
class Search(StorageOperation):
    """Look for the most similar entries of a partition. Result: candidates; `limit` None: all of them."""

    namespace: str
    partition: str
    vector: Vector
    threshold: float
    limit: int | None

    def on(self, storage: StorageBackend) -> Sequence[Candidate]:
        """Perform this on a storage."""
        return storage.search(self.namespace, self.partition, self.vector, self.threshold, self.limit)


@dataclass(frozen=True, slots=True)
class Put(StorageOperation):
    """Store an entry, unless the namespace has another epoch by now. Result: `Stored`."""

    entry: Entry
    epoch: int
    ttl: float | None

    def on(self, storage: StorageBackend) -> Stored:
        """Perform this on a storage."""
        return storage.put(self.entry, self.epoch, self.ttl)


@dataclass(frozen=True, slots=True)
class Remove(StorageOperation):
    """Remove single entries. Result: how many there were."""

    namespace: str
    keys: Sequence[str]

    def on(self, storage: StorageBackend) -> int:
        """Perform this on a storage."""
        return storage.remove(self.namespace, self.keys)


@dataclass(frozen=True, slots=True)
class Invalidate(StorageOperation):
    """Remove all entries of a namespace. Result: how many there were."""

    namespace: str

    def on(self, storage: StorageBackend) -> int:
        """Perform this on a storage."""
        return storage.invalidate(self.namespace)


@dataclass(frozen=True, slots=True)
class Sizes(StorageOperation):
    """Count the live entries of namespaces. Result: a mapping without the empty ones."""

    namespaces: Sequence[str]

    def on(self, storage: StorageBackend) -> Mapping[str, int]:
        """Perform this on a storage."""
        return storage.sizes(self.namespaces)
