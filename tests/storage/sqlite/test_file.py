"""The file of a SQLite storage: its name, who may read it, and what comes of another file in its place."""

from __future__ import annotations

import os
import pickle
import shutil
import sqlite3
import stat
import threading
from pathlib import Path

import pytest
from support.sqlite_files import found, put, recalled

import recallm
from recallm import SQLiteStorage
from recallm.errors import InvalidTypeError, InvalidValueError
from recallm.storage.sqlite.connections import Pool
from recallm.storage.sqlite.storage import from_url


@pytest.mark.parametrize(
    "name", ["answers", "a b.db", "what?.db", "#1 100%.db", "é ü 漢字.db", "file:a.db", "'\"`;--.db"]
)
def test_a_file_may_have_any_name(name: str, tmp_path: Path) -> None:
    """Whatever characters a path has, it names one file, and the storage on it keeps its entries there."""
    put(SQLiteStorage(tmp_path / name), "one")
    assert {path.name.removesuffix("-wal").removesuffix("-shm") for path in tmp_path.iterdir()} == {name}
    assert recalled(SQLiteStorage(str(tmp_path / name)), "one") is not None


@pytest.mark.parametrize(
    ("path", "error", "said"),
    [
        (":memory:", InvalidValueError, "memory://"),
        ("", InvalidValueError, "blank"),
        ("/", InvalidValueError, "folder"),
        ("/nowhere/at/all.db", InvalidValueError, "no folder"),
        ("a\0b", InvalidValueError, "null"),
        (b"a.db", InvalidTypeError, "bytes"),
        (None, InvalidTypeError, "None"),
    ],
)
def test_what_can_be_no_file_is_refused_at_once(path: object, error: type[Exception], said: str) -> None:
    """A path that can name no file raises when the storage is made, and says what to write instead."""
    with pytest.raises(error, match=said):
        SQLiteStorage(path)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options", [{"max_entries": 0}, {"timeout": 0}, {"secret": "short"}, {"max_bytes": 0}, {"mirror_bytes": 0}]
)
def test_options_are_checked(options: dict[str, object], tmp_path: Path) -> None:
    """An option out of its range raises when the storage is made, and no file is made."""
    with pytest.raises(InvalidValueError):
        SQLiteStorage(tmp_path / "a.db", **options)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_urls_name_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three slashes begin a relative path, four an absolute one, ``~`` stands for the home folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    assert from_url("sqlite:///answers.db").path == tmp_path / "answers.db"
    assert from_url(f"sqlite:///{tmp_path}/a.db").path == tmp_path / "a.db"
    assert from_url("sqlite://~/a.db").path == from_url("sqlite:///~/a.db").path == tmp_path / "home" / "a.db"
    assert from_url("sqlite:///a%20b%3F.db").path == tmp_path / "a b?.db"
    assert from_url("sqlite:///a.db?max_entries=7").max_entries == 7
    assert isinstance(recallm.get_storage("sqlite:///answers.db"), SQLiteStorage)
    for url in ("sqlite:///a.db?mode=ro", "sqlite://", "sqlite:///:memory:", "sqlite:///var/nowhere/a.db"):
        with pytest.raises(InvalidValueError):
            from_url(url)


def test_a_relative_path_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A storage keeps to its file though the program goes to another folder before its first use."""
    monkeypatch.chdir(tmp_path)
    storage = SQLiteStorage("a.db")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    put(storage, "one")
    assert (tmp_path / "a.db").exists()


def test_nothing_is_opened_before_the_first_use(tmp_path: Path) -> None:
    """To make a storage opens and makes no file."""
    SQLiteStorage(tmp_path / "a.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_only_the_owner_may_read_the_files(tmp_path: Path) -> None:
    """The file and the two beside it are readable by their owner only, whatever the process's mask says."""
    before = os.umask(0)
    try:
        storage = SQLiteStorage(tmp_path / "a.db")
        put(storage, "one")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"a.db": 0o600, "a.db-wal": 0o600, "a.db-shm": 0o600}


def test_links_lead_to_one_file(tmp_path: Path) -> None:
    """Storages on a link and on what it leads to share their entries, also if the file is made through the link."""
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "a.db")
    put(SQLiteStorage(link), "one")
    assert link.is_symlink()
    assert recalled(SQLiteStorage(tmp_path / "a.db"), "one") is not None


