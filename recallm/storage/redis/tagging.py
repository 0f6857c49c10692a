"""Stores entries under tags, and removes them by tag, whichever namespaces they are in.

A tag has keys of its own, on one cluster slot: the members, by which its entries are found, and a mark that lasts for a
day after each removal. Whoever stores an entry makes it a member first and looks at the mark then; whoever removes sets
the mark first and reads the members then. So of an answer that was computed before a removal, either the mark is seen,
or the membership, by which the removal ends the epoch under which the answer would be stored.

Members are forgotten once their entries are gone, so that a removal that fails half way can be repeated. A new answer
may be stored under the same key just before: it is removed, too, for its membership is forgotten with the other's.
Until that is done, members are kept as leaving, so that another removal, which may end first, finds them.
"""

from __future__ import annotations

import random
import secrets
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter

from recallm.records import Entry, Stored
from recallm.storage.entry_format import MAX_SECONDS
from recallm.storage.redis.commands import Batch, Exec, Operation, checked, is_odd_key, readable
from recallm.storage.redis.exchanges import Command
from recallm.storage.redis.keys import TOKEN_BYTES, NamespaceKeys, TagKeys, digest
from recallm.storage.redis.server import DAY_MS, HOUR_MS, Epoch, ServerState, read_epoch
from recallm.storage.redis.writes import WriteOperations

_ROUNDING_MS = 2
"""How much longer ago than the server says, in whole ms, a mark may have been set."""

PUTS_PER_LOOK = 32
"""After how many puts without a ttl, on average, some members of a tag are looked at: those that are gone leave it."""

LOOKED_AT = 128
"""How many: more than have joined meanwhile, so that most members are of entries that are there."""

LEAVING_AT_ONCE = 10_000
"""How many members one command takes from a tag: a server refuses commands of a million words."""

_FAR_MS = 1 << 50
"""More ms than any score."""


@dataclass(frozen=True, slots=True)
class TagOperations:
    """The operations on entries that have tags.

    Attributes:
        server_state: what is known of the server.
        writes: the operations on entries.
    """

    server_state: ServerState
    writes: WriteOperations

    def put(self, entry: Entry, epoch: int, ttl: float | None, began: float) -> Operation[Stored]:
        """Store an entry, unless one of its tags has been removed since the call began."""
        yield from self.server_state.layout()
        ttl_ms = None if ttl is None else round(1000 * min(max(0.001, ttl), MAX_SECONDS))
        every_tag = [TagKeys(self.server_state.prefix, tag) for tag in entry.tags]
        joining = [command for keys in every_tag for command in self._join_commands(keys, entry, ttl_ms)]
        replies = yield Batch([*joining, *(("PTTL", keys.mark) for keys in every_tag)])
        odd = [str(command[1]) for command, reply in zip(joining, replies, strict=False) if is_odd_key(reply)]
        if odd:
            yield Batch([("UNLINK", key) for key in odd])
            return Stored(kept=False)
        lasts_ms = checked(replies)[len(joining) :]
        since_ms = 1000 * (perf_counter() - began) + _ROUNDING_MS
        if since_ms >= DAY_MS or any(left >= 0 and DAY_MS - left <= since_ms for left in lasts_ms):
            return Stored(kept=False)
        stored = yield from self.writes.put(entry, epoch, ttl)
        if ttl is None and random.random() * PUTS_PER_LOOK < 1.0:  # noqa: S311  # processes may live shortly
            for keys in every_tag:
                self.writes.in_background(f"tag {keys.lasting}", partial(self.forget_gone, keys))
        return stored

    def forget_gone(self, keys: TagKeys) -> Operation[None]:
        """Take some members from a tag that joined an hour ago, and whose entries have been evicted or invalidated."""
        began_ms = self.server_state.now_ms()
        (sample,) = readable((yield Batch([("ZRANDMEMBER", keys.lasting, LOOKED_AT)])))
        members = [(member, *_parsed(member)) for member in sample or ()]
        if not members:
            return
        spaces = {name: NamespaceKeys(self.server_state.prefix, name) for _, name, _ in members}
        found = yield Batch([read_epoch(each) for each in spaces.values()])
        epochs = dict(zip(spaces, map(Epoch.parse, found), strict=True))
        reachable = [
            (member, spaces[name].of_generation(epoch.generation).entry(digest(key)))
            for member, name, key in members
            if (epoch := epochs[name]) is not None
        ]
        there = readable((yield Batch([("HGET", name, "i") for _, name in reachable])))
        kept = {member for (member, _), label in zip(reachable, there, strict=True) if label is not None}
        gone = [member for member, *_ in members if member not in kept]
        if gone:
            yield from self._forget(keys, gone, began_ms - HOUR_MS)

    def _forget(self, keys: TagKeys, gone: Sequence[bytes], before_ms: int) -> Operation[None]:
        """Take members from a tag that joined before some time, and whose entries were not there just now.

        Scores that are far below zero mark them, so that who joins again meanwhile is told from them.
        """
        marked = checked((yield Batch([("ZADD", keys.lasting, "XX", "INCR", -_FAR_MS, member) for member in gone])))
        scores = [(member, int(float(score))) for member, score in zip(gone, marked, strict=True) if score is not None]
        joined = [(member, score, score % _FAR_MS) for member, score in scores]
        stay = [("ZADD", keys.lasting, "XX", "GT", at_ms, member) for member, _, at_ms in joined if at_ms >= before_ms]
        leave = {score for _, score, at_ms in joined if at_ms < before_ms}
        checked((yield Batch([*stay, *(("ZREMRANGEBYSCORE", keys.lasting, score, score) for score in leave)])))

    def remove(self, tag: str) -> Operation[int]:
        """Remove the entries that have a tag."""
        yield from self.server_state.layout()
        keys = TagKeys(self.server_state.prefix, tag)
        # A mark that holds something else is replaced: what it held says nothing of this tag.
        marking: list[Command] = [("UNLINK", keys.mark), ("HSET", keys.mark, "r", 1), ("PEXPIRE", keys.mark, DAY_MS)]
        reading: list[Command] = [("ZRANGE", each, 0, -1) for each in keys.members]
        replies = yield Exec([*marking, *reading])
        checked(replies[: len(marking)])
        expiring, lasting, before = (members or [] for members in readable(replies[len(marking) :]))
        entries = _by_namespace([*expiring, *lasting, *(member[TOKEN_BYTES:] for member in before)])
        removed = yield from self._remove_all(entries)
        token = secrets.token_bytes(TOKEN_BYTES)
        mine = [token + member for member in dict.fromkeys((*expiring, *lasting))]
        if mine:
            checked((yield Exec(_leave_commands(keys, expiring, lasting, mine, heal=is_odd_key(replies[-1])))))
            removed += yield from self._remove_all(entries)
        if left := _gone_commands(keys.leaving, [*before, *mine]):
            checked((yield Batch(left)))
        return removed

    def _remove_all(self, by_namespace: Mapping[str, Sequence[str]]) -> Operation[int]:
        """Remove entries by their namespaces and keys."""
        removed = 0
        for namespace, entry_keys in by_namespace.items():
            # A refusal has no tags: it may stand in the place of an answer that had.
            removed += yield from self.writes.remove(namespace, entry_keys, answers_only=True)
            # What may still be watched there must not keep the next transaction from being performed.
            yield Batch([])
        return removed

    def _join_commands(self, keys: TagKeys, entry: Entry, ttl_ms: int | None) -> list[Command]:
        """Return the commands that make an entry a member of a tag, for as long as it may live."""
        member, now = _packed(entry), self.server_state.now_ms()
        if ttl_ms is None:
            return [("ZADD", keys.lasting, "GT", now, member)]
        lasts_ms = ttl_ms + HOUR_MS
        return [
            ("ZREMRANGEBYSCORE", keys.expiring, "-inf", now),
            ("ZADD", keys.expiring, "GT", now + lasts_ms, member),
            ("PEXPIRE", keys.expiring, lasts_ms, "NX"),
            ("PEXPIRE", keys.expiring, lasts_ms, "GT"),
        ]


