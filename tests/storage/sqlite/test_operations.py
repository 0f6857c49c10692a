"""What a SQLite storage reads, stores, evicts, sweeps and lists."""

from __future__ import annotations

import sqlite3
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.sqlite_files import found, put, recalled, until

from recallm import SQLiteStorage
from recallm.errors import InvalidValueError
from recallm.storage.base import Search
from recallm.storage.sqlite import connections, mirror, tagging, writes
from recallm.storage.sqlite.connections import Connection
from recallm.testing.fakes import fake_entry

MANY = [f"prompt number {number}" for number in range(120)]


def rows(storage: SQLiteStorage, query: str) -> Any:
    """Return the only value that a query of the file gives."""
    with closing(sqlite3.connect(storage.path)) as connection:
        ((value,),) = connection.execute(query)
        return value


def test_one_look_up_finds_the_prompt_or_what_is_similar(tmp_path: Path) -> None:
    """An exact look-up that searches too returns the entry alone if it is there, and otherwise what is similar."""
    storage = SQLiteStorage(tmp_path / "a.db")
    put(storage, "one two three")
    entry, absent = fake_entry("one two three"), fake_entry("three two one")
    assert absent.vector is not None
    search = Search("n", "p", absent.vector, 0.9, 16)
    assert storage.recall_and_search("n", entry.key, search).similar is None
    recalled_one = storage.recall_and_search("n", absent.key, search)
    assert recalled_one.candidate is None
    assert [each.entry.prompt for each in recalled_one.similar or ()] == ["one two three"]


def test_a_bound_evicts_what_was_used_least_recently(tmp_path: Path) -> None:
    """With the bound reached, the entry that was looked up longest ago makes room, by key or by similarity."""
    storage = SQLiteStorage(tmp_path / "a.db", max_entries=3)
    for prompt in ("one", "two", "three"):
        assert put(storage, prompt) == 0
    assert recalled(storage, "one") is not None
    assert found(storage, "two") == ["two"]
    assert put(storage, "four") == 1
    assert recalled(storage, "three") is None
    assert [recalled(storage, prompt) is not None for prompt in ("one", "two", "four")] == [True] * 3
    assert put(storage, "two") == 0
    assert storage.sizes(["n"]) == {"n": 3}


def test_what_is_out_of_reach_makes_room_first(tmp_path: Path) -> None:
    """Entries that were invalidated, and not yet swept, are no reason to evict live ones."""
    storage = SQLiteStorage(tmp_path / "a.db", max_entries=4)
    for prompt in ("one", "two", "three"):
        put(storage, prompt, namespace="m")
    storage.invalidate("m")
    for prompt in ("four", "five", "six", "seven"):
        assert put(storage, prompt) == 0
    assert put(storage, "eight") == 1


def test_a_lower_bound_is_reached_by_and_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the file holds far more than the bound, each put evicts a number of entries until it is kept."""
    monkeypatch.setattr(writes, "EVICTED_AT_ONCE", 5)
    wide = SQLiteStorage(tmp_path / "a.db")
    for prompt in MANY[:20]:
        put(wide, prompt)
    narrow = SQLiteStorage(tmp_path / "a.db", max_entries=3)
    assert [put(narrow, f"another {number}") for number in range(6)] == [5, 5, 5, 5, 2, 1]
    assert narrow.sizes(["n"]) == {"n": 3}


def test_uses_are_written_down_when_there_are_many(tmp_path: Path) -> None:
    """Look-ups without puts are written down in the background, and their memory is bounded."""
    storage = SQLiteStorage(tmp_path / "a.db", max_entries=2000)
    for number in range(1100):
        put(storage, f"{number}", vector=None)
    before = rows(storage, "SELECT uses FROM state")
    for number in range(1100):
        assert recalled(storage, f"{number}", vector=None) is not None
    until(lambda: rows(storage, "SELECT uses FROM state") >= before + 1024)


def test_invalidated_entries_leave_the_file(tmp_path: Path) -> None:
    """After an invalidation the entries are deleted, with all that led to them, and their room is given back."""
    storage = SQLiteStorage(tmp_path / "a.db")
    for number in range(250):
        put(storage, f"{number} {'x' * 2000}")
    storage._writes.checkpoint()
    before = rows(storage, "SELECT page_count FROM pragma_page_count")
    assert storage.invalidate("n") == 250
    until(lambda: not storage._reads.parts.upkeep.claims.is_claimed("sweep"))
    assert rows(storage, "SELECT count(*) FROM entries") == 0
    assert rows(storage, "SELECT count(*) FROM shelves") + rows(storage, "SELECT count(*) FROM ended") == 0
    assert rows(storage, "SELECT total FROM state") == 0
    assert rows(storage, "SELECT page_count FROM pragma_page_count") < before / 2


def test_all_the_room_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much was invalidated, the file shrinks to what is left of it."""
    monkeypatch.setattr(writes, "GIVEN_BACK_AT_ONCE", 3)
    storage = SQLiteStorage(tmp_path / "a.db")
    for number in range(100):
        put(storage, f"{number} {'x' * 4000}")
    storage.invalidate("n")
    until(lambda: not storage._reads.parts.upkeep.claims.is_claimed("sweep"))
    assert rows(storage, "SELECT freelist_count FROM pragma_freelist_count") <= 3


