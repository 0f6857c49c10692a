"""Crowds of flows for the storage contract: operations of many callers at once, which check their results.

A flow knows neither threads nor event loops, so the same one asks a storage's methods and its `aperform`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from recallm.records import Candidate, Entry, Recalled, Stored
from recallm.storage.base import (
    Invalidate,
    Put,
    PutTagged,
    Recall,
    RecallAndSearch,
    Remove,
    RemoveTagged,
    Search,
    Sizes,
    StorageBackend,
    StorageOperation,
)
from recallm.testing.fakes import FakeEmbedder, fake_entry

if TYPE_CHECKING:
    from recallm.typing import Vector

Flow: TypeAlias = Generator[StorageOperation, Any, None]
"""Operations one after the other: each is sent its result, which the flow checks."""

INVALIDATIONS = 4
"""How often a namespace is emptied while others store in it: several times, since each meets them somewhere else."""


class Crowd(NamedTuple):
    """Flows that run at the same time, and one that checks the entries that they leave behind."""

    flows: Sequence[Flow]
    after: Flow


def apart(namespace: str, size: int) -> Crowd:
    """Return flows that perform every operation, each in a namespace of its own."""
    names = [f"{namespace} {number}" for number in range(size)]

    def nothing_is_left() -> Flow:
        assert (yield Sizes(names)) == {}, "entries are there after an invalidation"

    return Crowd([_every_operation(name) for name in names], nothing_is_left())


def _every_operation(namespace: str) -> Flow:
    partition = f"{namespace} p"
    first, second = (fake_entry(f"{word} {namespace}", namespace=namespace, partition=partition) for word in "ab")
    recalled = yield Recall(namespace, first.key)
    assert recalled.candidate is None, "a key is found that nobody has put"
    for entry in (first, second):
        assert (yield Put(entry, recalled.epoch, None)).kept, "an entry is refused, though nothing was removed"
    again = yield Recall(namespace, second.key)
    assert again.candidate is not None, "an entry that was put was lost"
    assert again.candidate.entry.prompt == second.prompt, "another entry than the key's is recalled"
    assert again.epoch == recalled.epoch, "an epoch has ended, though nothing was removed"
    found = yield Search(namespace, partition, _vector(first), 0.99, 16)
    assert _prompts(found) == [first.prompt], f"a search for an entry's own vector finds {_prompts(found)}"
    assert (yield Sizes([namespace])) == {namespace: 2}, "the entries of another namespace are counted"
    assert (yield Remove(namespace, [first.key, "absent"])) == 1, "an entry that was put is not removed"
    removed = yield Recall(namespace, first.key)
    assert removed.candidate is None, "an entry is there after its removal"
    assert removed.epoch != recalled.epoch, "a removal begins no new epoch"
    assert not (yield Put(first, recalled.epoch, None)).kept, "an entry is kept whose epoch a removal ended"
    assert (yield Invalidate(namespace)) == 1, "an invalidation does not count the one entry that there is"
    assert not (yield Put(first, removed.epoch, None)).kept, "an entry is kept whose epoch an invalidation ended"
    found = yield Search(namespace, partition, _vector(second), -1.0, None)
    assert _prompts(found) == [], "an entry is found after its invalidation"


def together(namespace: str, size: int) -> Crowd:
    """Return flows that each put two entries in one namespace and remove one of them."""
    entries = [
        [fake_entry(f"{word} {number}", namespace=namespace, partition=namespace) for word in ("stays", "goes")]
        for number in range(size)
    ]

    def put_both_and_remove_one(stays: Entry, goes: Entry) -> Flow:
        for entry in (stays, goes):
            yield from _put(entry, attempts=size + 1)  # each of the flows ends the epoch once
            found = yield Search(namespace, namespace, _vector(entry), 0.99, 16)
            assert entry.prompt in _prompts(found), "an entry that was put is not found"
        assert (yield Remove(namespace, [goes.key])) == 1, "an entry that was put was lost"
        assert (yield Recall(namespace, goes.key)).candidate is None, "an entry is there after its removal"

    def all_that_stay_are_left() -> Flow:
        for stays, goes in entries:
            assert (yield Recall(namespace, stays.key)).candidate is not None, "an entry was lost"
            assert (yield Recall(namespace, goes.key)).candidate is None, "an entry came back after its removal"
        found = yield Search(namespace, namespace, _vector(entries[0][0]), -1.0, None)
        assert sorted(_prompts(found)) == sorted(stays.prompt for stays, _ in entries), "a search does not find all"
        assert (yield Sizes([namespace])) == {namespace: size}, "an entry is not counted, or counted twice"

    return Crowd([put_both_and_remove_one(*pair) for pair in entries], all_that_stay_are_left())


def _put(entry: Entry, *, attempts: int) -> Flow:
    for _ in range(attempts):
        epoch = (yield Recall(entry.namespace, entry.key)).epoch
        if (yield Put(entry, epoch, None)).kept:
            return
    raise AssertionError(f"an entry is refused {attempts} times, though its epoch cannot have ended as often")


def while_invalidated(namespace: str, size: int) -> Crowd:
    """Return flows that put entries and look at all there are, and one that empties their namespace time and again."""
    epoch_of: dict[str, int] = {}
    kept: set[str] = set()
    ended: set[int] = set()
    vector = FakeEmbedder(dim=16).embed("any")

    def put_and_look(number: int) -> Flow:
        for step in range(INVALIDATIONS):
            entry = fake_entry(f"{number} {step}", namespace=namespace, partition=namespace)
            epoch_of[entry.prompt] = epoch = (yield Recall(namespace, entry.key)).epoch
            if (yield Put(entry, epoch, None)).kept:
                kept.add(entry.prompt)
            ended_by_now = frozenset(ended)
            own = (yield Recall(namespace, entry.key)).candidate
            found = yield Search(namespace, namespace, vector, -1.0, None)
            seen = _prompts(found if own is None else [own, *found])
            assert not ended_by_now & {epoch_of[prompt] for prompt in seen}, "an entry outlived an invalidation"

    def invalidate() -> Flow:
        for _ in range(INVALIDATIONS):
            epoch = (yield Recall(namespace, "absent")).epoch
            assert epoch not in ended, f"the epoch {epoch} begins a second time"
            yield Invalidate(namespace)
            ended.add(epoch)

    def all_of_the_last_epoch_are_left() -> Flow:
        epoch = (yield Recall(namespace, "absent")).epoch
        found = yield Search(namespace, namespace, vector, -1.0, None)
        expected = sorted(prompt for prompt in kept if epoch_of[prompt] == epoch)
        assert sorted(_prompts(found)) == expected, "entries were lost, or outlived an invalidation"

    flows = [invalidate(), *(put_and_look(number) for number in range(1, size))]
    return Crowd(flows, all_of_the_last_epoch_are_left())


def run(storage: StorageBackend, flow: Flow) -> None:
    """Perform a flow by a storage's methods."""
    result: object = None
    while (operation := _next(flow, result)) is not None:
        result = operation.on(storage)


