"""The names of keys on a Redis server, and the bytes that stand for an entry in its indexes."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b

LAYOUT_VERSION = 1
"""Part of every key: a release that keeps entries otherwise takes another number, and neither disturbs the other."""

_ID_BYTES = 12
_DIGEST_BYTES = 16
_MAX_RECORD_BYTES = 41
"""Two decimal numbers of 64 bits, and the hyphen between them."""


def digest(text: str) -> bytes:
    """Return the BLAKE2b digest of a text, 16 bytes; lone surrogates are allowed."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()


@dataclass(frozen=True, slots=True)
class EntryVersion:
    """One stored version of an entry. Its id is never used again, so removing a version twice harms no other.

    Attributes:
        id: 12 bytes, see `ServerState.new_id`; those of a later version sort after.
        key: digest of the entry's key.
        partition: digest of its partition.
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

    def pack(self) -> bytes:
        """Return it as the bytes that stand for it elsewhere."""
        return self.id + self.key + self.partition + self.record

    @classmethod
    def unpack(cls, packed: bytes) -> EntryVersion | None:
        """Return the version that `pack` made these bytes of, or None if it made none of them."""
        fixed = _ID_BYTES + 2 * _DIGEST_BYTES
        if len(packed) < fixed or len(packed) > fixed + _MAX_RECORD_BYTES:
            return None
        key, partition = packed[_ID_BYTES : _ID_BYTES + _DIGEST_BYTES], packed[_ID_BYTES + _DIGEST_BYTES : fixed]
        return cls(packed[:_ID_BYTES], key, partition, packed[fixed:])

    @classmethod
    def of_element(cls, element: bytes, partition: bytes, record: bytes = b"") -> EntryVersion | None:
        """Return the version that an index's element stands for, or None if it cannot be one."""
        if len(element) != _ID_BYTES + _DIGEST_BYTES:
            return None
        return cls(element[:_ID_BYTES], element[_ID_BYTES:], partition, record)


@dataclass(frozen=True, slots=True)
class NamespaceKeys:
    """The keys of one namespace. All have one hash tag, so that a cluster keeps them on one node.

    Attributes:
        prefix: the storage's prefix, with which every key starts.
        namespace: the namespace's name.
    """

    prefix: str
    namespace: str
    _tag: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_tag", f"{{{digest(self.namespace).hex()}}}")

    @property
    def _root(self) -> str:
        return f"{self.prefix}:{LAYOUT_VERSION}:{self._tag}"

    @property
    def epoch(self) -> str:
        """HASH of the generation (g), the number of removals (n) and, if some entry never expires, a 1 (k)."""
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
        """HASH from a partition's digest to the dimension of its vectors."""
        return f"{self._root}:d"

    def entry(self, key: bytes) -> str:
        """HASH of one entry, by the digest of its key."""
        return f"{entries_prefix(self.namespace_keys.prefix)}{self.namespace_keys._tag}:{self.generation}:{key.hex()}"

    def index(self, partition: bytes) -> str:
        """Vector set of one partition, by its digest."""
        return f"{self._root}:x:{partition.hex()}"

    def stream(self, partition: bytes) -> str:
        """Stream of one partition, by its digest; never the name of a vector set, as clients may use either."""
        return f"{self._root}:s:{partition.hex()}"

    def tag(self, partition: bytes) -> str:
        """The tag by which the query engine filters one partition."""
        return blake2b(f"{self._root}:{partition.hex()}".encode(), digest_size=_DIGEST_BYTES).hexdigest()


def entries_prefix(prefix: str) -> str:
    """Return the beginning of the keys of all entries, which no other key has."""
    return f"{prefix}:{LAYOUT_VERSION}h:"
