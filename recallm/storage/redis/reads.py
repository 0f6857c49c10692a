"""Finds entries on a Redis server. The operations are generators of steps: no I/O, no await."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from recallm.records import Candidate, Recalled
from recallm.storage.redis.commands import Batch, Command, Operation, checked
from recallm.storage.redis.entry_format import FIELDS, EntryFormat, StoredEntry
from recallm.storage.redis.keys import EntryVersion, GenerationKeys, NamespaceKeys, digest
from recallm.storage.redis.layouts import Layout, MissingIndexError, Neighbours, QueryEngine, VectorQuery
from recallm.storage.redis.mirror import YOUNG_MS, age_ms
from recallm.storage.redis.server import ATTEMPTS, Epoch, ServerState, check_dim, read_epoch, too_much_contention

if TYPE_CHECKING:
    from recallm.typing import Vector

_EXTRA = 4
"""How many more neighbours than wanted are asked for: some may have expired, or be odd."""

_MAX_ROUNDS = 5
"""How often a look-up with a limit searches, each time for four times as many, until it gives what it has found."""

_EXHAUSTIVE_AFTER = 3
"""After how many searches an index that claims to know no more is searched exhaustively: its graph may be cut."""


class GenerationEndedError(Exception):
    """The namespace has been invalidated since its generation was last read."""


@dataclass(frozen=True, slots=True)
class ReadOperations:
    """The operations that find entries.

    Attributes:
        server_state: what is known of the server.
        entry_format: decodes entries, and checks them.
        in_background: called as ``in_background(name, operation)``, performs an operation later, unless one of that
            name is under way.
    """

    server_state: ServerState
    entry_format: EntryFormat
    in_background: Callable[[str, Callable[[], Operation[None]]], object]

    def recall(self, namespace: str, key: str) -> Operation[Recalled]:
        """Look for one key, in one round trip if the generation is known."""
        yield from self.server_state.layout()
        namespace_keys, key_digest = NamespaceKeys(self.server_state.prefix, namespace), digest(key)
        generation = self.server_state.generation(namespace)
        for _ in range(ATTEMPTS):
            commands = [read_epoch(namespace_keys)]
            if generation is not None:
                commands.append(_read_command(namespace_keys.of_generation(generation), key_digest))
            reply, *values = yield Batch(commands)
            epoch = Epoch.parse(checked([reply])[0])
            if epoch is None:
                epoch = yield from self.server_state.epoch(namespace_keys)
            if epoch.generation == generation and values:
                stored = self._decode(values[0], namespace_keys.of_generation(generation))
                found = stored is not None and stored.entry.key == key
                return Recalled(self._candidate(stored, 1.0) if stored and found else None, epoch.number)
            generation = epoch.generation
            self.server_state.remember(namespace, generation)
        raise too_much_contention(namespace_keys)

    def search(
        self, namespace: str, partition: str, vector: Vector, threshold: float, limit: int | None
    ) -> Operation[Sequence[Candidate]]:
        """Look for similar entries: those that the index finds are read, checked and scored here."""
        layout = yield from self.server_state.layout()
        namespace_keys = NamespaceKeys(self.server_state.prefix, namespace)
        generation = self.server_state.generation(namespace)
        for _ in range(ATTEMPTS):
            if generation is None:
                generation = (yield from self.server_state.epoch(namespace_keys)).generation
            count = 16 * _EXTRA if limit is None else limit + _EXTRA
            keys = namespace_keys.of_generation(generation)
            query = VectorQuery(keys, digest(partition), vector, threshold, count, everything=limit is None)
            try:
                return (yield from self._search(layout, query, partition, limit))
            except GenerationEndedError:
                generation = None
        raise too_much_contention(namespace_keys)

    def _search(
        self, layout: Layout, query: VectorQuery, partition: str, limit: int | None
    ) -> Operation[Sequence[Candidate]]:
        found: list[Candidate] = []
        seen: set[tuple[bytes, EntryVersion | None]] = set()
        rounds = 0
        while True:
            neighbours = yield from self._ask_index(layout, query)
            fresh = [each for each in neighbours.found if each not in seen]
            seen.update(fresh)
            found += yield from self._fetch_candidates(layout, query, partition, fresh)
            rounds += 1
            enough = limit is not None and (len(found) >= limit or rounds >= _MAX_ROUNDS)
            if (neighbours.complete or enough) and (rounds < _EXHAUSTIVE_AFTER or enough or query.everything):
                break
            # Many odd entries may have cut the sound ones behind them off from an index's graph.
            query = replace(query, count=4 * query.count, everything=neighbours.complete or limit is None)
        if neighbours.catching_up:
            self.in_background(f"mirror {query.keys.stream(query.partition)}", lambda: self._catch_up(layout, query))
        found.sort(key=lambda candidate: (-candidate.similarity, candidate.entry.key))
        return found[:limit]

    def _ask_index(self, layout: Layout, query: VectorQuery) -> Operation[Neighbours]:
        """Ask the index for neighbours, and check in the same round trip that its generation has not ended.

        Raises:
            GenerationEndedError: it has.
            OddVectorError: the partition's vectors have another dimension.
        """
        keys = query.keys
        created = False
        while True:
            reads = [read_epoch(keys.namespace_keys), ("HGET", keys.dims, query.partition)]
            commands = layout.search_commands(query)
            replies = yield Batch([*reads, *commands])
            found, dim = checked(replies[:2])
            epoch = Epoch.parse(found)
            if epoch is None or epoch.generation != keys.generation:
                raise GenerationEndedError
            check_dim(dim, query.vector)
            try:
                neighbours = layout.parse_search(query, commands, replies[2:])
            except MissingIndexError:
                if created or not isinstance(layout, QueryEngine):
                    raise
                created = True
                yield Batch([layout.create_command(query.vector.size)])
                continue
            if neighbours is not None:
                return neighbours

    def _fetch_candidates(
        self, layout: Layout, query: VectorQuery, partition: str, found: Sequence[tuple[bytes, EntryVersion | None]]
    ) -> Operation[list[Candidate]]:
        """Read the entries that an index found, and remove those that are gone from it."""
        from recallm.scoring import similarity  # numpy is loaded by whoever embeds first

        keys, vector = query.keys, query.vector
        rows = yield Batch([_read_command(keys, key_digest) for key_digest, _ in found])
        candidates: list[Candidate] = []
        gone: list[EntryVersion] = []
        for (key_digest, version), values in zip(found, rows, strict=True):
            if version is not None and self._is_gone(version, values):
                gone.append(version)
                continue
            stored = self._decode(values, keys)
            if stored is None or stored.entry.partition != partition or digest(stored.entry.key) != key_digest:
                continue
            if version is not None and stored.version.element != version.element:
                continue
            theirs = stored.entry.vector
            if theirs is None or theirs.shape != vector.shape:
                continue
            cosine = similarity(vector, theirs)
            if cosine >= query.threshold:
                candidates.append(self._candidate(stored, cosine))
        if gone:
            commands = [command for version in gone for command in _forget_commands(layout, keys, version)]
            yield Batch(commands)
        return candidates

    def _is_gone(self, version: EntryVersion, values: Any) -> bool:
        """Return whether another version, or none, is stored; a version that is about to be stored is not gone."""
        if isinstance(values, Exception):
            return False
        current = EntryVersion.unpack(values[0] or b"")
        if current is not None and current.element == version.element:
            return False
        return not version.record or age_ms(version.record, self.server_state.now_ms()) > YOUNG_MS

    def _catch_up(self, layout: Layout, query: VectorQuery) -> Operation[None]:
        """Read all records that a mirror has yet to read."""
        while (yield from self._ask_index(layout, query)).catching_up:
            pass

    def _decode(self, values: Any, keys: GenerationKeys) -> StoredEntry | None:
        """Return the entry that a reply holds, or None if it holds none, also because the key is of another type."""
        if isinstance(values, Exception):
            if "WRONGTYPE" not in str(values):
                raise values
            return None
        return self.entry_format.decode(
            values, keys.namespace_keys.namespace, keys.generation, self.server_state.now_ms()
        )

    def _candidate(self, stored: StoredEntry, similarity: float) -> Candidate:
        age = max(0.0, (self.server_state.now_ms() - stored.stored_ms) / 1000)
        return Candidate(stored.entry, similarity, age)


def _read_command(keys: GenerationKeys, key_digest: bytes) -> Command:
    return ("HMGET", keys.entry(key_digest), *FIELDS)


def _forget_commands(layout: Layout, keys: GenerationKeys, version: EntryVersion) -> list[Command]:
    layout.forget_locally(keys, version)
    return [("ZREM", keys.versions, version.pack()), *layout.delete_commands(keys, version)]
