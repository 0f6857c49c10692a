"""Ways of keeping vectors on a server and searching them: vector sets and the query engine. `mirror` is a third."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from recallm.storage.entry_format import FIELDS
from recallm.storage.redis.commands import checked, is_refusal
from recallm.storage.redis.exchanges import Argument, Command, ReplyError
from recallm.storage.redis.keys import ID_BYTES, EntryVersion, GenerationKeys, entries_prefix
from recallm.storage.redis.scripts import SEARCH

if TYPE_CHECKING:
    from recallm.typing import Vector

QUANTISATION_MARGIN = 0.006
"""How far below the threshold an index is searched: quantising vectors to 8 bits moved similarities by up to 0.0017."""

SEARCH_EFFORT = 200
"""How many nodes of its graph a search visits (EF): with 100, up to 3 of 3,000 neighbours among 100,000 are missed.

A vector set of 1,000 takes 0.08 ms longer than with 100, one of 10,000 takes 0.25 ms.
"""

VECTOR_SET_LINKS = 16
SEARCH_LINKS = 32
"""To how many others each node of a graph is linked (M).

With 16, the query engine missed one of 507 neighbours among 100,000 in one graph of two; with 32 none of 3,000, for 3 %
more memory and a seventh more time to store. A vector set with 16 missed none; 32 would take a quarter more memory.
"""

BUILDING_EFFORT = 200
"""How many nodes are visited to link a new one: the default of the query engine, and that of vector sets."""

COMPARED_ONE_BY_ONE = 3000
"""Up to how many vectors the query engine compares faster one by one than by its graph."""

USES_OF_A_SIZE = 256
"""How many searches use a partition's size before it is asked for again: it decides only between two right ways."""

MAX_SIZES = 10_000
"""How many partitions' sizes are remembered."""


_DISTANCE = b"d"
"""What the query engine calls the distance of a row: not the name of an entry's field."""

_LOADED = ("@__key", *(f"@{name.decode()}" for name in FIELDS))
"""What is read of each row that is near enough."""


class MissingIndexError(Exception):
    """The query engine has no index for vectors of this dimension."""


@dataclass(frozen=True, slots=True)
class VectorQuery:
    """What to look for.

    Attributes:
        keys: the keys of the generation to look in.
        partition: digest of the partition and of the vector's dimension.
        vector: float32, shape (dim,), unit length.
        threshold: the cosine below which nothing is wanted.
        count: how many neighbours are wanted, at least 1.
        everything: True if none may be missed, however long the search takes.
        scripts: whether the server may be asked to run scripts.
    """

    keys: GenerationKeys
    partition: bytes
    vector: Vector
    threshold: float
    count: int
    everything: bool = False
    scripts: bool = False


@dataclass(frozen=True, slots=True)
class Neighbours:
    """What an index found.

    Attributes:
        found: the digest of each entry's key and, if the index knows it, the entry's version; the most similar first.
        complete: True if no other entry in the index can reach the threshold.
        catching_up: True if the index has yet to read what was stored before.
        rows: by the digests of their keys, the values of `FIELDS` of entries that were read along with the search.
    """

    found: Sequence[tuple[bytes, EntryVersion | None]]
    complete: bool
    catching_up: bool = False
    rows: Mapping[bytes, Any] = field(default_factory=dict)


def read_entry(keys: GenerationKeys, key: bytes) -> Command:
    """Return the command that reads the fields of an entry, by the digest of its key."""
    return ("HMGET", keys.entry(key), *FIELDS)


def key_in(element: bytes) -> bytes:
    """Return the digest of the key in an element, as `EntryVersion.element` makes it."""
    return element[ID_BYTES:]


