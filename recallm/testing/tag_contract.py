"""The part of the storages' contract that is about tags: tests that a storage must pass that keeps them."""

from __future__ import annotations

import time
from unittest import SkipTest

from recallm.records import REFUSAL, Entry
from recallm.storage.base import StorageBackend
from recallm.testing.fakes import fake_entry

ROUNDING_SECONDS = 0.01
"""For how long after a removal a storage may take calls for earlier ones, as clocks of others are read in ms."""


class TagContract:
    """Tests of `StorageBackend.put_tagged` and `StorageBackend.remove_tagged`, which `StorageContract` has."""

    def sync_storage(self) -> StorageBackend:
        """Return an empty storage whose sync methods work."""
        raise NotImplementedError

    def pass_time(self, seconds: float) -> None:
        """Let `seconds` pass for the storage."""
        raise NotImplementedError

    def _tagging_storage(self) -> StorageBackend:
        storage = self.sync_storage()
        if not storage.keeps_tags:
            raise SkipTest("the storage keeps no tags")
        return storage

    def _tagged(
        self, storage: StorageBackend, prompt: str, *tags: str, namespace: str = "n", ttl: float | None = None
    ) -> Entry:
        """Put an entry with tags whose call begins now."""
        entry = fake_entry(prompt, namespace=namespace, tags=tags)
        epoch = storage.recall(namespace, entry.key).epoch
        assert storage.put_tagged(entry, epoch, ttl, time.perf_counter()).kept
        return entry

    def test_removes_by_tag_in_every_namespace(self) -> None:
        """A removal by tag takes every entry that has the tag, in whatever namespace, and no other."""
        storage = self._tagging_storage()
        gone = [
            self._tagged(storage, "one", "a"),
            self._tagged(storage, "two", "b", "a"),
            self._tagged(storage, "three", "a", namespace="m"),
        ]
        kept = self._tagged(storage, "four", "b")
        recalled = storage.recall("n", gone[1].key).candidate
        assert recalled is not None
        assert recalled.entry.tags == ("b", "a")
        assert storage.remove_tagged("a") == len(gone)
        assert [storage.recall(entry.namespace, entry.key).candidate for entry in gone] == [None] * len(gone)
        assert kept.vector is not None
        found = storage.search("n", "p", kept.vector, -1.0, None)
        assert [candidate.entry.prompt for candidate in found] == ["four"]
        assert storage.sizes(["n", "m"]) == {"n": 1}
        assert storage.remove_tagged("a") == 0
        assert storage.remove_tagged("never put") == 0

    def test_refuses_what_was_computed_before_a_removal_of_its_tag(self) -> None:
        """An answer whose call began before its tag was removed is not stored, also in a namespace new to the tag."""
        storage = self._tagging_storage()
        before = time.perf_counter()
        early = fake_entry("early", namespace="fresh", tags=("a",))
        other = fake_entry("other", namespace="fresh", tags=("b",))
        epoch = storage.recall("fresh", early.key).epoch
        assert storage.remove_tagged("a") == 0
        assert not storage.put_tagged(early, epoch, None, before).kept
        assert storage.recall("fresh", early.key).candidate is None
        assert storage.put_tagged(other, epoch, None, before).kept
        time.sleep(ROUNDING_SECONDS)
        self._tagged(storage, "late", "a", namespace="fresh")
        assert storage.remove_tagged("a") == 1

    def test_the_epoch_holds_for_entries_with_tags(self) -> None:
        """An entry with tags is refused, too, if its namespace has begun another epoch."""
        storage = self._tagging_storage()
        entry = fake_entry(tags=("a",))
        epoch, began = storage.recall("n", entry.key).epoch, time.perf_counter()
        storage.invalidate("n")
        assert not storage.put_tagged(entry, epoch, None, began).kept
        assert storage.remove_tagged("a") == 0

    def test_an_entry_is_removed_by_the_tags_that_it_has_now(self) -> None:
        """An entry that took the place of another is removed by its own tags; an invalidated one by none."""
        storage = self._tagging_storage()
        self._tagged(storage, "one", "a")
        entry = self._tagged(storage, "one", "b")
        assert storage.remove_tagged("b") == 1
        assert storage.recall("n", entry.key).candidate is None
        self._tagged(storage, "one", "a")
        storage.invalidate("n")
        assert storage.remove_tagged("a") == 0

    def test_a_refusal_has_no_tags(self) -> None:
        """A refusal that took the place of an answer stays, whatever tags the answer had."""
        storage = self._tagging_storage()
        before = self._tagged(storage, "one", "a")
        refusal = before._replace(prompt="", vector=None, payload=REFUSAL, tags=())
        assert storage.put(refusal, storage.recall("n", before.key).epoch, None).kept
        assert storage.remove_tagged("a") == 0
        candidate = storage.recall("n", before.key).candidate
        assert candidate is not None
        assert candidate.entry.is_refusal

    def test_what_has_expired_is_not_counted(self) -> None:
        """A removal by tag counts live entries only."""
        storage = self._tagging_storage()
        self._tagged(storage, "brief", "a", ttl=0.05)
        self._tagged(storage, "lasting", "a")
        self.pass_time(0.1)
        assert storage.remove_tagged("a") == 1
