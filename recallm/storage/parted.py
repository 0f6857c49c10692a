"""A dict that is large and yet never slow to grow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, Generic, TypeVar

V = TypeVar("V")

_KEYS_A_PART: Final = 2_000
"""How many keys a part takes before it is split, in less than a millisecond."""

_MOST_PARTS: Final = 1 << 14


class PartedDict(Generic[V]):
    """Values by key in dicts of a thousand keys or two, each of which is split when it is full.

    A dict moves all its keys as it grows, in 7 ms at 175,000 keys. Here an insertion moves those of a part at the most
    (extendible hashing, Fagin and others 1979); few keys are in a single part.

    Threads may read while one writes, and find what is there all along; who lists keys or items gets those of a
    moment. A change that an exception cuts short has happened or has not.
    """

    __slots__ = ("_places",)

    def __init__(self) -> None:
        # The part of a key stands at as many of the last bits of its hash as tell the places apart; one whose keys
        # share fewer bits stands at several places.
        self._places: list[dict[str, V]] = [{}]

    def __len__(self) -> int:
        return sum(map(len, self._parts()))

    def __bool__(self) -> bool:
        return any(self._places)

    def __iter__(self) -> Iterator[str]:
        return iter([key for part in self._parts() for key in list(part)])

    def __contains__(self, key: str) -> bool:
        places = self._places
        return key in places[hash(key) & (len(places) - 1)]

    def get(self, key: str, default: Any = None) -> V | Any:
        """Return the value of a key."""
        places = self._places
        return places[hash(key) & (len(places) - 1)].get(key, default)

    def items(self) -> list[tuple[str, V]]:
        """Return the keys and their values."""
        return [item for part in self._parts() for item in list(part.items())]

    def __setitem__(self, key: str, value: V) -> None:
        places = self._places
        part = places[hash(key) & (len(places) - 1)]
        part[key] = value
        if len(part) > _KEYS_A_PART and len(places) < _MOST_PARTS:
            self._split(part)

    def pop(self, key: str, default: Any = None) -> V | Any:
        """Remove a key and return its value."""
        places = self._places
        return places[hash(key) & (len(places) - 1)].pop(key, default)

    def _parts(self) -> Iterable[dict[str, V]]:
        places = self._places
        return places if len(places) == 1 else {id(part): part for part in places}.values()

    def _split(self, part: dict[str, V]) -> None:
        places = self._places
        if sum(each is part for each in places) == 1:
            places = places * 2
        half = len(places) // sum(each is part for each in places)
        stay: dict[str, V] = {}
        leave: dict[str, V] = {}
        for key, value in part.items():
            (leave if hash(key) & half else stay)[key] = value
        # In one step, so that those who read at this moment find each key.
        self._places = [
            each if each is not part else leave if place & half else stay for place, each in enumerate(places)
        ]
