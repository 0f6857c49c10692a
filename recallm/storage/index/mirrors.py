"""Copies in this process of the vectors of partitions that are stored elsewhere, within a bound of memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Generic, TypeVar

from recallm.concurrency.forking import ForkSafeLock, is_held, reset_after_fork

if TYPE_CHECKING:
    from recallm.typing import Vector

MAX_MIRRORS = 10_000
"""How many partitions are mirrored at once, however small."""

_EMPTY_BYTES = 1000
_ROW_BYTES = 300
_FIRST_ROWS = 8
"""About what a mirror takes: empty, for each row beside its vector, and how many rows it has room for at first."""


class Mirror:
    """The vectors of one partition, by name, as far as they have been read.

    Args:
        dim: dimension of the vectors.
    """

    def __init__(self, dim: int) -> None:
        # numpy takes longer to import than all of recallm; a program that searches nothing does not import it.
        from recallm.storage.index.vector_index import VectorIndex

        self.dim = dim
        self._index = VectorIndex(dim)
        self._notes: dict[str, bytes] = {}

    def __len__(self) -> int:
        return len(self._index)

    @property
    def size_bytes(self) -> int:
        """About how much memory the mirror takes."""
        return _EMPTY_BYTES + (max(_FIRST_ROWS, len(self)) * (4 * self.dim + _ROW_BYTES) if len(self) else 0)

    @property
    def is_half_written(self) -> bool:
        """Whether another thread is writing: in a forked child, whether it will never end."""
        return is_held(self._index._lock)

    def add(self, name: str, vector: Vector, note: bytes = b"") -> None:
        """Add or replace one vector, and keep a note with it. Raises as `VectorIndex.put`."""
        self._notes[name] = note
        self._index.put(name, vector)

    def nearest(self, vector: Vector, threshold: float, limit: int | None) -> list[tuple[str, float]]:
        """Return names and cosines of the most similar vectors, best first. Raises as `VectorIndex.search`."""
        return self._index.search(vector, threshold, limit=limit)

    def note(self, name: str) -> bytes:
        """Return the note that is kept with a vector; empty if the vector has just been removed."""
        return self._notes.get(name, b"")

    def names(self) -> list[str]:
        """Return the names of all vectors, the oldest first."""
        return list(self._notes)

    def drop(self, name: str) -> None:
        """Remove the vector of a name, if there is one."""
        self._index.discard(name)
        self._notes.pop(name, None)

    def trim(self, size_bytes: int) -> None:
        """Remove the oldest vectors until the mirror takes no more than a size."""
        while self._notes and self.size_bytes > size_bytes:
            self.drop(next(iter(self._notes)))


K = TypeVar("K", bound=Hashable)
M = TypeVar("M", bound=Mirror)


class Mirrors(Generic[K, M]):
    """The mirrors of a storage; the least recently used one makes room.

    Args:
        max_bytes: about how much memory all of them may take.
        make: makes one for vectors of a dimension.
    """

    def __init__(self, max_bytes: int, make: Callable[[int], M]) -> None:
        self.max_bytes = max_bytes
        self._make = make
        self._lock = ForkSafeLock()
        self._mirrors: OrderedDict[K, M] = OrderedDict()
        reset_after_fork(self)

    def after_fork(self) -> None:
        """Drop the mirrors that threads of the parent may have left half written."""
        for key, mirror in list(self._mirrors.items()):
            if mirror.is_half_written:
                self._mirrors.pop(key, None)

    @property
    def size_bytes(self) -> int:
        """About how much memory the mirrors take."""
        return sum(mirror.size_bytes for mirror in list(self._mirrors.values()))

    def find(self, key: K) -> M | None:
        """Return the mirror of a partition, if there is one."""
        return self._mirrors.get(key)

    def of(self, key: K, dim: int) -> M:
        """Return the mirror of a partition, an empty one if there was none; it is the last to make room."""
        mirror = self._mirrors.get(key)
        made = self._make(dim) if mirror is None else mirror
        with self._lock:
            mirror = self._mirrors.setdefault(key, made)
            self._mirrors.move_to_end(key)
            if len(self._mirrors) > MAX_MIRRORS:
                self._mirrors.popitem(last=False)
        return mirror

    def forget(self, key: K) -> None:
        """Drop the mirror of a partition, which is read anew if it is needed."""
        self._mirrors.pop(key, None)

    def clear(self) -> None:
        """Drop all mirrors."""
        self._mirrors.clear()

    def make_room(self) -> None:
        """Drop mirrors until the others take no more memory than they may."""
        with self._lock:
            total = self.size_bytes
            while total > self.max_bytes and len(self._mirrors) > 1:
                _, dropped = self._mirrors.popitem(last=False)
                total -= dropped.size_bytes
