"""What the operations of a storage share: its parts, and what a file says of itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from recallm.concurrency.backlog import Upkeep
from recallm.errors import UnusableFileError
from recallm.storage.entry_format import EntryFormat
from recallm.storage.index.mirrors import Mirrors
from recallm.storage.sqlite.clock import MAX_MS, Anchor, FileClock
from recallm.storage.sqlite.connections import Pool
from recallm.storage.sqlite.mirror import NEWEST, ShelfMirror
from recallm.storage.sqlite.uses import Uses

MirrorKey: TypeAlias = tuple[bytes, int]
"""The id of a database, and that of a shelf in it."""

HEAD = (
    f"s.database, s.unnamed_epoch, s.last_epoch, s.wall_ms, s.steady_ms, s.total, s.uses, ({NEWEST}), "
    "n.generation, n.epoch"
)
STATE = "FROM state s LEFT JOIN namespaces n ON n.name=? "
SELECT_HEAD = f"SELECT {HEAD} {STATE} WHERE s.id=1"  # constants of this module
HEAD_COLUMNS = 10


class Head(NamedTuple):
    """What a file says of itself and of one namespace.

    Attributes:
        database: what it alone has.
        unnamed_epoch: the epoch of the namespaces that it does not know.
        last_epoch: the highest epoch that it ever had.
        anchor: of its time, see `recallm.storage.sqlite.clock`.
        total: how many entries it holds, those included that are out of reach and yet to be swept.
        uses: how many puts and look-ups were counted.
        newest: the highest number that an entry ever had.
        generation: the namespace's; None: the file does not know it.
        epoch: the namespace's.
    """

    database: bytes
    unnamed_epoch: int
    last_epoch: int
    anchor: Anchor
    total: int
    uses: int
    newest: int
    generation: int | None
    epoch: int

    @classmethod
    def of(cls, row: Sequence[Any] | None) -> Head:
        """Return the head that a row holds.

        Raises:
            UnusableFileError: the row is odd: the file was not written by recallm.
        """
        if row is None or not isinstance(row[0], bytes) or not all(type(each) is int for each in row[1:8]):
            raise UnusableFileError("its first table is not as recallm writes it")
        database, unnamed, last, wall_ms, steady_ms, total, uses, newest, generation, epoch = row
        known = type(generation) is int and type(epoch) is int
        if not (0 <= wall_ms <= MAX_MS and 0 <= steady_ms <= MAX_MS and (known or generation is epoch is None)):
            raise UnusableFileError("its times or its namespaces are not as recallm writes them")
        anchor = Anchor(wall_ms, steady_ms)
        return cls(database, unnamed, last, anchor, total, uses, newest, generation, epoch if known else unnamed)


def encoded(name: str) -> bytes:
    """Return a name as it is stored; halves of surrogate pairs are allowed."""
    return name.encode("utf-8", "surrogatepass")


def decoded(name: object) -> str | None:
    """Return the name that was stored, or None if these bytes are none."""
    try:
        return name.decode("utf-8", "surrogatepass") if isinstance(name, bytes) else None
    except UnicodeDecodeError:
        return None


def read_head(connection: sqlite3.Connection, namespace: str) -> Head:
    """Return what a file says of itself and of a namespace. Raises as `Head.of`."""
    return Head.of(connection.execute(SELECT_HEAD, (encoded(namespace),)).fetchone())


@dataclass(frozen=True, slots=True)
class FileParts:
    """What a storage is made of.

    Attributes:
        pool: connections to the file.
        entry_format: encodes and decodes entries, and checks them.
        clock: tells the file's time.
        mirrors: the vectors that this process knows.
        upkeep: the work in the background.
        uses: the entries that were used, which are yet to be written down.
    """

    pool: Pool
    entry_format: EntryFormat
    clock: FileClock
    mirrors: Mirrors[MirrorKey, ShelfMirror]
    upkeep: Upkeep
    uses: Uses

    def count(self, connection: sqlite3.Connection, head: Head) -> int:
        """Return how many live entries a namespace has."""
        now_ms = self.clock.now(head.anchor).wall_ms
        ((stored,),) = connection.execute("SELECT count(*) FROM entries WHERE generation=?", (head.generation,))
        ((expired,),) = connection.execute(
            "SELECT count(*) FROM entries WHERE expires_ms<=? AND +generation=?", (now_ms, head.generation)
        )
        return int(stored - expired)
