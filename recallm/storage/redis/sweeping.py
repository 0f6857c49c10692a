"""Deletes from a Redis server: single versions, entries beyond a bound, and all that is out of reach."""

from __future__ import annotations

from collections.abc import Sequence

from recallm.storage.redis.commands import Batch, Exec, Operation, Watch, checked, is_odd_key, readable
from recallm.storage.redis.exchanges import Command
from recallm.storage.redis.keys import EntryVersion, GenerationKeys, NamespaceKeys
from recallm.storage.redis.layouts import Layout
from recallm.storage.redis.server import Epoch, ServerState, read_epoch

_EVICTION_ROUNDS = 3
"""How many transactions make room after an entry was stored: those who store meanwhile make room themselves."""

REMOVED_AT_ONCE = 32
"""How many entries one transaction removes at most: it keeps the server busy for a few milliseconds."""


def remove_versions(
    layout: Layout, keys: GenerationKeys, packed: Sequence[bytes], *also: Command
) -> Operation[int | None]:
    """Remove versions from all indexes, and their entries unless these have been replaced.

    Args:
        layout: the layout in use.
        keys: the keys of their generation.
        packed: the versions, packed; other bytes are removed from the generation's versions.
        also: further commands of the transaction.

    Returns:
        How many entries were removed; None if one changed meanwhile, and nothing was removed.
    """
    versions = [version for version in map(EntryVersion.unpack, packed) if version is not None]
    names = [keys.entry(version.key) for version in versions]
    current: Sequence[object] = []
    if names:
        current = yield Watch(names, [("HGET", name, "i") for name in names])
    are_current = [version.pack() == each for version, each in zip(versions, current, strict=True)]
    commands: list[Command] = [("ZREM", keys.versions, *packed)]
    for version, name, is_current in zip(versions, names, are_current, strict=True):
        if is_current:
            commands.append(("UNLINK", name))
        commands += layout.delete_commands(keys, version)
    done = yield Exec([*commands, *also])
    if done is None:
        return None
    readable(done)
    for version in versions:
        layout.forget_locally(keys, version)
    yield from _drop_empty_partitions(layout, keys, list({version.partition for version in versions}))
    return sum(are_current)


def _drop_empty_partitions(layout: Layout, keys: GenerationKeys, partitions: Sequence[bytes]) -> Operation[None]:
    """Delete the bookkeeping of partitions that hold no entry in any layout: dimension and stream."""
    if not layout.by_partition:
        return
    sizes = yield Batch([command for partition in partitions for command in _size_commands(keys, partition)])
    empty = [each for each, *size in zip(partitions, sizes[::2], sizes[1::2], strict=True) if size == _EMPTY]
    for partition in empty:
        # Whoever stores an entry in the partition changes one of these keys.
        again = yield Watch([keys.stream(partition), keys.index(partition)], _size_commands(keys, partition))
        if list(again) == _EMPTY:
            yield Exec([("HDEL", keys.dims, partition), ("UNLINK", keys.stream(partition))])


_EMPTY = [0, -2]
"""The replies to `_size_commands` for a partition with neither a record nor a vector set."""


def _size_commands(keys: GenerationKeys, partition: bytes) -> list[Command]:
    """Return the commands that tell whether a partition is empty."""
    return [("XLEN", keys.stream(partition)), ("PTTL", keys.index(partition))]


def make_room(layout: Layout, keys: GenerationKeys, size: int, max_entries: int) -> Operation[int]:
    """Remove entries beyond a number, those that expire first and then the oldest; return how many."""
    evicted = 0
    for _ in range(_EVICTION_ROUNDS):
        excess = min(size - max_entries, REMOVED_AT_ONCE)
        if excess <= 0:
            break
        (packed,) = checked((yield Batch([("ZRANGE", keys.versions, 0, excess - 1)])))
        if not packed:
            break  # the generation has been invalidated, and swept, meanwhile
        dropped = yield from remove_versions(layout, keys, packed)
        evicted += dropped or 0
        (size,) = checked((yield Batch([("ZCARD", keys.versions)])))
    return evicted


def evict_orphans(layout: Layout, keys: GenerationKeys) -> Operation[None]:
    """Remove versions whose entries a server short of memory has evicted, from a sample of all versions."""
    (sample,) = checked((yield Batch([("ZRANDMEMBER", keys.versions, REMOVED_AT_ONCE)])))
    versions = [version for version in map(EntryVersion.unpack, sample) if version is not None]
    current = yield Batch([("HGET", keys.entry(version.key), "i") for version in versions])
    gone = [version.pack() for version, each in zip(versions, current, strict=True) if each != version.pack()]
    if gone:
        yield from remove_versions(layout, keys, gone)


def sweep(server_state: ServerState, namespace_keys: NamespaceKeys) -> Operation[None]:
    """Remove expired entries and invalidated generations, in small transactions."""
    while (yield from _sweep_some(server_state, namespace_keys)):
        pass


def _sweep_some(server_state: ServerState, namespace_keys: NamespaceKeys) -> Operation[bool]:
    """Remove one transaction's worth; return whether there may be more."""
    layout = yield from server_state.layout()
    found, dead = yield Batch([read_epoch(namespace_keys), ("SRANDMEMBER", namespace_keys.dead)])
    epoch = Epoch.parse(found)
    if is_odd_key(dead):
        yield Batch([("UNLINK", namespace_keys.dead)])
    (dead,) = readable([dead])
    expired: Sequence[bytes] = []
    if epoch is not None:
        keys = namespace_keys.of_generation(epoch.generation)
        limits = ("-inf", f"({server_state.now_ms()}", "LIMIT", 0, REMOVED_AT_ONCE)
        (expired,) = readable((yield Batch([("ZRANGEBYSCORE", keys.versions, *limits)])))
        if expired:
            yield from remove_versions(layout, keys, expired)
    retired = None if dead is None else Epoch.parse([dead, None])
    if dead is not None and (retired is None or (epoch is not None and retired.generation == epoch.generation)):
        # Whatever the set says, the living generation is not swept.
        checked((yield Batch([("SREM", namespace_keys.dead, dead)])))
    elif retired is not None:
        yield from _sweep_dead(layout, namespace_keys.of_generation(retired.generation))
    return bool(expired) or dead is not None


def _sweep_dead(layout: Layout, keys: GenerationKeys) -> Operation[None]:
    """Remove a part of an invalidated generation: entries first, so that its indexes are empty and cheap to unlink."""
    versions, dims = ("ZRANGE", keys.versions, 0, REMOVED_AT_ONCE - 1), ("HRANDFIELD", keys.dims, REMOVED_AT_ONCE)
    packed, partitions = readable((yield Batch([versions, dims])))
    if packed:
        yield from remove_versions(layout, keys, packed)
    elif partitions:
        indexes = [key(partition) for partition in partitions for key in (keys.index, keys.stream)]
        checked((yield Batch([("UNLINK", *indexes), ("HDEL", keys.dims, *partitions)])))
    else:
        gone = [("UNLINK", keys.versions, keys.dims), ("SREM", keys.namespace_keys.dead, keys.generation)]
        checked((yield Batch(gone)))