def test_a_file_that_is_deleted_is_made_anew(tmp_path: Path) -> None:
    """After its file is deleted a storage is empty, keeps no answer that was computed before, and stores new ones."""
    storage, other = SQLiteStorage(tmp_path / "a.db"), SQLiteStorage(tmp_path / "a.db")
    put(storage, "one two")
    assert found(other, "one two") == ["one two"]
    epoch = storage.recall("n", "").epoch
    (tmp_path / "a.db").unlink()
    assert found(other, "one two") == []
    candidate_epoch = storage.recall("n", "").epoch
    assert candidate_epoch != epoch
    put(storage, "one three")
    assert found(other, "one three") == ["one three"]
    assert found(other, "one two") == []


def test_a_file_in_the_place_of_another_is_used_instead(tmp_path: Path) -> None:
    """Once another storage's file has taken a file's place its entries are found, and those of the first are not."""
    storage, other = SQLiteStorage(tmp_path / "a.db"), SQLiteStorage(tmp_path / "b.db")
    put(storage, "one two")
    put(other, "one three")
    assert found(storage, "one two") == ["one two"]
    other.close()
    storage.close()
    (tmp_path / "b.db").replace(tmp_path / "a.db")
    assert found(storage, "one two") == []
    assert found(storage, "one three") == ["one three"]


def test_a_closed_storage_leaves_one_file_and_opens_it_again(tmp_path: Path) -> None:
    """After `close` all that was stored is in the one file; the next operation opens it."""
    storage = SQLiteStorage(tmp_path / "a.db")
    put(storage, "one")
    storage.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a.db"]
    assert recalled(storage, "one") is not None


def test_a_closed_file_holds_everything(tmp_path: Path) -> None:
    """Whoever copies the file of a closed storage has all entries, though a connection was in use for the upkeep."""
    storage = SQLiteStorage(tmp_path / "a.db")
    put(storage, "one two")
    reading, go_on = threading.Event(), threading.Event()

    def read() -> None:
        with storage._reads.parts.pool.outside():
            reading.set()
            go_on.wait(10)

    storage._upkeep.begin("checkpoint", read)
    assert reading.wait(10)
    threading.Timer(0.05, go_on.set).start()
    storage.close()
    shutil.copy(tmp_path / "a.db", tmp_path / "b.db")
    assert recalled(SQLiteStorage(tmp_path / "b.db"), "one two") is not None


def test_a_connection_that_did_not_open_is_not_closed(tmp_path: Path) -> None:
    """Where a file cannot be opened, nothing but its own error comes of it."""
    pool = Pool(tmp_path / "missing" / "a.db", 0.1, 1000, lambda: None)
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        pool._open("rw")


def test_a_storage_that_nobody_needs_closes_its_file(tmp_path: Path) -> None:
    """When a storage is gone, so are its connections."""
    storage = SQLiteStorage(tmp_path / "a.db")
    put(storage, "one")
    del storage
    assert [path.name for path in tmp_path.iterdir()] == ["a.db"]


def test_a_storage_that_is_sent_opens_the_file_for_itself(tmp_path: Path) -> None:
    """A storage may be pickled: its copy has the same options and shares the file."""
    storage = SQLiteStorage(tmp_path / "a.db", max_entries=5, secret=b"0123456789abcdef")
    put(storage, "one")
    copy = pickle.loads(pickle.dumps(storage))  # noqa: S301  # the test's own
    assert copy.max_entries == 5
    assert recalled(copy, "one") is not None
    assert "a.db" in repr(copy)


def test_entries_survive_the_storage(tmp_path: Path) -> None:
    """What one storage keeps, another that is made later finds, by its prompt and by similarity."""
    put(SQLiteStorage(tmp_path / "a.db"), "one two", seconds=1.5, tokens=7, fresh_for=60.0)
    storage = SQLiteStorage(tmp_path / "a.db")
    candidate = recalled(storage, "one two")
    assert candidate is not None
    assert (candidate.entry.seconds, candidate.entry.tokens, candidate.entry.fresh_for) == (1.5, 7, 60.0)
    assert found(storage, "two one") == ["one two"]


def test_entries_may_be_encrypted_and_signed(tmp_path: Path) -> None:
    """With `encrypt` neither prompt nor answer stands in the file, and another secret finds nothing."""

    def turned(text: bytes) -> bytes:
        return bytes(byte ^ 0x55 for byte in text)

    secret = b"0123456789abcdef"
    storage = SQLiteStorage(tmp_path / "a.db", encrypt=turned, decrypt=turned, secret=secret)
    put(storage, "a private prompt")
    assert found(storage, "a private prompt") == ["a private prompt"]
    for other in (None, b"fedcba9876543210"):
        assert recalled(SQLiteStorage(tmp_path / "a.db", secret=other), "a private prompt") is None
    storage.close()
    content = (tmp_path / "a.db").read_bytes()
    assert b"private prompt" not in content
    assert b"payload" not in content.partition(b"CREATE")[0]
