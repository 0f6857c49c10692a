"""Stores entries on a Redis server, and removes them. The operations are generators of steps: no I/O, no await."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from recallm.records import Entry, Stored
from recallm.storage.entry_format import MAX_SECONDS, EntryFormat
from recallm.storage.redis.commands import Batch, Exec, Operation, Watch, checked, is_odd_key, readable
from recallm.storage.redis.exchanges import Command
from recallm.storage.redis.keys import (
    OF_REFUSALS,
    EntryVersion,
    GenerationKeys,
    NamespaceKeys,
    digest,
    partition_digest,
)
from recallm.storage.redis.layouts import Layout
from recallm.storage.redis.scripts import Store, When, evict
from recallm.storage.redis.server import (
    ATTEMPTS,
    DAY_MS,
    HOUR_MS,
    Epoch,
    ServerState,
    begin_epoch,
    count_change,
    count_removal,
    read_epoch,
    retire_generation,
    too_much_contention,
)
from recallm.storage.redis.sweeping import REMOVED_AT_ONCE, evict_orphans, make_room, remove_versions, sweep


class _OtherwiseError(Exception):
    """A script cannot store an entry."""


class _Put(NamedTuple):
    """What came of storing an entry.

    Attributes:
        size: how many entries the generation holds by now.
        version: the version that was stored.
        evicted: how many entries have made room for it.
    """

    size: int
    version: EntryVersion
    evicted: int = 0


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
            if is_odd_key(error):
                # Some key of the generation holds something else; the next generation has other keys.
                yield Batch([("UNLINK", keys.entry(digest(entry.key)))])
                yield from self.server_state.epoch(keys.namespace_keys, odd=keys.generation)
                return Stored(kept=False)
            if "OOM" in str(error):
                yield from evict_orphans(layout, keys)
            raise
        if stored is None:
            return Stored(kept=False)
        self.server_state.note(entry.namespace, entry.key, present=True)
        if entry.vector is not None:
            layout.learn_locally(keys, stored.version, entry.vector)
        evicted = stored.evicted
        if self.max_entries is not None:
            evicted += yield from make_room(layout, keys, stored.size, self.max_entries)
        return Stored(kept=True, evicted=evicted)

    def remove(self, namespace: str, entry_keys: Sequence[str], *, answers_only: bool = False) -> Operation[int]:
        """Begin a new epoch, then remove single entries: an answer of an older epoch can no longer replace them.

        Args:
            namespace: where they are.
            entry_keys: their keys.
            answers_only: whether refusals under these keys stay.
        """
        layout = yield from self.server_state.layout()
        namespace_keys = self._namespace_keys(namespace)
        ended, found = yield Exec([count_removal(namespace_keys), read_epoch(namespace_keys)])
        epoch = Epoch.parse(found)
        if epoch is None or is_odd_key(ended):
            # What cannot be counted on ends as a whole.
            yield from self.server_state.epoch(namespace_keys, odd=None if epoch is None else epoch.generation)
            return 0
        checked([ended])
        keys, removed = namespace_keys.of_generation(epoch.generation), 0
        names = [keys.entry(digest(key)) for key in dict.fromkeys(entry_keys)]
        for start in range(0, len(names), REMOVED_AT_ONCE):
            some = names[start : start + REMOVED_AT_ONCE]
            removed += yield from self._remove(layout, keys, some, answers_only=answers_only)
        return removed

    def invalidate(self, namespace: str) -> Operation[int]:
        """Begin a new generation. The entries of the old one are out of reach at once, and swept later.

        Nothing is watched, so an invalidation succeeds whatever else happens to the namespace meanwhile.
        """
        yield from self.server_state.layout()
        namespace_keys, fresh = self._namespace_keys(namespace), secrets.token_hex(8)
        found, dead = yield Batch([read_epoch(namespace_keys), ("SCARD", namespace_keys.dead)])
        seen, heal = Epoch.parse(found), is_odd_key(dead)
        begin = [read_epoch(namespace_keys), *begin_epoch(namespace_keys, fresh)]
        found, *done = yield Exec([*begin, *self._retire_and_count(namespace_keys, seen, heal=heal)])
        old = Epoch.parse(found)
        count = readable(done)[-1]
        self.server_state.remember(namespace, fresh)
        if old is None:
            return 0
        if seen is None or old.generation != seen.generation:
            count = readable((yield Batch(self._retire_and_count(namespace_keys, old, heal=heal))))[-1]
        # A sweep of an older generation, if one is under way, may not look for another any more.
        self._sweep_in_background(namespace_keys, old.generation)
        return int(count or 0)

    def sizes(self, namespaces: Iterable[str]) -> Operation[Mapping[str, int]]:
        """Count the live entries of namespaces."""
        yield from self.server_state.layout()
        every_namespace = [self._namespace_keys(namespace) for namespace in dict.fromkeys(namespaces)]
        found = yield Batch([read_epoch(each) for each in every_namespace])
        epochs = zip(every_namespace, map(Epoch.parse, found), strict=True)
        generations = [each.of_generation(epoch.generation) for each, epoch in epochs if epoch is not None]
        counts = readable((yield Batch([self._count_command(keys) for keys in generations])))
        return {keys.namespace_keys.namespace: count for keys, count in zip(generations, counts, strict=True) if count}

    def _put(
        self, layout: Layout, keys: GenerationKeys, entry: Entry, wanted: Epoch, ttl: float | None
    ) -> Operation[_Put | None]:
        """Store an entry; return None if it was not kept."""
        ttl_ms = None if ttl is None else round(1000 * min(max(0.001, ttl), MAX_SECONDS))
        if self.server_state.scripts:
            try:
                return (yield from self._put_by_script(layout, keys, entry, wanted, ttl_ms))
            except _OtherwiseError:
                pass
        return (yield from self._put_watching(layout, keys, entry, wanted, ttl_ms))

    def _put_by_script(
        self, layout: Layout, keys: GenerationKeys, entry: Entry, wanted: Epoch, ttl_ms: int | None
    ) -> Operation[_Put | None]:
        """Store an entry in one round trip, or in two if there is one to replace.

        Raises:
            _OtherwiseError: it is to be stored by `_put_watching`.
        """
        now, version = self.server_state.now_ms(), self._new_version(entry)
        added = [] if entry.vector is None else layout.unprepared_commands(keys, version, entry.vector)
        if added is None:
            raise _OtherwiseError
        fields = self._encode(layout, keys, entry, version, now, ttl_ms)
        enough_ms, current = None if ttl_ms is None else ttl_ms + HOUR_MS, b""
        for _ in range(ATTEMPTS):
            always = [*added, *(_replace_commands(layout, keys, keys.entry(version.key), current) if current else ())]
            always += _store_commands(keys, entry, version, fields) + _expiry_commands(keys, version, ttl_ms, now)
            commands: list[tuple[When, Command]] = [("A", command) for command in always]
            commands += [("L", command) for command in _first_expiry_commands(keys, version, ttl_ms)]
            commands += [("E", command) for command in _epoch_expiry_commands(keys.namespace_keys, ttl_ms)]
            store = Store(keys, wanted.removals, version, commands, now, enough_ms)
            reply, *evicted = yield Batch([store.command(current), *self._evict_commands(layout, keys)])
            if isinstance(reply, Exception) and "OOM" not in str(reply):
                # Whether it is the script that this server does not allow, or what it does, shows without it.
                self.server_state.learn_scripts(allowed=is_odd_key(reply))
                raise _OtherwiseError
            performed, *found = checked([reply])[0]
            if performed:
                size, expired, dead, record = found
                if expired or dead:
                    self._sweep_in_background(keys.namespace_keys)
                return _evicted(layout, keys, _Put(size, replace(version, record=record)), evicted)
            generation, removals, current, size = found
            if current.startswith(version.pack()):
                # The last attempt succeeded, and its reply was lost.
                return _evicted(layout, keys, _Put(size, version), evicted)
            if Epoch.parse([generation, removals]) != wanted:
                return None
        raise _OtherwiseError

    def _evict_commands(self, layout: Layout, keys: GenerationKeys) -> list[Command]:
        return [] if self.max_entries is None else [evict(layout.name, keys, self.max_entries, REMOVED_AT_ONCE)]

    def _put_watching(
        self, layout: Layout, keys: GenerationKeys, entry: Entry, wanted: Epoch, ttl_ms: int | None
    ) -> Operation[_Put | None]:
        """Store an entry in a transaction that fails if the epoch, or what the entry's key holds, changes."""
        now = self.server_state.now_ms()
        version = self._new_version(entry)
        name = keys.entry(version.key)
        encoded = self._encode(layout, keys, entry, version, now, ttl_ms)
        reads = [
            read_epoch(keys.namespace_keys),
            ("ZCOUNT", keys.versions, "-inf", f"({now}"),
            ("PTTL", keys.namespace_keys.epoch),
            ("SCARD", keys.namespace_keys.dead),
            ("HGET", name, "i"),
        ]
        for _ in range(ATTEMPTS):
            found, *replies, current = yield Watch([keys.namespace_keys.epoch, name], reads)
            if current == version.pack():
                # The last transaction succeeded, and its reply was lost.
                return _Put(checked((yield Batch([("ZCARD", keys.versions)])))[0], version)
            if Epoch.parse(found) != wanted:
                yield from self._withdraw(layout, keys, version, entry, Epoch.parse(found))
                return None
            dead, (expired, lasts_ms) = replies[-1], checked(replies[:-1])
            if expired or dead:
                self._sweep_in_background(keys.namespace_keys)
            if entry.vector is not None and not version.record:
                prepared = yield Batch(layout.prepare_commands(keys, version, entry.vector), watching=True)
                version = layout.parse_prepared(version, prepared)
            commands = _replace_commands(layout, keys, name, current)
            if entry.vector is not None:
                commands += layout.add_commands(keys, version, entry.vector)
            commands += _store_commands(keys, entry, version, {**encoded, b"i": version.pack()})
            commands += _expiry_commands(keys, version, ttl_ms, now)
            if found[2] is None or lasts_ms != -1:
                commands += _first_expiry_commands(keys, version, ttl_ms)
                # All who watch the epoch have to try again if it is written: that is done as seldom as possible.
                if ttl_ms is None or lasts_ms < ttl_ms + HOUR_MS:
                    commands += _epoch_expiry_commands(keys.namespace_keys, ttl_ms)
            done = yield Exec([*commands, ("ZCARD", keys.versions)])
            if done is not None:
                return _Put(checked(done)[-1], version)
        raise too_much_contention(keys.namespace_keys)

    def _new_version(self, entry: Entry) -> EntryVersion:
        partition = partition_digest(entry.partition, 0 if entry.vector is None else entry.vector.size)
        version_id = self.server_state.new_id()
        # Of the versions that never expire, those that sort first make room first.
        version_id = OF_REFUSALS + version_id[1:] if entry.is_refusal else version_id
        return EntryVersion(version_id, digest(entry.key), partition)

    def _encode(
        self,
        layout: Layout,
        keys: GenerationKeys,
        entry: Entry,
        version: EntryVersion,
        now: int,
        ttl_ms: int | None,
    ) -> Mapping[bytes, bytes]:
        expires_ms = None if ttl_ms is None else now + ttl_ms
        encoded = self.entry_format.encode(entry, version.pack(), keys.generation, now, expires_ms)
        return encoded if entry.vector is None else {**encoded, **layout.index_fields(keys, version)}

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

    def _remove(
        self, layout: Layout, keys: GenerationKeys, names: Sequence[str], *, answers_only: bool
    ) -> Operation[int]:
        for _ in range(ATTEMPTS):
            current = yield Batch([("HGET", name, "i") for name in names])
            versions = [EntryVersion.unpack(each) for each in current if isinstance(each, bytes)]
            packed = [
                each.pack() for each in versions if each is not None and not (answers_only and each.is_of_refusal)
            ]
            if not packed:
                return 0
            removed = yield from remove_versions(layout, keys, packed, count_change(keys.namespace_keys))
            if removed is not None:
                return removed
        raise too_much_contention(keys.namespace_keys)

    def _sweep_in_background(self, namespace_keys: NamespaceKeys, retired: str = "") -> None:
        self.in_background(f"sweep {namespace_keys.epoch} {retired}", lambda: sweep(self.server_state, namespace_keys))

    def _retire_and_count(self, namespace_keys: NamespaceKeys, epoch: Epoch | None, *, heal: bool) -> list[Command]:
        """Return the commands that have a generation swept, and count its live entries."""
        if epoch is None:
            return []
        count = self._count_command(namespace_keys.of_generation(epoch.generation))
        return [*retire_generation(namespace_keys, epoch.generation, heal=heal), count]

    def _count_command(self, keys: GenerationKeys) -> Command:
        return ("ZCOUNT", keys.versions, self.server_state.now_ms(), "+inf")

    def _namespace_keys(self, namespace: str) -> NamespaceKeys:
        return NamespaceKeys(self.server_state.prefix, namespace)


