"""Mirrors in this process the vectors of a file's entries, by shelf: one for each partition and dimension."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from recallm.errors import OddVectorError
from recallm.storage.index.mirrors import Mirror

if TYPE_CHECKING:
    from recallm.typing import Vector

NEWEST = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name='entries'"
"""Asks for the highest number that an entry ever had, in the file as the transaction sees it."""

CHUNK = 1000
"""How many vectors one look-up reads: about 10 ms of work. The rest are read in the background."""


class ShelfMirror(Mirror):
    """The vectors of one shelf, by their entries' numbers, as far as the file has been read.

    Entries are numbered in the order in which they are stored, and no number is given twice. So what was stored since
    is what has higher numbers. What was removed since shows when its entry is looked for. Two threads that read the
    same vectors at once do twice the work, and nothing else.

    Args:
        dim: dimension of the vectors.

    Attributes:
        last: the highest number read.
    """

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.last = 0
        self._checked_at = CHUNK

    def read(self, connection: sqlite3.Connection, shelf: int, *, everything: bool = False) -> tuple[int, bool]:
        """Read the next vectors, or all of them; return how many there were, and whether there may be more."""
        count = 0
        while True:
            rows = connection.execute(
                "SELECT number, vector FROM entries WHERE shelf=? AND number>? AND length(vector)=? "
                "ORDER BY number LIMIT ?",
                (shelf, self.last, 4 * self.dim, CHUNK),
            ).fetchall()
            for number, stored in rows:
                self._read(number, stored)
                # One after the other: what an exception of a signal handler interrupts is read again.
                self.last = max(self.last, number)
            count += len(rows)
            if len(rows) < CHUNK or not everything:
                break
        if len(self) > 2 * self._checked_at:  # this process may store all of it, and the file drop it again
            self.drop_gone(connection, shelf)
        return count, len(rows) == CHUNK

    def learn(self, number: int, vector: Vector, before: int) -> None:
        """Add the vector of an entry that was just stored; `before` is the highest number of its shelf before that."""
        self.add(str(number), vector)
        if self.last >= before:  # otherwise the file is yet to be read up to it
            self.last = max(self.last, number)

    def drop_gone(self, connection: sqlite3.Connection, shelf: int) -> None:
        """Drop the vectors of all entries that are no longer there."""
        there = {number for (number,) in connection.execute("SELECT number FROM entries WHERE shelf=?", (shelf,))}
        ((newest,),) = connection.execute(NEWEST)
        for name in self.names():
            # Another thread may have learnt a newer one meanwhile.
            if int(name) <= newest and int(name) not in there:
                self.drop(name)
        self._checked_at = max(CHUNK, len(self))

    def _read(self, number: int, stored: object) -> None:
        import numpy as np

        if isinstance(stored, bytes):
            try:
                self.add(str(number), np.frombuffer(stored, dtype="<f4"))
            except OddVectorError:
                self.drop(str(number))
