"""`StorageBackend`, the base class of storages, and its operations as data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeAlias

from recallm.records import Candidate, Entry, Recalled, Stored

if TYPE_CHECKING:
    from recallm.typing import Vector


_APART = {"recall", "search", "aperform"}
_AT_ONCE = {"recall_and_search", "recalls_and_searches"}
"""What a storage looks entries up by: one look-up apart from the other, or both at once."""


class StorageBackend(ABC):
    """Keeps entries. It knows nothing of what thresholds mean, of guards or of responses.

    A subclass implements the six operations; ``recallm.testing.StorageContract`` holds it to them. An operation may
    raise whatever it likes: the call then goes to the function, and the error is counted.

    *Epoch.* Each namespace has an epoch, an int that `remove` and `invalidate` replace by one that the namespace never
    had before. A call reads the epoch (`recall`) before its answer is computed and hands it to `put` with the answer.
    An epoch that has been replaced meanwhile shows that somebody removed entries while the answer was computed: the
    answer may rest on facts that they wanted gone, and is not stored. A storage may take another's place while an
    answer is computed, so an epoch is one that no other storage of the kind has, unless both hold the same entries: a
    storage begins to count at random, for instance at ``secrets.randbits(64)``.

    *Vectors.* Their length may change under one partition, as an embedder's settings do. Entries whose vectors have
    another length than the one asked for are not found; both may be stored.

    *Tags.* A storage that keeps tags has `keeps_tags` and implements `put_tagged` and `remove_tagged`. Nobody knows an
    answer's tags before it is computed, so a removal by tag cannot begin another epoch in all namespaces that will have
    it. Instead, `put_tagged` is told how long ago its call began, and refuses what has had a tag removed since.

    *Changes.* A storage may be the far one of a `TieredStorage` if it `tells_changes`: `recall` tells a
    number (`Recalled.replacements`) that has changed, at the latest at the moment from which on an entry is not found
    any more, if it was replaced or removed; and candidates say how long they will be kept.

    Attributes:
        blocking: True if an operation may wait (disk, network): it then runs in a worker thread, within
            ``cache_timeout_seconds``, several at once. False: it is called in place, on the event loop too.
        serves_sync: False if only `aperform` works.
        serves_async: True if `aperform` is implemented; otherwise async callers use worker threads.
        recalls_and_searches: True if `recall_and_search`, and `aperform` of a `RecallAndSearch`, save a round trip. A
            subclass that looks entries up in its own way has False unless it says, or implements, something else.
        keeps_tags: True if `put_tagged` and `remove_tagged` work.
        tells_changes: True if `recall` tells what others have changed.
    """

    blocking: ClassVar[bool] = True
    recalls_and_searches: ClassVar[bool] = False
    serves_sync: bool = True
    serves_async: bool = False
    keeps_tags: bool = False
    tells_changes: bool = False

    def __init_subclass__(cls, **options: Any) -> None:
        """See to it that both look-ups at once do not go past a subclass's own ways of making one."""
        super().__init_subclass__(**options)
        nearest = next(each for each in cls.__mro__ if vars(each).keys() & (_APART | _AT_ONCE))
        if cls.recalls_and_searches and not vars(nearest).keys() & _AT_ONCE:
            cls.recalls_and_searches = False

    @abstractmethod
    def recall(self, namespace: str, key: str) -> Recalled:
        """Look for one key.

        Returns:
            The live entry under `key` as a candidate of similarity 1.0, or None, and the namespace's epoch.
        """

    def recall_and_search(self, namespace: str, key: str, search: Search) -> Recalled:
        """Look for one key and, if that is not there, for similar entries, in one round trip.

        Asked instead of `recall` if `recalls_and_searches` is True and the prompt's vector is known. The default looks
        for the key only; so may a storage that expects it to be there. `search` is asked afterwards if need be.

        Args:
            namespace: as `recall`'s.
            key: as `recall`'s.
            search: what else to look for, in the same namespace.

        Returns:
            What `recall` returns, with what `search` would return as `Recalled.similar` if that was looked for.
        """
        return self.recall(namespace, key)

    @abstractmethod
    def search(
        self, namespace: str, partition: str, vector: Vector, threshold: float, limit: int | None
    ) -> Sequence[Candidate]:
        """Look for the most similar live entries of one partition, among those whose vectors have the same length.

        Args:
            namespace: where the partition lies.
            partition: only entries of exactly this partition count.
            vector: shape (dim,), float32, unit length.
            threshold: cosine in [-1, 1] that a candidate must reach.
            limit: how many to return at the most; None: all.

        Returns:
            The most similar candidates, best first.
        """

    @abstractmethod
    def put(self, entry: Entry, epoch: int, ttl: float | None) -> Stored:
        """Store an entry, replacing one of the same key.

        Args:
            entry: what to store. If answers make room for others, a refusal (`Entry.is_refusal`) comes after all.
            epoch: the namespace's epoch when the call looked for an answer.
            ttl: seconds from now until the entry expires, however often it is read; None: never.

        Returns:
            ``Stored(kept=False)``, and nothing is stored, if the namespace has another epoch by now; else
            ``Stored(kept=True)`` with the number of entries that were evicted to make room.
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

    def put_tagged(self, entry: Entry, epoch: int, ttl: float | None, began: float) -> Stored:
        """Store an entry that has tags, as `put` does, so that `remove_tagged` finds it in whatever namespace.

        Args:
            entry: what to store, with its `tags`.
            epoch: as `put`'s.
            ttl: as `put`'s.
            began: when the call began that made the answer, by `time.perf_counter`.

        Returns:
            What `put` returns; ``Stored(kept=False)``, and nothing is stored, also if `remove_tagged` was asked for one
            of its tags since `began`.
        """
        raise NotImplementedError(f"{type(self).__name__} keeps no tags")

    def remove_tagged(self, tag: str) -> int:
        """Remove the entries of all namespaces that have a tag, and keep answers being computed now from getting it.

        Returns:
            How many live entries there were.
        """
        raise NotImplementedError(f"{type(self).__name__} keeps no tags")

    def at_once(self, operation: StorageOperation) -> Any | None:
        """Return the result of an operation if no waiting is needed for it; None: it is to be performed as usual.

        A storage that is `blocking` is asked on the event loop, and while its circuit is open too.

        Args:
            operation: any operation.
        """
        return None

    def namespaces(self) -> Iterable[str]:
        """Return the namespaces that hold live entries. Calls never ask for them; the command line does.

        Implement this and `entries` to have a storage listed, exported and loaded. Neither may keep a server from
        other work, and neither counts as a use of an entry.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot list its namespaces: implement namespaces()")

    def entries(self, namespace: str) -> Iterator[Candidate]:
        """Yield each live entry of a namespace once, in any order, read in pages as the caller asks for more.

        What is stored or removed meanwhile may be there or not.

        Args:
            namespace: where the entries lie.

        Yields:
            The entries as candidates of similarity 1.0, with their age and `Candidate.expires_in`.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot list its entries: implement entries(namespace)")

    async def aperform(self, operation: StorageOperation) -> Any:
        """Perform an operation without blocking the event loop; used if `serves_async` is True.

        Args:
            operation: one of `Recall`, `Search`, `Put`, `Remove`, `Invalidate`, `Sizes`, if `recalls_and_searches` is
                True, `RecallAndSearch` and, if `keeps_tags` is, `PutTagged` and `RemoveTagged`; a ``match`` statement
                takes it apart.

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


