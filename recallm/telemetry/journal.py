"""`Journal`: sums that threads, signal handlers and finalizers add to at any moment, without a lock."""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import count
from typing import Generic, TypeVar

T = TypeVar("T")
Row = TypeVar("Row")

FOLD_AT = 128
"""How many rows wait before whoever adds one folds them into the totals."""


ATTEMPTS = 100
"""How often a reader who is overtaken by others tries again, or goes on to a later page."""


class _Page(Generic[T]):
    """Totals, the rows that are in them though they may not be taken out yet, and the page that followed, if any."""

    __slots__ = ("counted", "following", "number", "totals")

    def __init__(self, number: int, totals: T, counted: Collection[int]) -> None:
        self.number = number
        self.totals = totals
        self.counted = counted
        self.following: dict[str, _Page[T]] = {}


class Journal(Generic[T, Row]):
    """Rows that are added one by one, and their totals.

    A lock would do, were it not for what Python runs in between: a signal handler, or a finalizer that the garbage
    collector calls, runs in the thread that holds the lock and would wait for it for ever; so would a forked child.
    Here nobody waits. Every change is one step of the interpreter, which nothing divides:

    - A row is put under a number of its own. An exception before that loses this row only.
    - A new page of totals follows the last one by ``setdefault``, which lets one of several win. The others' work is
      void: the rows are as they were. The page names the rows that it holds, so that nobody counts them again.
    - Rows that a page holds are taken out by their numbers. It does no harm to do so twice, or to be interrupted.

    Args:
        start: the totals of no rows.
        fold: returns new totals with rows added; it leaves its arguments as they are.
    """

    def __init__(self, start: T, fold: Callable[[T, list[Row]], T]) -> None:
        self._fold = fold
        self._numbers = count()
        self._rows: dict[int, Row] = {}
        self._page = _Page(0, start, ())

    def add(self, row: Row) -> None:
        """Add a row."""
        self._rows[next(self._numbers)] = row
        if len(self._rows) >= FOLD_AT:
            self._turn()

    @property
    def totals(self) -> T:
        """The totals of all rows added up to now."""
        for _ in range(ATTEMPTS):
            mine, page = self._turn()
            if mine:
                break
        return page.totals

    def _turn(self) -> tuple[bool, _Page[T]]:
        """Begin a new page; return whether it follows the last one, and the page that does."""
        last = self._page
        for _ in range(ATTEMPTS):
            if not last.following:
                break
            last = last.following["page"]
        counted = last.counted  # before the rows are read, as it is emptied once they are taken out
        rows = dict(self._rows)
        totals = self._fold(last.totals, [row for number, row in rows.items() if number not in counted])
        begun = _Page(last.number + 1, totals, rows)
        following = last.following.setdefault("page", begun)
        if following.number > self._page.number:
            self._page = following
        if following is not begun:
            return False, following
        for number in rows:
            self._rows.pop(number, None)
        begun.counted = ()
        return True, begun
