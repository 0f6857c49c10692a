"""A SQLite storage whose operations are cut short, or meet others of the same thread in their middle."""

from __future__ import annotations

import gc
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from support.interrupting import each_point
from support.sqlite_files import found, put, recalled, until

from recallm import SQLiteStorage
from recallm.storage.sqlite import connections
from recallm.testing.fakes import fake_entry

STORAGE = ("storage/sqlite", "index/mirrors")

ACTS: dict[str, Callable[[SQLiteStorage], object]] = {
    "put": lambda storage: put(storage, "one seven"),
    "put again": lambda storage: put(storage, "one two", tokens=9),
    "recall": lambda storage: recalled(storage, "one two"),
    "search": lambda storage: found(storage, "two one"),
    "remove": lambda storage: storage.remove("n", [fake_entry("one two").key]),
    "invalidate": lambda storage: storage.invalidate("n"),
    "sizes": lambda storage: storage.sizes(["n", "m"]),
    "list": lambda storage: list(storage.entries("n")),
    "sweep": lambda storage: storage._writes.sweep(),
}
PROMPTS = ("one two", "one three", "one four", "one seven")


@pytest.fixture
def begin(tmp_path: Path) -> Callable[[Callable[[SQLiteStorage], object]], Callable[[], Work]]:
    """Return what makes work on a storage of a file of its own, which holds some entries."""
    filled = SQLiteStorage(tmp_path / "filled.db", max_entries=5)
    for prompt in PROMPTS[:3]:
        put(filled, prompt)
    put(filled, "one five", namespace="m")
    filled.close()
    numbers = count()

    def of(act: Callable[[SQLiteStorage], object]) -> Callable[[], Work]:
        def make() -> Work:
            path = tmp_path / f"{next(numbers)}.db"
            shutil.copy(tmp_path / "filled.db", path)
            return Work(SQLiteStorage(path, max_entries=5), act)

        return make

    return of


class Work:
    """An operation on a storage."""

    def __init__(self, storage: SQLiteStorage, act: Callable[[SQLiteStorage], object]) -> None:
        self.storage = storage
        self.act = act

    def __call__(self) -> object:
        """Perform it."""
        return self.act(self.storage)


def assert_sound(storage: SQLiteStorage) -> None:
    """What is there is counted and found, new entries are taken, and an invalidation removes all of them."""
    there = [prompt for prompt in PROMPTS if recalled(storage, prompt) is not None]
    assert storage.sizes(["n"]).get("n", 0) == len(there)
    assert sorted(each.entry.prompt for each in storage.entries("n")) == sorted(there)
    for prompt in there:
        assert prompt in found(storage, prompt)
    epoch = storage.recall("n", "").epoch
    put(storage, "a new one")
    assert found(storage, "a new one") == ["a new one"]
    assert storage.invalidate("n") >= 1
    assert storage.sizes(["n"]) == {}
    assert not storage.put(fake_entry("late"), epoch, None).kept
    with closing(sqlite3.connect(storage.path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        ((total, entries),) = connection.execute("SELECT total, (SELECT count(*) FROM entries) FROM state")
        assert total == entries


@pytest.mark.parametrize("act", ACTS)
def test_whatever_is_cut_short_leaves_a_sound_storage(
    act: str, begin: Callable[[Callable[[SQLiteStorage], object]], Callable[[], Work]]
) -> None:
    """Wherever an exception comes, the file is sound, nothing stays locked, and no connection is left open."""
    points = 0
    for _, work in each_point(begin(ACTS[act]), STORAGE, stride=23):
        points += 1
        assert_sound(work.storage)
        work.storage.close()
        del work
    assert points > 3
    # What goes on in the background comes to its end.
    until(lambda: gc.collect() >= 0 and len(connections._connections) <= 2)


@pytest.mark.parametrize("act", ["put", "put again", "remove", "invalidate"])
def test_what_is_cut_short_has_happened_or_has_not(
    act: str, begin: Callable[[Callable[[SQLiteStorage], object]], Callable[[], Work]]
) -> None:
    """Wherever an exception comes, another process finds all that the operation was to do, or nothing of it."""
    make = begin(ACTS[act])
    before, done = make(), make()
    done()
    states = [state(work.storage) for work in (before, done)]
    for _, work in each_point(make, STORAGE, stride=17):
        assert state(SQLiteStorage(work.storage.path)) in states
        work.storage.close()


def state(storage: SQLiteStorage) -> dict[str, int | None]:
    """Return the tokens of each prompt's entry, or None if there is none."""
    candidates = {prompt: recalled(storage, prompt) for prompt in PROMPTS}
    return {prompt: each and each.entry.tokens for prompt, each in candidates.items()}


@pytest.mark.parametrize("nested", ["recall", "search", "sizes"])
@pytest.mark.parametrize("act", ["put again", "search", "remove", "invalidate"])
def test_look_ups_in_the_middle_find_what_is_there(
    act: str, nested: str, begin: Callable[[Callable[[SQLiteStorage], object]], Callable[[], Work]]
) -> None:
    """All along an operation a finalizer or signal handler of the same thread may look entries up."""
    for _, work in each_point(begin(ACTS[act]), STORAGE, lambda work: ACTS[nested](work.storage), stride=37):
        assert_sound(work.storage)
        work.storage.close()


def test_a_removal_in_the_middle_of_a_put_waits_no_longer_than_it_may(
    begin: Callable[[Callable[[SQLiteStorage], object]], Callable[[], Work]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finalizer that removes while its own thread stores has done so, or is told that it has not."""
    monkeypatch.setattr(connections, "REMOVAL_SECONDS", 0.01)
    outcomes = set()

    def remove(work: Work) -> None:
        try:
            work.storage.invalidate("n")
        except sqlite3.OperationalError:
            outcomes.add("told")
        else:
            outcomes.add("removed")

    def act(storage: SQLiteStorage) -> None:
        storage.put(fake_entry("one seven"), storage.recall("n", "").epoch, None)

    for _, work in each_point(begin(act), STORAGE, remove, stride=13):
        assert_sound(work.storage)
        work.storage.close()
    assert outcomes == {"told", "removed"}