class Beside(NamedTuple):
    """What a call will look for beside its key, if that is not there, once it has the prompt's vector.

    Attributes:
        text: the prompt.
        model_id: the id of the model that embeds it.
        partition: see `Search`.
        threshold: see `Search`.
        limit: see `Search`.
    """

    text: str
    model_id: str
    partition: str
    threshold: float
    limit: int | None


@dataclass(frozen=True, slots=True)
class Recall(StorageOperation):
    """Look for one key. Result: `Recalled`.

    Attributes:
        namespace: see `StorageBackend.recall`.
        key: see `StorageBackend.recall`.
        beside: returns what lets a `RecallAndSearch` take its place if the prompt's vector is known, if anything does;
            only asked about a storage that `recalls_and_searches`, and storages need not look at it.
    """

    namespace: str
    key: str
    beside: Callable[[], Beside | None] | None = field(default=None, compare=False, repr=False)

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
class RecallAndSearch(StorageOperation):
    """Look for one key, and for similar entries if it is not there. Result: `Recalled`."""

    namespace: str
    key: str
    search: Search

    def on(self, storage: StorageBackend) -> Recalled:
        """Perform this on a storage."""
        return storage.recall_and_search(self.namespace, self.key, self.search)


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
class PutTagged(StorageOperation):
    """Store an entry that has tags, unless one of these has been removed since the call began. Result: `Stored`."""

    entry: Entry
    epoch: int
    ttl: float | None
    began: float

    def on(self, storage: StorageBackend) -> Stored:
        """Perform this on a storage."""
        return storage.put_tagged(self.entry, self.epoch, self.ttl, self.began)


@dataclass(frozen=True, slots=True)
class RemoveTagged(StorageOperation):
    """Remove the entries that have a tag, in all namespaces. Result: how many there were."""

    tag: str

    def on(self, storage: StorageBackend) -> int:
        """Perform this on a storage."""
        return storage.remove_tagged(self.tag)


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


Removal: TypeAlias = Remove | Invalidate | RemoveTagged
"""An operation that removes answers: whoever wants them gone must have it tried, and know if it fails."""
