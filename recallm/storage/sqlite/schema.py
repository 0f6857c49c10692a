"""The tables of a file, how they are made, and which files are refused."""

from __future__ import annotations

import secrets
import sqlite3
from typing import Literal

from recallm.errors import UnusableFileError

APPLICATION_ID = 0x72636C6D
"""Marks a SQLite file as one of recallm's: "rclm"."""

VERSION = 1
"""Of the tables below; a file of another version is left alone."""

PAGE_BYTES = 8192
"""An entry with a vector of 384 numbers takes 2.2 kB: of such pages a sixth is lost, of the usual ones half."""

STATEMENTS = (
    # One row. unnamed_epoch: of each namespace without a row. last_epoch: the highest that was ever given. wall_ms and
    # steady_ms: the anchor, see `clock`. total: how many entries there are. uses: counts puts and look-ups.
    "CREATE TABLE state (id INTEGER PRIMARY KEY, database BLOB, unnamed_epoch INTEGER, last_epoch INTEGER, "
    "wall_ms INTEGER, steady_ms INTEGER, total INTEGER, uses INTEGER)",
    # An invalidation gives a namespace another generation, and the entries of the old one are out of reach.
    "CREATE TABLE namespaces (name BLOB PRIMARY KEY, generation INTEGER, epoch INTEGER) WITHOUT ROWID",
    "CREATE TABLE ended (generation INTEGER PRIMARY KEY)",
    # The vectors of one partition and dimension, which are mirrored together.
    "CREATE TABLE shelves (id INTEGER PRIMARY KEY AUTOINCREMENT, generation INTEGER, partition BLOB, dim INTEGER)",
    "CREATE UNIQUE INDEX shelf_names ON shelves (generation, partition, dim)",
    # A number is never given twice: it names one version of an entry, and mirrors read those above the last they know.
    "CREATE TABLE entries (number INTEGER PRIMARY KEY AUTOINCREMENT, generation INTEGER, key BLOB, shelf INTEGER, "
    "expires_ms INTEGER, used INTEGER, facts BLOB, prompt BLOB, payload BLOB, vector BLOB, signature BLOB)",
    "CREATE UNIQUE INDEX entry_keys ON entries (generation, key)",
    "CREATE INDEX entry_shelves ON entries (shelf)",
    "CREATE INDEX entry_expiries ON entries (expires_ms) WHERE expires_ms IS NOT NULL",
    "CREATE INDEX entry_uses ON entries (used)",
    "CREATE TABLE tags (number INTEGER, tag BLOB, PRIMARY KEY (number, tag)) WITHOUT ROWID",
    "CREATE INDEX tag_entries ON tags (tag)",
    # When each tag was last removed, in ms since the machine was started. 0: when any of those that are forgotten was.
    "CREATE TABLE removed_tags (tag BLOB PRIMARY KEY, at_ms INTEGER) WITHOUT ROWID",
)

_NAMES = "SELECT sql FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"


def inspect(connection: sqlite3.Connection) -> Literal["ours", "empty"]:
    """Return whether a file has the tables, or nothing at all.

    Raises:
        UnusableFileError: it has something else, or is of another version.
        sqlite3.Error: it cannot be read.
    """
    begins = not connection.in_transaction
    if begins:  # another process may be making the tables
        connection.execute("BEGIN")
    ((application,),) = connection.execute("PRAGMA application_id")
    ((version,),) = connection.execute("PRAGMA user_version")
    found = {row[0] for row in connection.execute(f"{_NAMES} LIMIT 100")}
    if begins:
        connection.execute("COMMIT")
    if not found and not version and application in (0, APPLICATION_ID):
        return "empty"
    if application != APPLICATION_ID:
        raise UnusableFileError("it is the SQLite file of another program")
    if version != VERSION:
        raise UnusableFileError(f"another version of recallm made it (format {version}; this one has {VERSION})")
    if found != {statement.encode() for statement in STATEMENTS}:
        raise UnusableFileError("it has other tables than recallm makes")
    return "ours"


def create_tables(connection: sqlite3.Connection) -> None:
    """Make the tables in an empty file, unless another process has just done so.

    Raises:
        UnusableFileError: somebody made others.
        sqlite3.Error: they cannot be made.
    """
    connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
    connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    use_log(connection)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("BEGIN IMMEDIATE")
    if inspect(connection) == "empty":
        for statement in STATEMENTS:
            connection.execute(statement)
        first = secrets.randbits(60)
        connection.execute("INSERT INTO state VALUES (1, ?, ?, ?, 0, 0, 0, 0)", (secrets.token_bytes(16), first, first))
        connection.execute(f"PRAGMA user_version={VERSION}")
    connection.execute("COMMIT")


def use_log(connection: sqlite3.Connection) -> None:
    """Have a file written ahead to a log, so that readers and a writer go on at once and a crash harms nothing.

    Raises:
        UnusableFileError: it lies where processes cannot share memory, as on a network.
    """
    ((mode,),) = connection.execute("PRAGMA journal_mode")
    if mode != b"wal":
        ((mode,),) = connection.execute("PRAGMA journal_mode=WAL")
    if mode != b"wal":
        raise UnusableFileError("its file system has no memory that processes share; use a local disk")


def later_epoch(epoch: int) -> int:
    """Return an epoch above another, by chance: two copies of a file, both written to, come to different ones."""
    return epoch + 1 + secrets.randbits(32)
