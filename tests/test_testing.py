"""The contract refuses storages that break it, and the fakes behave as they say."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from recallm import InMemoryStorage
from recallm.testing import Clock, FakeEmbedder, StorageContract


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


def test_the_fake_embedder_sees_words_and_not_their_order() -> None:
    """The same in every process; given vectors come first, as unit vectors; what it embeds is noted."""
    embedder = FakeEmbedder(dim=8, vectors={"given": [3.0, 4.0]})
    assert np.array_equal(embedder.embed("a b"), FakeEmbedder(dim=8).embed("B a"))
    assert float(embedder.embed("a b") @ embedder.embed("a c")) < 0.99
    assert embedder.embed("given").tolist() == pytest.approx([0.6, 0.8])
    assert embedder.embedded == ["a b", "a b", "a c", "given"]
