"""The in-process storages when operations are cut short, or meet others of the same thread in their middle."""

from __future__ import annotations

import gc
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from support.interrupting import each_point, in_time

from recallm import InMemoryStorage, ThreadSafeInMemoryStorage
from recallm.records import Entry
from recallm.scoring import normalise
from recallm.testing import Clock, FakeEmbedder
from recallm.testing.fakes import fake_entry

STORAGE = ("storage/memory.py", "storage/index")
KINDS = [InMemoryStorage, ThreadSafeInMemoryStorage]
BOUND = 5
NEEDLE = FakeEmbedder(dim=16).embed("one two")
ENTRIES = {
    "one": fake_entry("one two"),
    "two": fake_entry("one three"),
    "brief": fake_entry("one four"),
    "apart": fake_entry("one five", partition="q"),
    "foreign": fake_entry("one six", namespace="m"),
    "new": fake_entry("one seven"),
    "again": fake_entry("one two", tokens=9),
    "without a vector": fake_entry("one two", vector=None),
    "of another length": fake_entry("one two", vector=normalise([1.0, 2.0])),
    "moved": fake_entry("one six"),
}
FRESH = [fake_entry(f"fresh {number}") for number in range(BOUND + 2)]


class Acting:
    """A storage that holds its bound of entries, one of them just expired, and an operation on it."""

    def __init__(self, act: Callable[[Acting], object], kind: type[InMemoryStorage] = InMemoryStorage) -> None:
        self.clock = Clock()
        self.storage = kind(max_entries=BOUND, clock=self.clock)
        for name in ("one", "two", "brief", "apart", "foreign"):
            entry = ENTRIES[name]
            ttl = {"brief": 1.0, "two": 100.0}.get(name)
            assert self.storage.put(entry, self.storage.recall(entry.namespace, "").epoch, ttl).kept
        self.epochs = {name: self.storage.recall(name, "").epoch for name in "nm"}
        self.clock.advance(1.0)
        self.act = act

    def __call__(self) -> object:
        """Perform the operation."""
        return self.act(self)

    def put(self, name: str, ttl: float | None = None) -> bool:
        """Store an entry that was computed at the beginning."""
        entry = ENTRIES[name]
        return self.storage.put(entry, self.epochs[entry.namespace], ttl).kept


ACTS: dict[str, Callable[[Acting], object]] = {
    "put a new one": lambda acting: acting.put("new", 50.0),
    "put one again": lambda acting: acting.put("again"),
    "put it without a vector": lambda acting: acting.put("without a vector"),
    "put it with a shorter one": lambda acting: acting.put("of another length"),
    "put it elsewhere": lambda acting: acting.put("moved"),
    "put two that evict": lambda acting: (acting.put("new"), acting.put("of another length")),
    "recall": lambda acting: acting.storage.recall("n", ENTRIES["one"].key),
    "search": lambda acting: acting.storage.search("n", "p", NEEDLE, 0.1, 16),
    "remove": lambda acting: acting.storage.remove("n", [ENTRIES["one"].key, ENTRIES["two"].key]),
    "invalidate": lambda acting: acting.storage.invalidate("n"),
    "sizes": lambda acting: acting.storage.sizes(["n", "m"]),
    "its length": lambda acting: len(acting.storage),
}


def live(storage: InMemoryStorage) -> set[tuple[str, str]]:
    """Return the namespaces and keys of the entries that are recalled."""
    keys = [(entry.namespace, entry.key) for entry in ENTRIES.values()]
    return {(namespace, key) for namespace, key in keys if storage.recall(namespace, key).candidate is not None}


def found(storage: InMemoryStorage, entry: Entry) -> list[str]:
    """Return the keys of all entries of an entry's partition whose vectors are as long as its own."""
    assert entry.vector is not None
    return sorted(each.entry.key for each in storage.search(entry.namespace, entry.partition, entry.vector, -1.0, None))


def assert_sound(acting: Acting) -> None:
    """All entries are counted, found and removed, new ones are taken, and the bound holds."""
    storage = acting.storage
    recalled = live(storage)
    sizes = {name: sum(namespace == name for namespace, _ in recalled) for name in "nm"}
    assert storage.sizes(["n", "m"]) == {name: size for name, size in sizes.items() if size}
    assert len(storage) == len(recalled) <= BOUND
    for name in ("one", "apart", "foreign", "of another length"):
        entry = ENTRIES[name]
        assert {(entry.namespace, key) for key in found(storage, entry)} <= recalled
    for fresh in FRESH:
        assert storage.put(fresh, storage.recall("n", "").epoch, 10.0).kept
        assert len(storage) <= BOUND
    assert found(storage, FRESH[0]) == sorted(fresh.key for fresh in FRESH[-BOUND:])
    assert len(storage) == BOUND == len(storage._used)
    acting.clock.advance(10.0)
    assert len(storage) == 0
    assert_removable(acting)


def assert_removable(acting: Acting) -> None:
    """What is stored again is there, and an invalidation removes it and whatever was computed before."""
    storage = acting.storage
    for name in ("one", "two", "apart"):
        assert storage.put(ENTRIES[name], storage.recall("n", "").epoch, None).kept
    assert found(storage, ENTRIES["one"]) == sorted(ENTRIES[name].key for name in ("one", "two"))
    before = storage.recall("n", "").epoch
    assert storage.remove("n", [ENTRIES["one"].key]) == 1
    assert found(storage, ENTRIES["one"]) == [ENTRIES["two"].key]
    assert storage.invalidate("n") == 2
    assert live(storage) == set()
    assert found(storage, ENTRIES["one"]) == found(storage, ENTRIES["apart"]) == []
    assert not storage.put(ENTRIES["one"], before, None).kept
    assert len(storage) == len(storage._used) == 0


