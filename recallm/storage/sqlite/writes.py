"""Stores entries in a file, and removes them."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from recallm.records import Entry, Stored
from recallm.storage.entry_format import FIELDS, MAX_SECONDS
from recallm.storage.sqlite.connections import ReadOnlyFileError
from recallm.storage.sqlite.parts import FileParts, Head, encoded, read_head
from recallm.storage.sqlite.schema import later_epoch
from recallm.storage.sqlite.tagging import keep_tags, remember_removed, tagged, was_removed_since

AT_ONCE = 200
"""How many entries are deleted in one step, so that others who write wait for some milliseconds only."""

EVICTED_AT_ONCE = 1000
"""How many entries make room for one at the most, after a bound was lowered: the next ones go on with it."""

GIVEN_BACK_AT_ONCE = 1000
"""How many pages of the file are given back in one step: 8 MB."""

BETWEEN_SLICES_SECONDS = 0.005
"""How long others have between two slices of upkeep."""

PUTS_PER_CHECKPOINT = 128
"""After how many puts, on average, the log is written into the file: about 6 MB of it."""

LAST_TO_GO = 1 << 62
"""What the uses of refusals are counted from, so that all answers make room before them."""

LONG_LOG_PAGES = 2048
"""From which length on, 16 MB, the log is to begin anew, whoever writes."""

MAX_NAMESPACES = 100_000
"""How many namespaces have an epoch of their own; the others share one, which changes whenever one of them joins."""

_OLDEST = {
    "ended": "SELECT e.number FROM ended d JOIN entries e ON e.generation=d.generation LIMIT ?",
    "expired": "SELECT number FROM entries WHERE expires_ms<=:now LIMIT ?",
    "used": "SELECT number FROM entries ORDER BY used LIMIT ?",
}


class _Put(NamedTuple):
    """What came of storing an entry.

    Attributes:
        number: the entry's.
        shelf: that of its vector; None: it has none.
        before: the highest number on that shelf before.
        evicted: how many live entries made room for it.
        must_sweep: whether some entries are to be swept.
    """

    number: int
    shelf: int | None
    before: int
    evicted: int
    must_sweep: bool


@dataclass(frozen=True, slots=True)
class WriteOperations:
    """The operations that store and remove entries, and the upkeep of the file.

    Attributes:
        parts: of the storage.
        max_entries: the most entries that the file may hold; None: no bound.
    """

    parts: FileParts
    max_entries: int | None

    def put(self, entry: Entry, epoch: int, ttl: float | None, began: float = inf) -> Stored:
        """Store an entry, in one transaction, if the epoch has not ended and no tag of it was removed since `began`."""
        with self.parts.pool.outside() as connection:
            head = read_head(connection, entry.namespace)
        if head.epoch != epoch:
            return Stored(kept=False)
        fields = self._encode(entry, head, ttl)  # not while others wait to write
        try:
            with self.parts.pool.writing() as connection:
                current = read_head(connection, entry.namespace)
                if current.epoch != epoch or (entry.tags and was_removed_since(connection, entry.tags, began)):
                    return Stored(kept=False)
                if current.generation is None:
                    current = self._begin_namespace(connection, entry.namespace, current)
                if current.generation != head.generation or current.database != head.database:
                    fields = self._encode(entry, current, ttl)
                stored = self._store(connection, current, entry, fields)
        except ReadOnlyFileError:  # the log has been told
            return Stored(kept=False)
        mirror = None if stored.shelf is None else self.parts.mirrors.find((current.database, stored.shelf))
        if mirror is not None and entry.vector is not None:
            mirror.learn(stored.number, entry.vector, stored.before)
        if stored.must_sweep:
            self.parts.upkeep.begin("sweep", self.sweep)
        if random.random() * PUTS_PER_CHECKPOINT < 1.0:  # noqa: S311  # so it is done though processes live shortly
            self.parts.upkeep.begin("checkpoint", self.checkpoint)
            self.parts.mirrors.make_room()
        return Stored(kept=True, evicted=stored.evicted)

    def remove(self, namespace: str, keys: Sequence[str]) -> int:
        """Begin a new epoch and remove single entries."""
        with self.parts.pool.writing(removes=True) as connection:
            head = read_head(connection, namespace)
            epoch = self._new_epoch(connection, head)
            now_ms = self.parts.clock.now(head.anchor).wall_ms
            live, numbers = 0, []
            for key in dict.fromkeys(keys):
                found = connection.execute(
                    "SELECT number, expires_ms IS NULL OR expires_ms>? FROM entries WHERE generation=? AND key=?",
                    (now_ms, head.generation, encoded(key)),
                ).fetchall()
                numbers += [number for number, _ in found]
                live += sum(is_live for _, is_live in found)
            self._delete(connection, numbers)
            generation = epoch if head.generation is None else head.generation
            self._set_namespace(connection, namespace, generation, epoch)
        return live

    def remove_tagged(self, tag: str) -> int:
        """Remove the entries of all namespaces that have a tag, some at a time: no answer gets the tag meanwhile."""
        live, more = 0, True
        with self.parts.pool.writing(removes=True) as connection:
            remember_removed(connection, tag)
        while more:
            with self.parts.pool.writing(removes=True) as connection:
                now_ms = self.parts.clock.now(read_head(connection, "").anchor).wall_ms
                found = tagged(connection, tag, now_ms, AT_ONCE)
                self._delete(connection, [number for number, _ in found])
            live += sum(is_live for _, is_live in found)
            more = len(found) == AT_ONCE
        return live

    def invalidate(self, namespace: str) -> int:
        """Begin a new generation. The entries of the old one are out of reach at once, and deleted later."""
        with self.parts.pool.writing(removes=True) as connection:
            head = read_head(connection, namespace)
            live = self.parts.count(connection, head)
            epoch = self._new_epoch(connection, head)
            if head.generation is not None:
                connection.execute("INSERT OR IGNORE INTO ended VALUES (?)", (head.generation,))
            self._set_namespace(connection, namespace, epoch, epoch)
        self.parts.upkeep.begin("sweep", self.sweep)
        return live

    def sweep(self) -> None:
        """Delete what has expired and what is out of reach, a little at a time; then give the room back."""
        while self._sweep_a_little():
            time.sleep(BETWEEN_SLICES_SECONDS)
        self._forget_namespaces()
        while self._give_back_a_little():
            time.sleep(BETWEEN_SLICES_SECONDS)
        self.checkpoint()

    def _give_back_a_little(self) -> bool:
        """Give some of the file's free pages back to the disk; return whether there are more."""
        with self.parts.pool.outside() as connection:
            ((free,),) = connection.execute("PRAGMA freelist_count")
            # It gives back a page each step, of which `execute` makes one.
            connection.executescript(f"PRAGMA incremental_vacuum({GIVEN_BACK_AT_ONCE})")
            ((left,),) = connection.execute("PRAGMA freelist_count")
        return bool(0 < left < free)

    def checkpoint(self) -> None:
        """Write the log into the file, as far as nobody reads what was there before; nobody waits for the disk.

        Processes that write all the time never leave the log written to its end, and it would grow for ever. If it is
        long they wait while the little is written that has been added meanwhile, and then begin it anew.
        """
        with self.parts.pool.outside() as connection:
            ((_, pages, _),) = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            if pages >= LONG_LOG_PAGES:
                connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()

    def write_uses(self) -> None:
        """Write down which entries were used last."""
        with self.parts.pool.writing() as connection:
            uses = self._write_uses(connection, read_head(connection, "").uses)
            connection.execute("UPDATE state SET uses=?", (uses,))

    def _encode(self, entry: Entry, head: Head, ttl: float | None) -> tuple[object, ...]:
        """Return the time of expiry in ms, or None, and the fields that an entry is stored as, but for its label."""
        now_ms = self.parts.clock.now(head.anchor).wall_ms
        expires_ms = None if ttl is None else now_ms + round(1000 * min(max(0.001, ttl), MAX_SECONDS))
        fields = self.parts.entry_format.encode(entry, b"", str(head.generation), now_ms, expires_ms)
        return expires_ms, *(fields.get(name) for name in FIELDS[1:])

    def _store(self, connection: sqlite3.Connection, head: Head, entry: Entry, fields: Sequence[object]) -> _Put:
        """Store an entry."""
        replaced = connection.execute(
            "SELECT number FROM entries WHERE generation=? AND key=?", (head.generation, encoded(entry.key))
        ).fetchall()
        self._delete(connection, [number for (number,) in replaced])
        shelf = None if entry.vector is None else self._shelf(connection, head, entry.partition, entry.vector.size)
        ((before,),) = connection.execute("SELECT max(number) FROM entries WHERE shelf=?", (shelf,))
        uses = self._write_uses(connection, head.uses) + 1
        expires_ms, *rest = fields
        number = connection.execute(
            "INSERT INTO entries VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (head.generation, encoded(entry.key), shelf, expires_ms, uses + LAST_TO_GO * entry.is_refusal, *rest),
        ).lastrowid
        keep_tags(connection, number or 0, entry.tags)
        now = self.parts.clock.now(head.anchor)
        connection.execute(
            "UPDATE state SET total=total+1, uses=?, wall_ms=?, steady_ms=?", (uses, now.wall_ms, now.steady_ms)
        )
        evicted = self._make_room(connection, now.wall_ms)
        ((must_sweep,),) = connection.execute(
            "SELECT EXISTS (SELECT 1 FROM ended) OR EXISTS (SELECT 1 FROM entries WHERE expires_ms<=?)", (now.wall_ms,)
        )
        return _Put(number or 0, shelf, before or 0, evicted, bool(must_sweep))

    def _begin_namespace(self, connection: sqlite3.Connection, namespace: str, head: Head) -> Head:
        """Give a namespace a generation; its epoch stays what it was."""
        generation = self._new_epoch(connection, head)
        self._set_namespace(connection, namespace, generation, head.epoch)
        return head._replace(generation=generation, last_epoch=generation)

    def _new_epoch(self, connection: sqlite3.Connection, head: Head) -> int:
        epoch = later_epoch(head.last_epoch)
        connection.execute("UPDATE state SET last_epoch=?", (epoch,))
        return epoch

    def _set_namespace(self, connection: sqlite3.Connection, namespace: str, generation: int, epoch: int) -> None:
        connection.execute("REPLACE INTO namespaces VALUES (?, ?, ?)", (encoded(namespace), generation, epoch))

    def _shelf(self, connection: sqlite3.Connection, head: Head, partition: str, dim: int) -> int:
        named = (head.generation, encoded(partition), dim)
        found = connection.execute("SELECT id FROM shelves WHERE generation=? AND partition=? AND dim=?", named)
        row = found.fetchone()
        if row is not None:
            return int(row[0])
        return int(connection.execute("INSERT INTO shelves VALUES (NULL, ?, ?, ?)", named).lastrowid or 0)

    def _write_uses(self, connection: sqlite3.Connection, uses: int) -> int:
        """Number the entries that were used, by the order of their use; return the highest number."""
        numbers = self.parts.uses.take()
        numbered = [(uses + place, number, LAST_TO_GO) for place, number in enumerate(numbers, 1)]
        connection.executemany("UPDATE entries SET used=? WHERE number=? AND used<?", numbered)
        return uses + len(numbers)

    def _make_room(self, connection: sqlite3.Connection, now_ms: int) -> int:
        """Delete what is above the bound: first what nobody can find, then what was not used for longest."""
        if self.max_entries is None:
            return 0
        ((total,),) = connection.execute("SELECT total FROM state")
        over, evicted = min(total - self.max_entries, EVICTED_AT_ONCE), 0
        for kind in _OLDEST:
            if over > 0:
                deleted = self._delete_oldest(connection, kind, over, now_ms)
                over -= deleted
                evicted += deleted if kind == "used" else 0
        return evicted

    def _delete_oldest(self, connection: sqlite3.Connection, kind: str, count: int, now_ms: int) -> int:
        parameters = (now_ms, count) if kind == "expired" else (count,)
        numbers = [number for (number,) in connection.execute(_OLDEST[kind].replace(":now", "?"), parameters)]
        self._delete(connection, numbers)
        return len(numbers)

    def _delete(self, connection: sqlite3.Connection, numbers: Sequence[int]) -> None:
        """Delete entries that are there, and the shelves that they leave empty."""
        shelves: set[int | None] = set()
        for number in numbers:
            shelves.update(row[0] for row in connection.execute("SELECT shelf FROM entries WHERE number=?", (number,)))
            connection.execute("DELETE FROM entries WHERE number=?", (number,))
            connection.execute("DELETE FROM tags WHERE number=?", (number,))
        for shelf in shelves:
            connection.execute(
                "DELETE FROM shelves WHERE id=? AND NOT EXISTS (SELECT 1 FROM entries WHERE shelf=?)", (shelf, shelf)
            )
        if numbers:
            connection.execute("UPDATE state SET total=total-?", (len(numbers),))

    def _sweep_a_little(self) -> bool:
        """Delete some of what is to be swept; return whether there may be more."""
        with self.parts.pool.writing() as connection:
            now_ms = self.parts.clock.now(read_head(connection, "").anchor).wall_ms
            deleted = self._delete_oldest(connection, "ended", AT_ONCE, now_ms)
            if deleted < AT_ONCE:
                connection.execute(
                    "DELETE FROM ended WHERE NOT EXISTS "
                    "(SELECT 1 FROM entries WHERE entries.generation=ended.generation)"
                )
                deleted += self._delete_oldest(connection, "expired", AT_ONCE - deleted, now_ms)
        return deleted >= AT_ONCE

    def _forget_namespaces(self) -> None:
        """Have the oldest namespaces without entries share an epoch, if there are too many."""
        with self.parts.pool.outside() as connection:
            ((count,),) = connection.execute("SELECT count(*) FROM namespaces")
        if count <= MAX_NAMESPACES:
            return
        with self.parts.pool.writing(removes=True) as connection:
            oldest = connection.execute(
                "SELECT name FROM namespaces n WHERE NOT EXISTS "
                "(SELECT 1 FROM entries e WHERE e.generation=n.generation) ORDER BY epoch LIMIT ?",
                (count - MAX_NAMESPACES * 15 // 16,),
            ).fetchall()
            connection.executemany("DELETE FROM namespaces WHERE name=?", oldest)
            head = read_head(connection, "")
            connection.execute("UPDATE state SET unnamed_epoch=?", (self._new_epoch(connection, head),))
