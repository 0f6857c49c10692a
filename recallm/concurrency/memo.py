"""A memo that is bounded in bytes: what was computed is kept while it is used and there is room."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
D = TypeVar("D")

SHARE = 4
"""A value that takes more than this part of the room is not kept: it would drive too many others out."""


class Memo(Generic[K, V]):
    """Keeps values by key in a bounded number of bytes; those that were used least recently leave first.

    It is for readings of texts, which may be of any length, so that their number tells nothing of their memory. Any
    thread may use it, and so may a finalizer or the handler of a signal that came while it was used: it takes no lock.
    Values lie in two generations of half the room each. A value that is used moves to the younger one; if that is full,
    the older one is dropped and the younger one takes its place. Threads that keep values at the same moment may lose
    one of them, or its size: it is computed again, and each generation is counted anew.

    Args:
        limit_bytes: the room. Keys should be texts or tuples of texts, whose comparison runs no code of Python's.

    >>> memo: Memo[str, int] = Memo(limit_bytes=1000)
    >>> memo.put("one", 1, size_bytes=100)
    >>> memo.get("one"), memo.get("two")
    (1, None)
    """

    __slots__ = ("_generations", "limit_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        # The younger generation, the older one, and the bytes that the younger one takes.
        self._generations: tuple[dict[K, tuple[V, int]], dict[K, tuple[V, int]], list[int]] = ({}, {}, [0])

    def get(self, key: K, default: D | None = None) -> V | D | None:
        """Return the value of a key, or `default` if it is not kept."""
        younger, older, _ = self._generations
        found = younger.get(key)
        if found is None:
            found = older.get(key)
            if found is None:
                return default
            self.put(key, *found)
        return found[0]

    def put(self, key: K, value: V, size_bytes: int) -> None:
        """Keep a value, unless it is too large.

        Args:
            key: the key.
            value: the value.
            size_bytes: how many bytes key and value take, as well as it can be told.
        """
        younger, older, taken = self._generations
        if size_bytes * SHARE > self.limit_bytes:
            younger.pop(key, None)
            older.pop(key, None)
            return
        if 2 * (taken[0] + size_bytes) > self.limit_bytes:
            older, younger, taken = younger, {}, [0]
            self._generations = younger, older, taken
        taken[0] += size_bytes
        younger[key] = value, size_bytes

    def clear(self) -> None:
        """Forget all values."""
        self._generations = {}, {}, [0]

    def __len__(self) -> int:
        """Return how many values are kept."""
        younger, older, _ = self._generations
        return len(younger.keys() | older.keys())