def _evicted(layout: Layout, keys: GenerationKeys, stored: _Put, replies: Sequence[Any]) -> _Put:
    """Return what came of storing an entry, given the reply to `EVICT`, if that was sent after it.

    Whatever kept it from removing entries, `make_room` meets or mends it.
    """
    if not replies or isinstance(replies[0], Exception):
        return stored
    size, count, gone = replies[0]
    for version in map(EntryVersion.unpack, gone):
        if version is not None:
            layout.forget_locally(keys, version)
    return _Put(size, stored.version, count)


def _replace_commands(layout: Layout, keys: GenerationKeys, name: str, current: Any) -> list[Command]:
    """Return the commands that delete a key, be it an entry or anything else, and the version that it held."""
    counted: list[Command] = [] if current is None else [count_change(keys.namespace_keys)]
    old = EntryVersion.unpack(current) if isinstance(current, bytes) else None
    indexed = [] if old is None else [("ZREM", keys.versions, old.pack()), *layout.delete_commands(keys, old)]
    return [("UNLINK", name), *indexed, *counted]


def _store_commands(
    keys: GenerationKeys, entry: Entry, version: EntryVersion, fields: Mapping[bytes, bytes]
) -> list[Command]:
    pairs = [part for pair in fields.items() for part in pair]
    commands: list[Command] = [("HSET", keys.entry(version.key), *pairs)]
    if entry.vector is not None:
        commands.append(("HSETNX", keys.dims, version.partition, entry.vector.size))
    return commands