class Layout(Protocol):
    """One way of keeping vectors on a server and searching them.

    A search may read the entries that it finds along with its own commands, whose replies then come first.
    Methods whose names end in ``_commands`` return what to send, and those that begin with ``parse_`` take the replies.

    Attributes:
        name: the layout's name, see `RedisStorage`.
        by_partition: whether each partition has a key of its own.
    """

    name: str
    by_partition: bool

    def prepare_commands(self, keys: GenerationKeys, version: EntryVersion, vector: Vector) -> list[Command]:
        """Return the commands to send before an entry is stored."""
        ...

    def parse_prepared(self, version: EntryVersion, replies: Sequence[Any]) -> EntryVersion:
        """Return the version, completed by the replies to `prepare_commands`."""
        ...

    def index_fields(self, keys: GenerationKeys, version: EntryVersion) -> Mapping[bytes, bytes]:
        """Return further fields of the entry's hash, which the index needs."""
        ...

    def add_commands(self, keys: GenerationKeys, version: EntryVersion, vector: Vector) -> list[Command]:
        """Return the commands that add a vector to the index, in the transaction that stores its entry."""
        ...

    def unprepared_commands(self, keys: GenerationKeys, version: EntryVersion, vector: Vector) -> list[Command] | None:
        """Return the commands that add a vector to the index by `scripts.STORE`; None: it must be prepared."""
        ...

    def delete_commands(self, keys: GenerationKeys, version: EntryVersion) -> list[Command]:
        """Return the commands that take a version out of the index."""
        ...

    def learn_locally(self, keys: GenerationKeys, version: EntryVersion, vector: Vector) -> None:
        """Learn in this process of a version that it has stored."""
        ...

    def forget_locally(self, keys: GenerationKeys, version: EntryVersion) -> None:
        """Forget a version in this process: its entry is gone."""
        ...

    def computes_long(self, query: VectorQuery, replies: Sequence[Any] = ()) -> bool:
        """Return whether `search_commands`, or `parse_search` of these replies, takes more than a millisecond."""
        ...

    def search_commands(self, query: VectorQuery) -> list[Command]:
        """Return the commands of a search."""
        ...

    def parse_search(self, query: VectorQuery, sent: Sequence[Command], replies: Sequence[Any]) -> Neighbours | None:
        """Return what a search found, or None if `search_commands` must be sent once more.

        Args:
            query: what to look for.
            sent: what `search_commands` returned.
            replies: a reply for each, errors among them.

        Raises:
            MissingIndexError: the index of the query engine is yet to be created.
        """
        ...


class VectorSets:
    """A vector set for each partition and dimension (Redis 8)."""

    name = "vectorset"
    by_partition = True

    def prepare_commands(self, keys: GenerationKeys, version: EntryVersion, vector: Vector) -> list[Command]:
        """Return nothing: the first VADD creates the set."""
        return []

    def parse_prepared(self, version: EntryVersion, replies: Sequence[Any]) -> EntryVersion:
        """Return the version unchanged."""
        return version

    def index_fields(self, keys: GenerationKeys, version: EntryVersion) -> Mapping[bytes, bytes]:
        """Return nothing: the vector set holds what it needs."""
        return {}

    def add_commands(self, keys: GenerationKeys, version: EntryVersion, vector: Vector) -> list[Command]:
        """Return the command that adds a vector."""
        stored = vector.astype("<f4").tobytes()
        graph = ("Q8", "EF", BUILDING_EFFORT, "M", VECTOR_SET_LINKS)
        return [("VADD", keys.index(version.partition), "FP32", stored, version.element, *graph)]

    def unprepared_commands(self, keys: GenerationKeys, version: EntryVersion, vector: Vector) -> list[Command] | None:
        """Return the command that adds a vector."""
        return self.add_commands(keys, version, vector)

    def delete_commands(self, keys: GenerationKeys, version: EntryVersion) -> list[Command]:
        """Return the command that removes a vector: unlinking a large set as a whole would stop the server for long."""
        return [("VREM", keys.index(version.partition), version.element)]

    def learn_locally(self, keys: GenerationKeys, version: EntryVersion, vector: Vector) -> None:
        """Do nothing: this process holds no vectors."""

    def forget_locally(self, keys: GenerationKeys, version: EntryVersion) -> None:
        """Do nothing: this process holds no vectors."""

    def computes_long(self, query: VectorQuery, replies: Sequence[Any] = ()) -> bool:
        """Return False: the server computes."""
        return False

    def search_commands(self, query: VectorQuery) -> list[Command]:
        """Return the search; a script makes it if it may, but for one that holds the server up for long."""
        key = query.keys.index(query.partition)
        wanted: Command = ("FP32", query.vector.astype("<f4").tobytes(), "COUNT", query.count)
        distance = (1.0 - query.threshold) / 2 + QUANTISATION_MARGIN
        if distance < 1.0:
            wanted = (*wanted, "EPSILON", distance)
        if query.everything:
            return [("VSIM", key, *wanted, "TRUTH")]
        wanted = (*wanted, "EF", max(SEARCH_EFFORT, query.count))
        if query.scripts:
            return [("EVAL", SEARCH, 1, key, query.keys.entries, *wanted)]
        return [("VSIM", key, *wanted)]

    def parse_search(self, query: VectorQuery, sent: Sequence[Command], replies: Sequence[Any]) -> Neighbours | None:
        """Return what the search found, with the entries if a script has read them."""
        (reply,) = checked(replies)
        read = sent[0][0] == "EVAL"
        versions = [EntryVersion.of_element(each[0] if read else each, query.partition) for each in reply]
        found = [(version.key, version) for version in versions if version is not None]
        rows = {version.key: each[1] for version, each in zip(versions, reply, strict=True) if version and read}
        return Neighbours(found, complete=len(versions) < query.count, rows=rows)


