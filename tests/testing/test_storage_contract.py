"""The contract of storages passes a sound one, and fails each that breaks it."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest import SkipTest

import pytest

from recallm import InMemoryStorage, StorageBackend, ThreadSafeInMemoryStorage
from recallm.records import Candidate, Entry, Stored
from recallm.storage.base import Search, Sizes, StorageOperation
from recallm.testing import Clock, StorageContract


def broken(operation: str, replacement: Callable[..., Any]) -> type[InMemoryStorage]:
    """Return a storage of which one operation does something else."""
    return type("Broken", (InMemoryStorage,), {operation: replacement})


def of_any_length(storage: Any, namespace: str, partition: str, *_: object) -> list[Candidate]:
    """Return all entries of a partition that have a vector, however long."""
    found = Memory.entries(storage, namespace)
    return [each for each in found if each.entry.partition == partition and each.entry.vector is not None]


def with_expired(storage: Any, namespace: str) -> list[Candidate]:
    """Return all entries of a namespace, expired ones too."""
    clock, storage._clock = storage._clock, lambda: 0.0
    try:
        return [*Memory.entries(storage, namespace)]
    finally:
        storage._clock = clock


def counted(storage: Any) -> dict[str, int]:
    """Return how often each namespace has been emptied."""
    numbers = sorted(storage._epochs.values())
    return {name: numbers.index(number) + 1 for name, number in storage._epochs.items()}


Memory: Any = InMemoryStorage

BREACHES: dict[str, type[InMemoryStorage]] = {
    "mixes partitions": broken(
        "put",
        lambda self, entry, epoch, ttl: Memory.put(
            self, type(entry)(entry.key, entry.namespace, "p", entry.prompt, entry.vector, entry.payload), epoch, ttl
        ),
    ),
    "forgets the time to live": broken("put", lambda self, entry, epoch, ttl: Memory.put(self, entry, epoch, None)),
    "keeps what is invalidated": broken("invalidate", lambda self, namespace: 0),
    "forgets the epoch": broken(
        "put", lambda self, entry, epoch, ttl: Memory.put(self, entry, self._epoch(entry.namespace), ttl)
    ),
    "loses every entry": broken("put", lambda self, entry, epoch, ttl: type(Memory().put(entry, 0, ttl))(True)),
    "ignores the threshold": broken(
        "search", lambda self, *args: Memory.search(self, *args[:3], -1.0, args[4])
    ),
    "ignores the limit": broken("search", lambda self, *args: Memory.search(self, *args[:4], None)),
    "miscounts": broken("sizes", lambda self, names: dict.fromkeys(names, 1)),
    "removes nothing": broken("remove", lambda self, namespace, keys: 0),
    "removes everything": broken("remove", lambda self, namespace, keys: Memory.invalidate(self, namespace)),
    "invalidates every namespace": broken(
        "invalidate", lambda self, namespace: sum(Memory.invalidate(self, each) for each in tuple(self._namespaces))
    ),
    "recalls whatever it has": broken(
        "recall", lambda self, namespace, key: Memory.recall(self, namespace, next(iter(self._kept), key))
    ),
    "finds in no order": broken("search", lambda self, *args: list(Memory.search(self, *args))[::-1]),
    "rounds similarities": broken(
        "search",
        lambda self, *args: [
            Candidate(found.entry, round(found.similarity, 2), found.age) for found in Memory.search(self, *args)
        ],
    ),
    "finds vectors of one length only": broken(
        "search", lambda self, *args: Memory.search(self, *args) if args[2].size == 16 else []
    ),
    "pads short vectors": broken(
        "search", lambda self, *args: Memory.search(self, *args) or of_any_length(self, *args)
    ),
    "counts invalidations": broken("_epoch", lambda self, namespace: counted(self).get(namespace, 0)),
    "lists what has expired": broken("entries", with_expired),
    "lists the first entries only": broken(
        "entries", lambda self, namespace: itertools.islice(Memory.entries(self, namespace), 100)
    ),
    "lists an entry twice": broken("entries", lambda self, namespace: [*Memory.entries(self, namespace)] * 2),
    "lists no time to live": broken(
        "entries", lambda self, namespace: (each._replace(expires_in=None) for each in Memory.entries(self, namespace))
    ),
    "names every namespace it has seen": broken("namespaces", lambda self: list(self._epochs)),
    "remembers what it told": broken(
        "sizes", lambda self, names: self.__dict__.setdefault("told", Memory.sizes(self, names))
    ),
}  # fmt: skip


def contract_of(kind: type[InMemoryStorage]) -> StorageContract:
    """Return the contract, to be run by hand."""
    clock = Clock()

    class Contract(StorageContract):
        def make_storage(self) -> InMemoryStorage:
            return kind(clock=clock)

        def pass_time(self, seconds: float) -> None:
            clock.advance(seconds)

    return Contract()


def breaches(kind: type[InMemoryStorage]) -> list[str]:
    """Return which tests of the contract fail."""
    contract = contract_of(kind)
    failed = []
    for name, test in inspect.getmembers(contract, inspect.ismethod):
        if name.startswith("test_"):
            try:
                test()
            except SkipTest:
                pass
            except Exception:  # noqa: BLE001  # whatever it raises, the test has failed
                failed.append(name)
    return failed


@pytest.mark.parametrize("breach", BREACHES)
def test_a_storage_that_breaks_the_contract_fails_it(breach: str) -> None:
    """A storage that breaks one promise fails at least one test of the contract."""
    assert breaches(BREACHES[breach])


def test_a_sound_storage_passes() -> None:
    """A sound storage passes every test, so a failure is due to what is broken."""
    assert breaches(InMemoryStorage) == []


def test_the_contract_waits_for_real_where_time_cannot_be_moved() -> None:
    """By default time passes in reality, as for a storage on a server with a clock of its own."""
    StorageContract().pass_time(0.0)
    with pytest.raises(NotImplementedError):
        StorageContract().make_storage()


@pytest.mark.parametrize(
    ("breach", "test"),
    [
        ("mixes partitions", "test_keeps_partitions_apart"),
        ("forgets the time to live", "test_expires_by_the_clock_not_by_use"),
        ("keeps what is invalidated", "test_invalidates_a_whole_namespace_and_no_other"),
        ("invalidates every namespace", "test_invalidates_a_whole_namespace_and_no_other"),
        ("forgets the epoch", "test_refuses_answers_older_than_an_invalidation"),
        ("loses every entry", "test_recalls_what_was_put"),
        ("finds in no order", "test_finds_the_most_similar_first"),
        ("rounds similarities", "test_reports_exact_cosines"),
        ("removes everything", "test_removes_single_entries"),
        ("finds vectors of one length only", "test_keeps_vectors_of_different_lengths_apart"),
        ("pads short vectors", "test_keeps_vectors_of_different_lengths_apart"),
        ("counts invalidations", "test_shares_no_epoch_with_another_storage"),
    ],
)
def test_the_failing_test_names_the_breach(breach: str, test: str) -> None:
    """The test that fails is the one of the broken promise, and what fails in it is an assertion."""
    assert test in breaches(BREACHES[breach])
    with pytest.raises(AssertionError):
        getattr(contract_of(BREACHES[breach]), test)()


class Threaded(ThreadSafeInMemoryStorage):
    """A storage whose operations run in worker threads, of which those below each break one promise."""

    blocking = True


class ChecksTooEarly(Threaded):
    """Looks at the epoch, and stores a moment later."""

    def put(self, entry: Entry, epoch: int, ttl: float | None) -> Stored:
        """Store what was right to store a moment ago."""
        if self.recall(entry.namespace, entry.key).epoch != epoch:
            return Stored(kept=False)
        time.sleep(0.0005)  # an invalidation may come now
        return super().put(entry, self.recall(entry.namespace, entry.key).epoch, ttl)


class OneDesk(Threaded):
    """Lays an entry down, and stores what lies there a moment later."""

    def put(self, entry: Entry, epoch: int, ttl: float | None) -> Stored:
        """Store the entry of whoever came last."""
        self.entry = entry
        time.sleep(0.0005)
        return super().put(self.entry, self.recall(self.entry.namespace, "").epoch, ttl)


class OneAtATime(Threaded):
    """Raises if it is busy."""

    def __init__(self) -> None:
        super().__init__()
        self.busy = threading.Lock()

    def put(self, entry: Entry, epoch: int, ttl: float | None) -> Stored:
        """Store, unless somebody else does."""
        if not self.busy.acquire(blocking=False):
            raise ConnectionError("the database is locked")
        try:
            time.sleep(0.0005)
            return super().put(entry, epoch, ttl)
        finally:
            self.busy.release()


class SameEpochs(Threaded):
    """Has two epochs, one after the other."""

    def invalidate(self, namespace: str) -> int:
        """Go back to the epoch before the last."""
        removed = super().invalidate(namespace)
        self._epochs[namespace] %= 2
        return removed


@pytest.mark.parametrize(
    ("kind", "test", "message"),
    [
        (ChecksTooEarly, "test_threads_see_nothing_that_an_invalidation_ended", "outlived an invalidation"),
        (OneDesk, "test_threads_keep_to_their_own_namespaces", None),
        (OneDesk, "test_threads_share_a_namespace", "is not found|was lost"),
        (OneAtATime, "test_threads_share_a_namespace", "the database is locked"),
        (OneAtATime, "test_tasks_share_a_namespace", "the database is locked"),
        (SameEpochs, "test_threads_see_nothing_that_an_invalidation_ended", "begins a second time"),
    ],
)
def test_a_storage_that_threads_break_fails(kind: type[Threaded], test: str, message: str | None) -> None:
    """What goes wrong only if several use a storage at once is an assertion, or the storage's own error."""

    class Contract(StorageContract):
        def make_storage(self) -> Threaded:
            return kind()

    with pytest.raises((AssertionError, ConnectionError), match=message):
        getattr(Contract(), test)()


