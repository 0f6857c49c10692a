"""Stores entries on a Redis server, and removes them. The operations are generators of steps: no I/O, no await."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recallm.records import Entry, Stored
from recallm.storage.redis.commands import Batch, Command, Exec, Operation, Watch, checked
from recallm.storage.redis.entry_format import EntryFormat
from recallm.storage.redis.keys import EntryVersion, GenerationKeys, NamespaceKeys, digest
from recallm.storage.redis.layouts import Layout
from recallm.storage.redis.server import (
    ATTEMPTS,
    DAY_MS,
    HOUR_MS,
    Epoch,
    ServerState,
    begin_epoch,
    check_dim,
    read_epoch,
    too_much_contention,
)
from recallm.storage.redis.sweeping import REMOVED_AT_ONCE, evict_orphans, make_room, remove_versions, sweep

_MAX_TTL_MS = 1 << 52
"""The longest time to live, about 140,000 years: added to the time, it is exact as a float, which scores are."""


@dataclass(frozen=True, slots=True)
class WriteOperations:
    """The operations that store, remove and count entries.

    Attributes:
        server_state: what is known of the server.
        entry_format: encodes entries.
        max_entries: the most entries that one namespace may hold; None: no bound.
        in_background: called as ``in_background(name, operation)``, performs an operation later, unless one of that
            name is under way.
    """

    server_state: ServerState
    entry_format: EntryFormat
    max_entries: int | None
    in_background: Callable[[str, Callable[[], Operation[None]]], object]

    def put(self, entry: Entry, epoch: int, ttl: float | None) -> Operation[Stored]:
        """Store an entry, in one transaction that fails if the epoch has ended."""
        layout = yield from self.server_state.layout()
        wanted = Epoch.of_number(epoch)
        keys = self._namespace_keys(entry.namespace).of_generation(wanted.generation)
        try:
            stored = yield from self._put(layout, keys, entry, wanted, ttl)
        except Exception as error:
            if "OOM" in str(error):
                yield from evict_orphans(layout, keys)
            raise
        if isinstance(stored, Stored):
            return stored
        evicted = 0
        if self.max_entries is not None:
            evicted = yield from make_room(layout, keys, stored, self.max_entries)
        return Stored(kept=True, evicted=evicted)

    def remove(self, namespace: str, entry_keys: Sequence[str]) -> Operation[int]:
        """Begin a new epoch, then remove single entries: an answer of an older epoch can no longer replace them."""
        layout = yield from self.server_state.layout()
        namespace_keys = self._namespace_keys(namespace)
        ended = checked((yield Exec([("HINCRBY", namespace_keys.epoch, "n", 1), read_epoch(namespace_keys)])))
        epoch = Epoch.parse(ended[1])
        if epoch is None:
            yield from self.server_state.epoch(namespace_keys)
            return 0
        keys, removed = namespace_keys.of_generation(epoch.generation), 0
        names = [keys.entry(digest(key)) for key in dict.fromkeys(entry_keys)]
        for start in range(0, len(names), REMOVED_AT_ONCE):
            removed += yield from self._remove(layout, keys, names[start : start + REMOVED_AT_ONCE])
        return removed

    def invalidate(self, namespace: str) -> Operation[int]:
        """Begin a new generation. The entries of the old one are out of reach at once, and swept later.

        Nothing is watched, so an invalidation succeeds whatever else happens to the namespace meanwhile.
        """
        yield from self.server_state.layout()
        namespace_keys, fresh = self._namespace_keys(namespace), secrets.token_hex(8)
        (found,) = checked((yield Batch([read_epoch(namespace_keys)])))
        seen = Epoch.parse(found)
        begin = [read_epoch(namespace_keys), ("UNLINK", namespace_keys.epoch), *begin_epoch(namespace_keys, fresh)]
        done = checked((yield Exec([*begin, *self._retire_generation(namespace_keys, seen)])))
        self.server_state.remember(namespace, fresh)
        old = Epoch.parse(done[0])
        if old is None:
            return 0
        if seen is None or old.generation != seen.generation:
            done = checked((yield Batch(self._retire_generation(namespace_keys, old))))
        self._sweep_in_background(namespace_keys)
        return int(done[-1])

    def sizes(self, namespaces: Iterable[str]) -> Operation[Mapping[str, int]]:
        """Count the live entries of namespaces."""
        yield from self.server_state.layout()
        every_namespace = [self._namespace_keys(namespace) for namespace in dict.fromkeys(namespaces)]
        found = checked((yield Batch([read_epoch(each) for each in every_namespace])))
        epochs = zip(every_namespace, map(Epoch.parse, found), strict=True)
        generations = [each.of_generation(epoch.generation) for each, epoch in epochs if epoch is not None]
        counts = checked((yield Batch([self._count_command(keys) for keys in generations])))
        return {keys.namespace_keys.namespace: count for keys, count in zip(generations, counts, strict=True) if count}

    def _put(
        self, layout: Layout, keys: GenerationKeys, entry: Entry, wanted: Epoch, ttl: float | None
    ) -> Operation[Stored | int]:
        """Store an entry; return the number of the generation's entries, or that this one was not kept."""
        now = self.server_state.now_ms()
        version = EntryVersion(self.server_state.new_id(), digest(entry.key), digest(entry.partition))
        name, ttl_ms = keys.entry(version.key), None if ttl is None else min(max(1, round(ttl * 1000)), _MAX_TTL_MS)
        reads = [
            read_epoch(keys.namespace_keys),
            ("HGET", keys.dims, version.partition),
            ("ZCOUNT", keys.versions, "-inf", f"({now}"),
            ("SCARD", keys.namespace_keys.dead),
            ("PTTL", keys.namespace_keys.epoch),
            ("HGET", name, "i"),
        ]
        encoded = self.entry_format.encode(
            entry, version, keys.generation, now, None if ttl_ms is None else now + ttl_ms
        )
        for _ in range(ATTEMPTS):
            *replies, current = yield Watch([keys.namespace_keys.epoch, name], reads)
            found, dim, expired, dead, lasts_ms = checked(replies)
            lasting = found[2] is not None
            if current == version.pack():
                # The last transaction succeeded, and its reply was lost.
                return int(checked((yield Batch([("ZCARD", keys.versions)])))[0])
            if Epoch.parse(found) != wanted:
                yield from self._withdraw(layout, keys, version, entry, Epoch.parse(found))
                return Stored(kept=False)
            if expired or dead:
                self._sweep_in_background(keys.namespace_keys)
            if entry.vector is not None:
                check_dim(dim, entry.vector)
                if not version.record:
                    replies = yield Batch(layout.prepare_commands(keys, version, entry.vector), watching=True)
                    version = layout.parse_prepared(version, replies)
            fields = self.entry_format.with_version(encoded, version)
            if entry.vector is not None:
                fields |= layout.index_fields(keys, version)
            commands = _replace_commands(layout, keys, name, current)
            commands += _store_commands(layout, keys, entry, version, fields)
            commands += _expiry_commands(keys, version, ttl_ms, now, lasting=lasting)
            commands += _epoch_expiry_commands(keys.namespace_keys, ttl_ms, lasts_ms, lasting=lasting)
            done = yield Exec([*commands, ("ZCARD", keys.versions)])
            if done is not None:
                return int(checked(done)[-1])
        raise too_much_contention(keys.namespace_keys)

    def _withdraw(
        self, layout: Layout, keys: GenerationKeys, version: EntryVersion, entry: Entry, epoch: Epoch | None
    ) -> Operation[None]:
        """Delete what was prepared for an entry of an epoch that has ended, and have its partition swept."""
        if not version.record or entry.vector is None:
            return
        commands = [*layout.delete_commands(keys, version), ("HSETNX", keys.dims, version.partition, entry.vector.size)]
        if epoch is None or epoch.generation != keys.generation:
            commands.append(("SADD", keys.namespace_keys.dead, keys.generation))
            self._sweep_in_background(keys.namespace_keys)
        yield Batch(commands)

    def _remove(self, layout: Layout, keys: GenerationKeys, names: Sequence[str]) -> Operation[int]:
        for _ in range(ATTEMPTS):
            current = yield Batch([("HGET", name, "i") for name in names])
            packed = [each for each in current if isinstance(each, bytes) and EntryVersion.unpack(each) is not None]
            if not packed:
                return 0
            removed = yield from remove_versions(layout, keys, packed)
            if removed is not None:
                return removed
        raise too_much_contention(keys.namespace_keys)

    def _sweep_in_background(self, namespace_keys: NamespaceKeys) -> None:
        self.in_background(f"sweep {namespace_keys.epoch}", lambda: sweep(self.server_state, namespace_keys))

    def _retire_generation(self, namespace_keys: NamespaceKeys, epoch: Epoch | None) -> list[Command]:
        """Return the commands that have a generation swept, and count its live entries."""
        if epoch is None:
            return []
        return [
            ("SADD", namespace_keys.dead, epoch.generation),
            self._count_command(namespace_keys.of_generation(epoch.generation)),
        ]

    def _count_command(self, keys: GenerationKeys) -> Command:
        return ("ZCOUNT", keys.versions, self.server_state.now_ms(), "+inf")

    def _namespace_keys(self, namespace: str) -> NamespaceKeys:
        return NamespaceKeys(self.server_state.prefix, namespace)


