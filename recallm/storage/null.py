"""A storage that keeps nothing, for tests and for a function whose cache is to be there and do nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from secrets import randbits
from typing import TYPE_CHECKING

from recallm.errors import InvalidValueError
from recallm.records import Candidate, Entry, Recalled, Stored
from recallm.storage.base import StorageBackend

if TYPE_CHECKING:
    from recallm.typing import Vector


class NullStorage(StorageBackend):
    """Keeps nothing: each call is a miss, and nothing is ever stored. Its URL is ``null://``.

    Unlike `recallm.set_active` it leaves everything else as it is: calls are read, embedded and counted.

    >>> NullStorage().sizes(["anything"])
    {}
    """

    blocking = False
    keeps_tags = True

    def __init__(self) -> None:
        self._epochs = count(randbits(64) << 64)
        self._epoch = next(self._epochs)

    def __repr__(self) -> str:
        return "<NullStorage>"

    def recall(self, namespace: str, key: str) -> Recalled:
        """Find nothing."""
        return Recalled(None, self._epoch)

    def search(
        self, namespace: str, partition: str, vector: Vector, threshold: float, limit: int | None
    ) -> Sequence[Candidate]:
        """Find nothing."""
        return ()

    def put(self, entry: Entry, epoch: int, ttl: float | None) -> Stored:
        """Keep nothing, and say so."""
        return Stored(kept=False)

    def put_tagged(self, entry: Entry, epoch: int, ttl: float | None, began: float) -> Stored:
        """Keep nothing, and say so."""
        return Stored(kept=False)

    def remove_tagged(self, tag: str) -> int:
        """Remove nothing."""
        return 0

    def namespaces(self) -> Iterable[str]:
        """List nothing."""
        return ()

    def entries(self, namespace: str) -> Iterator[Candidate]:
        """List nothing."""
        return iter(())

    def remove(self, namespace: str, keys: Sequence[str]) -> int:
        """Remove nothing, and end the epoch."""
        return self.invalidate(namespace)

    def invalidate(self, namespace: str) -> int:
        """Remove nothing, and end the epoch."""
        self._epoch = next(self._epochs)
        return 0

    def sizes(self, namespaces: Iterable[str]) -> Mapping[str, int]:
        """Count nothing."""
        return {}


def from_url(url: str) -> NullStorage:
    """Return the storage of ``null://``.

    Raises:
        InvalidValueError: the URL says more.
    """
    if url.partition("://")[2]:
        raise InvalidValueError("null:// takes nothing after it; use storage='null://'")
    return NullStorage()