class Async(ThreadSafeInMemoryStorage):
    """A storage for async callers too, of which those below each break one promise."""

    serves_async = True

    async def aperform(self, operation: StorageOperation) -> Any:
        """Let others in, and perform it in place."""
        await asyncio.sleep(0)
        return operation.on(self)


class AsyncAlone(Async):
    """A storage for async callers only."""

    serves_sync = False


class OfOneLoop(Async):
    """Belongs to the first event loop that uses it."""

    loop: asyncio.AbstractEventLoop | None = None

    async def aperform(self, operation: StorageOperation) -> Any:
        """Perform it on that loop only."""
        self.loop = self.loop or asyncio.get_running_loop()
        if self.loop is not asyncio.get_running_loop():
            raise ConnectionError("the connection belongs to a different loop")
        return await super().aperform(operation)


class OneTask(Async):
    """Lays an operation down, and performs what lies there when its turn comes."""

    async def aperform(self, operation: StorageOperation) -> Any:
        """Perform the operation of whoever came last."""
        self.operation = operation
        await asyncio.sleep(0)
        return self.operation.on(self)


class Twin(Async):
    """Finds more through `aperform` than through `search`."""

    async def aperform(self, operation: StorageOperation) -> Any:
        """Ignore the threshold."""
        if isinstance(operation, Search):
            operation = replace(operation, threshold=-1.0)
        return await super().aperform(operation)


