"""A journal counts each row once, whatever interrupts it and whoever else adds to it, and nobody waits."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator

import pytest
from support.interrupting import Points, each_point, in_time

from recallm.telemetry import journal as module
from recallm.telemetry.journal import Journal

JOURNAL = ("telemetry/journal.py",)
FOLD_AT = 6


@pytest.fixture(autouse=True)
def _short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few rows fill a page, so that there are few steps to try."""
    monkeypatch.setattr(module, "FOLD_AT", FOLD_AT)


def full() -> Journal[int, int]:
    """Return a journal of which the next row makes it fold."""
    journal = Journal[int, int](0, lambda total, rows: total + sum(rows))
    for _ in range(FOLD_AT - 1):
        journal.add(1)
    return journal


@pytest.fixture
def _hasty() -> Iterator[None]:
    """Threads change places as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_rows_are_added_up() -> None:
    """The totals are of all rows, folded or not."""
    journal = full()
    assert journal.totals == FOLD_AT - 1
    for _ in range(3 * FOLD_AT):
        journal.add(2)
    assert journal.totals == FOLD_AT - 1 + 6 * FOLD_AT


def test_rows_do_not_pile_up() -> None:
    """If nobody reads, memory is bounded all the same."""
    journal = full()
    for _ in range(20 * FOLD_AT):
        journal.add(1)
        assert len(journal._rows) <= FOLD_AT


class Using:
    """A use of a journal that is about to fold, and what was read of it."""

    def __init__(self, use: Callable[[Using], object]) -> None:
        self.journal = full()
        self.read: list[int] = []
        self._use = use

    def __call__(self) -> None:
        """Use it."""
        self._use(self)


def add(using: Using) -> None:
    """Add a row."""
    using.journal.add(1)


def read(using: Using) -> None:
    """Read the totals."""
    using.read.append(using.journal.totals)


def add_many(using: Using) -> None:
    """Add a page of rows."""
    for _ in range(FOLD_AT):
        using.journal.add(1)


def test_an_addition_in_the_middle_of_another_counts_once() -> None:
    """A handler that adds and reads at any point of an addition changes no other count."""

    def handle(using: Using) -> None:
        add_many(using)
        read(using)

    def check() -> None:
        for _, using in each_point(lambda: Using(add), JOURNAL, handle):
            assert using.journal.totals == 2 * FOLD_AT
            assert using.read[0] in (2 * FOLD_AT - 1, 2 * FOLD_AT)

    in_time(check)


def test_an_addition_in_the_middle_of_reading_counts_once() -> None:
    """A handler that adds at any point of a reading makes it neither wait nor count twice."""

    def check() -> None:
        for _, using in each_point(lambda: Using(read), JOURNAL, add_many):
            assert using.journal.totals == 2 * FOLD_AT - 1
            assert FOLD_AT - 1 <= using.read[0] <= using.journal.totals

    in_time(check)


def add_and_read(using: Using) -> None:
    """Add a row, and read the totals."""
    add(using)
    read(using)
    assert using.read == [FOLD_AT]


@pytest.mark.parametrize("use", [add, add_and_read])
def test_an_exception_at_any_point_loses_at_most_its_own_row(use: Callable[[Using], object]) -> None:
    """Ctrl-C at any point loses no row but the one that is being added, and nothing is left locked."""

    def check() -> None:
        for _, using in each_point(lambda: Using(use), JOURNAL):
            assert using.journal.totals in (FOLD_AT - 1, FOLD_AT)
            using.journal.add(1)
            assert using.journal.totals in (FOLD_AT, FOLD_AT + 1)

    in_time(check)


def test_a_reader_that_is_interrupted_at_each_point_comes_to_an_end() -> None:
    """A reader that others get ahead of all the time takes what they have counted."""
    journal = full()

    def get_ahead() -> None:
        journal.add(1)
        journal._turn()

    def check() -> None:
        points = Points(JOURNAL, get_ahead)
        total = points.of(lambda: journal.totals)
        assert points.passed > module.ATTEMPTS
        assert FOLD_AT - 1 <= total <= journal.totals

    in_time(check)


@pytest.mark.usefixtures("_hasty")
def test_threads_lose_and_double_no_row() -> None:
    """Eight threads add while two read: the total only grows, and is right in the end."""
    journal, done = full(), threading.Event()
    fell: list[tuple[int, int]] = []

    def add() -> None:
        for _ in range(3_000):
            journal.add(1)

    def read() -> None:
        last = 0
        while not done.is_set():
            total = journal.totals
            if total < last:
                fell.append((last, total))
            last = total

    readers = [threading.Thread(target=read) for _ in range(2)]
    adders = [threading.Thread(target=add) for _ in range(8)]
    for thread in (*readers, *adders):
        thread.start()
    for thread in adders:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    assert journal.totals == FOLD_AT - 1 + 8 * 3_000
    assert fell == []


@pytest.mark.usefixtures("_hasty")
def test_a_read_sees_what_its_own_thread_has_added() -> None:
    """While others fold, a thread that adds and then reads finds its row."""
    journal, missing = Journal[frozenset[int], int](frozenset(), lambda known, rows: known.union(rows)), []

    def add_and_read(mine: range) -> None:
        for number in mine:
            journal.add(number)
            if number not in journal.totals:
                missing.append(number)

    threads = [threading.Thread(target=add_and_read, args=(range(at, at + 300),)) for at in range(0, 1800, 300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert missing == []
    assert len(journal.totals) == 1800