def test_a_log_begins_anew_though_it_was_never_written_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long log begins anew, though its end is not written in the background, as when others always write."""
    monkeypatch.setattr(writes, "LONG_LOG_PAGES", 1)
    storage, other = SQLiteStorage(tmp_path / "a.db"), SQLiteStorage(tmp_path / "a.db")
    put(other, "one")
    with ExitStack() as stack:

        class Checkpointing(Connection):
            def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
                done = super().execute(sql, *parameters)
                if "PASSIVE" in sql:
                    stack.close()  # too late for what it kept from being written
                return done

        stack.enter_context(other._pool.reading()).execute("SELECT count(*) FROM entries").fetchall()
        put(other, "two")
        began = log_number(storage)
        monkeypatch.setattr(connections, "Connection", Checkpointing)
        storage._writes.checkpoint()
    put(other, "three")
    assert log_number(storage) != began
    assert [recalled(storage, prompt) is not None for prompt in ("one", "two", "three")] == [True] * 3


def log_number(storage: SQLiteStorage) -> bytes:
    """Return what says in the log how often it has begun anew."""
    return storage.path.with_name("a.db-wal").read_bytes()[12:16]


def test_namespaces_without_entries_are_forgotten_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of too many namespaces the oldest empty ones share an epoch, which none of them ever had."""
    monkeypatch.setattr(writes, "MAX_NAMESPACES", 16)
    storage = SQLiteStorage(tmp_path / "a.db")
    put(storage, "one", namespace="kept")
    seen = {}
    for number in range(40):
        storage.invalidate(f"n{number}")
        seen[f"n{number}"] = storage.recall(f"n{number}", "").epoch
    storage._writes.sweep()
    assert rows(storage, "SELECT count(*) FROM namespaces") <= 16
    assert recalled(storage, "one", namespace="kept") is not None
    now = {name: storage.recall(name, "").epoch for name in seen}
    forgotten = [name for name in seen if now[name] != seen[name]]
    assert len(forgotten) >= 24
    assert not {now[name] for name in forgotten} & set(seen.values())
    assert not storage.put(fake_entry(namespace=forgotten[0]), seen[forgotten[0]], None).kept


def test_a_large_partition_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that starts late finds all entries after a while, and at once if it asks for all."""
    monkeypatch.setattr(mirror, "CHUNK", 50)
    storage = SQLiteStorage(tmp_path / "a.db")
    for prompt in MANY:
        put(storage, prompt)
    late = SQLiteStorage(tmp_path / "a.db")
    until(lambda: found(late, MANY[-1]) == [MANY[-1]])
    later = SQLiteStorage(tmp_path / "a.db")
    vector = fake_entry(MANY[-1]).vector
    assert vector is not None
    assert len(later.search("n", "p", vector, -1.0, None)) == len(MANY)


def test_what_is_stored_after_an_older_copy_was_restored_is_found(tmp_path: Path) -> None:
    """Entries that get numbers anew, as an older copy was written into the file, are found by similarity."""
    ours, theirs = SQLiteStorage(tmp_path / "a.db"), SQLiteStorage(tmp_path / "a.db")
    put(ours, "one two")
    with closing(sqlite3.connect(ours.path)) as file, closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        file.backup(copy)
        for prompt in MANY[:10]:
            put(ours, prompt)
        assert found(ours, "two one") == ["one two"]
        copy.backup(file)
    put(theirs, "three four")
    until(lambda: found(ours, "four three") == ["three four"])
    assert found(ours, "two one") == ["one two"]


def test_mirrors_take_no_more_memory_than_they_may(tmp_path: Path) -> None:
    """Over the limit the least recently used partitions are dropped, and read again if they are needed."""
    storage = SQLiteStorage(tmp_path / "a.db", mirror_bytes=20_000)
    for number, prompt in enumerate(MANY):
        put(storage, prompt, partition=f"p{number % 10}")
    mirrors = storage._reads.parts.mirrors
    for _ in range(2):
        for number in range(10):
            assert found(storage, MANY[number], partition=f"p{number}") == [MANY[number]]
            assert mirrors.size_bytes <= 20_000


def test_a_mirror_forgets_what_the_process_itself_stored_and_the_bound_evicted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that stores for ever under a bound takes the memory of the entries that are left, and not of all."""
    monkeypatch.setattr(mirror, "CHUNK", 10)
    storage = SQLiteStorage(tmp_path / "a.db", max_entries=10)
    for prompt in MANY:
        found(storage, prompt)
        put(storage, prompt)
    (only,) = storage._reads.parts.mirrors._mirrors.values()
    assert len(only) <= 30


