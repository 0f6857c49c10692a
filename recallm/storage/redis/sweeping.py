"""Taking entries out of a Redis server: single ones, those that are one too many, and what nobody can see."""

from __future__ import annotations

from collections.abc import Sequence

from recallm.storage.redis.commands import Batch, Command, Exec, Operation, Watch, checked
from recallm.storage.redis.keys import Generation, Member, Space
from recallm.storage.redis.layouts import Layout
from recallm.storage.redis.server import Epoch, Ground, read_epoch

SWEPT_AT_ONCE = 32
"""How many entries one transaction removes: it takes the server a few milliseconds."""


def drop(layout: Layout, place: Generation, packed: Sequence[bytes]) -> Operation[int | None]:
    """Remove members, with their entries where these have not been replaced.

    Returns:
        How many entries were removed; None where one changed meanwhile, and nothing was done.
    """
    members = [member for member in map(Member.unpack, packed) if member is not None]
    entries = [place.entry(member.key) for member in members]
    held: Sequence[object] = []
    if entries:
        held = yield Watch(entries, [("HGET", entry, "i") for entry in entries])
    current = [member.pack() == each for member, each in zip(members, held, strict=True)]
    commands: list[Command] = [("ZREM", place.members, *packed)]
    for member, entry, is_current in zip(members, entries, current, strict=True):
        if is_current:
            commands.append(("UNLINK", entry))
        commands += layout.drop(place, member)
    done = yield Exec(commands)
    if done is None:
        return None
    checked(done)
    for member in members:
        layout.forget(place, member)
    yield from _vacate(layout, place, list({member.partition for member in members}))
    return sum(current)


def _vacate(layout: Layout, place: Generation, partitions: Sequence[bytes]) -> Operation[None]:
    """Forget partitions that hold nothing any more in any layout, and the streams that outlast what they held."""
    if not layout.by_partition:
        return
    kept = yield Batch([command for partition in partitions for command in _kept(place, partition)])
    for partition, *_ in [each for each in zip(partitions, kept[::2], kept[1::2], strict=True) if each[1:] == _NOTHING]:
        # Whoever stores into the partition changes one of these keys.
        again = yield Watch([place.stream(partition), place.index(partition)], _kept(place, partition))
        if tuple(again) == _NOTHING:
            yield Exec([("HDEL", place.dims, partition), ("UNLINK", place.stream(partition))])


_NOTHING = (0, -2)


def _kept(place: Generation, partition: bytes) -> list[Command]:
    """Return the commands whose replies are `_NOTHING` where there is neither a record nor a vector set."""
    return [("XLEN", place.stream(partition)), ("PTTL", place.index(partition))]


def make_room(layout: Layout, place: Generation, size: int, max_entries: int) -> Operation[int]:
    """Remove the entries that expire first, or were stored first, beyond a number; return how many."""
    evicted = 0
    for _ in range(3):
        excess = min(size - max_entries, SWEPT_AT_ONCE)
        if excess <= 0:
            break
        (packed,) = checked((yield Batch([("ZRANGE", place.members, 0, excess - 1)])))
        dropped = yield from drop(layout, place, packed)
        evicted += dropped or 0
        (size,) = checked((yield Batch([("ZCARD", place.members)])))
    return evicted


def relieve(layout: Layout, place: Generation) -> Operation[None]:
    """Remove what still stands for entries that a server short of memory has evicted: a sample of it."""
    (sample,) = checked((yield Batch([("ZRANDMEMBER", place.members, SWEPT_AT_ONCE)])))
    members = [member for member in map(Member.unpack, sample) if member is not None]
    held = yield Batch([("HGET", place.entry(member.key), "i") for member in members])
    gone = [member.pack() for member, each in zip(members, held, strict=True) if each != member.pack()]
    if gone:
        yield from drop(layout, place, gone)


def sweep(ground: Ground, space: Space) -> Operation[None]:
    """Remove all that nobody can see any more, in small transactions."""
    while (yield from _sweep_some(ground, space)):
        pass


def _sweep_some(ground: Ground, space: Space) -> Operation[bool]:
    layout = yield from ground.ready()
    found, dead = checked((yield Batch([read_epoch(space), ("SRANDMEMBER", space.dead)])))
    epoch = Epoch.parse(found)
    expired: Sequence[bytes] = []
    if epoch is not None:
        place = space.generation(epoch.generation)
        limits = ("-inf", f"({ground.now_ms()}", "LIMIT", 0, SWEPT_AT_ONCE)
        (expired,) = checked((yield Batch([("ZRANGEBYSCORE", place.members, *limits)])))
        if expired:
            yield from drop(layout, place, expired)
    name = None if dead is None else Epoch.parse([dead, 0])
    if dead is not None and (name is None or (epoch is not None and name.generation == epoch.generation)):
        checked((yield Batch([("SREM", space.dead, dead)])))
    elif name is not None:
        yield from _sweep_dead(layout, space.generation(name.generation))
    return bool(expired) or dead is not None


def _sweep_dead(layout: Layout, place: Generation) -> Operation[None]:
    """Remove some of an invalidated generation; its indexes last, when they are empty and cheap to unlink."""
    members, dims = ("ZRANGE", place.members, 0, SWEPT_AT_ONCE - 1), ("HRANDFIELD", place.dims, SWEPT_AT_ONCE)
    packed, partitions = checked((yield Batch([members, dims])))
    if packed:
        yield from drop(layout, place, packed)
    elif partitions:
        indexes = [key(partition) for partition in partitions for key in (place.index, place.stream)]
        checked((yield Batch([("UNLINK", *indexes), ("HDEL", place.dims, *partitions)])))
    else:
        gone = [("UNLINK", place.members, place.dims), ("SREM", place.space.dead, place.name)]
        checked((yield Batch(gone)))
