"""A SQLite storage does what one in memory does, whatever is asked of both."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from support.examples import examples

from recallm import InMemoryStorage, SQLiteStorage
from recallm.records import Candidate
from recallm.scoring import normalise
from recallm.testing import Clock
from recallm.testing.fakes import fake_entry

PROMPTS = st.sampled_from(["one two", "two one", "three four", "four three", "five", "six seven eight"])
NAMESPACES = st.sampled_from(["n", "m"])
PARTITIONS = st.sampled_from(["p", "q"])
VECTORS = st.sampled_from(["own", "short", "none"])
TAGS = st.sampled_from(["", "a", "b", "ab"])
ROUNDING_SECONDS = 0.003
"""After a removal by tag a file may take calls that begin within so much time for earlier ones."""

FEW_BYTES = 9000
"""Room for some mirrors and not for all of them."""


class BothStorages(RuleBasedStateMachine):
    """Each operation on a storage in memory and on one in a file, which now and then is opened anew."""

    bound: int | None

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.memory_clock, self.wall, self.steady = Clock(), Clock(1_700_000_000.0), Clock()
        self.memory = InMemoryStorage(max_entries=self.bound, clock=self.memory_clock)
        self.file = self.opened()
        self.epochs: dict[str, tuple[int, int, float]] = {}

    def opened(self) -> SQLiteStorage:
        """Return a storage on the file."""
        storage = SQLiteStorage(self.folder / "a.db", max_entries=self.bound, timeout=20.0, mirror_bytes=FEW_BYTES)
        clock = storage._reads.parts.clock
        clock._wall, clock._steady = self.wall, self.steady
        return storage

    def teardown(self) -> None:
        """Delete the file."""
        self.file.close()
        shutil.rmtree(self.folder, ignore_errors=True)  # what goes on in the background may have made a file there

    @rule(
        prompt=PROMPTS,
        namespace=NAMESPACES,
        partition=PARTITIONS,
        vector=VECTORS,
        ttl=st.sampled_from([None, 5.0, 50.0]),
        tags=TAGS,
        late=st.booleans(),
    )
    def put(
        self, prompt: str, namespace: str, partition: str, vector: str, ttl: float | None, tags: str, late: bool
    ) -> None:
        """Store an entry, some of them with tags, and some as the answer of a call that began earlier."""
        entry = fake_entry(prompt, namespace=namespace, partition=partition, tags=tuple(tags))
        if vector != "own":
            entry = entry._replace(vector=None if vector == "none" else normalise([1.0, float(len(prompt))]))
        if not late or namespace not in self.epochs:
            self.look_at_the_epoch(namespace)
        ours, theirs, began = self.epochs[namespace]
        if tags:
            assert self.file.put_tagged(entry, theirs, ttl, began) == self.memory.put_tagged(entry, ours, ttl, began)
        else:
            assert self.file.put(entry, theirs, ttl) == self.memory.put(entry, ours, ttl)

    @rule(namespace=NAMESPACES)
    def look_at_the_epoch(self, namespace: str) -> None:
        """Remember a namespace's epoch for an answer that takes its time."""
        epochs = self.memory.recall(namespace, "").epoch, self.file.recall(namespace, "").epoch
        self.epochs[namespace] = *epochs, time.perf_counter()

    @rule(prompt=PROMPTS, namespace=NAMESPACES, partition=PARTITIONS)
    def recall(self, prompt: str, namespace: str, partition: str) -> None:
        """Look for a key."""
        key = fake_entry(prompt, namespace=namespace, partition=partition).key
        ours, theirs = self.memory.recall(namespace, key).candidate, self.file.recall(namespace, key).candidate
        assert comparable(theirs) == comparable(ours)

    @rule(
        prompt=PROMPTS,
        namespace=NAMESPACES,
        partition=PARTITIONS,
        threshold=st.sampled_from([0.99, 0.3, -1.0]),
        limit=st.sampled_from([None, 1, 3]),
    )
    def search(self, prompt: str, namespace: str, partition: str, threshold: float, limit: int | None) -> None:
        """Look for what is similar."""
        vector: Any = fake_entry(prompt).vector
        ours, theirs = (
            storage.search(namespace, partition, vector, threshold, limit) for storage in (self.memory, self.file)
        )
        assert [comparable(each) for each in theirs] == [comparable(each) for each in ours]

    @rule(prompts=st.lists(PROMPTS, max_size=3), namespace=NAMESPACES, partition=PARTITIONS)
    def remove(self, prompts: list[str], namespace: str, partition: str) -> None:
        """Remove entries."""
        keys = list({fake_entry(each, namespace=namespace, partition=partition).key for each in prompts})
        assert self.file.remove(namespace, keys) == self.memory.remove(namespace, keys)

    @rule(tag=st.sampled_from(["a", "b", "c"]))
    def remove_tagged(self, tag: str) -> None:
        """Remove what has a tag."""
        assert self.file.remove_tagged(tag) == self.memory.remove_tagged(tag)
        time.sleep(ROUNDING_SECONDS)
        for namespace, (_, _, began) in list(self.epochs.items()):
            self.look_at_the_epoch(namespace)  # one of the storages may have begun another
            self.epochs[namespace] = *self.epochs[namespace][:2], began

    @rule(namespace=NAMESPACES)
    def invalidate(self, namespace: str) -> None:
        """Remove all entries of a namespace."""
        assert self.file.invalidate(namespace) == self.memory.invalidate(namespace)

    @rule(seconds=st.sampled_from([1.0, 5.0, 46.0]))
    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        for clock in (self.memory_clock, self.wall, self.steady):
            clock.advance(seconds)

    @rule(seconds=st.sampled_from([-1000.0, -3.0]))
    def set_the_clock_back(self, seconds: float) -> None:
        """Set the wall clock back, which is not to be noticed."""
        self.wall.advance(seconds)

    @rule()
    def open_anew(self) -> None:
        """Have another process go on, unless that would forget which entries were used last."""
        if self.bound is None:
            self.file = self.opened()

    @invariant()
    def sizes_agree(self) -> None:
        """Both hold the same number of live entries, and the file lists as many."""
        sizes = self.memory.sizes(["n", "m", "absent"])
        assert self.file.sizes(["n", "m", "absent"]) == sizes
        assert {name: len(list(self.file.entries(name))) for name in self.file.namespaces()} == sizes


def comparable(candidate: Candidate | None) -> object:
    """Return a candidate without its vector, and with numbers as exact as both storages tell them."""
    if candidate is None:
        return None
    return candidate.entry._replace(vector=None), round(candidate.similarity, 9), round(candidate.age, 2)


@pytest.mark.untraced
@pytest.mark.parametrize("bound", [None, 4])
def test_a_file_equals_memory(bound: int | None) -> None:
    """Any operations in any order have the same results in a file as in memory."""
    machine = type("Machine", (BothStorages,), {"bound": bound})
    run_state_machine_as_test(machine, settings=examples(0.3, stateful_step_count=40))
