"""The contract of storages passes a sound one, and fails each that breaks it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from recallm import InMemoryStorage
from recallm.records import Candidate
from recallm.testing import Clock, StorageContract


def broken(operation: str, replacement: Callable[..., Any]) -> type[InMemoryStorage]:
    """Return a storage of which one operation does something else."""
    return type("Broken", (InMemoryStorage,), {operation: replacement})


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
    "finds nothing odd about a vector": broken(
        "search", lambda self, *args: Memory.search(self, *args) if args[2].size == 16 else []
    ),
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
            except Exception:  # noqa: BLE001  # whatever it raises, the test has failed
                failed.append(name)
    return failed


@pytest.mark.parametrize("breach", BREACHES)
def test_a_storage_that_breaks_the_contract_fails_it(breach: str) -> None:
    """In one test at least."""
    assert breaches(BREACHES[breach])


def test_a_sound_storage_passes() -> None:
    """Else the test above would prove nothing."""
    assert breaches(InMemoryStorage) == []


def test_the_contract_waits_for_real_where_time_cannot_be_moved() -> None:
    """A storage on a server has a clock of its own."""
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
        ("finds nothing odd about a vector", "test_refuses_vectors_of_another_dimension"),
    ],
)
def test_the_failing_test_names_the_breach(breach: str, test: str) -> None:
    """Whoever wrote the storage reads there what it does wrong; the claim is an assertion's."""
    assert test in breaches(BREACHES[breach])
    with pytest.raises(AssertionError):
        getattr(contract_of(BREACHES[breach]), test)()


def test_the_contracts_entries_are_as_a_cache_makes_them() -> None:
    """A key for each prompt, partition and namespace; what is asked for is as asked."""
    contract = StorageContract()
    kinds = [contract.entry(), contract.entry("other"), contract.entry(namespace="m"), contract.entry(partition="q")]
    assert len({entry.key for entry in kinds}) == 4
    assert contract.entry().key == contract.entry(tokens=7).key
    assert (contract.entry(tokens=7).tokens, contract.entry(vector=None).vector) == (7, None)
