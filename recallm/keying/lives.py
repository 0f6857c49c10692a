"""The classes and functions among the arguments of a function that are worth remembering as they were read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar
from weakref import ref

R = TypeVar("R")

MAX_LIVES = 64
"""How many classes and functions among the arguments of one function are remembered."""

PASSING = 4
"""In how many readings an object is met before it is remembered: one that a call makes is met in two or three."""

LASTING = 256
"""After how many readings in which an object is not met it is forgotten."""


class Lives(Generic[R]):
    """Remembers what was read of classes and functions that come with many calls, and of no others.

    What is remembered of an object keeps it alive, and all that it closes over. So an object that is made for one call
    is not remembered, and one that has gone out of use is forgotten. There is no lock: in doubt it is read again.
    """

    def __init__(self) -> None:
        self._turn = 0
        self._met: dict[int, tuple[ref[Any], int, int]] = {}
        self._kept: dict[tuple[int, frozenset[str]], tuple[object, R, int]] = {}

    def turn(self) -> None:
        """Begin another reading."""
        self._turn += 1
        for oldest in list(self._kept)[:1] if self._kept else ():
            if self._kept.get(oldest, (None, None, self._turn))[2] <= self._turn - LASTING:
                self._kept.pop(oldest, None)

    def of(self, value: object, left_out: frozenset[str], make: Callable[[], R]) -> R:
        """Return what was made for an object, or make it, and remember it if the object has been met often.

        Args:
            value: the object.
            left_out: names of what does not count in it.
            make: makes what is remembered.
        """
        key = (id(value), left_out)
        known = self._kept.pop(key, None)
        if known is not None and known[0] is value:
            self._kept[key] = value, known[1], self._turn
            return known[1]
        made = make()
        if self._is_lasting(value):
            self._kept[key] = value, made, self._turn
            for oldest in list(self._kept)[:-MAX_LIVES]:
                self._kept.pop(oldest, None)
        return made

    def _is_lasting(self, value: object) -> bool:
        """Note that an object is met in this reading; return whether it was in enough of them."""
        place = id(value)
        try:
            new = ref(value)
        except TypeError:
            return False
        known, turn, count = self._met.pop(place, (new, 0, 0))
        if known() is not value:
            known, turn, count = new, 0, 0
        count += turn != self._turn
        self._met[place] = known, self._turn, count
        for oldest in list(self._met)[:-MAX_LIVES]:
            self._met.pop(oldest, None)
        return count > PASSING