class QueryEngine:
    """One index over all entries of a dimension, filtered by partition (Redis with the query engine).

    Args:
        prefix: the storage's prefix, with which every key starts.
    """

    name = "search"
    by_partition = False

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._created: set[int] = set()
        self._sizes: dict[str, tuple[int | None, int]] = {}
        self._may_aggregate = True

    def prepare_commands(self, keys: GenerationKeys, version: EntryVersion, vector: Vector) -> list[Command]:
        """Return the command that creates the index, until it has answered: one created later must catch up."""
        return [] if vector.size in self._created else [self.create_command(vector.size)]

    def parse_prepared(self, version: EntryVersion, replies: Sequence[Any]) -> EntryVersion:
        """Return the version unchanged, unless the index could not be created."""
        if replies and "already exists" not in str(replies[0]):
            self._created.clear()
            checked(replies)
        return version

    def index_fields(self, keys: GenerationKeys, version: EntryVersion) -> Mapping[bytes, bytes]:
        """Return the tag by which the index filters."""
        return {b"p": keys.tag(version.partition).encode()}

    def add_commands(self, keys: GenerationKeys, version: EntryVersion, vector: Vector) -> list[Command]:
        """Return nothing: the query engine indexes the entries' hashes by itself."""
        return []

    def unprepared_commands(self, keys: GenerationKeys, version: EntryVersion, vector: Vector) -> list[Command] | None:
        """Return nothing, or None if the index is yet to be created."""
        return [] if vector.size in self._created else None

    def delete_commands(self, keys: GenerationKeys, version: EntryVersion) -> list[Command]:
        """Return nothing: the query engine notices deleted hashes by itself."""
        return []

    def learn_locally(self, keys: GenerationKeys, version: EntryVersion, vector: Vector) -> None:
        """Do nothing: this process holds no vectors."""

    def forget_locally(self, keys: GenerationKeys, version: EntryVersion) -> None:
        """Do nothing: this process holds no vectors."""

    def create_command(self, dim: int) -> Command:
        """Return the command that creates the index of one dimension."""
        start = ("FT.CREATE", self._index(dim), "ON", "HASH", "PREFIX", 1, entries_prefix(self._prefix))
        effort = ("M", SEARCH_LINKS, "EF_CONSTRUCTION", BUILDING_EFFORT)
        options = ("TYPE", "FLOAT32", "DIM", dim, "DISTANCE_METRIC", "COSINE", *effort)
        return (*start, "SCHEMA", "p", "TAG", "v", "VECTOR", "HNSW", len(options), *options)

    def computes_long(self, query: VectorQuery, replies: Sequence[Any] = ()) -> bool:
        """Return False: the server computes."""
        return False

    def search_commands(self, query: VectorQuery) -> list[Command]:
        """Return a search for the nearest neighbours that have the partition's tag, which reads those near enough.

        It is no search by range, which misses some. Left to itself the query engine compares the vectors of a large
        partition one by one, so the command says how to search, and now and then another asks for the partition's size.
        """
        tag = query.keys.tag(query.partition)
        size, uses = self._sizes.get(tag, (None, 0))
        policy = "" if size is None else "HYBRID_POLICY ADHOC_BF"
        effort: tuple[Argument, ...] = ()
        if size is not None and size > COMPARED_ONE_BY_ONE:
            policy, effort = "HYBRID_POLICY BATCHES EF_RUNTIME $ef", ("ef", max(SEARCH_EFFORT, query.count))
        knn = f"(@p:{{{tag}}})=>[KNN $k @v $q {policy} AS d]"
        count, index = query.count, self._index(query.vector.size)
        params = ("k", count, "q", query.vector.astype("<f4").tobytes(), *effort)
        asked: Command = (index, knn, "PARAMS", len(params), *params)
        if self._may_aggregate:
            # What is no number is not greater: it counts as near, since it may hide what is.
            near: Command = ("FILTER", f"!(@d > {_farthest(query)})", "LOAD", len(_LOADED), *_LOADED)
            commands: list[Command] = [("FT.AGGREGATE", *asked, *near, "LIMIT", 0, count, "DIALECT", 2)]
        else:
            nearest: Command = ("SORTBY", "d", "LIMIT", 0, count, "RETURN", 1, "d", "DIALECT", 2)
            commands = [("FT.SEARCH", *asked, *nearest)]
        if uses % USES_OF_A_SIZE == 0:
            commands.append(("FT.SEARCH", index, f"@p:{{{tag}}}", "LIMIT", 0, 0, "DIALECT", 2))
        return commands

    def parse_search(self, query: VectorQuery, sent: Sequence[Command], replies: Sequence[Any]) -> Neighbours | None:
        """Return what the search found, with the entries if the user may aggregate."""
        if sent[0][0] == "FT.AGGREGATE" and is_refusal(replies[0]):
            self._may_aggregate = False
            return None
        for reply in replies:
            text = str(reply).lower() if isinstance(reply, Exception) else ""
            if "index" in text and ("no such" in text or "unknown" in text):
                self._created.clear()
                raise MissingIndexError from reply
        self._remember_size(query.keys.tag(query.partition), *checked(replies)[1:])
        # Not when it is asked for: an entry that another thread stores before it is there would be found late.
        self._created.add(query.vector.size)
        rows = _rows(replies[0])
        near = [row for row in rows if row is None or not float(row[_DISTANCE]) > _farthest(query)]
        found = {_digest_in(row[b"__key"]): row for row in near if row is not None}
        read = {key: [row.get(name) for name in FIELDS] for key, row in found.items() if sent[0][0] == "FT.AGGREGATE"}
        complete = len(near) < len(rows) or len(rows) < query.count
        return Neighbours([(key, None) for key in found], complete, rows=read)

    def _remember_size(self, tag: str, counted: Any = None) -> None:
        """Remember how large a partition is, and how often that was used."""
        size, uses = self._sizes.pop(tag, (None, 0))
        if counted is not None:
            size = int(counted[b"total_results"] if isinstance(counted, Mapping) else counted[0])
        self._sizes[tag] = (size, uses + 1)
        if len(self._sizes) > MAX_SIZES:
            self._sizes.pop(next(iter(self._sizes)), None)

    def _index(self, dim: int) -> str:
        return f"{self._prefix}:index:{dim}"