def _replace_commands(layout: Layout, keys: GenerationKeys, name: str, current: Any) -> list[Command]:
    """Return the commands that delete a key, be it an entry or anything else, and the version that it held."""
    old = EntryVersion.unpack(current) if isinstance(current, bytes) else None
    indexed = [] if old is None else [("ZREM", keys.versions, old.pack()), *layout.delete_commands(keys, old)]
    return [("UNLINK", name), *indexed]


def _store_commands(
    layout: Layout, keys: GenerationKeys, entry: Entry, version: EntryVersion, fields: Mapping[bytes, bytes]
) -> list[Command]:
    pairs = [part for pair in fields.items() for part in pair]
    commands: list[Command] = [("HSET", keys.entry(version.key), *pairs)]
    if entry.vector is not None:
        commands.append(("HSETNX", keys.dims, version.partition, entry.vector.size))
        commands += layout.add_commands(keys, version, entry.vector)
    return commands


def _expiry_commands(
    keys: GenerationKeys, version: EntryVersion, ttl_ms: int | None, now: int, *, lasting: bool
) -> list[Command]:
    """Return the commands that set the entry's expiry, and make the shared keys of its generation outlive it.

    Args:
        keys: the keys of its generation.
        version: the version that is stored.
        ttl_ms: its time to live in ms; None: it never expires.
        now: the time by the server's clock in ms.
        lasting: whether some entry of the generation never expires.
    """
    score = "+inf" if ttl_ms is None else now + ttl_ms
    commands: list[Command] = [("ZADD", keys.versions, score, version.pack())]
    shared = (keys.versions, keys.dims, keys.index(version.partition), keys.stream(version.partition))
    if ttl_ms is None:
        return [*commands, *(("PERSIST", key) for key in shared)]
    commands.append(("PEXPIRE", keys.entry(version.key), ttl_ms))
    for key in shared:
        if not lasting:
            commands.append(("PEXPIRE", key, ttl_ms + HOUR_MS, "NX"))
        commands.append(("PEXPIRE", key, ttl_ms + HOUR_MS, "GT"))
    return commands


def _epoch_expiry_commands(
    namespace_keys: NamespaceKeys, ttl_ms: int | None, lasts_ms: int, *, lasting: bool
) -> list[Command]:
    """Return the commands that make the epoch outlive an entry, if it would not anyway.

    All who store watch the epoch, and each write to it has them try again: it is written as seldom as possible.
    """
    if lasting:
        return []
    if ttl_ms is None:
        return [("HSET", namespace_keys.epoch, "k", 1), ("PERSIST", namespace_keys.epoch)]
    return [("PEXPIRE", namespace_keys.epoch, ttl_ms + DAY_MS, "GT")] if lasts_ms < ttl_ms + HOUR_MS else []