class Unfinished(Async):
    """Has forgotten one of the operations."""

    async def aperform(self, operation: StorageOperation) -> Any:
        """Perform it, if it is none that counts."""
        return None if isinstance(operation, Sizes) else await super().aperform(operation)


@pytest.mark.parametrize(
    ("kind", "test", "message"),
    [
        (OfOneLoop, "test_tasks_keep_to_their_own_namespaces", "different loop"),
        (OneTask, "test_tasks_keep_to_their_own_namespaces", None),
        (OneTask, "test_tasks_share_a_namespace", None),
        (Twin, "test_event_loops_get_what_sync_callers_get", "is not what its method returns"),
        (Unfinished, "test_event_loops_get_what_sync_callers_get", "is not what its method returns"),
        (Unfinished, "test_tasks_keep_to_their_own_namespaces", None),
    ],
)
def test_a_storage_that_tasks_or_loops_break_fails(kind: type[Async], test: str, message: str | None) -> None:
    """What goes wrong only in tasks, or in a second event loop, is an assertion or the storage's own error."""

    class Contract(StorageContract):
        def make_storage(self) -> Async:
            return kind()

    with pytest.raises((AssertionError, ConnectionError, AttributeError), match=message):
        getattr(Contract(), test)()


def skipped(kind: type[InMemoryStorage]) -> set[str]:
    """Return which tests of the contract are skipped; the others must pass."""

    class Contract(StorageContract):
        def make_storage(self) -> InMemoryStorage:
            self.clock = Clock()
            return kind(clock=self.clock)

        def pass_time(self, seconds: float) -> None:
            self.clock.advance(seconds)

    contract, found = Contract(), set()
    for name, test in inspect.getmembers(contract, inspect.ismethod):
        if name.startswith("test_"):
            try:
                test()
            except SkipTest:
                found.add(name)
            finally:
                contract.teardown_method()
    return found


def test_a_storage_is_held_to_what_it_claims() -> None:
    """Tests of threads are skipped for a storage of one thread, and for one that only event loops can ask."""
    threads = {name for name in dir(StorageContract) if name.startswith("test_threads_")}
    assert len(threads) == 3
    both = "test_event_loops_get_what_sync_callers_get"
    assert skipped(InMemoryStorage) == {*threads, both}
    assert skipped(Threaded) == {both}
    assert skipped(Async) == threads
    assert skipped(AsyncAlone) == {*threads, both}


def test_what_an_event_loop_holds_is_closed_before_it_ends() -> None:
    """`leave_loop` is awaited on each event loop that used a storage, that of the sync tests among them."""
    left: list[asyncio.AbstractEventLoop] = []

    class Contract(StorageContract):
        def make_storage(self) -> AsyncAlone:
            return AsyncAlone()

        async def leave_loop(self, storage: StorageBackend) -> None:
            left.append(asyncio.get_running_loop())

    contract = Contract()
    contract.test_recalls_what_was_put()
    contract.teardown_method()
    contract.test_tasks_share_a_namespace()
    assert len(left) == 3
    assert all(loop.is_closed() for loop in left)


def test_the_contracts_entries_are_as_a_cache_makes_them() -> None:
    """Entries have a key for each prompt, partition and namespace, and the fields that are asked for."""
    contract = StorageContract()
    kinds = [contract.entry(), contract.entry("other"), contract.entry(namespace="m"), contract.entry(partition="q")]
    assert len({entry.key for entry in kinds}) == 4
    assert contract.entry().key == contract.entry(tokens=7).key
    assert (contract.entry(tokens=7).tokens, contract.entry(vector=None).vector) == (7, None)
