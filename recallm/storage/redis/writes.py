"""Storing entries on a Redis server and taking them out, as generators of steps: no I/O, no await."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recallm.records import Entry, Stored
from recallm.storage.redis.commands import Batch, Command, Exec, Operation, Watch, checked
from recallm.storage.redis.entry_format import Seal
from recallm.storage.redis.keys import Generation, Member, Space, digest
from recallm.storage.redis.layouts import Layout
from recallm.storage.redis.server import (
    ATTEMPTS,
    DAY_MS,
    HOUR_MS,
    Epoch,
    Ground,
    check_dim,
    contended,
    lapse,
    read_epoch,
)
from recallm.storage.redis.sweeping import drop, make_room, relieve, sweep

_REMOVED_AT_ONCE = 32
_LONGEST_MS = 1 << 52


@dataclass(frozen=True, slots=True)
class Writing:
    """The operations that store, remove and count entries, and the upkeep they bring about.

    Attributes:
        ground: what is known of the server.
        seal: writes entries.
        max_entries: the most entries that one namespace may hold; None: no bound.
        later: has an operation performed in the background, once at a time for each name.
    """

    ground: Ground
    seal: Seal
    max_entries: int | None
    later: Callable[[str, Callable[[], Operation[None]]], object]

    def put(self, entry: Entry, epoch: int, ttl: float | None) -> Operation[Stored]:
        """Keep an entry, in one transaction that fails where the epoch has ended."""
        layout = yield from self.ground.ready()
        wanted = Epoch.of_number(epoch)
        place = self._space(entry.namespace).generation(wanted.generation)
        try:
            stored = yield from self._put(layout, place, entry, wanted, ttl)
        except Exception as error:
            if "OOM" in str(error):
                yield from relieve(layout, place)
            raise
        if isinstance(stored, Stored):
            return stored
        evicted = 0
        if self.max_entries is not None:
            evicted = yield from make_room(layout, place, stored, self.max_entries)
        return Stored(kept=True, evicted=evicted)

    def remove(self, namespace: str, keys: Sequence[str]) -> Operation[int]:
        """Begin a new epoch, then remove single entries: none of an older epoch can take their place."""
        layout = yield from self.ground.ready()
        space = self._space(namespace)
        ended = checked((yield Exec([("HINCRBY", space.epoch, "n", 1), read_epoch(space)])))
        epoch = Epoch.parse(ended[1])
        if epoch is None:
            yield from self.ground.epoch(space)
            return 0
        place, removed = space.generation(epoch.generation), 0
        hashed = [digest(key) for key in dict.fromkeys(keys)]
        for start in range(0, len(hashed), _REMOVED_AT_ONCE):
            removed += yield from self._remove(layout, place, hashed[start : start + _REMOVED_AT_ONCE])
        return removed

    def invalidate(self, namespace: str) -> Operation[int]:
        """Begin a new generation; what the old one held is out of sight at once, and swept later.

        Nothing is watched: whatever else happens to the namespace, this comes through.
        """
        yield from self.ground.ready()
        space, fresh = self._space(namespace), secrets.token_hex(8)
        (found,) = checked((yield Batch([read_epoch(space)])))
        seen = Epoch.parse(found)
        begin: list[Command] = [read_epoch(space), ("UNLINK", space.epoch)]
        begin += [("HSET", space.epoch, "g", fresh, "n", 0), lapse(space.epoch)]
        done = checked((yield Exec(begin + self._burying(space, seen))))
        self.ground.learn(namespace, fresh)
        old = Epoch.parse(done[0])
        if old is None:
            return 0
        if seen is None or old.generation != seen.generation:
            done = checked((yield Batch(self._burying(space, old))))
        self._sweep_later(space)
        return int(done[-1])

    def sizes(self, namespaces: Iterable[str]) -> Operation[Mapping[str, int]]:
        """Count the live entries of namespaces."""
        yield from self.ground.ready()
        spaces = [self._space(namespace) for namespace in dict.fromkeys(namespaces)]
        found = checked((yield Batch([read_epoch(space) for space in spaces])))
        epochs = zip(spaces, map(Epoch.parse, found), strict=True)
        places = [space.generation(epoch.generation) for space, epoch in epochs if epoch is not None]
        counts = checked((yield Batch([self._count(place) for place in places])))
        return {place.space.namespace: count for place, count in zip(places, counts, strict=True) if count}

    def _put(
        self, layout: Layout, place: Generation, entry: Entry, wanted: Epoch, ttl: float | None
    ) -> Operation[Stored | int]:
        """Store an entry; return the namespace's size, or that it was not kept."""
        now = self.ground.now_ms()
        unique = now.to_bytes(6) + secrets.token_bytes(6)
        member = Member(unique, digest(entry.key), digest(entry.partition))
        hashed, ttl_ms = place.entry(member.key), None if ttl is None else min(max(1, round(ttl * 1000)), _LONGEST_MS)
        reads = [
            read_epoch(place.space),
            ("HGET", place.dims, member.partition),
            ("ZCOUNT", place.members, "-inf", f"({now}"),
            ("SCARD", place.space.dead),
            ("PTTL", place.space.epoch),
            ("HGET", hashed, "i"),
        ]
        sealed = self.seal.close(entry, member, place.name, now, None if ttl_ms is None else now + ttl_ms)
        for _ in range(ATTEMPTS):
            *replies, held = yield Watch([place.space.epoch, hashed], reads)
            found, dim, expired, dead, lasts_ms = checked(replies)
            if held == member.pack():
                # The transaction came through, though its reply was lost.
                return int(checked((yield Batch([("ZCARD", place.members)])))[0])
            if Epoch.parse(found) != wanted:
                yield from self._withdraw(layout, place, member, entry, Epoch.parse(found))
                return Stored(kept=False)
            if expired or dead:
                self._sweep_later(place.space)
            if entry.vector is not None:
                check_dim(dim, entry.vector)
                if not member.record:
                    replies = yield Batch(layout.announce(place, member, entry.vector), watching=True)
                    member = layout.announced(member, replies)
            fields = self.seal.renamed(sealed, member)
            if entry.vector is not None:
                fields |= layout.fields(place, member)
            commands = _replacing(layout, place, hashed, held)
            commands += _storing(layout, place, entry, member, fields)
            commands += _lasting(place, member, ttl_ms, now, keeps=found[2] is not None)
            commands += _epoch_lasting(place.space, ttl_ms, lasts_ms, keeps=found[2] is not None)
            done = yield Exec([*commands, ("ZCARD", place.members)])
            if done is not None:
                return int(checked(done)[-1])
        raise contended(place.space)

    def _withdraw(
        self, layout: Layout, place: Generation, member: Member, entry: Entry, epoch: Epoch | None
    ) -> Operation[None]:
        """Take back what was announced of an entry that came too late, and have what that left behind swept."""
        if not member.record or entry.vector is None:
            return
        commands = [*layout.drop(place, member), ("HSETNX", place.dims, member.partition, entry.vector.size)]
        if epoch is None or epoch.generation != place.name:
            commands.append(("SADD", place.space.dead, place.name))
            self._sweep_later(place.space)
        yield Batch(commands)

    def _remove(self, layout: Layout, place: Generation, hashed: Sequence[bytes]) -> Operation[int]:
        entries = [place.entry(each) for each in hashed]
        for _ in range(ATTEMPTS):
            held = yield Batch([("HGET", entry, "i") for entry in entries])
            packed = [each for each in held if isinstance(each, bytes) and Member.unpack(each) is not None]
            if not packed:
                return 0
            removed = yield from drop(layout, place, packed)
            if removed is not None:
                return removed
        raise contended(place.space)

    def _sweep_later(self, space: Space) -> None:
        self.later(f"sweep {space.epoch}", lambda: sweep(self.ground, space))

    def _burying(self, space: Space, epoch: Epoch | None) -> list[Command]:
        """Return the commands that have a generation swept, and count what it held."""
        if epoch is None:
            return []
        return [("SADD", space.dead, epoch.generation), self._count(space.generation(epoch.generation))]

    def _count(self, place: Generation) -> Command:
        return ("ZCOUNT", place.members, self.ground.now_ms(), "+inf")

    def _space(self, namespace: str) -> Space:
        return Space(self.ground.prefix, namespace)