@pytest.mark.parametrize("act", ACTS)
def test_whatever_is_cut_short_leaves_a_sound_storage(act: str) -> None:
    """Wherever an exception comes: what is there is counted, found, bounded and can be removed."""
    storages = []
    for _, acting in each_point(lambda: Acting(ACTS[act]), STORAGE):
        assert_sound(acting)
        storages.append(acting.storage)
    assert len(storages) > 5
    in_time(lambda: [storage.invalidate("absent") for storage in storages])


def test_an_invalidation_that_is_cut_short_removes_all_or_nothing() -> None:
    """Wherever an exception comes, either every entry of the namespace is served or none is."""
    begin = Acting(ACTS["invalidate"])
    whole = live(begin.storage)
    for _, acting in each_point(lambda: Acting(ACTS["invalidate"]), STORAGE):
        assert live(acting.storage) in (whole, {each for each in whole if each[0] == "m"})


@pytest.mark.parametrize("nested", ["put one again", "invalidate", "put a new one", "search", "recall", "remove"])
@pytest.mark.parametrize("act", ["put two that evict", "search", "put it with a shorter one", "remove", "invalidate"])
def test_whatever_comes_in_the_middle_leaves_a_sound_storage(act: str, nested: str) -> None:
    """All along an operation, another one of the same thread may be performed."""

    def meanwhile(acting: Acting) -> None:
        ACTS[nested](acting)

    for _, acting in each_point(lambda: Acting(ACTS[act]), STORAGE, meanwhile, stride=2):
        assert_sound(acting)


@pytest.mark.parametrize("nested", ["invalidate", "remove"])
@pytest.mark.parametrize("act", ["put a new one", "put one again", "put it with a shorter one", "put it elsewhere"])
def test_no_answer_outlives_a_removal_in_the_middle_of_its_put(act: str, nested: str) -> None:
    """At any point of a put, a removal may be performed: the answer was computed before, and is not served."""

    def meanwhile(acting: Acting) -> None:
        ACTS[nested](acting)

    served = [live(acting.storage) for _, acting in each_point(lambda: Acting(ACTS[act]), STORAGE, meanwhile)]
    others = {(ENTRIES[name].namespace, ENTRIES[name].key) for name in ("foreign", "apart")[: 1 + (nested == "remove")]}
    # The last points come when the put has let go of its lock.
    assert all(each <= others for each in served[:-2])
    assert len(served) > 50


@pytest.mark.parametrize("nested", ["invalidate", "remove"])
@pytest.mark.parametrize("act", ["recall", "search", "sizes", "invalidate", "remove"])
def test_nothing_is_there_after_a_removal_in_the_middle(act: str, nested: str) -> None:
    """Once a removal has returned, nothing finds what it removed, though another operation was under way."""
    gone: list[set[tuple[str, str]]] = []

    def meanwhile(acting: Acting) -> None:
        ACTS[nested](acting)
        gone.append(live(acting.storage) & {("n", ENTRIES[name].key) for name in ("one", "two")})

    for _, acting in each_point(lambda: Acting(ACTS[act]), STORAGE, meanwhile):
        assert ("n", ENTRIES["one"].key) not in live(acting.storage)
    assert not any(gone)


@pytest.mark.parametrize("kind", KINDS)
def test_a_busy_storage_survives_signals(kind: type[InMemoryStorage]) -> None:
    """Exceptions of a signal handler in a loop that puts, removes and searches leave a sound storage."""

    class RungError(Exception):
        pass

    def ring(*_: object) -> None:
        raise RungError

    acting = Acting(ACTS["recall"], kind)
    until, rung = time.monotonic() + 0.5, 0
    before = signal.signal(signal.SIGALRM, ring)
    try:
        while time.monotonic() < until:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0003)
                while True:
                    for act in ACTS.values():
                        act(acting)
            except RungError:
                rung += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert rung > 10
    acting.clock.advance(100.0)
    for name in "nm":
        acting.storage.invalidate(name)
    assert live(acting.storage) == set()
    assert_sound(acting)


def test_finalizers_that_ask_each_other_s_storages_end() -> None:
    """Two threads, each in the middle of an operation on one storage when a finalizer asks the other's, both go on."""
    both = threading.Barrier(2)
    ended: list[bool] = []

    class Finalized:
        def __init__(self, other: InMemoryStorage) -> None:
            self.other, self.itself = other, self

        def __del__(self) -> None:
            self.other.put(ENTRIES["new"], self.other.recall("n", "").epoch, None)
            self.other.invalidate("n")

    def clock(other: list[InMemoryStorage]) -> float:
        if other:
            with suppress(threading.BrokenBarrierError):  # the other one cannot be in the middle of its operation
                both.wait(0.2)
            Finalized(other.pop())
            gc.collect()
        return 0.0

    others: tuple[list[InMemoryStorage], list[InMemoryStorage]] = ([], [])
    storages = [InMemoryStorage(clock=lambda: clock(others[0])), InMemoryStorage(clock=lambda: clock(others[1]))]
    others[0].append(storages[1])
    others[1].append(storages[0])

    def put(storage: InMemoryStorage) -> None:
        storage.put(ENTRIES["one"], storage.recall("n", "").epoch, None)
        ended.append(True)

    threads = [threading.Thread(target=put, args=(storage,), daemon=True) for storage in storages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert ended == [True, True]
