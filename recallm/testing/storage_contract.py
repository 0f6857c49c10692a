"""What every storage must do, as tests to inherit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np

from recallm.errors import OddVectorError
from recallm.records import Entry
from recallm.scoring import normalise
from recallm.storage.base import StorageBackend
from recallm.testing.fakes import FakeEmbedder


class StorageContract:
    """What every storage must do, as test methods for pytest.

    Subclass it under a name that pytest collects, and implement `make_storage` (and `pass_time`, where
    entries can be made to expire without waiting).
    """

    def make_storage(self) -> StorageBackend:
        """Return an empty storage."""
        raise NotImplementedError

    def pass_time(self, seconds: float) -> None:
        """Let `seconds` pass for the storage; by default, really."""
        import time

        time.sleep(seconds)

    def entry(self, prompt: str = "hello", *, namespace: str = "n", partition: str = "p", **fields: object) -> Entry:
        """Return an entry for `prompt`, as a cache would make it."""
        vector = fields.pop("vector", FakeEmbedder(dim=16).embed(prompt))
        key = hashlib.blake2b(f"{namespace}\0{partition}\0{prompt}".encode(), digest_size=20).hexdigest()
        return Entry(key, namespace, partition, prompt, vector, b"\x00\xffpayload", **fields)  # type: ignore[arg-type]

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
        storage = self.make_storage()
        entry = self.stored(storage, self.entry(seconds=1.5, tokens=7))
        candidate = storage.recall("n", entry.key).candidate
        assert candidate is not None
        assert (candidate.entry.prompt, candidate.entry.payload, candidate.similarity) == ("hello", entry.payload, 1.0)
        assert (candidate.entry.seconds, candidate.entry.tokens) == (1.5, 7)
        assert candidate.age >= 0

    def test_recalls_nothing_unknown(self) -> None:
        """A key that was never put gives no candidate."""
        assert self.make_storage().recall("n", "absent").candidate is None

    def test_finds_the_most_similar_first(self) -> None:
        """A search returns what reaches the threshold, best first, at most `limit`."""
        storage = self.make_storage()
        entries = [self.entry("one two three four"), self.entry("one two three five"), self.entry("six seven")]
        for entry in entries:
            self.stored(storage, entry)
        assert self.found(storage, entries[0], 0.5) == ["one two three four", "one two three five"]
        vector = entries[0].vector
        assert vector is not None
        assert [found.entry.prompt for found in storage.search("n", "p", vector, 0.5, 1)] == ["one two three four"]
        assert len(storage.search("n", "p", vector, -1.0, None)) == len(entries)

    def test_reports_exact_cosines(self) -> None:
        """A candidate's similarity is the cosine of the two vectors."""
        storage = self.make_storage()
        entry = self.stored(storage, self.entry("one two three"))
        query = FakeEmbedder(dim=16).embed("one two four")
        assert entry.vector is not None
        expected = float(query.astype(np.float64) @ entry.vector.astype(np.float64))
        (found,) = storage.search("n", "p", query, -1.0, 16)
        assert abs(found.similarity - expected) < 1e-6

    def test_keeps_partitions_apart(self) -> None:
        """A search sees its own partition only."""
        storage = self.make_storage()
        self.stored(storage, self.entry(partition="other"))
        assert self.found(storage, self.entry()) == []

    def test_replaces_an_entry_of_the_same_key(self) -> None:
        """The same prompt put twice is one entry."""
        storage = self.make_storage()
        self.stored(storage, self.entry())
        entry = self.stored(storage, self.entry(tokens=9))
        candidate = storage.recall("n", entry.key).candidate
        assert candidate is not None
        assert candidate.entry.tokens == 9
        assert self.found(storage, entry) == ["hello"]
        assert storage.sizes(["n"]) == {"n": 1}

    def test_keeps_entries_without_a_vector_for_exact_look_ups(self) -> None:
        """An entry without a vector is recalled, but never found by similarity."""
        storage = self.make_storage()
        entry = self.stored(storage, self.entry(vector=None))
        assert storage.recall("n", entry.key).candidate is not None
        assert self.found(storage, self.entry()) == []

    def test_expires_by_the_clock_not_by_use(self) -> None:
        """An entry is gone when its ttl has passed, however often it was read."""
        storage = self.make_storage()
        entry = self.stored(storage, self.entry(), ttl=0.5)
        lasting = self.stored(storage, self.entry("lasting"))
        assert storage.recall("n", entry.key).candidate is not None
        assert self.found(storage, entry) == ["hello"]
        self.pass_time(0.3)
        assert storage.recall("n", entry.key).candidate is not None
        assert self.found(storage, entry) == ["hello"]
        self.pass_time(0.3)
        assert storage.recall("n", entry.key).candidate is None
        assert self.found(storage, entry) == []
        assert storage.sizes(["n"]) == {"n": 1}
        assert storage.recall("n", lasting.key).candidate is not None

    def test_removes_single_entries(self) -> None:
        """Removing tells how many of the keys were live, and leaves the others."""
        storage = self.make_storage()
        gone, stays = self.stored(storage, self.entry("gone")), self.stored(storage, self.entry("stays"))
        assert storage.remove("n", [gone.key, "absent"]) == 1
        assert storage.recall("n", gone.key).candidate is None
        assert storage.recall("n", stays.key).candidate is not None
        assert storage.sizes(["n"]) == {"n": 1}

    def test_invalidates_a_whole_namespace_and_no_other(self) -> None:
        """Invalidation tells how many entries there were, and leaves other namespaces."""
        storage = self.make_storage()
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
            storage = self.make_storage()
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
        storage = self.make_storage()
        self.stored(storage, self.entry())
        assert storage.sizes(["n", "empty"]) == {"n": 1}
        assert storage.sizes([]) == {}

    def test_refuses_vectors_of_another_dimension(self) -> None:
        """A vector that cannot be compared is an error, and harms nothing that is stored."""
        storage = self.make_storage()
        entry = self.stored(storage, self.entry())
        try:
            storage.search("n", "p", normalise([1.0, 2.0]), 0.5, 16)
        except OddVectorError:
            pass
        else:
            raise AssertionError("a search with a vector of another dimension must raise OddVectorError")
        assert self.found(storage, entry) == ["hello"]
