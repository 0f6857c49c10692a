"""Many at once on one SQLite file see each other's changes, and nothing that somebody wanted gone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.churn import churn

from recallm import SQLiteStorage
from recallm.storage.base import StorageBackend
from recallm.testing.fakes import fake_entry
from recallm.testing.threads import run_at_once


def stored(storage: StorageBackend, *prompts: str, **fields: Any) -> None:
    """Store an entry of each prompt."""
    for prompt in prompts:
        entry = fake_entry(prompt, **fields)
        assert storage.put(entry, storage.recall("n", "").epoch, None).kept


def found(storage: StorageBackend, prompt: str) -> list[str]:
    """Return the prompts of the entries that are as similar to a prompt as that is to itself."""
    vector = fake_entry(prompt).vector
    assert vector is not None
    return [each.entry.prompt for each in storage.search("n", "p", vector, 0.99, 16)]


def test_two_storages_see_each_others_changes_at_once(tmp_path: Path) -> None:
    """An entry that one stores, replaces, removes or invalidates is so for another's next look-up."""
    one, other = SQLiteStorage(tmp_path / "a.db"), SQLiteStorage(tmp_path / "a.db", max_entries=100)
    entry = fake_entry("one two three")
    assert found(other, entry.prompt) == []
    stored(one, entry.prompt)
    assert found(other, entry.prompt) == [entry.prompt]
    stored(other, entry.prompt, tokens=5)
    candidate = one.recall("n", entry.key).candidate
    assert candidate is not None
    assert candidate.entry.tokens == 5
    assert found(one, entry.prompt) == [entry.prompt]
    one.remove("n", [entry.key])
    assert found(other, entry.prompt) == []
    stored(other, entry.prompt)
    one.invalidate("n")
    assert found(other, entry.prompt) == []
    assert other.recall("n", entry.key).candidate is None


def test_an_answer_computed_across_an_invalidation_by_another_is_not_kept(tmp_path: Path) -> None:
    """An answer is not stored if another process invalidated its namespace, or removed from it, meanwhile."""
    one, other = SQLiteStorage(tmp_path / "a.db"), SQLiteStorage(tmp_path / "a.db")
    entry = fake_entry()
    ends: list[Callable[[], int]] = [lambda: other.invalidate("n"), lambda: other.remove("n", ["absent"])]
    for end in ends:
        epoch = one.recall("n", entry.key).epoch
        end()
        assert not one.put(entry, epoch, None).kept
    assert found(one, entry.prompt) == []


def test_a_copy_of_a_file_that_goes_its_own_way_has_other_epochs(tmp_path: Path) -> None:
    """Of two files that were one, each invalidated once, neither has the other's epoch."""
    one = SQLiteStorage(tmp_path / "a.db")
    stored(one, "hello")
    one.close()
    (tmp_path / "b.db").write_bytes((tmp_path / "a.db").read_bytes())
    other = SQLiteStorage(tmp_path / "b.db")
    assert one.recall("n", "").epoch == other.recall("n", "").epoch
    for storage in (one, other):
        storage.invalidate("n")
    assert one.recall("n", "").epoch != other.recall("n", "").epoch


@pytest.mark.usefixtures("restless")
def test_many_may_make_the_same_file(tmp_path: Path) -> None:
    """Of threads whose storages make one file at the same time, each finds what all of them store."""
    for turn in range(10):
        storages = [SQLiteStorage(tmp_path / f"{turn}.db", timeout=20.0) for _ in range(6)]
        run_at_once([partial(stored, storage, f"of {number}") for number, storage in enumerate(storages)])
        assert [storage.sizes(["n"]) for storage in storages] == [{"n": 6}] * 6
        for storage in storages:
            storage.close()


def test_an_invalidation_comes_through_whoever_stores(tmp_path: Path) -> None:
    """An invalidation succeeds while four threads keep storing, and removes what was stored before it."""
    storage, stop = SQLiteStorage(tmp_path / "a.db", timeout=20.0), threading.Event()
    problems: list[BaseException] = []

    def keep_storing(who: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            entry = fake_entry(f"entry {who} {number}")
            try:
                storage.put(entry, storage.recall("n", "").epoch, 60.0)
            except BaseException as error:  # noqa: BLE001  # reported below
                problems.append(error)

    threads = [threading.Thread(target=keep_storing, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    try:
        for number in range(10):
            entry = fake_entry(f"before {number}")
            storage.put(entry, storage.recall("n", "").epoch, None)
            storage.invalidate("n")
            assert storage.recall("n", entry.key).candidate is None
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert problems == []


@pytest.mark.slow
def test_four_processes_at_once_find_nothing_wrong(tmp_path: Path) -> None:
    """Four processes that read, write and invalidate see no error, no wrong entry and true sizes."""
    churned = churn(partial(SQLiteStorage, tmp_path / "a.db", timeout=20.0), seconds=3.0, processes=4)
    assert churned.problems == []
    assert churned.sizes == churned.recalled
    assert min(churned.done.values()) > 0
