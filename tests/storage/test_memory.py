"""The in-process storages: the storage contract, and their own bound, clock and locking."""

from __future__ import annotations

import gc
import random
import threading
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from support.guide import TEXTS, blocks

from recallm import InMemoryStorage, StorageBackend, ThreadSafeInMemoryStorage
from recallm.errors import InvalidTypeError, InvalidValueError, OddVectorError
from recallm.records import Entry, Stored
from recallm.storage import memory
from recallm.testing import Clock, FakeEmbedder, StorageContract

KINDS = [InMemoryStorage, ThreadSafeInMemoryStorage]


class OnAClock(StorageContract):
    """The storage contract, on a clock that the tests move."""

    kind: type[InMemoryStorage]

    def make_storage(self) -> InMemoryStorage:
        """Return an empty storage."""
        self.clock = Clock()
        return self.kind(clock=self.clock)

    def pass_time(self, seconds: float) -> None:
        """Move the clock."""
        self.clock.advance(seconds)


class TestInMemoryStorage(OnAClock):
    """The storage for one thread."""

    kind = InMemoryStorage


class TestThreadSafeInMemoryStorage(OnAClock):
    """The storage for any number of threads."""

    kind = ThreadSafeInMemoryStorage
    threads = 8


def storage_of_the_guide() -> dict[str, Any]:
    """Return the names that the guide's block with a custom storage defines."""
    (block,) = [block for block in blocks(TEXTS["storages"], "python") if "(StorageBackend):" in block]
    defined: dict[str, Any] = {"__name__": "guide"}
    exec(compile(block, "storages", "exec"), defined)  # noqa: S102  # our own text, as a reader would run it
    return defined


class TestStorageOfTheGuide(StorageContract):
    """The custom storage that the guide shows as an example."""

    def make_storage(self) -> StorageBackend:
        """Return an empty storage, on a clock that need not be waited for."""
        self.clock = Clock()
        defined = storage_of_the_guide()
        (kind,) = [
            each
            for each in defined.values()
            if isinstance(each, type) and issubclass(each, StorageBackend) and each.__module__ == "guide"
        ]
        assert "monotonic" in defined
        defined["monotonic"] = self.clock
        made: StorageBackend = kind()
        return made

    def pass_time(self, seconds: float) -> None:
        """Move the clock."""
        self.clock.advance(seconds)


def entry(prompt: str, **fields: Any) -> Entry:
    """Return an entry whose key is its prompt."""
    known = {"namespace": "n", "partition": "p", "vector": FakeEmbedder(dim=16).embed(prompt), "payload": b""}
    return Entry(key=prompt, prompt=prompt, **{**known, **fields})


def keys(storage: InMemoryStorage) -> set[str]:
    """Return the keys that are stored."""
    return {key for namespace in storage._namespaces.values() for key in namespace.entries}


def put(storage: InMemoryStorage, made: Entry, ttl: float | None = None) -> Stored:
    """Store an entry under its namespace's present epoch."""
    return storage.put(made, storage.recall(made.namespace, "").epoch, ttl)


@pytest.mark.parametrize("kind", KINDS)
def test_the_least_recently_used_entry_makes_room(kind: type[InMemoryStorage]) -> None:
    """The entry that was recalled or found least recently is evicted, and is neither recalled nor found again."""
    storage = kind(max_entries=3)
    for prompt in ("one", "two", "three"):
        assert put(storage, entry(prompt)).evicted == 0
    storage.recall("n", "one")
    storage.search("n", "p", FakeEmbedder(dim=16).embed("two"), 0.99, 1)
    assert put(storage, entry("four")).evicted == 1
    assert keys(storage) == {"one", "two", "four"}
    assert storage.recall("n", "three").candidate is None
    assert storage.search("n", "p", FakeEmbedder(dim=16).embed("three"), 0.99, None) == []
    assert len(storage) == storage.sizes(["n"])["n"] == 3


