"""What is done for a file in the background, and what is remembered until it is written down."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from recallm.concurrency.forking import reset_after_fork
from recallm.concurrency.workers import Workers

_WORKERS = Workers("recallm-sqlite", size=1)

MAX_USES = 1024
"""How many look-ups are remembered until they are written down."""


class Upkeep:
    """Work in the background, by name: none is begun that is under way."""

    def __init__(self) -> None:
        self._under_way: dict[str, object] = {}
        reset_after_fork(self)

    def after_fork(self) -> None:
        """Find nothing under way: the parent's threads are not in the child."""
        self._under_way = {}

    def is_under_way(self, name: str) -> bool:
        """Return whether work of this name is under way, or waits for its turn."""
        return name in self._under_way

    def begin(self, name: str, work: Callable[[], object]) -> None:
        """Do some work later, unless work of this name is under way."""
        mine, under_way = object(), self._under_way
        if under_way.setdefault(name, mine) is not mine:
            return

        def do() -> None:
            try:
                work()
            finally:
                under_way.pop(name, None)

        try:
            _WORKERS.submit(do)
        except BaseException:
            under_way.pop(name, None)
            raise


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
