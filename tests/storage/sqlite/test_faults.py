"""Trouble with a SQLite file is told, reaches no call, and leaves the file as it is."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.programs import ROOT
from support.sqlite_files import found, put, recalled, until

from recallm import CacheConfig, SQLiteStorage, semantic_cache
from recallm.errors import UnusableFileError
from recallm.storage.sqlite import connections
from recallm.telemetry.log import LOG
from recallm.testing import FakeEmbedder

EMBEDDER = FakeEmbedder()


@pytest.fixture(autouse=True)
def talkative() -> None:
    """Have the log forget what it has said within the last minute."""
    LOG._logged_at.clear()


def cached(storage: SQLiteStorage, seconds: float = 5.0) -> Any:
    """Return a cached function; its storage may take its time, as the machine may be busy."""

    @semantic_cache(
        context={}, storage=storage, embedder=EMBEDDER, guards=(), config=CacheConfig(cache_timeout_seconds=seconds)
    )
    def answer(prompt: str) -> str:
        return f"answer to {prompt}"

    return answer


def hits(answer: Any, prompt: str) -> bool:
    """Return whether a call is a hit; its answer must be right either way."""
    before = answer.stats().hits
    assert answer(prompt) == f"answer to {prompt}"
    return bool(answer.stats().hits > before)


def made(path: Path, *prompts: str) -> Path:
    """Return the path of a file that holds entries."""
    storage = SQLiteStorage(path, timeout=20.0)
    for prompt in prompts:
        put(storage, prompt)
    # Nothing that goes on in the background changes what a test does to the file.
    until(lambda: not any(map(storage._reads.parts.upkeep.claims.is_claimed, ("checkpoint", "sweep"))))
    storage.close()
    return path


def another_program_s(path: Path) -> None:
    """Make a SQLite file with a table of somebody else's."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE accounts (name TEXT)")
        connection.execute("INSERT INTO accounts VALUES ('ada')")
        connection.commit()


def changed(path: Path, statement: str) -> None:
    """Make a storage's file, and change it."""
    with closing(sqlite3.connect(made(path, "one"))) as connection:
        connection.execute(statement)
        connection.commit()


UNUSABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "text": (lambda path: path.write_text("no database at all\n" * 100), "no SQLite file"),
    "another program's": (another_program_s, "of another program"),
    "another version's": (
        lambda path: changed(path, "PRAGMA user_version=2"),
        r"another version of recallm .*format 2",
    ),
    "with another table": (lambda path: changed(path, "CREATE TABLE more (a)"), "other tables"),
    "with a trigger": (
        lambda path: changed(path, "CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM ended; END"),
        "other tables",
    ),
    "without its first row": (lambda path: changed(path, "DELETE FROM state"), "first table"),
    "with an odd first row": (lambda path: changed(path, "UPDATE state SET wall_ms='late'"), "first table"),
    "with an odd time": (lambda path: changed(path, "UPDATE state SET wall_ms=1<<60"), "times"),
}
"""Files that are none of a storage's: how they are made, and what is told of them."""


