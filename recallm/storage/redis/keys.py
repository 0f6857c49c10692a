"""What keys on a Redis server are called, and what stands for an entry in its indexes."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b

LAYOUT_VERSION = 1
_ID, _DIGEST = 12, 16


def digest(text: str) -> bytes:
    """Return 16 bytes that stand for a text, whatever it holds."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST).digest()


@dataclass(frozen=True, slots=True)
class EntryVersion:
    """One stored version of an entry: its id is never used again, so removing it twice harms no other.

    Attributes:
        id: 12 bytes, see `ServerState.new_id`; those of a later version sort after.
        key: digest of the entry's key.
        partition: digest of its partition.
        record: id of its record in the partition's stream; empty where the layout has no stream.
    """

    id: bytes
    key: bytes
    partition: bytes
    record: bytes = b""

    @property
    def element(self) -> bytes:
        """What stands for it in an index of its partition."""
        return self.id + self.key

    def pack(self) -> bytes:
        """Return it as bytes."""
        return self.id + self.key + self.partition + self.record

    @classmethod
    def unpack(cls, packed: bytes) -> EntryVersion | None:
        """Return what `pack` packed, or None for anything else."""
        fixed = _ID + 2 * _DIGEST
        if len(packed) < fixed or len(packed) > fixed + 41:
            return None
        key, partition = packed[_ID : _ID + _DIGEST], packed[_ID + _DIGEST : fixed]
        return cls(packed[:_ID], key, partition, packed[fixed:])

    @classmethod
    def of_element(cls, element: bytes, partition: bytes, record: bytes = b"") -> EntryVersion | None:
        """Return what an index's element stands for, or None where it is none of ours."""
        if len(element) != _ID + _DIGEST:
            return None
        return cls(element[:_ID], element[_ID:], partition, record)


@dataclass(frozen=True, slots=True)
class NamespaceKeys:
    """The keys of one namespace. All have one hash tag, so that a cluster keeps them on one node.

    Attributes:
        prefix: what every key starts with.
        namespace: whose keys these are.
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
        """HASH of the generation (g), the count of removals (n), and whether some entry never expires (k)."""
        return f"{self._root}:e"

    @property
    def dead(self) -> str:
        """SET of invalidated generations whose keys are still to be swept."""
        return f"{self._root}:dead"

    def of_generation(self, generation: str) -> GenerationKeys:
        """Return the keys of what was stored since one invalidation and before the next."""
        return GenerationKeys(self, generation)


@dataclass(frozen=True, slots=True)
class GenerationKeys:
    """The keys between two invalidations of a namespace: those of the next have other names."""

    namespace_keys: NamespaceKeys
    generation: str

    @property
    def _root(self) -> str:
        return f"{self.namespace_keys._root}:{self.generation}"

    @property
    def versions(self) -> str:
        """ZSET of packed versions by expiry, in ms."""
        return f"{self._root}:z"

    @property
    def dims(self) -> str:
        """HASH of partition digest → dimension of its vectors."""
        return f"{self._root}:d"

    def entry(self, key: bytes) -> str:
        """HASH of one entry."""
        return f"{entries_prefix(self.namespace_keys.prefix)}{self.namespace_keys._tag}:{self.generation}:{key.hex()}"

    def index(self, partition: bytes) -> str:
        """Vector set of one partition."""
        return f"{self._root}:x:{partition.hex()}"

    def stream(self, partition: bytes) -> str:
        """Stream of one partition, of another name: servers come to know vector sets, and clients to differ."""
        return f"{self._root}:s:{partition.hex()}"

    def tag(self, partition: bytes) -> str:
        """What the query engine filters one partition by."""
        return blake2b(f"{self._root}:{partition.hex()}".encode(), digest_size=_DIGEST).hexdigest()


def entries_prefix(prefix: str) -> str:
    """Return what the keys of all entries, and no others, start with."""
    return f"{prefix}:{LAYOUT_VERSION}h:"