def _shared(keys: GenerationKeys, version: EntryVersion) -> tuple[str, ...]:
    """Return the keys of a generation that must outlive an entry."""
    return (keys.versions, keys.dims, keys.index(version.partition), keys.stream(version.partition))


def _expiry_commands(keys: GenerationKeys, version: EntryVersion, ttl_ms: int | None, now: int) -> list[Command]:
    """Return the commands that set an entry's expiry, and make the shared keys of its generation live longer.

    Args:
        keys: the keys of its generation.
        version: the version that is stored.
        ttl_ms: its time to live in ms; None: it never expires.
        now: the time by the server's clock in ms.
    """
    score = "+inf" if ttl_ms is None else now + ttl_ms
    commands: list[Command] = [("ZADD", keys.versions, score, version.pack())]
    if ttl_ms is None:
        return [*commands, *(("PERSIST", key) for key in _shared(keys, version))]
    commands.append(("PEXPIRE", keys.entry(version.key), ttl_ms))
    return [*commands, *(("PEXPIRE", key, ttl_ms + HOUR_MS, "GT") for key in _shared(keys, version))]


def _first_expiry_commands(keys: GenerationKeys, version: EntryVersion, ttl_ms: int | None) -> list[Command]:
    """Return the commands that let shared keys expire that are new, unless some entry of the generation never does."""
    return [] if ttl_ms is None else [("PEXPIRE", key, ttl_ms + HOUR_MS, "NX") for key in _shared(keys, version)]


def _epoch_expiry_commands(namespace_keys: NamespaceKeys, ttl_ms: int | None) -> list[Command]:
    """Return the commands that make the epoch outlive an entry, unless it never expires."""
    if ttl_ms is None:
        return [("HSET", namespace_keys.epoch, "k", 1), ("PERSIST", namespace_keys.epoch)]
    return [("PEXPIRE", namespace_keys.epoch, ttl_ms + DAY_MS, "GT")]
