"""Where each key of an index stands, in a table that is small and grows a few keys at a time."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Final

_KEYS_A_BUCKET: Final = 4


class Positions:
    """The positions of keys in a list, found by the hash of a key; the list itself says which key stands where.

    It takes some 20 bytes a key, where a dict and the numbers in it take 80 and more. A dict also moves all its keys
    as it grows, in 7 ms at 175,000; here one bucket after another is split (linear hashing, Litwin 1980).

    Args:
        keys: the keys in their order; who changes it tells.
    """

    # Buckets are bytes: arrays are tracked by the garbage collector, which took 20 ms to look at those of 70,000 keys.

    __slots__ = ("_buckets", "_keys")

    def __init__(self, keys: list[str]) -> None:
        self._keys = keys
        self._buckets = [b""]

    def find(self, key: str) -> int | None:
        """Return the position of a key, or None if it is not there."""
        keys = self._keys
        for position in array("i", self._buckets[self._number(key)]):
            if keys[position] == key:
                return position
        return None

    def add(self, position: int) -> None:
        """Take in the key at a position, which is at none yet."""
        self._buckets[self._number(self._keys[position])] += _packed((position,))
        if len(self._keys) > _KEYS_A_BUCKET * len(self._buckets):
            self._split()

    def move(self, source: int, target: int) -> None:
        """Note that the key at a position is to stand at another."""
        number = self._number(self._keys[source])
        bucket = array("i", self._buckets[number])
        bucket[bucket.index(source)] = target
        self._buckets[number] = bucket.tobytes()

    def drop(self, position: int) -> None:
        """Forget the key at a position, which is about to leave it."""
        number = self._number(self._keys[position])
        bucket = array("i", self._buckets[number])
        bucket.remove(position)
        self._buckets[number] = bucket.tobytes()
        while len(self._buckets) > 1 and 2 * len(self._keys) < _KEYS_A_BUCKET * len(self._buckets):
            self._join()

    def renew(self) -> None:
        """Begin again with the keys as they stand now."""
        self._buckets = [b""]
        for position in range(len(self._keys)):
            self.add(position)

    def _number(self, key: str) -> int:
        # The buckets before the last power of two that are not split yet hold the keys of two.
        count = len(self._buckets)
        bits = (count - 1).bit_length()
        number = hash(key) & ((1 << bits) - 1)
        return number if number < count else number - (1 << bits - 1)

    def _split(self) -> None:
        half = 1 << len(self._buckets).bit_length() - 1
        source = len(self._buckets) - half
        stay: list[int] = []
        leave: list[int] = []
        for position in array("i", self._buckets[source]):
            (leave if hash(self._keys[position]) & half else stay).append(position)
        self._buckets[source] = _packed(stay)
        self._buckets.append(_packed(leave))

    def _join(self) -> None:
        last = self._buckets.pop()
        half = 1 << len(self._buckets).bit_length() - 1
        self._buckets[len(self._buckets) - half] += last


def _packed(positions: Iterable[int]) -> bytes:
    return array("i", positions).tobytes()
