"""The connections of a storage to its file: one for each operation under way, kept for the next."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from weakref import WeakSet

from recallm.concurrency.forking import ForkSafeLock
from recallm.errors import UnusableFileError
from recallm.storage.sqlite.file import (
    Identity,
    create_file,
    identity_of,
    is_writable,
    state_of,
    state_without_log,
    uri,
)
from recallm.storage.sqlite.schema import create_tables, inspect, use_log
from recallm.telemetry.log import LOG

MAX_IDLE = 16
"""How many connections are kept: as many as there are worker threads for storages."""

LOG_BYTES = 32 << 20
"""To how many bytes the log beside the file is cut when all of it has been written into the file."""

LONGEST_LOG_PAGES = 8192
"""From which length on, 64 MB, a put itself writes the log into the file, if nobody has done so in the background."""

BLOCKED_BY_FORK_SECONDS = 0.5
"""How long a fork waits for the operations under way."""

REMOVAL_SECONDS = 5.0
"""How long at least a removal waits for others who write: what is to go must go, though the caller may not wait."""

_ADVICE = {
    sqlite3.SQLITE_BUSY: "another process, or another thread, keeps it locked",
    sqlite3.SQLITE_FULL: "there is no room left on the disk: answers are served, and not stored",
    sqlite3.SQLITE_CORRUPT: "it is damaged and is left as it is; move it away, and a new one is made",
    sqlite3.SQLITE_NOTADB: "it is no SQLite file, and is left as it is; give the storage another path",
    sqlite3.SQLITE_IOERR: "the disk fails to read or write it",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_READONLY: "this process may not write it: answers are served, and not stored",
}
"""What the errors of SQLite mean, by their primary codes."""

_REFUSALS = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
"""Errors of who opens a file in a folder that may not be written."""

_HARMLESS = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_TOOBIG,
}
"""Errors after which the file is what it was; after others it is looked at anew."""

_GATE = ForkSafeLock()
"""Held while a fork is under way, and while an operation begins."""

_uses: WeakSet[_Use] = WeakSet()
"""The operations under way."""

_connections: WeakSet[Connection] = WeakSet()
"""Those that are open."""

_pools: WeakSet[Pool] = WeakSet()

_inherited: set[Identity] = set()
"""The files to which connections of the parent were open when this process was forked."""

_forking: list[bool] = []


class ReadOnlyFileError(UnusableFileError):
    """This process may read the file, and not write it."""


class _Use:
    """An operation under way in a thread; it ends when nobody holds this any more, however it is cut short."""

    __slots__ = ("__weakref__", "thread")

    def __init__(self) -> None:
        self.thread = threading.get_ident()


class _Unopened(sqlite3.Connection):
    """A connection that may fail to open: there is nothing to close then."""


class Connection(_Unopened):
    """A connection to a file.

    Attributes:
        identity: which file it is.
        mark: what changes with the file's contents, if nothing but that shows its changes; None: SQLite sees to it.
        is_read_only: whether it may not write.
    """

    identity: Identity | None = None
    mark: tuple[int, ...] | None = None
    is_read_only = False

    def close(self) -> None:
        """Close the connection: a child forked from now on does not inherit it."""
        super().close()
        _connections.discard(self)

    # No function of Python: what a signal handler raises in one is lost when an object ends.
    __del__ = sqlite3.Connection.close


class Pool:
    """The connections of a storage.

    Args:
        path: the file, which is made on first use.
        timeout: seconds to wait for others who write.
        max_value_bytes: the longest value that is read or written.
        changed: called if the path names another file than before, or one that had to be looked at anew.
    """

    def __init__(self, path: Path, timeout: float, max_value_bytes: int, changed: Callable[[], object]) -> None:
        self.path = path
        self._timeout = timeout
        self._max_value_bytes = max_value_bytes
        self._changed = changed
        self._idle: deque[Connection] = deque()
        self._known: Identity | None = None
        self._damaged: tuple[int, ...] | None = None
        _pools.add(self)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection in a transaction that sees the file as it is now.

        Raises:
            UnusableFileError: the file is not one of a storage.
            sqlite3.Error: it cannot be read.
        """
        with self._borrowed() as connection:
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")

    @contextmanager
    def writing(self, *, removes: bool = False) -> Iterator[Connection]:
        """Give a connection in a transaction that nobody else can write beside; what it did counts at the end.

        Args:
            removes: True to wait longer for others who write, and until the disk has what was written. Else a failure
                of the power, which no crash of a program is, may undo what was stored last.

        Raises:
            UnusableFileError: the file may not be written, or is not one of a storage.
            sqlite3.Error: it cannot be written.
        """
        with self._borrowed() as connection:
            if connection.is_read_only:
                raise ReadOnlyFileError(_ADVICE[sqlite3.SQLITE_READONLY])
            if removes:
                self._prepare_removal(connection, at_all_costs=True)
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
            if removes:
                self._prepare_removal(connection, at_all_costs=False)

    @contextmanager
    def outside(self) -> Iterator[Connection]:
        """Give a connection that is in no transaction. Raises as `reading`."""
        with self._borrowed() as connection:
            yield connection

    def close_idle(self) -> None:
        """Close the connections that nobody uses."""
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def drop_idle(self) -> None:
        """Forget the connections that nobody uses: they are those of the process that this one was forked from."""
        self._idle.clear()
        self._known = None

    def _prepare_removal(self, connection: Connection, *, at_all_costs: bool) -> None:
        seconds = max(self._timeout, REMOVAL_SECONDS) if at_all_costs else self._timeout
        connection.execute(f"PRAGMA busy_timeout={round(1000 * seconds)}")
        connection.execute(f"PRAGMA synchronous={'FULL' if at_all_costs else 'NORMAL'}")

    @contextmanager
    def _borrowed(self) -> Iterator[Connection]:
        with _GATE:
            use = _Use()
            _uses.add(use)
        connection = None
        try:
            connection = self._current()
            yield connection
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if connection.mark is not None and connection.mark != state_without_log(self.path):
                raise UnusableFileError("it was written while it was read")
            if len(self._idle) < MAX_IDLE:
                kept, connection = connection, None  # before: a signal handler's exception must not close a kept one
                self._idle.append(kept)
        except (sqlite3.Error, OSError) as error:
            explained = self._explained(error)
            if explained is error:
                raise
            raise explained from error
        finally:
            if connection is not None:
                connection.close()
            del use

    def _explained(self, error: sqlite3.Error | OSError) -> Exception:
        """Log what an error means for the file, and return what the operation is to raise."""
        if isinstance(error, OSError):
            is_ours = isinstance(error, UnusableFileError)
            said = self._told(str(error) if is_ours else error.strerror or type(error).__name__)
            return type(error)(said) if is_ours else error
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code not in _HARMLESS:
            self._known = None
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            # It stays what it is, however often it is asked, and nothing is to make it worse.
            self._damaged = state_of(self.path)
        said = self._told(_ADVICE.get(code, f"{type(error).__name__} {code}"))
        return ReadOnlyFileError(said) if code == sqlite3.SQLITE_READONLY else error

    def _current(self) -> Connection:
        """Return a connection to the file that the path names now."""
        found = identity_of(self.path)
        if found is None or found != self._known:
            self.close_idle()
            self._changed()
        if self._damaged is not None and self._damaged == state_of(self.path):
            raise UnusableFileError(_ADVICE[sqlite3.SQLITE_CORRUPT])
        with suppress(IndexError):
            while found is not None:
                connection = self._idle.pop()
                mark = connection.mark
                is_current = connection.identity == found and mark in (None, mark and state_without_log(self.path))
                if is_current and not (connection.is_read_only and is_writable(self.path)):
                    return connection
                connection.close()
        return self._opened()

    def _opened(self) -> Connection:
        give_up = time.monotonic() + self._timeout
        while True:
            found = identity_of(self.path)
            if found is None:
                create_file(self.path)
                continue
            if found in _inherited:
                raise UnusableFileError(
                    "it was in use when this process was forked, and SQLite cannot tell the two apart: fork before the "
                    "first call, or start processes by 'spawn' or 'forkserver'"
                )
            try:
                connection = self._connected(found)
            except sqlite3.OperationalError as error:
                # Two processes that make the same file do not wait for each other in every step.
                if not _is(error, sqlite3.SQLITE_BUSY) or time.monotonic() > give_up:
                    raise
                time.sleep(0.002)
                continue
            if identity_of(self.path) == found:
                return connection
            connection.close()

    def _connected(self, found: Identity) -> Connection:
        is_read_only = not is_writable(self.path)
        if is_read_only or found != self._known:
            # Without the right to write, as it may be the file of another program.
            with closing(self._open_to_read()) as connection:
                if inspect(connection) == "empty" and is_read_only:
                    raise UnusableFileError("it is empty, and this process may not write it")
        if not is_read_only:
            try:
                connection = self._open_to_write()
            except sqlite3.OperationalError as error:
                if not _is(error, *_REFUSALS):
                    raise
                is_read_only = True
        if is_read_only:
            connection = self._open_to_read()
        connection.identity = found
        connection.is_read_only = is_read_only
        if is_read_only:
            self._told(_ADVICE[sqlite3.SQLITE_READONLY])
        self._known = found
        return connection

    def _open_to_read(self) -> Connection:
        connection = self._open("ro")
        try:
            connection.execute("SELECT 1 FROM sqlite_master").fetchall()
        except sqlite3.OperationalError as error:
            connection.close()
            mark = state_without_log(self.path)
            if not _is(error, *_REFUSALS) or mark is None:
                raise
            # The folder may not be written, so there is nothing through which a writer would tell of its changes.
            connection = self._open("ro&immutable=1")
            connection.mark = mark
        return connection

    def _open_to_write(self) -> Connection:
        connection = self._open("rw")
        try:
            if inspect(connection) == "empty":
                create_tables(connection)
            use_log(connection)
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute(f"PRAGMA journal_size_limit={LOG_BYTES}")
            connection.execute(f"PRAGMA wal_autocheckpoint={LONGEST_LOG_PAGES}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _open(self, mode: str) -> Connection:
        opened: Any = sqlite3.connect(
            uri(self.path, mode),
            uri=True,
            timeout=self._timeout,
            isolation_level=None,
            check_same_thread=False,
            factory=_Unopened,
            cached_statements=64,
        )
        opened.__class__ = Connection
        connection: Connection = opened
        _connections.add(connection)
        connection.text_factory = bytes
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, self._max_value_bytes)
        for pragma in ("trusted_schema=OFF", "cell_size_check=ON", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def _told(self, what: str) -> str:
        """Log what keeps the file from being used, and return it."""
        said = f"the file {str(self.path)!r} cannot be used as it should: {what}"
        LOG.warn(("sqlite", str(self.path), what), said)
        return said


def _is(error: sqlite3.Error, *codes: int) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in codes


def _before_fork() -> None:
    """Close all connections: a child that opens a file to which it has inherited some takes them for its own."""
    _GATE.__enter__()
    _forking.append(True)
    me, give_up = threading.get_ident(), time.monotonic() + BLOCKED_BY_FORK_SECONDS
    while any(use.thread != me for use in list(_uses)) and time.monotonic() < give_up:
        time.sleep(0.001)
    for pool in list(_pools):
        pool.close_idle()


def _after_fork_in_parent() -> None:
    with suppress(IndexError):
        _forking.pop()
        _GATE.__exit__(None, None, None)


def _after_fork_in_child() -> None:
    for connection in list(_connections):
        _inherited.update([] if connection.identity is None else [connection.identity])
        _keep_for_ever(connection)
    for pool in list(_pools):
        pool.drop_idle()
    _uses.clear()
    _after_fork_in_parent()


def _keep_for_ever(connection: Any) -> None:
    """See to it that a connection of the parent is never closed here, not even at the end of the process."""
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