@pytest.mark.parametrize("kind", KINDS)
def test_one_prompt_is_one_entry(kind: type[InMemoryStorage]) -> None:
    """An entry put again replaces the old one, in the index as well, and evicts nothing."""
    storage = kind(max_entries=1)
    for payload in (b"old", b"new"):
        assert put(storage, entry("one", payload=payload)).evicted == 0
    found = storage.search("n", "p", FakeEmbedder(dim=16).embed("one"), 0.9, None)
    assert [candidate.entry.payload for candidate in found] == [b"new"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_entry_lives_as_long_as_it_was_stored_for(kind: type[InMemoryStorage]) -> None:
    """An entry expires at its ttl; reading does not prolong it, and a replacement has its own ttl."""
    clock = Clock()
    storage = kind(clock=clock)
    put(storage, entry("one"), 10.0)
    put(storage, entry("two"))
    clock.advance(9.5)
    assert storage.recall("n", "one").candidate is not None
    put(storage, entry("one"), 20.0)
    clock.advance(19.5)
    candidate = storage.recall("n", "one").candidate
    assert candidate is not None
    assert candidate.age == pytest.approx(19.5)
    clock.advance(0.5)
    assert storage.recall("n", "one").candidate is None
    assert storage.sizes(["n", "absent"]) == {"n": 1}
    assert "of 1 entries" in repr(storage)


def test_expiry_is_noticed_by_whatever_is_asked_first() -> None:
    """Search, sizes, remove, invalidate and `len` all ignore an entry that has just expired."""
    clock = Clock()
    vector = FakeEmbedder(dim=16).embed("one")
    for ask, expected in (
        (lambda storage: storage.search("n", "p", vector, 0.5, None), []),
        (lambda storage: storage.sizes(["n"]), {}),
        (lambda storage: storage.remove("n", ["one"]), 0),
        (lambda storage: storage.invalidate("n"), 0),
        (len, 0),
    ):
        storage = InMemoryStorage(clock=clock)
        put(storage, entry("one"), 5.0)
        clock.advance(5.0)
        assert ask(storage) == expected


def test_deadlines_of_replaced_entries_do_not_pile_up() -> None:
    """Storing one entry a thousand times with a ttl keeps fewer than a hundred deadlines."""
    storage = InMemoryStorage(clock=Clock())
    for _ in range(1000):
        put(storage, entry("one"), 60.0)
    assert len(storage._deadlines) < 100


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_from_before_an_invalidation_is_refused(kind: type[InMemoryStorage]) -> None:
    """A put under the epoch of before an invalidation is refused, in that namespace only."""
    storage = kind()
    before, elsewhere = storage.recall("n", "one").epoch, storage.recall("m", "one").epoch
    storage.invalidate("n")
    assert not storage.put(entry("one"), before, None).kept
    assert storage.put(entry("two", namespace="m"), elsewhere, None).kept
    assert storage.put(entry("one"), storage.recall("n", "one").epoch, None).kept


def test_a_forgotten_epoch_is_never_taken_for_a_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stale answer is refused even if there are more namespaces than epochs are kept for."""
    monkeypatch.setattr(memory, "MAX_EPOCHS", 3)
    storage = InMemoryStorage()
    stale = {name: storage.recall(name, "k").epoch for name in "abcdefgh"}
    for name in "abcdefgh":
        storage.invalidate(name)
    assert not any(storage.put(entry("one", namespace=name), stale[name], None).kept for name in "abcdefgh")
    assert len(storage._epochs) == 3


def test_no_epoch_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A namespace's epochs ascend, though the storage forgets whose they were, and look nothing like another's."""
    monkeypatch.setattr(memory, "MAX_EPOCHS", 2)
    seen: dict[str, list[int]] = {}
    storages = [InMemoryStorage(), InMemoryStorage()]
    for number in range(60):
        for place, storage in enumerate(storages):
            storage.invalidate("abcde"[number % 5])
            for name in "abcde":
                seen.setdefault(f"{place} {name}", []).append(storage.recall(name, "").epoch)
    assert all(epochs == sorted(epochs) for epochs in seen.values())
    assert not {each for name in "abcde" for each in seen[f"0 {name}"]} & set(seen["1 a"])


@pytest.mark.parametrize(
    "vector",
    [
        np.full(16, np.nan, np.float32),
        np.full(16, np.inf, np.float32),
        np.zeros(16, np.float32),
        np.ones(16, np.float32),
        np.eye(4, dtype=np.float32),
        np.empty(0, np.float32),
    ],
    ids=["nan", "infinite", "zero", "not of unit length", "2-d", "empty"],
)
def test_an_odd_vector_is_refused_and_changes_nothing(vector: Any) -> None:
    """A malformed vector raises in put, finds nothing in search, and the entry stored before is kept and found."""
    storage = InMemoryStorage()
    put(storage, entry("one"))
    with pytest.raises(ValueError, match=r"vector|dim"):
        put(storage, entry("one", vector=vector))
    with suppress(OddVectorError):
        assert list(storage.search("n", "p", vector, 0.5, 16)) == []
    assert keys(storage) == {"one"}
    assert len(storage.search("n", "p", FakeEmbedder(dim=16).embed("one"), 0.9, None)) == 1


def test_an_odd_first_vector_leaves_nothing_behind() -> None:
    """A partition whose first vector was refused takes the first valid one."""
    storage = InMemoryStorage()
    with pytest.raises(OddVectorError):
        put(storage, entry("one", vector=np.zeros(5, np.float32)))
    assert put(storage, entry("one")).kept


def test_an_entry_without_a_vector_is_found_by_its_key_only() -> None:
    """An entry without a vector is recalled by its key and takes no place in the index."""
    storage = InMemoryStorage()
    put(storage, entry("one", vector=None))
    assert storage.recall("n", "one").candidate is not None
    assert storage._namespaces["n"].shelves == {}


def test_an_entry_takes_little_more_than_its_vector_and_its_texts() -> None:
    """Vectors are kept once, and the text that names a partition once for all: with 384 numbers and 0.5 kB, 2.7 kB."""
    rng = np.random.default_rng(0)
    count, storage = 1024, InMemoryStorage()
    epoch = storage.recall("n", "").epoch
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(count):
            row = rng.standard_normal(384).astype(np.float32)
            partition = b"a digest of forty characters, as it is".decode()
            fields = f"{number:040x}", "n", partition, f"prompt {number:40}", row / np.linalg.norm(row), bytes(512)
            storage.put(Entry(*fields, 0.5 + number), epoch, None)
        del fields, row, partition
        taken = tracemalloc.get_traced_memory()[0] / count
    finally:
        tracemalloc.stop()
    assert taken < 2900


def test_an_empty_partition_leaves_nothing_behind() -> None:
    """Partitions and namespaces whose entries were all evicted take no memory."""
    storage = InMemoryStorage(max_entries=2)
    for number in range(50):
        put(storage, entry(f"question {number}", partition=f"p{number}", namespace=f"n{number}"))
    assert len(storage._namespaces) == len(storage) == 2
    for number in range(50):
        put(storage, entry(f"question {number}", partition=f"p{number}"))
    assert len(storage._namespaces["n"].shelves) == len(storage) == 2


@pytest.mark.parametrize(
    ("bound", "error", "message"),
    [
        (0, InvalidValueError, "max_entries=0 is below 1"),
        (-5, InvalidValueError, "max_entries=-5 is below 1"),
        (True, InvalidTypeError, "max_entries=True is a bool; use an int or None"),
        (1.5, InvalidTypeError, "max_entries=1.5 is a float; use an int or None"),
        ("many", InvalidTypeError, "max_entries='many' is a str; use an int or None"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_bound_that_is_none_is_refused(kind: Any, bound: Any, error: type[Exception], message: str) -> None:
    """A wrong `max_entries` raises, and the message has the value and what is allowed."""
    with pytest.raises(error, match=message):
        kind(max_entries=bound)


@pytest.mark.usefixtures("restless")
def test_threads_lose_nothing_and_see_nothing_foreign() -> None:
    """Eight threads that use one storage lose no entry and find none of another's partition."""
    storage = ThreadSafeInMemoryStorage()
    failures: list[BaseException] = []
    vectors = [FakeEmbedder(dim=16).embed(f"word{number}") for number in range(40)]

    def work(name: str) -> None:
        chance = random.Random(name)  # noqa: S311  # a test
        mine: set[str] = set()
        try:
            for _ in range(300):
                number = chance.randrange(40)
                key = f"{name} {number}"
                made = entry(key, partition=name, namespace=name, vector=vectors[number])
                if key in mine and chance.random() < 0.3:
                    assert storage.remove(name, [key]) == 1
                    mine.discard(key)
                else:
                    assert storage.put(made, storage.recall(name, key).epoch, None).kept
                    mine.add(key)
                found = storage.search(name, name, vectors[number], 0.999, None)
                assert (key in {candidate.entry.key for candidate in found}) == (key in mine)
                assert all(candidate.entry.partition == name for candidate in found)
                put(storage, entry(f"common {key}", partition="common", namespace="common", vector=vectors[number]))
                storage.search("common", "common", vectors[number], 0.5, 16)
            assert storage.sizes([name]).get(name, 0) == len(mine)
        except BaseException as error:  # noqa: BLE001  # raised in the test's own thread below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(f"t{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(storage) == sum(storage.sizes([*(f"t{number}" for number in range(8)), "common"]).values())


USES: dict[str, Callable[[InMemoryStorage], object]] = {
    "a recall": lambda storage: storage.recall("n", "one"),
    "a search": lambda storage: storage.search("n", "p", FakeEmbedder(dim=16).embed("one"), 0.99, None),
    "a replacement": lambda storage: put(storage, entry("one")),
}
GLANCES: dict[str, Callable[[InMemoryStorage], object]] = {
    "sizes": lambda storage: storage.sizes(["n"]),
    "its length": len,
    "its representation": repr,
    "a search that does not find it": lambda storage: storage.search(
        "n", "p", FakeEmbedder(dim=16).embed("two"), 0.99, None
    ),
    "a recall of nothing": lambda storage: storage.recall("n", "absent"),
    "a put that is refused": lambda storage: storage.put(entry("one"), 99, None),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_used_stays(kind: type[InMemoryStorage], use: str) -> None:
    """An entry that was recalled, found or stored again outlives one that was put later."""
    storage = kind(max_entries=2)
    for prompt in ("one", "two"):
        put(storage, entry(prompt))
    USES[use](storage)
    assert put(storage, entry("three")).evicted == 1
    assert keys(storage) == {"one", "three"}


@pytest.mark.parametrize("glance", GLANCES)
def test_what_is_merely_looked_past_makes_room(glance: str) -> None:
    """An entry that no operation returned or stored again is evicted first."""
    storage = InMemoryStorage(max_entries=2)
    for prompt in ("one", "two"):
        put(storage, entry(prompt))
    GLANCES[glance](storage)
    put(storage, entry("three"))
    assert keys(storage) == {"two", "three"}


def test_the_dead_make_room_before_the_living() -> None:
    """An expired entry counts neither against the bound nor as evicted."""
    clock = Clock()
    storage = InMemoryStorage(max_entries=2, clock=clock)
    put(storage, entry("lasting"))
    put(storage, entry("brief"), 5.0)
    clock.advance(5.0)
    assert put(storage, entry("new")).evicted == 0
    assert keys(storage) == {"lasting", "new"}


def test_the_bound_is_over_all_namespaces_and_partitions() -> None:
    """`max_entries` bounds all namespaces and partitions together, and evicted entries leave their sizes."""
    storage = InMemoryStorage(max_entries=2)
    for number in range(4):
        put(storage, entry(f"question {number}", namespace=f"n{number}", partition=f"p{number}"))
    assert storage.sizes([f"n{number}" for number in range(4)]) == {"n2": 1, "n3": 1}


LEAVING: dict[str, Callable[[InMemoryStorage, Clock], object]] = {
    "removed": lambda storage, clock: storage.remove("n", ["one"]),
    "invalidated": lambda storage, clock: storage.invalidate("n"),
    "expired": lambda storage, clock: clock.advance(60.0),
    "evicted": lambda storage, clock: put(storage, entry("two", namespace="m")),
}


@pytest.mark.parametrize("leave", LEAVING)
@pytest.mark.parametrize("vector", [FakeEmbedder(dim=16).embed("one"), None], ids=["with a vector", "without"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_leaves_is_found_by_nothing(kind: type[InMemoryStorage], vector: Any, leave: str) -> None:
    """An entry that was removed, invalidated, evicted or has expired is found by nothing, and can be stored again."""
    clock = Clock()
    storage = kind(max_entries=1, clock=clock)
    put(storage, entry("one", vector=vector), 60.0)
    assert storage.sizes(["n"]) == {"n": 1}
    LEAVING[leave](storage, clock)
    assert storage.recall("n", "one").candidate is None
    assert storage.search("n", "p", FakeEmbedder(dim=16).embed("one"), 0.9, None) == []
    assert storage.sizes(["n"]) == {}
    assert storage.put(entry("one", vector=vector), storage.recall("n", "one").epoch, None).kept
    assert storage.sizes(["n"]) == {"n": 1}


@pytest.mark.parametrize(
    ("first", "then"),
    [({"partition": "q"}, {}), ({"vector": None}, {}), ({}, {"vector": None}), ({"namespace": "m"}, {})],
    ids=["another partition", "gaining a vector", "losing its vector", "another namespace"],
)
def test_a_replacement_leaves_nothing_of_the_old_entry(first: dict[str, Any], then: dict[str, Any]) -> None:
    """A replacement takes the old entry out of its partition's index and its namespace's size."""
    storage = InMemoryStorage()
    put(storage, entry("one", **first))
    put(storage, entry("one", **then))
    vector = FakeEmbedder(dim=16).embed("one")
    found = {name: len(storage.search("n", name, vector, 0.9, None)) for name in ("p", "q")}
    assert found == {"p": 0 if "vector" in then else 1, "q": 0}
    assert storage.sizes(["n", "m"]) == {"n": 1}
    assert storage.invalidate("n") == 1
    assert len(storage) == 0


def test_removing_in_one_namespace_leaves_the_keys_of_another() -> None:
    """Removing keys leaves entries of another namespace, and counts a key that is given twice once."""
    storage = InMemoryStorage()
    put(storage, entry("one"))
    put(storage, entry("two", namespace="m"))
    assert storage.remove("n", ["two", "one", "one"]) == 1
    assert keys(storage) == {"two"}


@pytest.mark.usefixtures("restless")
def test_threads_that_invalidate_leave_nothing_older_than_their_last() -> None:
    """However puts and invalidations interleave, the entries kept are those removed plus those left."""
    storage = ThreadSafeInMemoryStorage()
    begin = threading.Barrier(6)
    removed, kept, failures = [0, 0], [0] * 4, []

    def fill(worker: int) -> None:
        for number in range(200):
            made = entry(f"{worker} {number}", vector=None)
            kept[worker] += storage.put(made, storage.recall("n", made.key).epoch, None).kept

    def empty(worker: int) -> None:
        for _ in range(100):
            removed[worker] += storage.invalidate("n")

    def guarded(work: Callable[[int], None], worker: int) -> None:
        try:
            begin.wait(30)
            work(worker)
        except BaseException as error:  # noqa: BLE001  # raised in the test's own thread below
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(fill, number)) for number in range(4)]
    threads += [threading.Thread(target=guarded, args=(empty, number)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert sum(removed) + len(storage) == sum(kept)
    assert storage.sizes(["n"]).get("n", 0) == len(storage)


@pytest.mark.usefixtures("restless")
def test_a_bound_holds_under_threads() -> None:
    """Under concurrent puts the bound is never exceeded, and every entry put is stored or was evicted."""
    storage = ThreadSafeInMemoryStorage(max_entries=10)
    evicted, most = [0] * 4, [0] * 4

    def fill(worker: int) -> None:
        for number in range(100):
            evicted[worker] += put(storage, entry(f"{worker} {number}", partition=f"p{worker}")).evicted
            most[worker] = max(most[worker], len(storage))

    threads = [threading.Thread(target=fill, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(storage) == 10 >= max(most)
    assert sum(evicted) == 390


def test_an_invalidation_and_a_put_do_not_overlap() -> None:
    """An invalidation waits for a put that has begun, and removes its entry."""
    within, emptied = threading.Event(), threading.Event()

    def clock() -> float:
        within.set()
        emptied.wait(0.3)  # in vain, as the put that asks for the time keeps others out
        return 0.0

    storage = ThreadSafeInMemoryStorage(clock=clock)

    def empty() -> None:
        assert within.wait(10)
        storage.invalidate("n")
        emptied.set()

    thread = threading.Thread(target=empty)
    thread.start()
    assert put(storage, entry("one")).kept
    thread.join(10)
    assert emptied.is_set()
    assert storage.sizes(["n"]) == {}


def test_the_best_of_what_a_search_finds_is_used_last() -> None:
    """The most similar entry that a search found outlives the others that it found."""
    storage = InMemoryStorage(max_entries=2)
    for prompt in ("a b c d", "a b c e"):
        put(storage, entry(prompt))
    storage.search("n", "p", FakeEmbedder(dim=16).embed("a b c d"), 0.3, 16)
    put(storage, entry("something else"))
    assert keys(storage) == {"a b c d", "something else"}


def test_a_listed_entry_does_not_count_as_used() -> None:
    """Listing leaves the order in which entries make room as it is."""
    storage = InMemoryStorage(max_entries=2)
    for prompt in ("one", "two"):
        entry = StorageContract.entry(prompt)
        storage.put(entry, storage.recall("n", entry.key).epoch, None)
    assert [each.entry.prompt for each in storage.entries("n")] == ["one", "two"]
    third = StorageContract.entry("three")
    storage.put(third, storage.recall("n", third.key).epoch, None)
    assert [each.entry.prompt for each in storage.entries("n")] == ["two", "three"]


def test_a_list_that_is_read_ends_with_its_namespace() -> None:
    """An invalidation ends a list that is being read, also if the namespace has entries again."""
    storage = InMemoryStorage()
    for prompt in ("one", "two"):
        entry = StorageContract.entry(prompt)
        storage.put(entry, storage.recall("n", entry.key).epoch, None)
    listing = storage.entries("n")
    assert next(listing).entry.prompt == "one"
    storage.invalidate("n")
    again = StorageContract.entry("two")
    storage.put(again, storage.recall("n", again.key).epoch, None)
    assert list(listing) == []
