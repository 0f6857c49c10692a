"""Which entries look-ups have found, remembered until it is written down."""

from __future__ import annotations

from collections.abc import Sequence

MAX_USES = 1024
"""How many look-ups are remembered until they are written down."""


class Uses:
    """The numbers of the entries that look-ups have found, in the order of their last use.

    Args:
        wanted: whether anybody asks for them.
    """

    def __init__(self, *, wanted: bool) -> None:
        self._wanted = wanted
        self._numbers: dict[int, None] = {}

    def remember(self, number: int) -> bool:
        """Remember that an entry was used; return whether it is time to write all of them down."""
        if not self._wanted:
            return False
        self._numbers.pop(number, None)
        self._numbers[number] = None
        return len(self._numbers) >= MAX_USES

    def take(self) -> Sequence[int]:
        """Return what was remembered, and forget it."""
        numbers, self._numbers = self._numbers, {}
        return list(numbers)
