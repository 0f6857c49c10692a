"""What a storage is: the base class of recallm's own and of users'."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from recallm.records import Candidate, Entry, Recalled, Stored

if TYPE_CHECKING:
    from recallm.effects import StorageOperation
    from recallm.typing import Vector


class StorageBackend(ABC):
    """Keeps entries; knows nothing of thresholds' meaning, guards or responses.

    A subclass implements the six operations. ``recallm.testing.StorageContract`` holds it to them.
    Operations may raise: the call then goes to the function, and the error is counted.

    Attributes:
        blocking: True where an operation may wait (disk, network): it then runs in a worker thread
            under ``cache_timeout_seconds``. False: it is called in place.
        serves_sync: False where only `aperform` works.
        serves_async: True where `aperform` is implemented; otherwise async callers use worker threads.
    """

    blocking: ClassVar[bool] = True
    serves_sync: bool = True
    serves_async: bool = False

    @abstractmethod
    def recall(self, namespace: str, key: str) -> Recalled:
        """Return the live entry under `key` as a candidate of similarity 1.0, and the namespace's epoch."""

    @abstractmethod
    def search(
        self, namespace: str, partition: str, vector: Vector, threshold: float, limit: int | None
    ) -> Sequence[Candidate]:
        """Return the partition's most similar live entries whose similarity reaches `threshold`.

        Args:
            namespace: where the partition lies.
            partition: only entries of exactly this partition count.
            vector: shape (dim,), float32, unit length.
            threshold: cosine in [-1, 1].
            limit: how many to return at the most, the most similar ones; None: all.

        Raises:
            OddVectorError: the partition's vectors have another dimension.
        """

    @abstractmethod
    def put(self, entry: Entry, epoch: int, ttl: float | None) -> Stored:
        """Keep `entry` in the place of any under its key, unless the namespace has left `epoch`.

        Args:
            entry: what to keep.
            epoch: the epoch that `recall` told before the answer was computed.
            ttl: seconds from now until the entry expires, whatever is read meanwhile; None: never.
        """

    @abstractmethod
    def remove(self, namespace: str, keys: Sequence[str]) -> int:
        """Remove single entries, begin a new epoch, and return how many of them were live."""

    @abstractmethod
    def invalidate(self, namespace: str) -> int:
        """Remove all entries of a namespace, begin a new epoch, and return how many were live."""

    @abstractmethod
    def sizes(self, namespaces: Iterable[str]) -> Mapping[str, int]:
        """Return the number of live entries of each namespace that has any."""

    async def aperform(self, operation: StorageOperation) -> Any:
        """Perform an operation without blocking the event loop; used where `serves_async` is True."""
        raise NotImplementedError(f"{type(self).__name__} has no async operations")
