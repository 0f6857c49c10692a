"""What is known of objects as long as they live, such as how a class keeps what it holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar
from weakref import ref

V = TypeVar("V")


class Attached(Generic[V]):
    """Keeps a value for each object, told by its identity, and forgets it with the object.

    Objects are never compared or hashed, which would run code of theirs or take one for another. The place in memory of
    an object is its own while it lives, so whoever lies there now is compared with whose value is kept: an object never
    gets the value of a dead one, even if the end of that one went unnoticed. There is no lock: of two values that are
    kept at once for an object, all get the first.

    A value must not refer to its object, which would then live for ever.
    """

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: dict[int, tuple[_Owner, V]] = {}

    def get(self, owner: object) -> V | None:
        """Return the value of an object, or None."""
        known = self._held.get(id(owner))
        return known[1] if known is not None and known[0]() is owner else None

    def keep(self, owner: object, value: V) -> V:
        """Keep a value, unless there is one already; return the one that is kept.

        Raises:
            TypeError: the object takes no weak reference.
        """
        new = _Owner(owner, self._forget), value
        known = self._held.setdefault(id(owner), new)
        if known[0]() is owner:
            return known[1]
        self._held[id(owner)] = new
        return value

    def __len__(self) -> int:
        """Return of how many objects something is known."""
        return len(self._held)

    def _forget(self, gone: _Owner) -> None:
        known = self._held.get(gone.place)
        if known is not None and known[0] is gone:
            self._held.pop(gone.place, None)


class _Owner(ref[Any]):
    """A weak reference that knows where its object lies, also when that is gone."""

    __slots__ = ("place",)

    place: int

    def __new__(cls, owner: object, gone: Callable[[_Owner], None]) -> _Owner:
        made = super().__new__(cls, owner, gone)
        made.place = id(owner)
        return made
