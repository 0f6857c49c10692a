"""Mirrors in this process the vectors of a plain server's entries, of which it keeps a stream for each partition."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from recallm.concurrency.forking import is_held
from recallm.storage.index.mirrors import Mirror, Mirrors
from recallm.storage.redis.commands import checked
from recallm.storage.redis.exchanges import Command, ReplyError
from recallm.storage.redis.keys import EntryVersion, GenerationKeys
from recallm.storage.redis.layouts import Neighbours, VectorQuery, key_in, read_entry

if TYPE_CHECKING:
    from recallm.typing import Vector

CHUNK = 500
"""How many records one round trip reads: about 20 ms of work for this process."""

LONG_READ, LONG_SEARCH = 20, 1000
"""More new records, or more vectors to search, than this take a millisecond: an event loop has others compute."""

MAX_CHUNKS = 3
"""How many round trips one look-up makes for new records; the rest are read in the background."""

YOUNG_MS = 10_000
"""How old a record without an entry must be to be taken for an orphan: the entry may be about to be stored."""


class StreamMirror(Mirror):
    """The vectors of one partition, as far as its stream has been read. Callers hold `lock` for all they do.

    The note that is kept with each vector is the id of its record.

    Args:
        dim: dimension of the vectors.

    Attributes:
        lock: guards all else.
        last: id of the last record read.
        rounds: how many round trips the look-up under way has made for new records.
    """

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.lock = threading.Lock()
        self.last = b"0-0"
        self.rounds = 0

    @property
    def is_half_written(self) -> bool:
        """Whether another thread holds the lock: in a forked child, whether it will for ever."""
        return is_held(self.lock)

    def read(self, records: Sequence[tuple[bytes, Mapping[bytes, bytes]]]) -> None:
        """Add the next records of the stream, and ignore odd ones."""
        import numpy as np

        for record, fields in records:
            element, stored = fields.get(b"i", b""), fields.get(b"v", b"")
            if len(stored) == 4 * self.dim and EntryVersion.of_element(element, b"") is not None:
                vector = np.frombuffer(stored, dtype="<f4")
                if abs(float(np.dot(vector, vector)) - 1.0) <= 1e-3:
                    # Before it counts as read: what an exception of a signal handler interrupts is read again.
                    self.add(element.hex(), vector, record)
            self.last = record

    def search(self, query: VectorQuery) -> list[tuple[bytes, bytes]]:
        """Return the (element, record) of each of the most similar vectors, best first."""
        found = self.nearest(query.vector, query.threshold, query.count)
        return [(bytes.fromhex(name), self.note(name)) for name, _ in found]


class Foreseen(list[Command]):
    """The commands of a search, with what the mirror found before they were sent: their entries are read along.

    Attributes:
        found: the (element, record) of each, best first.
        last: id of the last record that the mirror had read.
    """

    def __init__(self, commands: Sequence[Command], found: Sequence[tuple[bytes, bytes]], last: bytes) -> None:
        super().__init__(commands)
        self.found = found
        self.last = last


class MirroredStreams:
    """A stream of vectors for each partition and dimension, mirrored in each process (any server).

    Args:
        max_bytes: about how much memory all mirrors may take; the least recently used one makes room.
    """

    name = "plain"
    by_partition = True

    def __init__(self, max_bytes: int) -> None:
        self._mirrors: Mirrors[str, StreamMirror] = Mirrors(max_bytes, StreamMirror)

    def index_fields(self, keys: GenerationKeys, version: EntryVersion) -> Mapping[bytes, bytes]:
        """Return nothing: the stream holds what the mirrors need."""
        return {}

    def prepare_commands(self, keys: GenerationKeys, version: EntryVersion, vector: Vector) -> list[Command]:
        """Return the command that appends a record to the partition's stream."""
        key = keys.stream(version.partition)
        return [("XADD", key, "*", "i", version.element, "v", vector.astype("<f4").tobytes())]

    def parse_prepared(self, version: EntryVersion, replies: Sequence[Any]) -> EntryVersion:
        """Return the version with the id of its record, so that the record can be deleted with the entry."""
        (record,) = checked(replies)
        return replace(version, record=record)

    def add_commands(self, keys: GenerationKeys, version: EntryVersion, vector: Vector) -> list[Command]:
        """Return nothing: the record is stored before the entry."""
        return []

    def unprepared_commands(self, keys: GenerationKeys, version: EntryVersion, vector: Vector) -> list[Command] | None:
        """Return the command that appends a record."""
        return self.prepare_commands(keys, version, vector)

    def delete_commands(self, keys: GenerationKeys, version: EntryVersion) -> list[Command]:
        """Return the command that deletes the record. Mirrors that hold it notice when a search finds it."""
        return [("XDEL", keys.stream(version.partition), version.record)] if version.record else []

    def learn_locally(self, keys: GenerationKeys, version: EntryVersion, vector: Vector) -> None:
        """Add a vector to the mirror, so that its entry is read along with the next search that finds it."""
        mirror = self._mirrors.find(keys.stream(version.partition))
        if mirror is not None and version.record:
            with mirror.lock:
                mirror.add(version.element.hex(), vector, version.record)

    def forget_locally(self, keys: GenerationKeys, version: EntryVersion) -> None:
        """Remove a version from the mirror: its entry is gone."""
        mirror = self._mirrors.find(keys.stream(version.partition))
        if mirror is not None:
            with mirror.lock:
                mirror.drop(version.element.hex())

    def computes_long(self, query: VectorQuery, replies: Sequence[Any] = ()) -> bool:
        """Return whether the mirror is large, or there is much to read."""
        many = len(replies) > 1 and isinstance(replies[1], Sequence) and len(replies[1]) > LONG_READ
        return many or len(self._mirror(query)) > LONG_SEARCH

    def search_commands(self, query: VectorQuery) -> list[Command]:
        """Return the commands that read the records stored since the last look-up, and the entries that are similar."""
        key = query.keys.stream(query.partition)
        mirror = self._mirror(query)
        with mirror.lock:
            last, found = mirror.last, [] if query.everything else mirror.search(query)
        records: list[Command] = [("XLEN", key), ("XRANGE", key, b"(" + last, "+", "COUNT", CHUNK)]
        return Foreseen(records + [read_entry(query.keys, key_in(element)) for element, _ in found], found, last)

    def parse_search(self, query: VectorQuery, sent: Sequence[Command], replies: Sequence[Any]) -> Neighbours | None:
        """Add new records to the mirror; return what is similar, or None if there is more to read first."""
        length, records = checked(replies[:2])
        if not isinstance(length, int) or not isinstance(records, Sequence):
            raise ReplyError("XLEN and XRANGE returned neither a count nor records")
        if not isinstance(sent, Foreseen):
            raise TypeError("these are not the commands of a mirror's search")
        mirror = self._mirror(query)
        with mirror.lock:
            if _newer(sent.last, mirror.last):
                return None  # these records follow those of another mirror, which was dropped meanwhile
            mirror.read([row for row in records if _newer(row[0], mirror.last)])
            mirror.rounds += 1
            catching_up = len(records) == CHUNK
            if catching_up and (mirror.rounds < MAX_CHUNKS or query.everything):
                return None
            mirror.rounds = 0
            mirror.trim(self._mirrors.max_bytes)
            is_as_foreseen = mirror.last == sent.last and not query.everything
            found = sent.found if is_as_foreseen else mirror.search(query)
            stale = len(mirror) > 2 * length + CHUNK
        if stale:
            self._mirrors.forget(query.keys.stream(query.partition))
        if records or stale:
            self._mirrors.make_room()
        versions = [EntryVersion.of_element(element, query.partition, record) for element, record in found]
        known = [(version.key, version) for version in versions if version is not None]
        rows = {key_in(element): row for (element, _), row in zip(sent.found, replies[2:], strict=True)}
        return Neighbours(known, complete=len(found) < query.count, catching_up=catching_up, rows=rows)

    def _mirror(self, query: VectorQuery) -> StreamMirror:
        return self._mirrors.of(query.keys.stream(query.partition), query.vector.size)


def age_ms(record: bytes, now_ms: float) -> float:
    """Return how long ago a record was written, by the server's clock."""
    return now_ms - int(record.partition(b"-")[0])


def _newer(record: bytes, last: bytes) -> bool:
    """Return whether a record was written after another."""
    return tuple(map(int, record.split(b"-"))) > tuple(map(int, last.split(b"-")))
