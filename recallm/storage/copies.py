"""Copies of another storage's entries in this process, and what makes them certain for a while."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import count
from typing import TYPE_CHECKING, TypeAlias

from recallm.concurrency.memo import Memo
from recallm.concurrency.signals import let_through
from recallm.records import Candidate, Entry, Recalled
from recallm.storage.base import Search, StorageBackend

if TYPE_CHECKING:
    from recallm.typing import Vector

Result: TypeAlias = tuple[int, float, tuple[tuple[str, float], ...]]
"""The number of the last entry stored here before a search, until when its result is trusted, and what it found.

That is keys and similarities.
"""

MAX_COPY_BYTES = 64 << 10
"""The largest entry that is copied, its prompt and payload together: 4096 copies take at most 256 MB."""

COPY_SECONDS = 60.0
"""How long a copy is kept before it is read anew: a far storage that drops an entry to make room tells nothing."""

SEARCH_BYTES = 8 << 20
"""How much memory the results of searches may take."""

MAX_STORED = 512
"""How many entries of this process are compared with a search that was made before they were stored."""

ROUNDING = 1e-5
"""How much closer than it seems to be here a vector may be, as a storage computes it."""

_RESULT_BYTES = 400
"""About what the result of a search takes besides its keys."""


@dataclass(slots=True, eq=False)
class Lease:
    """What makes copies of one namespace certain for a while.

    Attributes:
        state: the far epoch, and the number of replacements in it, in which the copies were made.
        began: when the look-up began that saw this state first.
        until: until when the copies are trusted: `staleness` after the beginning of the latest look-up that saw it.
        room: the near namespace of the copies.
    """

    state: tuple[int, int]
    began: float
    until: float
    room: str


class Copies:
    """Copies of entries, and of what searches have found, each in the state in which it was read.

    Args:
        near: a storage of this process for nothing else.
        clock: seconds that never go back.

    Attributes:
        near: see above.
        last: the number of the last entry that this process has stored.
    """

    def __init__(self, near: StorageBackend, clock: Callable[[], float]) -> None:
        self.near = near
        self._clock = clock
        self._searches: Memo[tuple[str, bytes], Result] = Memo(SEARCH_BYTES)
        self._numbers = count(1)
        # The number, the namespace, the partition and the vector of each of the latest.
        self._stored: deque[tuple[int, str, str, Vector]] = deque(maxlen=MAX_STORED)
        self.last = 0

    def drop(self, lease: Lease) -> None:
        """Drop the copies of a state: nobody asks for them any more."""
        try:
            self.near.invalidate(lease.room)
        except Exception as error:  # noqa: BLE001  # they are out of reach all the same
            let_through(error)

    def has(self, lease: Lease, key: str) -> bool:
        """Return whether there may be a copy of an entry, be it out of date."""
        here = self._here(lease, key)
        return here is None or here.candidate is not None

    def _here(self, lease: Lease, key: str) -> Recalled | None:
        """Return what the near storage holds under a key; None: that it cannot tell is no trouble with the far one."""
        try:
            return self.near.recall(lease.room, key)
        except Exception as error:  # noqa: BLE001
            let_through(error)
            return None

    def note(self, entry: Entry) -> None:
        """Note that this process has stored an entry."""
        if entry.vector is not None:
            number = next(self._numbers)
            self._stored.append((number, entry.namespace, entry.partition, entry.vector))
            self.last = number

    def _last_unlike(self, search: Search, since: int) -> int | None:
        """Return the number of the last entry, if none of those after a number is what a search would find.

        None: one is, or not all of them are known any more.
        """
        if self.last <= since:
            return since
        stored = list(self._stored)
        if stored[0][0] > since + 1:
            return None
        for number, namespace, partition, vector in stored:
            if number <= since or (namespace, partition) != (search.namespace, search.partition):
                continue
            if vector.shape == search.vector.shape and float(vector @ search.vector) >= search.threshold - ROUNDING:
                return None
        return max(since, stored[-1][0])

    def found(self, lease: Lease, search: Search) -> Sequence[Candidate] | None:
        """Return what the very same search has found before, if all of it is still there."""
        kept = self._searches.get(_name(lease, search))
        if kept is None or self._clock() >= kept[1]:
            return None
        last, (since, until, known) = self._last_unlike(search, kept[0]), kept
        if last is None:
            return None
        if last != since:
            self._remember(lease, search, (last, until, known))
        found = [self.copied(lease, key, similarity) for key, similarity in known]
        whole = [candidate for candidate in found if candidate is not None]
        return whole if len(whole) == len(found) else None

    def keep(
        self, lease: Lease, search: Search, found: Sequence[Candidate], began: float, until: float, last: int
    ) -> None:
        """Keep what a search has found, if all of it can be copied.

        Args:
            lease: the state in which it was made.
            search: what was looked for.
            found: what was found.
            began: when the search began.
            until: until when it is trusted: nobody tells that others have stored something closer.
            last: the number of the last entry that this process had stored by then.
        """
        if all(self.copy(lease, candidate, began) for candidate in found):
            self._remember(lease, search, (last, until, tuple((each.entry.key, each.similarity) for each in found)))

    def _remember(self, lease: Lease, search: Search, result: Result) -> None:
        size_bytes = _RESULT_BYTES + sum(2 * len(key) for key, _ in result[2])
        self._searches.put(_name(lease, search), result, size_bytes)

    def copy(self, lease: Lease, candidate: Candidate, began: float) -> bool:
        """Copy an entry, unless a younger one of its key is there; return whether there is a copy now.

        A copy has no vector, which nobody asks for, and its times, by the clock of leases, stand before its partition.

        Args:
            lease: the state that it was read in.
            candidate: the entry with its age, and how long it will be kept.
            began: when it was asked for; its age and its time to live count from then on.
        """
        entry, expires_in = candidate.entry, candidate.expires_in
        if not expires_in or len(entry.payload) + len(entry.prompt) > MAX_COPY_BYTES:
            return False
        lasts, stored = min(expires_in, COPY_SECONDS), began - candidate.age
        here = self._here(lease, entry.key)
        if here is None:
            return False
        if here.candidate is not None and float(here.candidate.entry.partition.partition(" ")[0]) > stored:
            return True
        times = f"{stored!r} {began + lasts!r} {began + expires_in!r}"
        copy = entry._replace(namespace=lease.room, partition=f"{times} {entry.partition}", vector=None)
        try:
            return self.near.put(copy, here.epoch, lasts).kept
        except Exception as error:  # noqa: BLE001
            let_through(error)
            return False

    def copied(self, lease: Lease, key: str, similarity: float) -> Candidate | None:
        """Return the copy of an entry, if there is one and its time has not run out."""
        here = self._here(lease, key)
        found = None if here is None else here.candidate
        if found is None:
            return None
        stored, until, expires, partition = found.entry.partition.split(" ", 3)
        now = self._clock()
        if now >= float(until):
            return None
        entry = found.entry._replace(namespace=lease.room.partition(" ")[2], partition=partition)
        return Candidate(entry, similarity, now - float(stored), float(expires) - now)


def _name(lease: Lease, search: Search) -> tuple[str, bytes]:
    """Return what stands for a search in one state of its namespace."""
    asked = blake2b(search.vector.tobytes(), digest_size=16, person=b"recallm search")
    asked.update(f"{search.threshold!r} {search.limit!r} {search.partition}".encode("utf-8", "surrogatepass"))
    return lease.room, asked.digest()
