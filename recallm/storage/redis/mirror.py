"""Mirrors in this process the vectors of a plain server's entries, of which it keeps a stream for each partition."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from recallm.concurrency.forking import is_held, reset_after_fork
from recallm.storage.redis.commands import Command, ReplyError, checked
from recallm.storage.redis.keys import EntryVersion, GenerationKeys
from recallm.storage.redis.layouts import Neighbours, VectorQuery

if TYPE_CHECKING:
    from recallm.typing import Vector

CHUNK = 500
"""How many records one round trip reads: about 20 ms of work for this process."""

MAX_CHUNKS = 3
"""How many round trips one look-up makes for new records; the rest are read in the background."""

MAX_MIRRORS = 10_000
"""How many partitions are mirrored at once, however small."""

YOUNG_MS = 10_000
"""How old a record without an entry must be to be taken for an orphan: the entry may be about to be stored."""

_EMPTY_BYTES = 1000
_ROW_BYTES = 300
_FIRST_ROWS = 8
"""About what a mirror takes: empty, for each row beside its vector, and how many rows it has room for at first."""


class Mirror:
    """The vectors of one partition, as far as its stream has been read. Callers hold `lock` for all they do.

    Args:
        dim: dimension of the vectors.

    Attributes:
        dim: see above.
        lock: guards all else.
        last: id of the last record read.
        rounds: how many round trips the look-up under way has made for new records.
    """

    def __init__(self, dim: int) -> None:
        # numpy takes longer to import than all of recallm; a program that searches nothing does not import it.
        from recallm.storage.index.vector_index import VectorIndex

        self.dim = dim
        self.lock = threading.Lock()
        self.last = b"0-0"
        self.rounds = 0
        self._index = VectorIndex(dim)
        self._records: dict[str, bytes] = {}

    def __len__(self) -> int:
        return len(self._index)

    @property
    def size_bytes(self) -> int:
        """About how much memory the mirror takes."""
        return _EMPTY_BYTES + (max(_FIRST_ROWS, len(self)) * (4 * self.dim + _ROW_BYTES) if len(self) else 0)

    def read(self, records: Sequence[tuple[bytes, Mapping[bytes, bytes]]]) -> None:
        """Add the next records of the stream, and ignore odd ones."""
        import numpy as np

        for record, fields in records:
            self.last = record
            element, stored = fields.get(b"i", b""), fields.get(b"v", b"")
            if len(stored) != 4 * self.dim or EntryVersion.of_element(element, b"") is None:
                continue
            vector = np.frombuffer(stored, dtype="<f4")
            if abs(float(np.dot(vector, vector)) - 1.0) <= 1e-3:
                self._index.put(element.hex(), vector)
                self._records[element.hex()] = record

    def search(self, query: VectorQuery) -> list[tuple[bytes, bytes]]:
        """Return the (element, record) of each of the most similar vectors, best first."""
        found = self._index.search(query.vector, query.threshold, limit=query.count)
        return [(bytes.fromhex(name), self._records[name]) for name, _ in found]

    def discard(self, element: bytes) -> None:
        """Remove the vector of an element, if there is one."""
        self._records.pop(element.hex(), None)
        self._index.discard(element.hex())

    def trim(self, size_bytes: int) -> None:
        """Remove the oldest vectors until the mirror takes no more than a size."""
        while self._records and self.size_bytes > size_bytes:
            self.discard(bytes.fromhex(next(iter(self._records))))


class MirroredStreams:
    """A stream of vectors for each partition, mirrored in each process (any server).

    Args:
        max_bytes: about how much memory all mirrors may take; the least recently used one makes room.
    """

    name = "plain"
    by_partition = True

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._mirrors: OrderedDict[str, Mirror] = OrderedDict()
        reset_after_fork(self)

    def after_fork(self) -> None:
        """Drop the mirrors that threads of the parent may have left half written."""
        was_held, self._lock = is_held(self._lock), threading.Lock()
        kept = [] if was_held else [(key, mirror) for key, mirror in self._mirrors.items() if not is_held(mirror.lock)]
        self._mirrors = OrderedDict(kept)

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

    def delete_commands(self, keys: GenerationKeys, version: EntryVersion) -> list[Command]:
        """Return the command that deletes the record. Mirrors that hold it notice when a search finds it."""
        return [("XDEL", keys.stream(version.partition), version.record)] if version.record else []

    def forget_locally(self, keys: GenerationKeys, version: EntryVersion) -> None:
        """Remove a version from the mirror: its entry is gone."""
        with self._lock:
            mirror = self._mirrors.get(keys.stream(version.partition))
        if mirror is not None:
            with mirror.lock:
                mirror.discard(version.element)

    def search_commands(self, query: VectorQuery) -> list[Command]:
        """Return the commands that read the records stored since the last look-up."""
        key = query.keys.stream(query.partition)
        last = self._mirror(query).last
        return [("XLEN", key), ("XRANGE", key, b"(" + last, "+", "COUNT", CHUNK)]

    def parse_search(self, query: VectorQuery, sent: Sequence[Command], replies: Sequence[Any]) -> Neighbours | None:
        """Add new records to the mirror; return what is similar, or None if there is more to read first."""
        length, records = checked(replies)
        if not isinstance(length, int) or not isinstance(records, Sequence):
            raise ReplyError("XLEN and XRANGE returned neither a count nor records")
        mirror = self._mirror(query)
        with mirror.lock:
            if _newer(_start(sent), mirror.last):
                return None  # these records follow those of another mirror, which was dropped meanwhile
            mirror.read([row for row in records if _newer(row[0], mirror.last)])
            mirror.rounds += 1
            catching_up = len(records) == CHUNK
            if catching_up and (mirror.rounds < MAX_CHUNKS or query.everything):
                return None
            mirror.rounds = 0
            mirror.trim(self._max_bytes)
            found = mirror.search(query)
            stale = len(mirror) > 2 * length + CHUNK
        if records or stale:
            self._make_room(query.keys.stream(query.partition), forget=stale)
        versions = [EntryVersion.of_element(element, query.partition, record) for element, record in found]
        known = [(version.key, version) for version in versions if version is not None]
        return Neighbours(known, complete=len(found) < query.count, catching_up=catching_up)

    def _mirror(self, query: VectorQuery) -> Mirror:
        key, dim = query.keys.stream(query.partition), query.vector.size
        with self._lock:
            mirror = self._mirrors.get(key)
            if mirror is None or mirror.dim != dim:
                mirror = self._mirrors[key] = Mirror(dim)
            self._mirrors.move_to_end(key)
            if len(self._mirrors) > MAX_MIRRORS:
                self._mirrors.popitem(last=False)
            return mirror

    def _make_room(self, key: str, *, forget: bool) -> None:
        with self._lock:
            if forget:
                self._mirrors.pop(key, None)
            total = sum(mirror.size_bytes for mirror in self._mirrors.values())
            while total > self._max_bytes and len(self._mirrors) > 1:
                _, dropped = self._mirrors.popitem(last=False)
                total -= dropped.size_bytes


def age_ms(record: bytes, now_ms: float) -> float:
    """Return how long ago a record was written, by the server's clock."""
    return now_ms - int(record.partition(b"-")[0])


def _start(sent: Sequence[Command]) -> bytes:
    """Return the record after which `MirroredStreams.search_commands` asked for more."""
    start = sent[1][2]
    return start.removeprefix(b"(") if isinstance(start, bytes) else b"0-0"


def _newer(record: bytes, last: bytes) -> bool:
    return tuple(map(int, record.split(b"-"))) > tuple(map(int, last.split(b"-")))
