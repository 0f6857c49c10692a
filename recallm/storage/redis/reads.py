"""Finds entries on a Redis server. The operations are generators of steps: no I/O, no await."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import Any, NamedTuple, TypeVar

from recallm.records import Candidate, Recalled
from recallm.storage.base import Search
from recallm.storage.entry_format import EntryFormat, StoredEntry
from recallm.storage.redis.commands import Batch, Operation, Work, checked, is_odd_key
from recallm.storage.redis.exchanges import Command
from recallm.storage.redis.keys import EntryVersion, GenerationKeys, NamespaceKeys, digest, partition_digest
from recallm.storage.redis.layouts import Layout, MissingIndexError, Neighbours, QueryEngine, VectorQuery, read_entry
from recallm.storage.redis.mirror import YOUNG_MS, age_ms
from recallm.storage.redis.server import ATTEMPTS, Epoch, ServerState, read_epoch, replacements, too_much_contention

T = TypeVar("T")

_EXTRA = 4
"""How many more neighbours than wanted are asked for: some may have expired, or be odd."""

_MAX_ROUNDS = 5
"""How often a look-up with a limit searches, each time for four times as many, until it gives what it has found."""

_EXHAUSTIVE_AFTER = 3
"""After how many searches an index that claims to know no more is searched exhaustively: its graph may be cut."""


class GenerationEndedError(Exception):
    """The namespace has been invalidated since its generation was last read."""


class Asked(NamedTuple):
    """The commands of a search, and their replies."""

    commands: Sequence[Command]
    replies: Sequence[Any]


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
                commands.append(read_entry(namespace_keys.of_generation(generation), key_digest))
            probe = self.server_state.script_probe(namespace_keys)
            reply, *values = yield Batch([*commands, *probe])
            if probe:
                self.server_state.learn_from_probe(values.pop())
            epoch = Epoch.parse(reply)
            if epoch is None:
                epoch = yield from self.server_state.epoch(namespace_keys)
            if epoch.generation == generation and values:
                recalled = self._recalled(values[0], namespace_keys.of_generation(generation), key, epoch)
                return recalled._replace(replacements=replacements(reply))
            generation = epoch.generation
            self.server_state.remember(namespace, generation)
        raise too_much_contention(namespace_keys)

    def recall_and_search(self, namespace: str, key: str, search: Search) -> Operation[Recalled]:
        """Look for one key and, unless it is likely to be there, for similar entries in the same round trip."""
        layout = yield from self.server_state.layout()
        generation = self.server_state.generation(namespace)
        if generation is None or self.server_state.scripts is None or self.server_state.expects(namespace, key):
            return (yield from self.recall(namespace, key))
        keys = NamespaceKeys(self.server_state.prefix, namespace).of_generation(generation)
        query = self._query(keys, search)
        sent = yield from _search_commands(layout, query)
        reads = [read_epoch(keys.namespace_keys), read_entry(keys, digest(key))]
        reply, values, *replies = yield Batch([*reads, *sent])
        epoch = Epoch.parse(reply)
        if epoch is None or epoch.generation != generation:
            return (yield from self.recall(namespace, key))
        recalled = self._recalled(values, keys, key, epoch)._replace(replacements=replacements(reply))
        if recalled.candidate is not None:
            return recalled
        try:
            similar = yield from self._search(layout, query, search, Asked(sent, replies))
        except GenerationEndedError:
            return recalled
        return recalled._replace(similar=similar)

    def search(self, search: Search) -> Operation[Sequence[Candidate]]:
        """Look for similar entries: those that the index finds are read, checked and scored here."""
        layout = yield from self.server_state.layout()
        namespace_keys = NamespaceKeys(self.server_state.prefix, search.namespace)
        generation = self.server_state.generation(search.namespace)
        for _ in range(ATTEMPTS):
            if generation is None:
                generation = (yield from self.server_state.epoch(namespace_keys)).generation
            query = self._query(namespace_keys.of_generation(generation), search)
            try:
                return (yield from self._search(layout, query, search))
            except GenerationEndedError:
                generation = None
        raise too_much_contention(namespace_keys)

    def _query(self, keys: GenerationKeys, search: Search) -> VectorQuery:
        return VectorQuery(
            keys,
            partition_digest(search.partition, search.vector.size),
            search.vector,
            search.threshold,
            16 * _EXTRA if search.limit is None else search.limit + _EXTRA,
            everything=search.limit is None,
            scripts=self.server_state.scripts is not False,
        )

    def _search(
        self, layout: Layout, query: VectorQuery, search: Search, asked: Asked | None = None
    ) -> Operation[Sequence[Candidate]]:
        limit = search.limit
        found: list[Candidate] = []
        seen: set[tuple[bytes, EntryVersion | None]] = set()
        rounds = 0
        while True:
            neighbours = yield from self._ask_index(layout, query, asked)
            asked = None
            fresh = [each for each in neighbours.found if each not in seen]
            seen.update(fresh)
            found += yield from self._candidates(layout, query, search.partition, replace(neighbours, found=fresh))
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

    def _ask_index(self, layout: Layout, query: VectorQuery, asked: Asked | None = None) -> Operation[Neighbours]:
        """Ask the index for neighbours, and check in the same round trip that its generation has not ended.

        Args:
            layout: the layout in use.
            query: what to look for.
            asked: the first search, if that was made already, and the generation had not ended.

        Raises:
            GenerationEndedError: it has, or it was ended here, as its index holds something else than expected.
        """
        keys = query.keys
        created = False
        while True:
            if asked is None:
                asked = yield from _asked(layout, query)
            (commands, replies), asked = asked, None
            if commands[0][0] == "EVAL" and isinstance(replies[0], Exception) and not is_odd_key(replies[0]):
                # Whether it is the script that this server does not allow, or what it does, shows without it.
                self.server_state.learn_scripts(allowed=False)
                query = replace(query, scripts=False)
                continue
            if _is_odd_index(commands, replies):
                yield from self.server_state.epoch(keys.namespace_keys, odd=keys.generation)
                raise GenerationEndedError
            try:
                parse = partial(layout.parse_search, query, commands, replies)
                neighbours = yield from _computed(parse, long=layout.computes_long(query, replies))
            except MissingIndexError:
                if created or not isinstance(layout, QueryEngine):
                    raise
                created = True
                yield Batch([layout.create_command(query.vector.size)])
                continue
            if neighbours is not None:
                return neighbours

    def _candidates(
        self, layout: Layout, query: VectorQuery, partition: str, neighbours: Neighbours
    ) -> Operation[list[Candidate]]:
        """Check and score the entries that an index found, read those that are unread, and remove what is gone."""
        from recallm.scoring import similarity  # numpy is loaded by whoever embeds first

        keys, vector = query.keys, query.vector
        unread = [key_digest for key_digest, _ in neighbours.found if key_digest not in neighbours.rows]
        read = yield Batch([read_entry(keys, key_digest) for key_digest in unread])
        rows = {**neighbours.rows, **dict(zip(unread, read, strict=True))}
        candidates: list[Candidate] = []
        gone: list[EntryVersion] = []
        for key_digest, version in neighbours.found:
            values = rows[key_digest]
            if version is not None and self._is_gone(version, values):
                gone.append(version)
                continue
            stored = self._decode(values, keys)
            if stored is None or stored.entry.partition != partition or digest(stored.entry.key) != key_digest:
                continue
            current = EntryVersion.unpack(stored.label)
            if version is not None and current is not None and current.element != version.element:
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

    def _recalled(self, values: Any, keys: GenerationKeys, key: str, epoch: Epoch) -> Recalled:
        stored = self._decode(values, keys)
        if stored is not None and stored.entry.key != key:
            stored = None
        self.server_state.note(keys.namespace_keys.namespace, key, present=stored is not None)
        return Recalled(None if stored is None else self._candidate(stored, 1.0), epoch.number)

    def _decode(self, values: Any, keys: GenerationKeys) -> StoredEntry | None:
        """Return the entry that a reply holds, or None if it holds none, also because the key is of another type."""
        if isinstance(values, Exception):
            checked([] if is_odd_key(values) else [values])
            return None
        stored = self.entry_format.decode(
            values, keys.namespace_keys.namespace, keys.generation, self.server_state.now_ms()
        )
        return None if stored is None or EntryVersion.unpack(stored.label) is None else stored

    def _candidate(self, stored: StoredEntry, similarity: float) -> Candidate:
        now_ms = self.server_state.now_ms()
        age = max(0.0, (now_ms - stored.stored_ms) / 1000)
        expires_in = inf if stored.expires_ms is None else max(0.0, (stored.expires_ms - now_ms) / 1000)
        return Candidate(stored.entry, similarity, age, expires_in)


def _asked(layout: Layout, query: VectorQuery) -> Operation[Asked]:
    """Make a search.

    Raises:
        GenerationEndedError: its generation has ended.
    """
    commands = yield from _search_commands(layout, query)
    found, *replies = yield Batch([read_epoch(query.keys.namespace_keys), *commands])
    epoch = Epoch.parse(found)
    if epoch is None or epoch.generation != query.keys.generation:
        raise GenerationEndedError
    return Asked(commands, replies)


def _search_commands(layout: Layout, query: VectorQuery) -> Operation[list[Command]]:
    return (yield from _computed(partial(layout.search_commands, query), long=layout.computes_long(query)))


def _computed(function: Callable[[], T], *, long: bool) -> Operation[T]:
    """Return a function's result; on an event loop, one that computes for long is called by a worker thread."""
    if not long:
        return function()
    result: T = yield Work(function)
    return result


def _is_odd_index(commands: Sequence[Command], replies: Sequence[Any]) -> bool:
    """Return whether an index holds something else than expected; whether an entry does, is of no interest yet."""
    return any(is_odd_key(reply) for sent, reply in zip(commands, replies, strict=True) if sent[0] != "HMGET")


def _forget_commands(layout: Layout, keys: GenerationKeys, version: EntryVersion) -> list[Command]:
    layout.forget_locally(keys, version)
    return [("ZREM", keys.versions, version.pack()), *layout.delete_commands(keys, version)]
