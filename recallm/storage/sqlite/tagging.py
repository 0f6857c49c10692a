"""Which entries of a file have a tag, and which tags have been removed."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from math import inf
from time import perf_counter

from recallm.storage.sqlite.parts import encoded

MAX_REMOVED_TAGS = 10_000
"""How many removed tags are remembered; the others count as removed when the last of them was forgotten."""

_ROUNDING_MS = 1
_FORGOTTEN = 0
"""Stands for the tags that are forgotten; no tag is stored as a number."""


def keep_tags(connection: sqlite3.Connection, number: int, tags: Sequence[str]) -> None:
    """Store the tags of an entry."""
    rows = [(number, encoded(tag)) for tag in tags]
    connection.executemany("INSERT OR IGNORE INTO tags VALUES (?, ?)", rows)


def was_removed_since(connection: sqlite3.Connection, tags: Sequence[str], began: float) -> bool:
    """Return whether one of these tags was removed since a moment.

    What was removed later than it is now was removed before the machine was started: no call has been under way since.

    Args:
        connection: in a transaction.
        tags: some tags.
        began: the moment, by `time.perf_counter`, which all processes of a machine share.
    """
    names = [_FORGOTTEN, *map(encoded, tags)]
    now = _now_ms() + _ROUNDING_MS
    since = min(now, round(1000 * began) - _ROUNDING_MS) if began < inf else now + 1
    return any(
        connection.execute(
            "SELECT 1 FROM removed_tags WHERE tag=? AND at_ms BETWEEN ? AND ?", (name, since, now)
        ).fetchall()
        for name in names
    )


def remember_removed(connection: sqlite3.Connection, tag: str) -> None:
    """Remember that a tag is removed now."""
    ((count,),) = connection.execute("SELECT count(*) FROM removed_tags")
    if count > MAX_REMOVED_TAGS:
        connection.execute("DELETE FROM removed_tags")
        connection.execute("INSERT INTO removed_tags VALUES (?, ?)", (_FORGOTTEN, _now_ms()))
    connection.execute("REPLACE INTO removed_tags VALUES (?, ?)", (encoded(tag), _now_ms()))


def tagged(connection: sqlite3.Connection, tag: str, now_ms: int, limit: int) -> list[tuple[int, bool]]:
    """Return the numbers of entries that have a tag, some at a time, and whether each of them is live."""
    found = connection.execute(
        "SELECT e.number, (e.expires_ms IS NULL OR e.expires_ms>?) AND NOT EXISTS "
        "(SELECT 1 FROM ended WHERE ended.generation=e.generation) "
        "FROM tags t JOIN entries e ON e.number=t.number WHERE t.tag=? LIMIT ?",
        (now_ms, encoded(tag), limit),
    )
    return [(number, bool(is_live)) for number, is_live in found]


def _now_ms() -> int:
    return round(1000 * perf_counter())