def test_many_entries_that_are_gone_hide_none_that_is_there(tmp_path: Path) -> None:
    """A search finds what is left, though another storage has removed all that was more similar, and forgets that."""
    storage, other = SQLiteStorage(tmp_path / "a.db"), SQLiteStorage(tmp_path / "a.db")
    for number in range(100):
        put(storage, f"the same words {'!' * number}")
    put(storage, "the same other")
    assert len(found(storage, "the same words")) == 1
    other.remove("n", [fake_entry(f"the same words {'!' * number}").key for number in range(100)])
    assert found(storage, "the same words", 0.3) == ["the same other"]


def test_a_vector_that_is_not_the_entry_s_own_finds_nothing(tmp_path: Path) -> None:
    """Similarity is computed from the vector in the file: a mirror that is out of date serves nothing wrong."""
    storage = SQLiteStorage(tmp_path / "a.db")
    put(storage, "one")
    assert found(storage, "one") == ["one"]
    stale = fake_entry("something else entirely").vector
    assert stale is not None
    (known,) = storage._reads.parts.mirrors._mirrors.values()
    known.add(known.names()[0], stale)
    assert found(storage, "something else entirely") == []


ODD: dict[str, Any] = {
    "facts": b"[]",
    "prompt": "text",
    "payload": None,
    "vector": b"\x00" * 64,
    "signature": b"",
    "key": b"another",
    "shelf": 99,
    "generation": 1,
}


@pytest.mark.parametrize("column", ODD)
def test_odd_rows_are_never_served(column: str, tmp_path: Path) -> None:
    """A row in which anything was changed is neither recalled nor listed, nor found if its answer may be another's."""
    storage = SQLiteStorage(tmp_path / "a.db")
    put(storage, "one")
    with closing(sqlite3.connect(storage.path)) as connection:
        connection.execute(f"UPDATE entries SET {column}=?", (ODD[column],))  # noqa: S608  # a column of this test
        connection.commit()
    late = SQLiteStorage(tmp_path / "a.db")
    for each in (storage, late):
        if column != "shelf":
            assert recalled(each, "one") is None
            assert list(each.entries("n")) == []
        if column not in ("key", "generation"):
            assert found(each, "one") == []


def test_values_beyond_all_bounds_are_not_read(tmp_path: Path) -> None:
    """A payload that no storage would have stored is not read into memory, whatever its signature."""
    storage = SQLiteStorage(tmp_path / "a.db", max_bytes=10_000)
    put(storage, "one")
    with closing(sqlite3.connect(storage.path)) as connection:
        connection.execute("UPDATE entries SET payload=zeroblob(50000000)")
        connection.commit()
    assert recalled(storage, "one") is None
    assert found(storage, "one") == []
    put(storage, "one")
    assert recalled(storage, "one") is not None


def test_an_entry_too_large_is_refused(tmp_path: Path) -> None:
    """Storing an entry over the limit raises an error that says what is allowed, and stores nothing."""
    storage = SQLiteStorage(tmp_path / "a.db", max_bytes=10)
    with pytest.raises(InvalidValueError, match="max_bytes"):
        put(storage, "a prompt that is too long")
    assert storage.sizes(["n"]) == {}


@pytest.mark.parametrize("name", ["", "a b", "é漢", "\ud800", "x" * 5000, "'; DROP TABLE entries; --", "nul\0"])
def test_names_may_be_any_text(name: str, tmp_path: Path) -> None:
    """Namespaces, partitions, keys and prompts come back as they were, halves of surrogate pairs included."""
    storage = SQLiteStorage(tmp_path / "a.db")
    vector = fake_entry("any").vector
    entry = fake_entry("any", namespace="n")._replace(namespace=f"n{name}", partition=name, key=f"k{name}", prompt=name)
    assert storage.put(entry, storage.recall(entry.namespace, "").epoch, None).kept
    candidate = storage.recall(entry.namespace, entry.key).candidate
    assert candidate is not None
    assert candidate.entry._replace(vector=None) == entry._replace(vector=None)
    assert vector is not None
    assert len(storage.search(entry.namespace, name, vector, 0.9, 4)) == 1
    assert list(storage.namespaces()) == [entry.namespace]


