"""Finds entries in a file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import Any

from recallm.records import Candidate, Recalled
from recallm.storage.base import Search
from recallm.storage.entry_format import MAX_DIM, MAX_FACTS_BYTES, StoredEntry
from recallm.storage.sqlite.mirror import ShelfMirror
from recallm.storage.sqlite.parts import HEAD, HEAD_COLUMNS, STATE, FileParts, Head, decoded, encoded, read_head

_EXTRA = 4
"""How many more neighbours than wanted are looked for: some may be gone, or odd."""

_ROUNDS_BEFORE_CHECK = 3
"""After how many searches that met entries that are gone a mirror is compared with the file."""

_PLACES = (8, 32, 256)
"""How many entries one statement reads: few forms of it are compiled."""

PAGE = 100
"""How many entries are read at a time to list them."""


@dataclass(frozen=True, slots=True)
class ReadOperations:
    """The operations that find entries.

    Attributes:
        parts: of the storage.
        write_uses: writes down what was used.
    """

    parts: FileParts
    write_uses: Callable[[], object]
    _columns: str = field(init=False)

    def __post_init__(self) -> None:
        # What is longer than anything that was ever stored is not even read.
        text = self.parts.entry_format.max_bytes
        bounds = {"facts": MAX_FACTS_BYTES, "prompt": text, "payload": text, "vector": 4 * MAX_DIM, "signature": 64}
        columns = [f"CASE WHEN length(e.{name}) <= {most} THEN e.{name} END" for name, most in bounds.items()]
        object.__setattr__(self, "_columns", ", ".join(["e.number", *columns]))

    def recall(self, namespace: str, key: str) -> Recalled:
        """Look for one key."""
        with self.parts.pool.outside() as connection:  # one statement sees one state of the file
            return self._recall(connection, namespace, key)[0]

    def recall_and_search(self, namespace: str, key: str, search: Search) -> Recalled:
        """Look for one key and, if that is not there, for similar entries."""
        with self.parts.pool.reading() as connection:
            recalled, head = self._recall(connection, namespace, key)
            if recalled.candidate is not None:
                return recalled
            return recalled._replace(similar=self._search(connection, head, search))

    def search(self, search: Search) -> Sequence[Candidate]:
        """Look for similar entries."""
        with self.parts.pool.reading() as connection:
            return self._search(connection, read_head(connection, search.namespace), search)

    def sizes(self, namespaces: Iterable[str]) -> Mapping[str, int]:
        """Count the live entries of namespaces."""
        with self.parts.pool.reading() as connection:
            counts = {
                name: self.parts.count(connection, read_head(connection, name)) for name in dict.fromkeys(namespaces)
            }
        return {name: count for name, count in counts.items() if count}

    def namespaces(self) -> Iterator[str]:
        """Yield the names of the namespaces that hold live entries."""
        last: bytes | None = None
        while True:
            with self.parts.pool.reading() as connection:
                found = connection.execute(
                    "SELECT name FROM namespaces WHERE name > ? OR ? IS NULL ORDER BY name LIMIT ?", (last, last, PAGE)
                ).fetchall()
                names = [decoded(name) for (name,) in found]
                heads = {name: read_head(connection, name) for name in names if name is not None}
                live = [name for name, head in heads.items() if self.parts.count(connection, head)]
            yield from live
            if len(found) < PAGE:
                return
            (last,) = found[-1]

    def entries(self, namespace: str) -> Iterator[Candidate]:
        """Yield the live entries of a namespace, some read at a time; those stored meanwhile may be among them."""
        last = b""
        while True:
            with self.parts.pool.reading() as connection:
                head = read_head(connection, namespace)
                rows = connection.execute(
                    f"SELECT e.key, {self._columns} FROM entries e WHERE e.generation=? AND e.key>? "  # noqa: S608
                    "ORDER BY e.key LIMIT ?",
                    (head.generation, last, PAGE),
                ).fetchall()
            for key, *row in rows:
                now_ms = self.parts.clock.now(head.anchor).wall_ms
                stored = self._stored(row, head, namespace, now_ms)
                if stored is not None and encoded(stored.entry.key) == key:
                    lasts = inf if stored.expires_ms is None else (stored.expires_ms - now_ms) / 1000
                    yield _candidate_of(stored, 1.0, now_ms)._replace(expires_in=lasts)
            if len(rows) < PAGE:
                return
            last = rows[-1][0]

    def _use(self, number: int) -> None:
        """Remember that an entry was used."""
        if self.parts.uses.remember(number):
            self.parts.upkeep.begin("uses", self.write_uses)

    def _recall(self, connection: sqlite3.Connection, namespace: str, key: str) -> tuple[Recalled, Head]:
        row = connection.execute(
            f"SELECT {HEAD}, {self._columns} {STATE} "  # constants of this module
            "LEFT JOIN entries e ON e.generation=n.generation AND e.key=? WHERE s.id=1",
            (encoded(namespace), encoded(key)),
        ).fetchone()
        head = Head.of(row and row[:HEAD_COLUMNS])
        candidate = self._candidate(row[HEAD_COLUMNS:], head, namespace, 1.0)
        if candidate is not None and candidate.entry.key != key:
            candidate = None
        if candidate is not None:
            self._use(row[HEAD_COLUMNS])
        return Recalled(candidate, head.epoch), head

    def _search(self, connection: sqlite3.Connection, head: Head, search: Search) -> Sequence[Candidate]:
        dim = search.vector.size
        row = connection.execute(
            "SELECT id FROM shelves WHERE generation=? AND partition=? AND dim=?",
            (head.generation, encoded(search.partition), dim),
        ).fetchone()
        if row is None:
            return []
        shelf, limit = row[0], search.limit
        mirror = self._current_mirror(connection, head, shelf, dim, everything=limit is None)
        found: dict[int, Candidate] = {}
        seen: set[int] = set()
        count, rounds = None if limit is None else limit + _EXTRA, 0
        while True:
            near = mirror.nearest(search.vector, search.threshold, count)
            numbers = [number for number in (int(name) for name, _ in near) if number not in seen]
            seen.update(numbers)
            there = self._near(connection, head, search, shelf, numbers)
            found.update({number: each for number, each in there.items() if each.similarity >= search.threshold})
            gone = [number for number in numbers if number not in there and number <= head.newest]
            for number in gone:
                mirror.drop(str(number))
            rounds += 1
            if count is None or len(near) < count or len(found) >= (limit or 0):
                break
            if gone and rounds == _ROUNDS_BEFORE_CHECK:
                mirror.drop_gone(connection, shelf)
            count *= 4
        best = sorted(found.items(), key=lambda each: (-each[1].similarity, each[1].entry.key))[:limit]
        for number, _ in reversed(best):
            self._use(number)
        return [candidate for _, candidate in best]

    def _current_mirror(
        self, connection: sqlite3.Connection, head: Head, shelf: int, dim: int, *, everything: bool
    ) -> ShelfMirror:
        """Return the mirror of a shelf, with what was stored since the last look-up."""
        key = head.database, shelf
        mirror = self.parts.mirrors.of(key, dim)
        if head.newest < mirror.last:
            self.parts.upkeep.begin("restored", partial(self._drop_restored, mirror.last))
        name = f"mirror {shelf}"
        if self.parts.upkeep.claims.is_claimed(name) and not everything:
            return mirror
        count, more = mirror.read(connection, shelf, everything=everything)
        if more and not everything:
            self.parts.upkeep.begin(name, lambda: self._catch_up(mirror, shelf))
        mirror.trim(self.parts.mirrors.max_bytes)
        if count:
            self.parts.mirrors.make_room()
        return mirror

    def _drop_restored(self, last: int) -> None:
        """Drop the mirrors if no entry had a number that one had: an older copy was written into the file.

        To a transaction that is under way, an entry that was stored meanwhile seems to be such a one; here none is.
        """
        with self.parts.pool.reading() as connection:
            is_older = read_head(connection, "").newest < last
        if is_older:
            self.parts.mirrors.clear()

    def _catch_up(self, mirror: ShelfMirror, shelf: int) -> None:
        """Read all vectors of a shelf, some at a time, so that no log has to be kept for the whole time."""
        more = True
        while more:
            with self.parts.pool.reading() as connection:
                _, more = mirror.read(connection, shelf)
            mirror.trim(self.parts.mirrors.max_bytes)
            self.parts.mirrors.make_room()

    def _near(
        self, connection: sqlite3.Connection, head: Head, search: Search, shelf: int, numbers: Sequence[int]
    ) -> dict[int, Candidate]:
        """Return the live entries of a shelf with these numbers, by number, scored by the vectors in the file."""
        found: dict[int, Candidate] = {}
        start = 0
        while start < len(numbers):
            places = next((each for each in _PLACES if each >= len(numbers) - start), _PLACES[-1])
            some = [*numbers[start : start + places]]
            padded = some + [None] * (places - len(some))
            rows = connection.execute(
                f"SELECT {self._columns} FROM entries e "  # noqa: S608  # constants of this module
                f"WHERE e.number IN ({','.join('?' * places)}) AND e.shelf=?",
                (*padded, shelf),
            ).fetchall()
            scored = [(row[0], self._scored(row, head, search)) for row in rows]
            found.update({number: candidate for number, candidate in scored if candidate is not None})
            start += places
        return found

    def _scored(self, row: Sequence[Any], head: Head, search: Search) -> Candidate | None:
        from recallm.scoring import similarity  # numpy is loaded by whoever embeds first

        candidate = self._candidate(row, head, search.namespace, 0.0)
        if candidate is None or candidate.entry.partition != search.partition:
            return None
        theirs = candidate.entry.vector
        if theirs is None or theirs.shape != search.vector.shape:
            return None
        return candidate._replace(similarity=similarity(search.vector, theirs))

    def _candidate(self, row: Sequence[Any], head: Head, namespace: str, similarity: float) -> Candidate | None:
        """Return the live entry that a row holds, or None if it has expired, or is odd."""
        now_ms = self.parts.clock.now(head.anchor).wall_ms
        stored = self._stored(row, head, namespace, now_ms)
        return None if stored is None else _candidate_of(stored, similarity, now_ms)

    def _stored(self, row: Sequence[Any], head: Head, namespace: str, now_ms: int) -> StoredEntry | None:
        if row[0] is None:
            return None
        return self.parts.entry_format.decode((b"", *row[1:]), namespace, str(head.generation), now_ms)


def _candidate_of(stored: StoredEntry, similarity: float, now_ms: int) -> Candidate:
    return Candidate(stored.entry, similarity, max(0.0, (now_ms - stored.stored_ms) / 1000))
