"""Lists what a Redis server holds, a little at a time. The operations are generators of steps: no I/O, no await."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from recallm.records import Candidate
from recallm.storage.entry_format import EntryFormat, namespace_in
from recallm.storage.redis.commands import Batch, Operation, checked, is_odd_key, readable
from recallm.storage.redis.keys import EntryVersion, NamespaceKeys, digest
from recallm.storage.redis.layouts import read_entry
from recallm.storage.redis.server import Epoch, ServerState, read_epoch

SCANNED = 1000
"""About how many keys a server looks at in one step, which takes it less than a millisecond."""

READ_AT_ONCE = 32
"""How many entries are read at once: each may have some megabytes."""

NAMED_AT_ONCE = 128
"""How many namespaces are asked for their names at once."""

_TRIED = 8
"""How many entries are asked for the name of their namespace: some may be odd."""


@dataclass(frozen=True, slots=True)
class ListOperations:
    """The operations that list namespaces and entries.

    Attributes:
        server_state: what is known of the server.
        entry_format: decodes entries, and checks them.
    """

    server_state: ServerState
    entry_format: EntryFormat

    def names(self, epoch_keys: Sequence[str]) -> Operation[Sequence[str]]:
        """Return the names of the namespaces with these keys, which their live entries tell, but for empty ones."""
        yield from self.server_state.layout()
        every = [NamespaceKeys.of_epoch(self.server_state.prefix, key) for key in epoch_keys]
        found = yield Batch([read_epoch(each) for each in every])
        epochs = zip(every, map(Epoch.parse, found), strict=True)
        living = [keys.of_generation(epoch.generation) for keys, epoch in epochs if epoch is not None]
        alive = (self.server_state.now_ms(), "+inf", "LIMIT", 0, _TRIED)
        packed = readable((yield Batch([("ZRANGEBYSCORE", keys.versions, *alive) for keys in living])))
        versions = [
            (keys, version)
            for keys, some in zip(living, packed, strict=True)
            for version in map(EntryVersion.unpack, some or ())
            if version is not None
        ]
        # What names itself is a hundred bytes; what would be read with it may be megabytes.
        facts = yield Batch([("HMGET", keys.entry(version.key), "m") for keys, version in versions])
        names: dict[str, None] = {}
        for (keys, _), values in zip(versions, facts, strict=True):
            name = None if isinstance(values, Exception) else namespace_in(values[0])
            if isinstance(name, str) and keys.namespace_keys.is_named(name):
                names[name] = None
        return list(names)

    def generation(self, namespace: str) -> Operation[str | None]:
        """Return the generation of a namespace that has one."""
        yield from self.server_state.layout()
        (found,) = yield Batch([read_epoch(NamespaceKeys(self.server_state.prefix, namespace))])
        epoch = Epoch.parse(found)
        return None if epoch is None else epoch.generation

    def scan(self, namespace: str, generation: str, cursor: int) -> Operation[tuple[Sequence[bytes], int | None]]:
        """Return the digests of some keys, perhaps some of them again, and where to go on; None: that was all."""
        keys = NamespaceKeys(self.server_state.prefix, namespace).of_generation(generation)
        (reply,) = readable((yield Batch([("ZSCAN", keys.versions, cursor, "COUNT", SCANNED)])))
        if reply is None:
            return (), None
        following, found = reply
        versions = [EntryVersion.unpack(packed) for packed, _ in found]
        return [version.key for version in versions if version is not None], int(following) or None

    def read(
        self, namespace: str, generation: str, key_digests: Sequence[bytes]
    ) -> Operation[Sequence[Candidate] | None]:
        """Return those of these entries that are live and sound; None if the generation has ended."""
        namespace_keys = NamespaceKeys(self.server_state.prefix, namespace)
        keys = namespace_keys.of_generation(generation)
        found, *rows = yield Batch([read_epoch(namespace_keys), *(read_entry(keys, each) for each in key_digests)])
        epoch = Epoch.parse(found)
        if epoch is None or epoch.generation != generation:
            return None
        checked([values for values in rows if not is_odd_key(values)])
        now = self.server_state.now_ms()
        candidates = []
        for key_digest, values in zip(key_digests, rows, strict=True):
            odd = isinstance(values, Exception)
            stored = None if odd else self.entry_format.decode(values, namespace, generation, now)
            if stored is None or digest(stored.entry.key) != key_digest:
                continue
            left = inf if stored.expires_ms is None else (stored.expires_ms - now) / 1000
            candidates.append(Candidate(stored.entry, 1.0, max(0.0, (now - stored.stored_ms) / 1000), left))
        return candidates
