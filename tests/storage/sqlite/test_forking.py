"""Forks: no connection of a parent is used in its child, and both go on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.programs import ROOT

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

BEGINNING = """
import os, signal, sqlite3, sys, threading, time
from contextlib import closing
from recallm import SQLiteStorage
from support.sqlite_files import found, put, recalled

path = sys.argv[1]
storage = SQLiteStorage(path, timeout=20.0)
put(storage, "of the parent")

def forked(work) -> int:
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 2
        try:
            signal.alarm(30)  # ends a child that hangs
            status = work() or 0
        except BaseException as error:
            print(repr(error), flush=True)
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def is_sound() -> bool:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
"""


def run(program: str, path: Path) -> list[str]:
    """Return the lines that a program prints."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", BEGINNING + program, str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
    )
    assert done.returncode == 0, done.stderr
    assert "ResourceWarning" not in done.stderr
    return done.stdout.splitlines()


def test_a_child_shares_the_file(tmp_path: Path) -> None:
    """A child finds what its parent stored, by similarity too, and the parent what the child stores after the fork."""
    program = """
def work():
    assert found(storage, "of the parent") == ["of the parent"]
    put(storage, "of the child")
    assert forked(lambda: put(storage, "of its child")) == 0

assert found(storage, "of the parent") == ["of the parent"]
print(forked(work), found(storage, "of the child"), found(storage, "of its child"), is_sound())
"""
    assert run(program, tmp_path / "a.db") == ["0 ['of the child'] ['of its child'] True"]


def test_children_of_a_busy_process_share_the_file(tmp_path: Path) -> None:
    """Children forked at any moment while threads store and look up find nothing in use, and lose nothing."""
    program = """
from recallm.storage.sqlite import connections
connections.BLOCKED_BY_FORK_SECONDS = 30.0  # a busy machine is no reason to leave the file alone
stop = threading.Event()

def keep_working(number):
    turn = 0
    while not stop.is_set():
        turn += 1
        put(storage, f"{number} {turn % 20}")
        found(storage, f"{turn % 20} {number}")

threads = [threading.Thread(target=keep_working, args=(number,)) for number in range(3)]
for thread in threads:
    thread.start()

def work():
    assert recalled(storage, "of the parent") is not None
    put(storage, f"of {os.getpid()}")

statuses = {forked(work) for _ in range(15)}
stop.set()
for thread in threads:
    thread.join()
print(statuses, is_sound())
"""
    assert run(program, tmp_path / "a.db") == ["{0} True"]


def test_a_child_of_an_operation_that_takes_long_leaves_the_file_alone(tmp_path: Path) -> None:
    """If an operation is under way for longer than a fork may wait, the child does not touch the file, and says so."""
    program = """
busy, go_on = threading.Event(), threading.Event()

def hold():
    with storage._pool.writing():
        busy.set()
        go_on.wait(60)

thread = threading.Thread(target=hold)
thread.start()
busy.wait(60)

def work():
    for use in (storage, SQLiteStorage(path)):
        try:
            recalled(use, "of the parent")
        except OSError as error:
            print("was in use" in str(error), flush=True)
    elsewhere = SQLiteStorage(path + " of the child")
    put(elsewhere, "one")
    return int(recalled(elsewhere, "one") is None)

status = forked(work)
go_on.set()
thread.join()
put(storage, "later")
print(status, recalled(storage, "later") is not None, is_sound())
"""
    assert run(program, tmp_path / "a.db") == ["True", "True", "0 True True"]


def test_a_signal_handler_may_fork_within_an_operation(tmp_path: Path) -> None:
    """A fork in the middle of an operation of the same thread waits for nobody, and harms neither process."""
    program = """
began = time.monotonic()
with storage._pool.reading() as connection:
    status = forked(lambda: None)
print(status, time.monotonic() - began < 20, recalled(storage, "of the parent") is not None, is_sound())
"""
    assert run(program, tmp_path / "a.db") == ["0 True True True"]


def test_processes_that_are_forked_together_share_the_file(tmp_path: Path) -> None:
    """Four children at once, of a parent that has used the file, store what all of them find."""
    program = """
children = []
for number in range(4):
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        for turn in range(20):
            put(storage, f"of child {number} {turn}")
        os._exit(0)
    children.append(child)
print({os.waitpid(child, 0)[1] for child in children}, storage.sizes(["n"]), is_sound())
"""
    assert run(program, tmp_path / "a.db") == ["{0} {'n': 81} True"]