def _farthest(query: VectorQuery) -> float:
    """Return the distance from which on an index's neighbours are of no interest."""
    return 1.0 - query.threshold + QUANTISATION_MARGIN


def _digest_in(name: bytes) -> bytes:
    """Return the digest that the name of an entry ends in."""
    return bytes.fromhex(name.rpartition(b":")[2].decode("ascii"))


def _rows(reply: Any) -> list[Mapping[bytes, Any] | None]:
    """Return each row in the reply to a search, with its key; None for one whose entry has expired meanwhile.

    The reply is a mapping under RESP3 and a list under RESP2, where the key of a row may come before it.
    """
    if isinstance(reply, Mapping):
        return [_row(row.get(b"id"), row.get(b"extra_attributes")) for row in reply[b"results"]]
    if not isinstance(reply, Sequence) or not reply:
        raise ReplyError(f"the query engine returned a {type(reply).__name__}")
    if len(reply) > 1 and isinstance(reply[1], bytes):
        return [_row(name, fields) for name, fields in zip(reply[1::2], reply[2::2], strict=True)]
    return [_row(None, fields) for fields in reply[1:]]


def _row(name: bytes | None, fields: Any) -> Mapping[bytes, Any] | None:
    if not fields:
        return None
    row = fields if isinstance(fields, Mapping) else dict(zip(fields[::2], fields[1::2], strict=True))
    row = {b"__key": name, **row}
    return row if {_DISTANCE, b"__key"} <= row.keys() and row[b"__key"] else None