def _leave_commands(
    keys: TagKeys, expiring: Sequence[bytes], lasting: Sequence[bytes], mine: Sequence[bytes], *, heal: bool
) -> list[Command]:
    """Return the commands that make members, as `mine`, leave a tag; `heal` the key of those that do, if it is odd."""
    commands: list[Command] = [("UNLINK", keys.leaving)] if heal else []
    commands += [("ZADD", keys.leaving, *(item for member in some for item in (0, member))) for some in _parts(mine)]
    return [*commands, *_gone_commands(keys.expiring, expiring), *_gone_commands(keys.lasting, lasting)]


def _gone_commands(key: str, members: Sequence[bytes]) -> list[Command]:
    """Return the commands that take members from a set."""
    return [("ZREM", key, *some) for some in _parts(members)]


def _parts(members: Sequence[bytes]) -> list[Sequence[bytes]]:
    return [members[start : start + LEAVING_AT_ONCE] for start in range(0, len(members), LEAVING_AT_ONCE)]


def _by_namespace(members: Sequence[bytes]) -> Mapping[str, Sequence[str]]:
    """Return the keys of the entries that these members stand for, by namespace."""
    entries: defaultdict[str, list[str]] = defaultdict(list)
    for namespace, key in dict.fromkeys(map(_parsed, members)):
        entries[namespace].append(key)
    return entries


def _packed(entry: Entry) -> bytes:
    """Return the bytes that stand for an entry among the members of a tag."""
    namespace = entry.namespace.encode("utf-8", "surrogatepass")
    return len(namespace).to_bytes(4) + namespace + entry.key.encode("utf-8", "surrogatepass")


def _parsed(member: bytes) -> tuple[str, str]:
    """Return the namespace and the key of the entry that `_packed` made these bytes of.

    A server that makes members up has entries removed, which it could do itself.
    """
    end = 4 + int.from_bytes(member[:4])
    namespace, key = (part.decode("utf-8", "surrogatepass") for part in (member[4:end], member[end:]))
    return namespace, key
