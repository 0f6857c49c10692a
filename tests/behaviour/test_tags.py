"""`tags` and `invalidate_tag`: an answer goes with what it rests on, wherever it is kept."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from support.redis_servers import Server
from support.redis_storages import storage_on

import recallm
from recallm import InMemoryStorage, StorageBackend, ThreadSafeInMemoryStorage, semantic_cache
from recallm.errors import InvalidTypeError, InvalidValueError
from recallm.testing import FakeEmbedder
from recallm.testing.fakes import fake_entry


def cached(function: Any, **options: Any) -> Any:
    """Cache a function in a storage of its own."""
    known = {"context": {}, "embedder": FakeEmbedder(), "guards": (), "storage": ThreadSafeInMemoryStorage()}
    return semantic_cache(**{**known, **options})(function)


def of_document(kw: Any, response: Any) -> list[str]:
    """Name the document that an answer rests on."""
    return [f"doc:{kw['doc']}"]


def test_removes_what_rests_on_a_document() -> None:
    """All answers about a document go, of all functions and namespaces, and no others."""

    def answer(question: str, *, doc: int) -> str:
        return f"{question} {doc}"

    def summary(prompt: str, *, doc: int) -> str:
        return f"{prompt} {doc}"

    storage = ThreadSafeInMemoryStorage()
    ask, summarise = (cached(each, tags=of_document, storage=storage) for each in (answer, summary))
    for doc in (1, 2):
        ask("who", doc=doc)
        summarise("all", doc=doc)
    assert recallm.invalidate_tag("doc:1") == 2
    assert [ask.explain("who", doc=doc).outcome for doc in (1, 2)] == ["miss", "hit"]
    assert [summarise.explain("all", doc=doc).outcome for doc in (1, 2)] == ["miss", "hit"]
    assert ask.cache.invalidate_tag("doc:2") == 2
    assert asyncio.run(recallm.ainvalidate_tag("doc:2")) == 0


def test_tags_come_from_the_response_too() -> None:
    """The callable sees the arguments and the response; a str is one tag, and a fixed collection serves all."""

    def answer(question: str) -> dict[str, Any]:
        return {"text": question, "sources": ["a", "b"]}

    ask = cached(answer, tags=lambda kw, response: response["sources"])
    ask("who")
    assert recallm.invalidate_tag("b") == 1
    same = cached(answer, tags="always")
    same("who")
    assert recallm.invalidate_tag("always") == 1


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_answer_computed_before_the_removal_is_not_stored(asynchronous: bool) -> None:
    """What was read before a document changed is returned to its caller, and never to another."""
    answers = iter(["old", "new"])

    def answer(question: str, *, doc: int) -> str:
        text = next(answers)
        if text == "old":
            recallm.invalidate_tag("doc:7")
        return text

    async def later(question: str, *, doc: int) -> str:
        return answer(question, doc=doc)

    ask = cached(later if asynchronous else answer, tags=of_document)
    given = [asyncio.run(ask("who", doc=7)) if asynchronous else ask("who", doc=7) for _ in range(3)]
    assert given == ["old", "new", "new"]
    assert ask.stats().stored == 1


@pytest.mark.parametrize("bad", [lambda kw, response: 1 / 0, lambda kw, response: [""], lambda kw, response: 3])
def test_an_answer_whose_tags_cannot_be_had_is_not_stored(bad: Any) -> None:
    """It is returned, and the trouble is counted: nobody could remove it later."""
    ask = cached(lambda question: question, tags=bad)
    assert [ask("who"), ask("who")] == ["who", "who"]
    assert ask.stats().stored == 0
    assert ask.stats().errors == {"tags": 2}


@pytest.mark.parametrize("bad", [3, {"doc": 1}, b"doc", [1], [""], [str(number) for number in range(101)]])
def test_other_tags_are_refused_at_decoration(bad: Any) -> None:
    """What can be no tags raises where it is written."""
    with pytest.raises((InvalidTypeError, InvalidValueError), match="tags"):
        cached(lambda question: question, tags=bad)


def test_async_tags_are_refused() -> None:
    """Nothing would await them."""

    async def tags(kw: Any, response: Any) -> list[str]:
        return []

    with pytest.raises(InvalidTypeError, match="async"):
        cached(lambda question: question, tags=tags)


def test_a_storage_without_tags_is_refused() -> None:
    """Answers whose tags get lost could not be removed by them."""

    class Plain(InMemoryStorage):
        keeps_tags = False

    with pytest.raises(InvalidTypeError, match="keeps no tags"):
        cached(lambda question: question, tags="a", storage=Plain())


def test_nothing_older_than_a_removal_is_there_after_it() -> None:
    """While threads store, no entry is found after a removal by its tag whose call had begun before it."""
    remove_while_others_store([ThreadSafeInMemoryStorage()] * 3)


def test_nothing_older_than_a_removal_is_there_after_it_on_redis(redis_server: Server) -> None:
    """The same holds for workers that share a server, on every kind of it."""
    redis_server.empty()
    remove_while_others_store([storage_on(redis_server) for _ in range(3)])


def remove_while_others_store(storages: list[StorageBackend]) -> None:
    """Store entries of one tag in many namespaces, remove them by it again and again, and look at what is left."""
    first, *workers = storages
    began: dict[str, float] = {}
    removals: list[float] = []
    end = time.monotonic() + 1.0

    def store(storage: StorageBackend, name: str) -> None:
        number = 0
        while time.monotonic() < end:
            number += 1
            namespace = f"{name} {number % 7} {number // 50}"
            entry = fake_entry(f"{name} {number}", namespace=namespace, vector=None, tags=("a", name))
            epoch, began[entry.key] = storage.recall(namespace, entry.key).epoch, time.perf_counter()
            time.sleep(number % 5 / 2500)
            storage.put_tagged(entry, epoch, 60.0 if number % 2 else None, began[entry.key])
            names[entry.key] = namespace

    names: dict[str, str] = {}
    threads = [threading.Thread(target=store, args=(each, f"w{place}")) for place, each in enumerate(workers)]
    for thread in threads:
        thread.start()
    removed = 0
    while time.monotonic() < end:
        removals.append(time.perf_counter())
        removed += first.remove_tagged("a")
        time.sleep(0.02)
    for thread in threads:
        thread.join()
    there = [key for key, namespace in list(names.items()) if first.recall(namespace, key).candidate is not None]
    assert removed > 0
    assert [key for key in there if began[key] < removals[-1]] == []
    first.remove_tagged("a")
    assert [key for key, namespace in names.items() if first.recall(namespace, key).candidate is not None] == []
