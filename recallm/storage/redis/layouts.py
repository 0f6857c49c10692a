"""Ways of keeping vectors on a server and searching them: vector sets and the query engine. `mirror` is a third."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from recallm.errors import OddVectorError
from recallm.storage.redis.commands import Argument, Command, ReplyError, checked
from recallm.storage.redis.keys import EntryVersion, GenerationKeys, entries_prefix

if TYPE_CHECKING:
    from recallm.typing import Vector

QUANTISATION_MARGIN = 0.006
"""How far below the threshold an index is searched: quantising vectors to 8 bits moved similarities by up to 0.0017."""

VECTOR_SET_EFFORT = 100
SEARCH_EFFORT = 100
"""How many nodes of its graph a search visits (EF): with the defaults some neighbours among 100,000 are missed."""

BUILDING_EFFORT = 200
"""How many nodes are visited to link a new one: the default of the query engine, and that of vector sets."""

COMPARED_ONE_BY_ONE = 3000
"""Up to how many vectors the query engine compares faster one by one than by its graph."""

USES_OF_A_SIZE = 256
"""How many searches use a partition's size before it is asked for again: it decides only between two right ways."""

MAX_SIZES = 10_000
"""How many partitions' sizes are remembered."""


class MissingIndexError(Exception):
    """The query engine has no index for vectors of this dimension."""


@dataclass(frozen=True, slots=True)
class VectorQuery:
    """What to look for.

    Attributes:
        keys: the keys of the generation to look in.
        partition: digest of the partition.
        vector: float32, shape (dim,), unit length.
        threshold: the cosine below which nothing is wanted.
        count: how many neighbours are wanted, at least 1.
        everything: True if none may be missed, however long the search takes.
    """

    keys: GenerationKeys
    partition: bytes
    vector: Vector
    threshold: float
    count: int
    everything: bool = False


@dataclass(frozen=True, slots=True)
class Neighbours:
    """What an index found.

    Attributes:
        found: the digest of each entry's key and, if the index knows it, the entry's version; the most similar first.
        complete: True if no other entry in the index can reach the threshold.
        catching_up: True if the index has yet to read what was stored before.
    """

    found: Sequence[tuple[bytes, EntryVersion | None]]
    complete: bool
    catching_up: bool = False


class Layout(Protocol):
    """One way of keeping vectors on a server and searching them.

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

    def delete_commands(self, keys: GenerationKeys, version: EntryVersion) -> list[Command]:
        """Return the commands that take a version out of the index."""
        ...

    def forget_locally(self, keys: GenerationKeys, version: EntryVersion) -> None:
        """Forget a version in this process: its entry is gone."""
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
            OddVectorError: the partition's vectors have another dimension.
        """
        ...


