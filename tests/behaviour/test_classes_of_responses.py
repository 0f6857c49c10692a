"""Answers whose classes come, go and are defined anew, through the decorator; and large ones on an event loop."""

from __future__ import annotations

import asyncio
import time
import warnings
from dataclasses import make_dataclass
from types import ModuleType
from typing import Any

import pytest

from recallm import CacheConfig, CachedFunction, InMemoryStorage, RecallmWarning, SemanticCache
from recallm.records import Candidate, Entry, Recalled
from recallm.testing import FakeEmbedder


def defined(module: ModuleType, *names: str) -> Any:
    """Define a dataclass in a module, and return it."""
    cls: Any = make_dataclass("Answer", names or ["text"])
    cls.__module__ = module.__name__
    vars(module)["Answer"] = cls
    return cls


def asking(storage: InMemoryStorage, answers: list[Any], **options: Any) -> CachedFunction[..., Any]:
    """Return a cached function that answers in turn, as each process has one."""
    cache = SemanticCache(storage=storage, config=CacheConfig(threshold="exact"), embedder=FakeEmbedder())
    return cache.wrap(lambda question: answers.pop(0), context={}, version="1", namespace="n", **options)


def test_an_answer_of_an_unknown_class_stays_for_those_who_know_it(shop: ModuleType) -> None:
    """Who does not know the class calls, is told once, counts no error, and leaves the answer where it is."""
    answer, storage = defined(shop), InMemoryStorage()
    knowing, unknowing = asking(storage, [answer("a")]), asking(storage, ["x", "y", "z"])
    knowing("q")
    del vars(shop)["Answer"]
    with pytest.warns(
        RecallmWarning, match=r"stored as a shop\.Answer, .*response_type=Answer, or import shop"
    ) as told:
        assert [unknowing("q"), unknowing("q")] == ["x", "y"]
    assert len(told) == 1
    stats = unknowing.stats()
    assert (stats.misses, dict(stats.errors), stats.stored) == (2, {}, 0)
    assert unknowing.explain("q").reason == "unknown_type"
    assert unknowing.explain("q").detail == "shop.Answer"
    vars(shop)["Answer"] = answer
    assert unknowing("q") == knowing("q") == answer("a")


def test_an_answer_is_found_once_its_module_is_imported(shop: ModuleType) -> None:
    """A function that imports the class itself hits from its second call on."""
    answer, storage = defined(shop), InMemoryStorage()
    asking(storage, [answer("a")])("q")
    del vars(shop)["Answer"]

    def imports(question: str) -> Any:
        vars(shop)["Answer"] = answer
        return answer("b")

    cache = SemanticCache(storage=storage, config=CacheConfig(threshold="exact"), embedder=FakeEmbedder())
    fresh = cache.wrap(imports, context={}, version="1", namespace="n")
    with pytest.warns(RecallmWarning, match="does not know"):
        fresh("q")
    assert type(fresh("q")) is answer
    assert fresh.stats().hits == 1


def test_a_hit_is_of_the_class_that_is_defined_now(shop: ModuleType) -> None:
    """A notebook that runs a cell again gets answers of the new class, and of none that no longer fits."""
    old, storage = defined(shop), InMemoryStorage()
    ask = asking(storage, [old("a"), old("late"), "other"], response_type=old)
    ask("q")
    new = defined(shop)
    assert type(ask("q")) is new
    with pytest.warns(
        RecallmWarning, match=r"answer \(shop\.Answer, whose place in its module another class has taken"
    ):
        ask("made before the cell was run again")
    defined(shop, "text", "sources")
    assert ask("q") == "other"


def test_a_closed_list_keeps_other_classes_out(shop: ModuleType) -> None:
    """Classes beside the list are neither stored nor made."""
    answer, storage = defined(shop), InMemoryStorage()
    asking(storage, [answer("a")])("q")
    closed = asking(storage, [answer("b"), answer("c")], response_types=[int])
    with pytest.warns(RecallmWarning) as told:
        assert [closed("q"), closed("q")] == [answer("b"), answer("c")]
    assert "response_types=" in " ".join(str(each.message) for each in told)
    listed = asking(storage, [], response_types=(answer,))
    assert listed("q") == answer("a")


class Poisoned(InMemoryStorage):
    """A storage in which somebody else has put one payload everywhere."""

    def __init__(self, payload: bytes) -> None:
        super().__init__()
        self.payload = payload

    def recall(self, namespace: str, key: str) -> Recalled:
        """Return the payload under whatever key."""
        entry = super().recall(namespace, key).candidate
        if entry is None:
            return super().recall(namespace, key)
        changed: Entry = entry.entry._replace(payload=self.payload)
        return Recalled(Candidate(changed, 1.0, 1.0), 0)


@pytest.mark.parametrize(
    "payload",
    [
        b'\x01t{"$q":[{"$i":"' + b"f" * 400_000 + b'"},{"$i":"' + b"e" * 400_000 + b'"}]}',
        b"\x01t[" + b'{"$t":[]},' * 100_000 + b'{"$l":[0,0,0]}]',
    ],
    ids=["heavy", "large"],
)
def test_an_event_loop_does_not_stand_still_for_a_payload(payload: bytes) -> None:
    """A heavy payload is refused, and a large one is decoded elsewhere, while other tasks go on."""
    cache = SemanticCache(storage=Poisoned(payload), config=CacheConfig(threshold="exact"), embedder=FakeEmbedder())

    async def answer(question: str) -> str:
        return "fresh"

    ask = cache.wrap(answer, context={})

    async def longest_gap() -> float:
        await ask("q")
        gaps, last = [0.0], time.perf_counter()

        async def beat() -> None:
            nonlocal last
            while True:
                await asyncio.sleep(0.005)
                gaps.append(time.perf_counter() - last)
                last = time.perf_counter()

        beating = asyncio.create_task(beat())
        await asyncio.sleep(0.02)
        await ask("q")
        await asyncio.sleep(0.02)
        beating.cancel()
        return max(gaps)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert asyncio.run(longest_gap()) < 0.5