@pytest.mark.parametrize("kind", UNUSABLE)
def test_a_file_that_is_no_storage_s_is_left_as_it_is(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Calls go to the function, the log tells why once, and no byte of the file changes."""
    path = tmp_path / "a.db"
    make, said = UNUSABLE[kind]
    make(path)
    before = path.read_bytes()
    storage = SQLiteStorage(path)
    answer = cached(storage)
    assert [hits(answer, "one") for _ in range(3)] == [False] * 3
    assert answer.stats().errors["storage"] >= 1
    for _ in range(2):
        with pytest.raises(UnusableFileError, match=said) if kind != "text" else pytest.raises(Exception):  # noqa: PT011
            storage.invalidate("n")
    storage.close()
    assert path.read_bytes() == before
    told = [record.getMessage() for record in caplog.records if str(path) in record.getMessage()]
    assert len(told) == len(set(told)) <= 2


def test_a_damaged_file_is_not_written_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Once a page is found damaged, nothing is served from the file or written to it; another file in its place is."""
    path = made(tmp_path / "a.db", *(f"prompt {number}" for number in range(300)))
    content = bytearray(path.read_bytes())
    for place in range(2 * 8192, len(content), 8192):
        content[place : place + 16] = b"\xa5" * 16
    path.write_bytes(content)
    storage = SQLiteStorage(path)
    with pytest.raises(sqlite3.DatabaseError, match="malformed"):
        storage.recall("n", "key")
    for _ in range(2):
        with pytest.raises(UnusableFileError, match="damaged"):
            storage.invalidate("n")
    assert path.read_bytes() == content
    assert "damaged" in caplog.text
    path.unlink()
    put(storage, "one")
    assert recalled(storage, "one") is not None


def test_an_entry_that_the_disk_has_changed_is_not_served(tmp_path: Path) -> None:
    """An answer in which one bit is another one is neither recalled nor found."""
    storage = SQLiteStorage(made(tmp_path / "a.db", "one", "two"))
    with closing(sqlite3.connect(storage.path)) as connection:
        ((payload,),) = connection.execute("SELECT payload FROM entries WHERE prompt=?", (b"one",))
        connection.execute("UPDATE entries SET payload=? WHERE prompt=?", (payload[:-1] + b"D", b"one"))
        connection.commit()
    assert recalled(storage, "one") is None
    assert found(storage, "one") == []
    assert recalled(storage, "two") is not None
    assert found(storage, "two") == ["two"]


def test_a_file_that_another_keeps_locked_delays_nobody_for_long(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """While another writes for long, answers are served, and those that cannot be stored are bypasses."""
    storage = SQLiteStorage(tmp_path / "a.db")
    answer = cached(storage)
    assert [hits(answer, "one") for _ in range(2)] == [False, True]
    with closing(sqlite3.connect(storage.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        assert [hits(answer, "one") for _ in range(3)] == [True] * 3
        assert not hits(answer, "two")
        assert time.monotonic() - began < 3.0
        assert answer.stats().errors["storage"] == 1
        assert "keeps it locked" in caplog.text
        other.execute("ROLLBACK")
    assert [hits(answer, "two") for _ in range(2)] == [False, True]


def test_a_removal_waits_longer_than_a_put(tmp_path: Path) -> None:
    """A removal that finds the file locked happens when the other has done, though a put would have given up."""
    storage = SQLiteStorage(tmp_path / "a.db", timeout=0.001)
    put(storage, "one")
    with closing(sqlite3.connect(storage.path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            put(storage, "two")
        threading.Timer(0.3, lambda: other.execute("ROLLBACK")).start()
        assert storage.invalidate("n") == 1
    assert recalled(storage, "one") is None


@contextmanager
def small_disk() -> Iterator[Path]:
    """Give a folder on a disk of one megabyte."""
    folder = Path(tempfile.mkdtemp())
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        folder.rmdir()
        pytest.skip("this user may not mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)
        folder.rmdir()


def test_a_full_disk_loses_no_answer_that_was_stored(caplog: pytest.LogCaptureFixture) -> None:
    """On a full disk what was stored is served, what is new is not stored, and with room again it is."""
    with small_disk() as folder:
        storage = SQLiteStorage(folder / "a.db")
        answer = cached(storage)
        number = 0
        while not answer.stats().errors.get("storage"):
            answer(f"a prompt of its own {number} {'x' * 5000}")
            number += 1
            assert number < 1000
        assert "no room left on the disk" in caplog.text
        assert hits(answer, f"a prompt of its own 0 {'x' * 5000}")
        for _ in range(5):
            answer(f"another prompt {_} {'y' * 5000}")
        with closing(sqlite3.connect(storage.path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        subprocess.run(["mount", "-o", "remount,size=8m", str(folder)], check=True)
        until(lambda: hits(answer, "a last one, when there is room"))
        storage.close()


def run(program: str, path: Path, *, obeying: bool = False, **options: Any) -> str:
    """Return what a program prints that has a storage on a file; it obeys permissions if need be, though it is root."""
    beginning = (
        "import logging, sys\nfrom pathlib import Path\nfrom recallm import SQLiteStorage\n"
        "from support.sqlite_files import found, put, recalled\nlogging.basicConfig(stream=sys.stdout)\n"
        "storage = SQLiteStorage(Path(sys.argv[1]))\n"
    )
    if obeying and os.geteuid() == 0:
        beginning += "from support.confined import obey_permissions\nobey_permissions()\n"
    done = subprocess.run(
        [sys.executable, "-c", beginning + program, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PYTHONDONTWRITEBYTECODE": "1"},
        **options,
    )
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def test_a_disk_that_fails_to_write_is_told_and_harms_nothing(tmp_path: Path) -> None:
    """A write that the system refuses in its middle is an error of that put; the file stays sound."""
    path = made(tmp_path / "a.db", "one")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    program = (
        "import sqlite3\nraised = set()\nfor number in range(300):\n"
        "    try:\n        put(storage, f'{number} ' + 'x' * 2000)\n"
        "    except sqlite3.OperationalError as error:\n        raised.add(error.sqlite_errorname)\n"
        "print(raised, recalled(storage, 'one') is not None)\n"
    )
    printed = run(program, path, preexec_fn=limit)
    assert "SQLITE_IOERR_WRITE" in printed or "SQLITE_FULL" in printed
    assert printed.rstrip().endswith("True")
    assert "the disk fails" in printed or "no room" in printed
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """Give a folder that every user may read."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


READS = (
    "first, second = storage.recall('n', ''), put\n"
    "kept = storage.put(__import__('recallm.testing.fakes').testing.fakes.fake_entry('two'), first.epoch, None).kept\n"
    "print(recalled(storage, 'one') is not None, found(storage, 'one'), kept)\n"
    "try:\n    storage.invalidate('n')\nexcept OSError as error:\n    print(type(error).__mro__[1].__name__)\n"
)


@pytest.mark.parametrize("is_folder_writable", [False, True])
@pytest.mark.parametrize("is_open_elsewhere", [False, True])
def test_a_file_that_may_only_be_read_serves_and_stores_nothing(
    public_folder: Path, is_folder_writable: bool, is_open_elsewhere: bool
) -> None:
    """Its entries are served, a put is not kept, a removal raises, and the log tells once."""
    path = made(public_folder / "a.db", "one")
    other = SQLiteStorage(path) if is_open_elsewhere else None
    if other is not None:
        put(other, "three")
    for each in public_folder.iterdir():
        each.chmod(0o444)
    public_folder.chmod(0o777 if is_folder_writable else 0o555)
    before = path.stat().st_mtime_ns  # to close the file here would end the locks of `other`
    printed = run(READS, path, obeying=True)
    public_folder.chmod(0o755)
    assert "True ['one'] False" in printed
    assert "UnusableFileError" in printed
    assert printed.count("may not write it") == 1
    assert path.stat().st_mtime_ns == before
    if other is not None:
        other.close()


def test_a_file_that_cannot_be_made_is_told(public_folder: Path) -> None:
    """In a folder that may not be written, each operation raises, and the log says why."""
    public_folder.chmod(0o555)
    program = (
        "for _ in range(2):\n    try:\n        storage.recall('n', '')\n    except OSError as error:\n"
        "        print(type(error).__name__)\n"
    )
    printed = run(program, public_folder / "a.db", obeying=True)
    public_folder.chmod(0o755)
    assert printed.count("PermissionError") == 2
    assert printed.count("Permission denied") == 1
    assert list(public_folder.iterdir()) == []


def test_what_may_be_written_again_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A storage that could only read stores again once it may write."""
    path = made(tmp_path / "a.db", "one")
    storage = SQLiteStorage(path)
    monkeypatch.setattr(connections, "is_writable", lambda path: False)
    assert recalled(storage, "one") is not None
    assert not storage.put(recalled(storage, "one").entry, storage.recall("n", "").epoch, None).kept  # type: ignore[union-attr]
    monkeypatch.undo()
    put(storage, "two")
    assert recalled(storage, "two") is not None