async def arun(perform: Callable[[StorageOperation], Awaitable[Any]], flow: Flow) -> None:
    """Perform a flow by awaiting each of its operations."""
    result: object = None
    while (operation := _next(flow, result)) is not None:
        result = await perform(operation)


def _next(flow: Flow, result: object) -> StorageOperation | None:
    try:
        return flow.send(result)
    except StopIteration:
        return None


class AwaitedStorage(StorageBackend):
    """A storage for async callers, asked by sync ones on an event loop of its own.

    Args:
        storage: performs the operations, by `aperform`.
        leave: closes the storage's connections of the running event loop.
    """

    def __init__(self, storage: StorageBackend, leave: Callable[[StorageBackend], Coroutine[Any, Any, None]]) -> None:
        self._storage = storage
        self._leave = leave
        self._runner = asyncio.Runner()

    def close(self) -> None:
        """End the event loop."""
        self._runner.run(self._leave(self._storage))
        self._runner.close()

    def _perform(self, operation: StorageOperation) -> Any:
        return self._runner.run(self._storage.aperform(operation))

    def recall(self, namespace: str, key: str) -> Recalled:
        """Await a `Recall`."""
        recalled: Recalled = self._perform(Recall(namespace, key))
        return recalled

    def recall_and_search(self, namespace: str, key: str, search: Search) -> Recalled:
        """Await a `RecallAndSearch`, or a `Recall` if the storage knows no better."""
        if not self._storage.recalls_and_searches:
            return self.recall(namespace, key)
        recalled: Recalled = self._perform(RecallAndSearch(namespace, key, search))
        return recalled

    def search(
        self, namespace: str, partition: str, vector: Vector, threshold: float, limit: int | None
    ) -> Sequence[Candidate]:
        """Await a `Search`."""
        found: Sequence[Candidate] = self._perform(Search(namespace, partition, vector, threshold, limit))
        return found

    def put(self, entry: Entry, epoch: int, ttl: float | None) -> Stored:
        """Await a `Put`."""
        stored: Stored = self._perform(Put(entry, epoch, ttl))
        return stored

    @property
    def keeps_tags(self) -> bool:  # type: ignore[override]  # that of the storage
        """Whether the storage keeps tags."""
        return self._storage.keeps_tags

    def put_tagged(self, entry: Entry, epoch: int, ttl: float | None, began: float) -> Stored:
        """Perform `PutTagged`."""
        stored: Stored = self._perform(PutTagged(entry, epoch, ttl, began))
        return stored

    def remove_tagged(self, tag: str) -> int:
        """Perform `RemoveTagged`."""
        removed: int = self._perform(RemoveTagged(tag))
        return removed

    def remove(self, namespace: str, keys: Sequence[str]) -> int:
        """Await a `Remove`."""
        removed: int = self._perform(Remove(namespace, keys))
        return removed

    def invalidate(self, namespace: str) -> int:
        """Await an `Invalidate`."""
        removed: int = self._perform(Invalidate(namespace))
        return removed

    def sizes(self, namespaces: Iterable[str]) -> Mapping[str, int]:
        """Await a `Sizes`."""
        sizes: Mapping[str, int] = self._perform(Sizes(tuple(namespaces)))
        return sizes

    def namespaces(self) -> Iterable[str]:
        """Ask the storage itself: there is no operation of this."""
        return self._storage.namespaces()

    def entries(self, namespace: str) -> Iterator[Candidate]:
        """Ask the storage itself: there is no operation of this."""
        return self._storage.entries(namespace)


def _prompts(found: Iterable[Candidate]) -> list[str]:
    return [candidate.entry.prompt for candidate in found]


def _vector(entry: Entry) -> Vector:
    assert entry.vector is not None
    return entry.vector