def put_tagged(storage: SQLiteStorage, prompt: str, *tags: str, began: float | None = None) -> bool:
    """Store an entry with tags, of a call that begins now unless told otherwise; return whether it was kept."""
    entry = fake_entry(prompt, tags=tags)
    epoch = storage.recall("n", "").epoch
    return storage.put_tagged(entry, epoch, None, time.perf_counter() if began is None else began).kept


def test_a_removal_by_tag_reaches_every_process(tmp_path: Path) -> None:
    """An answer of a call that began before another process removed its tag is not stored, and a later one is."""
    storage, other = SQLiteStorage(tmp_path / "a.db"), SQLiteStorage(tmp_path / "a.db")
    assert put_tagged(storage, "one", "doc:1", "doc:2")
    began = time.perf_counter()
    time.sleep(0.005)
    assert other.remove_tagged("doc:2") == 1
    assert recalled(storage, "one") is None
    assert not put_tagged(storage, "one", "doc:2", began=began)
    assert put_tagged(storage, "two", "doc:1", began=began)
    time.sleep(0.005)
    assert put_tagged(storage, "one", "doc:2")
    assert rows(storage, "SELECT count(*) FROM tags") == 2


def test_many_entries_of_a_tag_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More entries than are deleted at a time are all removed, and counted."""
    monkeypatch.setattr(writes, "AT_ONCE", 7)
    storage = SQLiteStorage(tmp_path / "a.db")
    for prompt in MANY[:25]:
        assert put_tagged(storage, prompt, "doc")
    assert put_tagged(storage, "apart", "other")
    assert storage.remove_tagged("doc") == 25
    assert storage.sizes(["n"]) == {"n": 1}


def test_of_too_many_removed_tags_none_counts_as_never_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once removed tags are forgotten, no answer whose call began before that is stored under any tag."""
    monkeypatch.setattr(tagging, "MAX_REMOVED_TAGS", 4)
    storage, began = SQLiteStorage(tmp_path / "a.db"), time.perf_counter()
    time.sleep(0.005)
    for number in range(9):
        storage.remove_tagged(f"doc:{number}")
    assert rows(storage, "SELECT count(*) FROM removed_tags") <= 6
    assert not put_tagged(storage, "one", "doc:0", began=began)
    time.sleep(0.005)
    assert put_tagged(storage, "one", "doc:0")


def test_a_removal_before_the_machine_was_started_refuses_nothing(tmp_path: Path) -> None:
    """A tag that was removed later than it is now was removed before a restart, which no call has survived."""
    storage = SQLiteStorage(tmp_path / "a.db")
    storage.remove_tagged("doc")
    with closing(sqlite3.connect(storage.path)) as connection:
        connection.execute("UPDATE removed_tags SET at_ms=at_ms+86400000")
        connection.commit()
    assert put_tagged(storage, "one", "doc")


def test_all_live_entries_are_listed(tmp_path: Path) -> None:
    """Listing yields each live entry of a namespace once, with its vector, and each namespace that has any."""
    storage = SQLiteStorage(tmp_path / "a.db")
    for prompt in MANY:
        put(storage, prompt)
    put(storage, "without", vector=None)
    put(storage, "other", namespace="m")
    put(storage, "gone", namespace="gone")
    storage.invalidate("gone")
    listed = list(storage.entries("n"))
    assert sorted(each.entry.prompt for each in listed) == sorted([*MANY, "without"])
    assert {each.similarity for each in listed} == {1.0}
    assert all(each.age >= 0 for each in listed)
    expected = fake_entry(MANY[0]).vector
    (first,) = (each.entry.vector for each in listed if each.entry.prompt == MANY[0])
    assert expected is not None
    assert first is not None
    assert np.array_equal(first, expected)
    assert sorted(storage.namespaces()) == ["m", "n"]
    assert list(storage.entries("absent")) == []


def test_a_list_ends_with_its_namespace(tmp_path: Path) -> None:
    """Entries may be stored and removed while they are listed; after an invalidation no more are yielded."""
    storage = SQLiteStorage(tmp_path / "a.db")
    for prompt in MANY:
        put(storage, prompt)
    listing = storage.entries("n")
    next(listing)
    put(storage, "another")
    storage.invalidate("n")
    assert len(list(listing)) < len(MANY)
