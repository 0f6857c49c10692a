"""The storage that keeps nothing."""

from __future__ import annotations

import pytest

import recallm
from recallm import InMemoryStorage, NullStorage, get_storage, semantic_cache
from recallm.errors import InvalidValueError
from recallm.storage.base import Invalidate, Remove, Search
from recallm.testing import FakeEmbedder, StorageContract
from recallm.testing.fakes import fake_entry


class TestNullStorage(StorageContract):
    """What of the contract takes no entry that is kept."""

    def make_storage(self) -> NullStorage:
        """Return one."""
        return NullStorage()


KEEPING_NOTHING = {"test_recalls_nothing_unknown", "test_shares_no_epoch_with_another_storage"}
for name in dir(StorageContract):
    if name.startswith("test_") and name not in KEEPING_NOTHING:
        setattr(TestNullStorage, name, None)


def test_it_keeps_nothing() -> None:
    """Whatever is put is neither recalled nor found nor counted nor removed."""
    storage, entry = NullStorage(), fake_entry()
    assert entry.vector is not None
    epoch = storage.recall("n", entry.key).epoch
    assert not storage.put(entry, epoch, None).kept
    assert not storage.put_tagged(entry._replace(tags=("t",)), epoch, None, 0.0).kept
    assert storage.remove_tagged("t") == 0
    assert ([*storage.namespaces()], [*storage.entries("n")]) == ([], [])
    recalled = storage.recall("n", entry.key)
    assert (recalled.candidate, recalled.epoch, recalled.similar) == (None, epoch, None)
    search = Search("n", "p", entry.vector, -1.0, None)
    assert list(search.on(storage)) == []
    assert storage.recall_and_search("n", entry.key, search).candidate is None
    assert (storage.sizes(["n"]), storage.remove("n", [entry.key]), storage.invalidate("n")) == ({}, 0, 0)


def test_a_removal_ends_the_epoch() -> None:
    """A storage that takes its place meanwhile does not take an answer for one of its own epoch."""
    storage = NullStorage()
    epochs = [storage.recall("n", "k").epoch]
    operations = Remove("n", ["k"]), Invalidate("n")
    for operation in operations:
        assert operation.on(storage) == 0
        epochs.append(storage.recall("n", "k").epoch)
    assert len(set(epochs)) == 3


def test_a_function_on_it_is_called_each_time_and_counted() -> None:
    """Calls are misses; nothing is stored, and nobody is told of trouble."""

    @semantic_cache(context={}, storage="null://", embedder=FakeEmbedder(), version="1")
    def answer(question: str) -> str:
        return question

    assert [answer("q"), answer("q")] == ["q", "q"]
    stats = answer.stats()
    assert (stats.misses, stats.hits, stats.stored, stats.errors, stats.bypasses) == (2, 0, 0, {}, {})
    assert (answer.invalidate("q"), answer.clear(), answer.explain("q").reason) == (0, 0, "empty")


def test_its_url_makes_one() -> None:
    """Equal URLs are one storage, and the URL takes nothing."""
    assert isinstance(get_storage("null://"), NullStorage)
    assert get_storage("null://") is get_storage("null://")
    for url in ("null://host", "null://?max_entries=1"):
        with pytest.raises(InvalidValueError, match="null:// takes nothing"):
            get_storage(url)


def test_it_may_take_the_default_place() -> None:
    """A test suite may have everything decorated keep nothing, and undo it."""
    recallm.register_storage("default", NullStorage, replace=True)
    assert isinstance(get_storage(), NullStorage)
    recallm.unregister_storage("default")
    assert isinstance(get_storage(), InMemoryStorage)


def test_it_shows_its_name_only() -> None:
    """A REPL shows what it is, and no address."""
    assert repr(NullStorage()) == "<NullStorage>"
