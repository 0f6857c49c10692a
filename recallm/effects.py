"""What a flow may ask of the world; each driver performs them its own way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from recallm.records import Candidate, Entry, Event, Recalled, Stored

if TYPE_CHECKING:
    from recallm.storage.base import StorageBackend
    from recallm.typing import Vector, Verifier


@dataclass(frozen=True, slots=True)
class Prepare:
    """Have the model loaded. Result: `Prepared`."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The model that embeds: its id and its calibrated profiles."""

    model_id: str
    thresholds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Embed:
    """Embed a text. Result: its vector, or None where it may match exactly only."""

    text: str


@dataclass(frozen=True, slots=True)
class Join:
    """Join the calls that want the same answer. Result: `recallm.flight.Turn`, in turn.

    Raises `TimeoutError` into the flow where the one that makes it takes too long.
    """

    key: str


@dataclass(frozen=True, slots=True)
class Verify:
    """Ask the user's verifier whether a decoded answer serves the prompt. Result: its verdict."""

    verifier: Verifier
    prompt: str
    cached_prompt: str
    response: object


@dataclass(frozen=True, slots=True)
class Call:
    """Call the user's function. Result: `Called`.

    What the function raises goes straight to the caller and never enters the flow; `otherwise` is what is
    counted then. With `spared` an `Exception` is the result instead, and the flow may have an answer for it.
    """

    otherwise: Event | None = None
    spared: bool = False


@dataclass(frozen=True, slots=True)
class Called:
    """The function's response, and the seconds it took."""

    response: object
    seconds: float


@dataclass(frozen=True, slots=True)
class Note:
    """Count an event."""

    event: Event


class StorageOperation:
    """What a storage may be asked."""

    __slots__ = ()

    def on(self, storage: StorageBackend) -> object:
        """Perform this on a storage."""
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
    """Keep an entry, unless the namespace has left the epoch. Result: `Stored`."""

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


Effect: TypeAlias = Prepare | Embed | Join | Verify | Call | Note | StorageOperation