class VectorSets:
    """A vector set for each partition (Redis 8)."""

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
        return [("VADD", keys.index(version.partition), "FP32", stored, version.element, "Q8", "EF", BUILDING_EFFORT)]

    def delete_commands(self, keys: GenerationKeys, version: EntryVersion) -> list[Command]:
        """Return the command that removes a vector: unlinking a large set as a whole would stop the server for long."""
        return [("VREM", keys.index(version.partition), version.element)]

    def forget_locally(self, keys: GenerationKeys, version: EntryVersion) -> None:
        """Do nothing: this process holds no vectors."""

    def search_commands(self, query: VectorQuery) -> list[Command]:
        """Return the search."""
        stored = query.vector.astype("<f4").tobytes()
        key = query.keys.index(query.partition)
        command: Command = ("VSIM", key, "FP32", stored, "WITHSCORES", "COUNT", query.count)
        distance = (1.0 - query.threshold) / 2 + QUANTISATION_MARGIN
        if distance < 1.0:
            command = (*command, "EPSILON", distance)
        if query.everything:
            return [(*command, "TRUTH")]
        return [(*command, "EF", max(VECTOR_SET_EFFORT, query.count))]

    def parse_search(self, query: VectorQuery, sent: Sequence[Command], replies: Sequence[Any]) -> Neighbours | None:
        """Return what the search found; the reply is a mapping under RESP3 and a list under RESP2."""
        (reply,) = replies
        if isinstance(reply, Exception):
            if "dimension mismatch" in str(reply).lower():
                raise OddVectorError("the partition's vectors have another dimension than the one searched for")
            raise reply
        elements: Iterable[Any] = reply if isinstance(reply, Mapping) else reply[::2]
        versions = [EntryVersion.of_element(element, query.partition) for element in elements]
        found = [(version.key, version) for version in versions if version is not None]
        return Neighbours(found, complete=len(versions) < query.count)


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

    def delete_commands(self, keys: GenerationKeys, version: EntryVersion) -> list[Command]:
        """Return nothing: the query engine notices deleted hashes by itself."""
        return []

    def forget_locally(self, keys: GenerationKeys, version: EntryVersion) -> None:
        """Do nothing: this process holds no vectors."""

    def create_command(self, dim: int) -> Command:
        """Return the command that creates the index of one dimension."""
        start = ("FT.CREATE", self._index(dim), "ON", "HASH", "PREFIX", 1, entries_prefix(self._prefix))
        effort = ("M", 16, "EF_CONSTRUCTION", BUILDING_EFFORT)
        options = ("TYPE", "FLOAT32", "DIM", dim, "DISTANCE_METRIC", "COSINE", *effort)
        return (*start, "SCHEMA", "p", "TAG", "v", "VECTOR", "HNSW", len(options), *options)

    def search_commands(self, query: VectorQuery) -> list[Command]:
        """Return a search for the nearest neighbours that have the partition's tag.

        It is no search by range, which misses some. Left to itself the query engine compares the vectors of a large
        partition one by one, so the command says how to search, and now and then another asks for the partition's size.
        """
        tag = query.keys.tag(query.partition)
        size, uses = self._sizes.get(tag, (None, 0))
        policy = "" if size is None else "HYBRID_POLICY ADHOC_BF"
        effort: tuple[Argument, ...] = ()
        if size is not None and size > COMPARED_ONE_BY_ONE:
            policy, effort = "HYBRID_POLICY BATCHES EF_RUNTIME $ef", ("ef", max(SEARCH_EFFORT, query.count))
        knn = f"(@p:{{{tag}}})=>[KNN $k @v $q {policy} AS s]"
        count, index = query.count, self._index(query.vector.size)
        params = ("k", count, "q", query.vector.astype("<f4").tobytes(), *effort)
        shown = ("SORTBY", "s", "LIMIT", 0, count, "RETURN", 1, "s", "DIALECT", 2)
        commands: list[Command] = [("FT.SEARCH", index, knn, "PARAMS", len(params), *params, *shown)]
        if uses % USES_OF_A_SIZE == 0:
            commands.append(("FT.SEARCH", index, f"@p:{{{tag}}}", "LIMIT", 0, 0, "DIALECT", 2))
        return commands

    def parse_search(self, query: VectorQuery, sent: Sequence[Command], replies: Sequence[Any]) -> Neighbours | None:
        """Return what the search found."""
        for reply in replies:
            text = str(reply).lower() if isinstance(reply, Exception) else ""
            if "index" in text and ("no such" in text or "unknown" in text):
                self._created.clear()
                raise MissingIndexError from reply
        self._remember_size(query.keys.tag(query.partition), *checked(replies)[1:])
        # Not when it is asked for: an entry that another thread stores before it is there would be found late.
        self._created.add(query.vector.size)
        rows = _rows(replies[0])
        near = [name for name, distance in rows if not 1.0 - distance < query.threshold - QUANTISATION_MARGIN]
        found = [(bytes.fromhex(name.rpartition(b":")[2].decode("ascii")), None) for name in near]
        return Neighbours(found, complete=len(near) < len(rows) or len(rows) < query.count)

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


def _rows(reply: Any) -> list[tuple[bytes, float]]:
    """Return each (key, distance) in the reply to a search, which is a mapping under RESP3 and a list under RESP2."""
    if isinstance(reply, Mapping):
        results = reply[b"results"]
        return [(row[b"id"], float(row[b"extra_attributes"][b"s"])) for row in results]
    if not isinstance(reply, Sequence) or not reply:
        raise ReplyError(f"FT.SEARCH returned a {type(reply).__name__}")
    return [(name, float(fields[1])) for name, fields in zip(reply[1::2], reply[2::2], strict=True)]
