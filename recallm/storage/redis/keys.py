"""The names of keys on a Redis server, and the bytes that stand for an entry in its indexes."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b

LAYOUT_VERSION = 1
"""Part of every key: a release that keeps entries otherwise takes another number, and neither disturbs the other."""

ID_BYTES = 12
_DIGEST_BYTES = 16
RECORD_PLACE = ID_BYTES + 2 * _DIGEST_BYTES
"""Where the id of its record begins in a packed version."""

OF_REFUSALS = b"\xff"
"""What the ids of refusals begin with, and no others: those hold a time."""

_MAX_RECORD_BYTES = 41
"""Two decimal numbers of 64 bits, and the hyphen between them."""


def digest(text: str) -> bytes:
    """Return the BLAKE2b digest of a text, 16 bytes; lone surrogates are allowed."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()


def partition_digest(partition: str, dim: int) -> bytes:
    """Return the digest of a partition's vectors of one dimension, 16 bytes: an index holds vectors of one dimension.

    Args:
        partition: the partition's name.
        dim: dimension of the vectors; 0 for entries without one.
    """
    return digest(f"{dim}:{partition}")


@dataclass(frozen=True, slots=True)
class EntryVersion:
    """One stored version of an entry. Its id is never used again, so removing a version twice harms no other.

    Attributes:
        id: 12 bytes, see `ServerState.new_id`; those of a later version sort after, and those of refusals last.
        key: digest of the entry's key.
        partition: digest of its partition and of the dimension of its vector, see `partition_digest`.
        record: id of its record in the partition's stream; empty if the layout has no stream.
    """

    id: bytes
    key: bytes
    partition: bytes
    record: bytes = b""

    @property
    def element(self) -> bytes:
        """The 28 bytes that stand for it in an index of its partition."""
        return self.id + self.key

    @property
    def is_of_refusal(self) -> bool:
        """Whether a refusal is stored."""
        return self.id.startswith(OF_REFUSALS)

    def pack(self) -> bytes:
        """Return it as the bytes that stand for it elsewhere."""
        return self.id + self.key + self.partition + self.record

    @classmethod
    def unpack(cls, packed: bytes) -> EntryVersion | None:
        """Return the version that `pack` made these bytes of, or None if it made none of them."""
        if not RECORD_PLACE <= len(packed) <= RECORD_PLACE + _MAX_RECORD_BYTES:
            return None
        partition_place = ID_BYTES + _DIGEST_BYTES
        key, partition = packed[ID_BYTES:partition_place], packed[partition_place:RECORD_PLACE]
        return cls(packed[:ID_BYTES], key, partition, packed[RECORD_PLACE:])

    @classmethod
    def of_element(cls, element: bytes, partition: bytes, record: bytes = b"") -> EntryVersion | None:
        """Return the version that an index's element stands for, or None if it cannot be one."""
        if len(element) != ID_BYTES + _DIGEST_BYTES:
            return None
        return cls(element[:ID_BYTES], element[ID_BYTES:], partition, record)


@dataclass(frozen=True, slots=True)
class NamespaceKeys:
    """The keys of one namespace. All have one hash tag, so that a cluster keeps them on one node.

    Attributes:
        prefix: the storage's prefix, with which every key starts.
        namespace: the namespace's name.
    """

    prefix: str
    namespace: str
    _tag: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not self._tag:
            object.__setattr__(self, "_tag", f"{{{digest(self.namespace).hex()}}}")

    @classmethod
    def of_epoch(cls, prefix: str, key: str) -> NamespaceKeys:
        """Return the keys of a namespace whose name is yet to be found out, by the key of its epoch."""
        return cls(prefix, "", key.removeprefix(f"{prefix}:{LAYOUT_VERSION}:").removesuffix(":e"))

    def is_named(self, namespace: object) -> bool:
        """Return whether these are the keys of a namespace of this name."""
        return isinstance(namespace, str) and self._tag == NamespaceKeys(self.prefix, namespace)._tag

    @property
    def _root(self) -> str:
        return f"{self.prefix}:{LAYOUT_VERSION}:{self._tag}"

    @property
    def epoch(self) -> str:
        """HASH: the generation (g), numbers that grow by removals (n) and changes (r), 1 (k) if an entry is to stay."""
        return f"{self._root}:e"

    @property
    def dead(self) -> str:
        """SET of the invalidated generations that are still to be swept."""
        return f"{self._root}:dead"

    def of_generation(self, generation: str) -> GenerationKeys:
        """Return the keys of a generation, by its name."""
        return GenerationKeys(self, generation)


