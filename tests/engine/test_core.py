"""What the calls of one cache share: the namespaces it has used, and the circuits of its parts."""

from __future__ import annotations

from sys import getsizeof
from typing import Any

import pytest
from support.interrupting import each_point

from recallm import CacheConfig, InMemoryStorage, StorageBackend, registry
from recallm.embedders.managed import ManagedEmbedder
from recallm.engine import core
from recallm.engine.core import Core
from recallm.records import Audited
from recallm.telemetry.recorder import Recorder
from recallm.testing import FakeEmbedder
from recallm.testing.fakes import fake_entry


def core_of(storage: StorageBackend | None) -> Core:
    """Return the core of a cache that uses a storage, or one that is yet to be made."""
    opening = registry._new_breaker()
    return Core(
        name="n",
        config=CacheConfig(),
        find_storage=lambda: storage or InMemoryStorage(),
        find_breaker=registry.breaker_of,
        find_embedder=lambda: ManagedEmbedder(FakeEmbedder()),
        recorder=Recorder("n", metrics=lambda: None),
        existing_storage=lambda: storage,
        find_opening=lambda: opening,
    )


def put(storage: InMemoryStorage, namespace: str) -> None:
    """Store an entry in a namespace."""
    entry = fake_entry("q", namespace=namespace)
    assert storage.put(entry, storage.recall(namespace, "").epoch, None).kept


def bytes_of(names: tuple[str, ...]) -> int:
    """Return what it takes to remember some names."""
    return sum(getsizeof(name) + core.ENTRY_BYTES for name in names)


@pytest.fixture
def bounded(monkeypatch: pytest.MonkeyPatch) -> int:
    """Have little memory for names, and return for how many of the form ``user 00`` it is."""
    monkeypatch.setattr(core, "MAX_NAMESPACE_BYTES", 32 * bytes_of(("user 00",)))
    return 32


def test_namespaces_are_remembered_in_their_order_once_each() -> None:
    """Each namespace is remembered once, at its first use."""
    made = core_of(InMemoryStorage())
    for name in "abcbd":
        made.remember_namespace(name)
    assert made.namespaces == made.namespaces_to_clear() == ("a", "b", "c", "d")


def test_namespaces_that_hold_nothing_are_forgotten_first(bounded: int) -> None:
    """Beyond the memory for names, those that hold no entries make room, and clearing reaches all others."""
    storage = InMemoryStorage()
    made = core_of(storage)
    holding = [f"user {number:02}" for number in range(0, 30, 10)]
    for name in holding:
        put(storage, name)
    for number in range(bounded + 3):
        made.remember_namespace(f"user {number:02}")
    assert bytes_of(made.namespaces) <= core.MAX_NAMESPACE_BYTES
    assert set(holding) <= set(made.namespaces)
    assert f"user {bounded + 2}" in made.namespaces
    assert "user 01" not in made.namespaces
    assert not made._has_forgotten


def test_what_is_computed_for_a_forgotten_namespace_is_not_kept(bounded: int) -> None:
    """An answer that is being computed while its namespace is forgotten does not end up where clearing cannot reach."""
    storage = InMemoryStorage()
    made = core_of(storage)
    epoch = storage.recall("user 00", "").epoch
    for number in range(bounded + 1):
        made.remember_namespace(f"user {number:02}")
    assert "user 00" not in made.namespaces
    assert not storage.put(fake_entry("q", namespace="user 00"), epoch, None).kept


class Waiting(InMemoryStorage):
    """A storage that must not be asked in the middle of remembering a name."""

    blocking = True

    def sizes(self, namespaces: Any) -> Any:
        """Fail."""
        raise AssertionError("a call would wait")


class Broken(InMemoryStorage):
    """A storage that cannot say what it holds."""

    def sizes(self, namespaces: Any) -> Any:
        """Fail."""
        raise ConnectionError


@pytest.mark.parametrize("storage", [Waiting(), Broken(), None], ids=["blocking", "broken", "not made"])
def test_without_a_storage_to_ask_the_oldest_are_forgotten(
    storage: InMemoryStorage | None, bounded: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The oldest namespaces make room, and clearing says that it may not reach them."""
    made = core_of(storage)
    for number in range(3 * bounded):
        made.remember_namespace(f"user {number:02}")
    assert bytes_of(made.namespaces) <= core.MAX_NAMESPACE_BYTES
    assert made.namespaces[-1] == f"user {3 * bounded - 1}"
    caplog.clear()
    made.namespaces_to_clear()
    made.namespaces_to_clear()
    assert ["cannot clear those that it has forgotten" in message for message in caplog.messages] == [True]


def test_a_name_is_remembered_though_anything_happens_meanwhile(bounded: int) -> None:
    """At any point, another name may be remembered, or an exception may end it: the memory stays bounded."""
    storage = InMemoryStorage()

    class Remembering:
        def __init__(self) -> None:
            self.core = core_of(storage)
            for number in range(bounded):
                self.core.remember_namespace(f"user {number:02}")

        def __call__(self) -> None:
            self.core.remember_namespace("one more")

    def remember_another(remembering: Remembering) -> None:
        remembering.core.remember_namespace("another")

    for _, remembering in each_point(Remembering, ("engine/core.py",), remember_another):
        assert {"one more", "another"} <= set(remembering.core.namespaces)
    for _, remembering in each_point(Remembering, ("engine/core.py",)):
        remembering.core.remember_namespace("user 00")
        remembering.core.remember_namespace("the last")
        remembering.core.remember_namespace("the very last")
        assert bytes_of(remembering.core.namespaces) <= core.MAX_NAMESPACE_BYTES


def test_the_circuit_of_what_makes_the_storage_is_the_storage_s() -> None:
    """While the storage is yet to be made, its state is that of what makes it; nothing makes it for the statistics."""
    made = core_of(None)
    assert made.circuits == {}
    for _ in range(3):
        made.opening.record(ConnectionError())
    assert made.circuits == {"storage": "open"}


class Closing:
    """A cache whose audits prove too many wrong answers."""

    def __init__(self) -> None:
        self.core = core_of(None)
        for _ in range(9):
            self.core.recorder.record(Audited(0.9, same=False), 0.0)

    def __call__(self) -> None:
        """Stop similar hits."""
        self.core.stop_if_over(0.1)


def test_statistics_that_begin_anew_leave_nothing_stopped() -> None:
    """A comparison that ends while the statistics are reset does not stop the cache after that."""
    closing = Closing()
    closing()
    assert closing.core.similar_stopped
    for _, reset in each_point(Closing, ("engine/core.py", "telemetry"), lambda closing: closing.core.reset_stats()):
        assert not reset.core.similar_stopped