def _replacing(layout: Layout, place: Generation, entry: str, held: Any) -> list[Command]:
    """Return the commands that remove what a key holds, be it an entry or anything else."""
    old = Member.unpack(held) if isinstance(held, bytes) else None
    indexed = [] if old is None else [("ZREM", place.members, old.pack()), *layout.drop(place, old)]
    return [("UNLINK", entry), *indexed]


def _storing(
    layout: Layout, place: Generation, entry: Entry, member: Member, fields: Mapping[bytes, bytes]
) -> list[Command]:
    pairs = [part for pair in fields.items() for part in pair]
    commands: list[Command] = [("HSET", place.entry(member.key), *pairs)]
    if entry.vector is not None:
        commands.append(("HSETNX", place.dims, member.partition, entry.vector.size))
        commands += layout.add(place, member, entry.vector)
    return commands


def _lasting(place: Generation, member: Member, ttl_ms: int | None, now: int, *, keeps: bool) -> list[Command]:
    """Return the commands that have the entry expire, and no key of its generation that leads to it before it does.

    Args:
        place: where it is stored.
        member: what stands for it.
        ttl_ms: its time to live; None: it never expires.
        now: by the server's clock, in ms.
        keeps: whether an entry of this generation never expires.
    """
    score = "+inf" if ttl_ms is None else now + ttl_ms
    commands: list[Command] = [("ZADD", place.members, score, member.pack())]
    shared = (place.members, place.dims, place.index(member.partition), place.stream(member.partition))
    if ttl_ms is None:
        return [*commands, *(("PERSIST", key) for key in shared)]
    commands.append(("PEXPIRE", place.entry(member.key), ttl_ms))
    for key in shared:
        if not keeps:
            commands.append(("PEXPIRE", key, ttl_ms + HOUR_MS, "NX"))
        commands.append(("PEXPIRE", key, ttl_ms + HOUR_MS, "GT"))
    return commands


def _epoch_lasting(space: Space, ttl_ms: int | None, lasts_ms: int, *, keeps: bool) -> list[Command]:
    """Return the commands that have the epoch last longer than an entry, if it does not anyway.

    All who store watch the epoch: it is written to as seldom as can be, or they would keep each other waiting.
    """
    if keeps:
        return []
    if ttl_ms is None:
        return [("HSET", space.epoch, "k", 1), ("PERSIST", space.epoch)]
    return [("PEXPIRE", space.epoch, ttl_ms + DAY_MS, "GT")] if lasts_ms < ttl_ms + HOUR_MS else []
