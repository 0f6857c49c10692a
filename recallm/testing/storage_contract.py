"""The contract of storages: tests that every storage must pass, to be inherited."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from typing import Any, ClassVar
from unittest import SkipTest

import numpy as np

from recallm.records import Candidate, Entry, Recalled
from recallm.scoring import normalise
from recallm.storage.base import (
    Invalidate,
    Put,
    Recall,
    RecallAndSearch,
    Remove,
    Search,
    Sizes,
    StorageBackend,
    StorageOperation,
)
from recallm.testing.fakes import FakeEmbedder, fake_entry
from recallm.testing.storage_flows import AwaitedStorage, Crowd, apart, arun, run, together, while_invalidated
from recallm.testing.tag_contract import TagContract
from recallm.testing.threads import run_at_once

TTLS = (0.2, 0.5, 2.0, 8.0)
"""For how many seconds an entry is kept that is looked at meanwhile: each is tried if the one before was too short."""

RACE_SECONDS = 0.2
"""For how many seconds rounds of threads are repeated, at least one: a single round takes 0.01 s and may be lucky."""

SHORT = normalise([1.0, 2.0])
"""A vector of another length than that of `entry`."""

LOOPS = 2
"""How many event loops use a storage one after the other: the second shows what was bound to the first."""


class StorageContract(TagContract):
    """Tests that every storage must pass, as methods for pytest.

    Subclass it under a name that pytest collects, and implement `make_storage`; `pass_time` too if entries can be
    made to expire without waiting, and `leave_loop` if the storage keeps connections of an event loop.

    A storage is asked in the ways that calls will ask it: by its methods if `serves_sync`, by `aperform` if
    `serves_async`, in threads if it is `blocking`.

    Attributes:
        threads: how many threads use the storage at once. 1: it is for one thread only, and the tests of threads are
            skipped. None: 8 if the storage is `blocking`, for its operations run in worker threads; else 1.
        tasks: how many tasks of one event loop use the storage at once.
    """

    threads: ClassVar[int | None] = None
    tasks: ClassVar[int] = 8

    _awaited: AwaitedStorage | None = None

    def make_storage(self) -> StorageBackend:
        """Return an empty storage."""
        raise NotImplementedError

    def pass_time(self, seconds: float) -> None:
        """Let `seconds` pass for the storage; by default, by sleeping."""
        time.sleep(seconds)

    async def leave_loop(self, storage: StorageBackend) -> None:
        """Close the storage's connections of the running event loop, which is about to end; by default, none."""

    def sync_storage(self) -> StorageBackend:
        """Return an empty storage whose sync methods work, if need be by awaiting `aperform` on an event loop."""
        self.teardown_method()
        storage = self.make_storage()
        if storage.serves_sync:
            return storage
        self._awaited = AwaitedStorage(storage, self.leave_loop)
        return self._awaited

    def teardown_method(self) -> None:
        """Close the event loop that `sync_storage` made for a storage without sync methods."""
        if self._awaited is not None:
            self._awaited.close()
            self._awaited = None

    entry = staticmethod(fake_entry)

    def stored(self, storage: StorageBackend, entry: Entry, ttl: float | None = None) -> Entry:
        """Put `entry` under the namespace's current epoch."""
        assert storage.put(entry, storage.recall(entry.namespace, entry.key).epoch, ttl).kept
        return entry

    def found(self, storage: StorageBackend, entry: Entry, threshold: float = 0.9) -> list[str]:
        """Return the prompts that a search with the entry's own vector finds."""
        assert entry.vector is not None
        found = storage.search(entry.namespace, entry.partition, entry.vector, threshold, 16)
        return [candidate.entry.prompt for candidate in found]

    def test_recalls_what_was_put(self) -> None:
        """An entry is recalled by its key, whole."""
        storage = self.sync_storage()
        entry = self.stored(storage, self.entry(seconds=1.5, tokens=7, cost=0.25))
        candidate = storage.recall("n", entry.key).candidate
        assert candidate is not None
        assert (candidate.entry.prompt, candidate.entry.payload, candidate.similarity) == ("hello", entry.payload, 1.0)
        assert (candidate.entry.seconds, candidate.entry.tokens, candidate.entry.cost) == (1.5, 7, 0.25)
        assert candidate.age >= 0

    def test_recalls_nothing_unknown(self) -> None:
        """A key that was never put gives no candidate."""
        assert self.sync_storage().recall("n", "absent").candidate is None

    def test_finds_the_most_similar_first(self) -> None:
        """A search returns the entries that reach the threshold, best first, at most `limit`."""
        storage = self.sync_storage()
        entries = [self.entry("one two three four"), self.entry("one two three five"), self.entry("six seven")]
        for entry in entries:
            self.stored(storage, entry)
        assert self.found(storage, entries[0], 0.5) == ["one two three four", "one two three five"]
        vector = entries[0].vector
        assert vector is not None
        assert [found.entry.prompt for found in storage.search("n", "p", vector, 0.5, 1)] == ["one two three four"]
        assert len(storage.search("n", "p", vector, -1.0, None)) == len(entries)

    def test_finds_both_at_once_what_it_finds_apart(self) -> None:
        """A look-up that may also search gives what `recall` gives and, if it did search, what `search` gives."""
        storage = self.sync_storage()
        stored, absent = self.stored(storage, self.entry("one two three four")), self.entry("one two three five")
        assert absent.vector is not None
        search = Search("n", "p", absent.vector, 0.5, 16)
        for _ in range(2):
            both = storage.recall_and_search("n", absent.key, search)
            assert both[:2] == storage.recall("n", absent.key)[:2]
            if both.similar is not None:
                assert [found.entry.prompt for found in both.similar] == self.found(storage, absent, 0.5)
        candidate = storage.recall_and_search("n", stored.key, search).candidate
        assert candidate is not None
        assert candidate.entry.prompt == stored.prompt

    def test_reports_exact_cosines(self) -> None:
        """A candidate's similarity is the cosine of the two vectors."""
        storage = self.sync_storage()
        entry = self.stored(storage, self.entry("one two three"))
        query = FakeEmbedder(dim=16).embed("one two four")
        assert entry.vector is not None
        expected = float(query.astype(np.float64) @ entry.vector.astype(np.float64))
        (found,) = storage.search("n", "p", query, -1.0, 16)
        assert abs(found.similarity - expected) < 1e-6

    def test_keeps_partitions_apart(self) -> None:
        """A search sees its own partition only."""
        storage = self.sync_storage()
        self.stored(storage, self.entry(partition="other"))
        assert self.found(storage, self.entry()) == []

    def test_replaces_an_entry_of_the_same_key(self) -> None:
        """The same prompt put twice is one entry."""
        storage = self.sync_storage()
        self.stored(storage, self.entry())
        entry = self.stored(storage, self.entry(tokens=9))
        candidate = storage.recall("n", entry.key).candidate
        assert candidate is not None
        assert candidate.entry.tokens == 9
        assert self.found(storage, entry) == ["hello"]
        assert storage.sizes(["n"]) == {"n": 1}

    def test_keeps_entries_without_a_vector_for_exact_look_ups(self) -> None:
        """An entry without a vector is recalled, but never found by similarity."""
        storage = self.sync_storage()
        entry = self.stored(storage, self.entry(vector=None))
        assert storage.recall("n", entry.key).candidate is not None
        assert self.found(storage, self.entry()) == []

    def test_expires_by_the_clock_not_by_use(self) -> None:
        """An entry expires when its ttl has passed, however often it was read."""
        storage, entry, lasting, ttl = self._read_before_it_expires()
        self.pass_time(0.6 * ttl)
        assert storage.recall("n", entry.key).candidate is None
        assert self.found(storage, entry) == []
        assert storage.sizes(["n"]) == {"n": 1}
        assert storage.recall("n", lasting.key).candidate is not None

    def _read_before_it_expires(self) -> tuple[StorageBackend, Entry, Entry, float]:
        for ttl in TTLS:
            storage, begun = self.sync_storage(), time.monotonic()
            entry = self.stored(storage, self.entry(), ttl=ttl)
            lasting = self.stored(storage, self.entry("lasting"))
            seen = []
            for seconds in (0.0, 0.6 * ttl):
                self.pass_time(seconds)
                seen.append((storage.recall("n", entry.key).candidate is not None, self.found(storage, entry)))
            # A machine too busy to look in time has shown nothing, and looks again.
            if time.monotonic() - begun < ttl:
                break
        assert seen == [(True, ["hello"])] * 2, "an entry is gone before its ttl has passed"
        return storage, entry, lasting, ttl

    def test_removes_single_entries(self) -> None:
        """Removing returns how many of the keys were live, and leaves other entries."""
        storage = self.sync_storage()
        gone, stays = self.stored(storage, self.entry("gone")), self.stored(storage, self.entry("stays"))
        assert storage.remove("n", [gone.key, "absent"]) == 1
        assert storage.recall("n", gone.key).candidate is None
        assert storage.recall("n", stays.key).candidate is not None
        assert storage.sizes(["n"]) == {"n": 1}

    def test_invalidates_a_whole_namespace_and_no_other(self) -> None:
        """Invalidation returns how many entries there were, and leaves other namespaces."""
        storage = self.sync_storage()
        self.stored(storage, self.entry("one"))
        self.stored(storage, self.entry("two", partition="q"))
        other = self.stored(storage, self.entry(namespace="m"))
        assert storage.invalidate("n") == 2
        assert storage.sizes(["n", "m"]) == {"m": 1}
        assert storage.recall("m", other.key).candidate is not None
        assert storage.invalidate("n") == 0

    def test_refuses_answers_older_than_an_invalidation(self) -> None:
        """An answer whose epoch was read before an invalidation or a removal is not kept."""
        for end_epoch in self._epoch_enders():
            storage = self.sync_storage()
            entry = self.entry()
            epoch = storage.recall("n", entry.key).epoch
            end_epoch(storage)
            assert not storage.put(entry, epoch, None).kept
            assert storage.recall("n", entry.key).candidate is None
            self.stored(storage, entry)

    def _epoch_enders(self) -> list[Callable[[StorageBackend], object]]:
        return [lambda storage: storage.invalidate("n"), lambda storage: storage.remove("n", ["absent"])]

    def test_counts_live_entries_only(self) -> None:
        """Sizes leave out namespaces without entries."""
        storage = self.sync_storage()
        self.stored(storage, self.entry())
        assert storage.sizes(["n", "empty"]) == {"n": 1}
        assert storage.sizes([]) == {}

    def test_lists_its_namespaces(self) -> None:
        """A storage that can list them names the namespaces that hold live entries, each once."""
        storage = self._listing()
        assert list(storage.namespaces()) == []
        for namespace in ("n", "m", "", "gone"):
            self.stored(storage, self.entry("one", namespace=namespace))
            self.stored(storage, self.entry("two", namespace=namespace, partition="q"))
        storage.invalidate("gone")
        assert sorted(storage.namespaces()) == ["", "m", "n"]

    def test_lists_the_entries_of_a_namespace(self) -> None:
        """A storage that can list them yields each live entry of a namespace once, whole and in any order."""
        storage = self._listing()
        number = 300  # more than a page
        prompts = [f"prompt {each}" for each in range(number)]
        first = self.stored(storage, self.entry(prompts[0], seconds=1.5, tokens=7, fresh_for=2.5), ttl=100.0)
        rest = [self.stored(storage, self.entry(prompt, partition="q")) for prompt in prompts[1:-1]]
        bare = self.stored(storage, self.entry(prompts[-1], vector=None))
        self.stored(storage, self.entry("elsewhere", namespace="m"))
        found = {each.entry.prompt: each for each in storage.entries("n")}
        assert len(list(storage.entries("n"))) == number
        assert sorted(found) == sorted(prompts)
        for entry in (first, rest[0], bare):
            listed = found[entry.prompt]
            assert _comparable(listed) == _comparable(Candidate(entry, 1.0, 0.0))
            assert 0 <= listed.age < 60
        vector = found[first.prompt].entry.vector
        assert first.vector is not None
        assert vector is not None
        assert np.allclose(vector, first.vector)
        assert found[bare.prompt].entry.vector is None
        left = found[first.prompt].expires_in
        assert left is not None
        assert 0 < left <= 100.0
        assert found[bare.prompt].expires_in == math.inf
        assert list(storage.entries("empty")) == []

    def test_lists_nothing_that_is_gone(self) -> None:
        """What has expired or was removed is not listed, nor what an invalidation ended."""
        storage = self._listing()
        expired = self.stored(storage, self.entry("expired"), ttl=0.1)
        removed = self.stored(storage, self.entry("removed"))
        self.stored(storage, self.entry("stays"))
        self.stored(storage, self.entry("expired", namespace="m"), ttl=0.1)
        self.stored(storage, self.entry("ended", namespace="l"))
        storage.invalidate("l")
        storage.remove("n", [removed.key])
        self.pass_time(0.15)
        assert [each.entry.prompt for each in storage.entries("n")] == ["stays"]
        assert list(storage.entries("l")) == []
        assert storage.recall("n", expired.key).candidate is None
        assert list(storage.namespaces()) == ["n"]

    def _listing(self) -> StorageBackend:
        """Return an empty storage that can list what it holds; skip the test if this one cannot."""
        storage = self.sync_storage()
        try:
            iter(storage.namespaces())
        except NotImplementedError:
            raise SkipTest("the storage cannot list its entries") from None
        return storage

    def test_keeps_vectors_of_different_lengths_apart(self) -> None:
        """Entries whose vectors have another length are not found; both may be stored, and take each other's place."""
        storage = self.sync_storage()
        longer = self.stored(storage, self.entry("hello"))
        assert self.found(storage, self.entry(vector=SHORT), -1.0) == []
        shorter = self.stored(storage, self.entry("bye", vector=SHORT))
        assert self.found(storage, longer, -1.0) == ["hello"]
        assert self.found(storage, shorter, -1.0) == ["bye"]
        again = self.stored(storage, self.entry("hello", vector=SHORT))
        assert self.found(storage, longer, -1.0) == []
        assert sorted(self.found(storage, again, -1.0)) == ["bye", "hello"]
        assert storage.remove("n", [again.key]) == 1
        assert self.found(storage, shorter, -1.0) == ["bye"]
        assert storage.invalidate("n") == 1
        assert self.found(storage, shorter, -1.0) == []

    def test_shares_no_epoch_with_another_storage(self) -> None:
        """Of two storages, each with as many invalidations, neither has an epoch that the other has."""
        epochs: list[int] = []
        for _ in range(2):
            storage = self.sync_storage()
            for namespace in ("n", "m"):
                for _ in range(3):
                    epochs.append(storage.recall(namespace, "absent").epoch)
                    storage.invalidate(namespace)
            ours, theirs = set(epochs[:6]), set(epochs[6:])
        assert not ours & theirs, f"two storages have the epochs {ours & theirs}"

    def test_threads_keep_to_their_own_namespaces(self) -> None:
        """Threads that use a namespace each never see each other's entries."""
        self._in_threads(apart)

    def test_threads_share_a_namespace(self) -> None:
        """Of threads that share a namespace, no entry is lost, and none that was removed comes back."""
        self._in_threads(together)

    def test_threads_see_nothing_that_an_invalidation_ended(self) -> None:
        """An answer whose epoch an invalidation ended is not seen by anybody after it, however the two interleave."""
        self._in_threads(while_invalidated)

    def test_tasks_keep_to_their_own_namespaces(self) -> None:
        """Two event loops, one after the other, each with many tasks, are served as a single caller is."""
        self._in_tasks(apart)

    def test_tasks_share_a_namespace(self) -> None:
        """Of tasks that share a namespace, no entry is lost, and none that was removed comes back."""
        self._in_tasks(together)

    def test_tasks_see_nothing_that_an_invalidation_ended(self) -> None:
        """An answer whose epoch an invalidation ended is not seen by any task after it."""
        self._in_tasks(while_invalidated)

    def test_event_loops_get_what_sync_callers_get(self) -> None:
        """Each operation has the same result through `aperform` as through its method, on what either has stored."""
        storage = self.make_storage()
        if not (storage.serves_sync and storage.serves_async):
            raise SkipTest("serves_sync or serves_async is False: the storage serves one kind of callers only")
        asyncio.run(self._compared(storage))

    async def _compared(self, storage: StorageBackend) -> None:
        ours, theirs = self.stored(storage, self.entry("one two three")), self.entry("one two four")
        epoch = storage.recall("n", ours.key).epoch
        vector = theirs.vector
        assert vector is not None
        try:
            assert (await storage.aperform(Put(theirs, epoch, None))).kept
            reads: list[StorageOperation] = [Recall("n", each.key) for each in (ours, theirs)]
            reads += [Recall("n", "absent"), Sizes(["n", "m"]), Sizes([]), Search("n", "empty", vector, 0.5, 16)]
            if storage.recalls_and_searches:
                reads.append(RecallAndSearch("n", "absent", Search("n", "p", vector, 0.99, 16)))
            reads += [Search("n", "p", vector, threshold, limit) for threshold, limit in ((0.99, None), (-1.0, 1))]
            for read in reads:
                awaited, plain = await storage.aperform(read), read.on(storage)
                assert _comparable(awaited) == _comparable(plain), f"aperform({read!r}) is not what its method returns"
            assert await storage.aperform(Remove("n", [ours.key, "absent"])) == 1
            assert storage.recall("n", ours.key).candidate is None
            assert await storage.aperform(Invalidate("n")) == 1
            assert not (await storage.aperform(Put(ours, epoch, None))).kept
            assert storage.sizes(["n"]) == {}
        finally:
            await self.leave_loop(storage)

    def _in_threads(self, crowd_of: Callable[[str, int], Crowd]) -> None:
        storage = self.make_storage()
        if not storage.serves_sync:
            raise SkipTest("serves_sync is False: threads cannot call the storage")
        threads = self._threads_of(storage)
        if threads == 1:
            raise SkipTest("the storage is for one thread; a contract of one for several sets threads = 8")
        begun = time.monotonic()
        for number in count():
            crowd = crowd_of(f"round {number}", threads)
            run_at_once([partial(run, storage, flow) for flow in crowd.flows])
            run(storage, crowd.after)
            if time.monotonic() - begun >= RACE_SECONDS:
                break

    def _in_tasks(self, crowd_of: Callable[[str, int], Crowd]) -> None:
        storage = self.make_storage()
        for number in range(LOOPS):
            asyncio.run(self._at_once(storage, crowd_of(f"loop {number}", self.tasks)))

    async def _at_once(self, storage: StorageBackend, crowd: Crowd) -> None:
        async def perform(operation: StorageOperation) -> Any:
            if storage.serves_async:
                return await storage.aperform(operation)
            if self._threads_of(storage) > 1:
                return await asyncio.to_thread(operation.on, storage)
            await asyncio.sleep(0)
            return operation.on(storage)

        try:
            await asyncio.gather(*(arun(perform, flow) for flow in crowd.flows))
            await arun(perform, crowd.after)
        finally:
            await self.leave_loop(storage)

    def _threads_of(self, storage: StorageBackend) -> int:
        if self.threads is None:
            return 8 if storage.blocking else 1
        return self.threads


def _comparable(result: Any) -> object:
    """Return a result without the ages of entries, which change, and without vectors, which have no plain equality."""
    match result:
        case Candidate(entry, similarity):
            return entry._replace(vector=None), round(similarity, 6)
        case Recalled(candidate, epoch):
            return _comparable(candidate), epoch
        case Mapping():
            return dict(result)
        case Sequence():
            return [_comparable(each) for each in result]
    return result