@dataclass(frozen=True, slots=True)
class GenerationKeys:
    """The keys of a generation: all that is stored in a namespace after one invalidation and before the next.

    The next generation has other keys, so invalidated entries are out of reach before they are deleted.

    Attributes:
        namespace_keys: the keys of the namespace.
        generation: the generation's name, 16 hexadecimal digits.
    """

    namespace_keys: NamespaceKeys
    generation: str

    @property
    def _root(self) -> str:
        return f"{self.namespace_keys._root}:{self.generation}"

    @property
    def versions(self) -> str:
        """ZSET of packed versions, scored by the time of their expiry in ms."""
        return f"{self._root}:z"

    @property
    def dims(self) -> str:
        """HASH of the digests of partitions, with the dimension of the vectors of each: what is to be swept."""
        return f"{self._root}:d"

    def entry(self, key: bytes) -> str:
        """HASH of one entry, by the digest of its key."""
        return f"{self.entries}{key.hex()}"

    @property
    def entries(self) -> str:
        """What the keys of all its entries begin with; the hexadecimal digest follows."""
        return f"{entries_prefix(self.namespace_keys.prefix)}{self.namespace_keys._tag}:{self.generation}:"

    def index(self, partition: bytes) -> str:
        """Vector set of one partition, by its digest."""
        return f"{self._root}:x:{partition.hex()}"

    def stream(self, partition: bytes) -> str:
        """Stream of one partition, by its digest; never the name of a vector set, as clients may use either."""
        return f"{self._root}:s:{partition.hex()}"

    def tag(self, partition: bytes) -> str:
        """The tag by which the query engine filters one partition."""
        return blake2b(f"{self._root}:{partition.hex()}".encode(), digest_size=_DIGEST_BYTES).hexdigest()


TOKEN_BYTES = 8
"""How many bytes a removal by tag is told from others by."""


@dataclass(frozen=True, slots=True)
class TagKeys:
    """The keys of one tag, see `recallm.storage.redis.tagging`. All have one hash tag of a cluster.

    Attributes:
        prefix: the storage's prefix, with which every key starts.
        tag: the tag's name.
    """

    prefix: str
    tag: str

    @property
    def _root(self) -> str:
        return f"{self.prefix}:{LAYOUT_VERSION}t:{{{digest(self.tag).hex()}}}"

    @property
    def mark(self) -> str:
        """HASH that is there for a day after each removal."""
        return f"{self._root}:r"

    @property
    def expiring(self) -> str:
        """ZSET of members that expire, scored by when they may be forgotten, in ms by the server's clock."""
        return f"{self._root}:x"

    @property
    def lasting(self) -> str:
        """ZSET of members that never expire, scored by when they joined, in ms by the server's clock."""
        return f"{self._root}:l"

    @property
    def leaving(self) -> str:
        """ZSET of the members that are being removed, each after the `TOKEN_BYTES` of its removal."""
        return f"{self._root}:g"

    @property
    def members(self) -> tuple[str, str, str]:
        """The keys of all members."""
        return self.expiring, self.lasting, self.leaving


def epochs_pattern(prefix: str) -> str:
    """Return the pattern that the keys of all epochs match, and no others."""
    return f"{prefix}:{LAYOUT_VERSION}:{{{'[0-9a-f]' * 2 * _DIGEST_BYTES}}}:e"


def entries_prefix(prefix: str) -> str:
    """Return the beginning of the keys of all entries, which no other key has."""
    return f"{prefix}:{LAYOUT_VERSION}h:"
