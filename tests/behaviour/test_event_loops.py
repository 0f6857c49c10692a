"""Async functions under asyncio, trio, anyio or no loop at all: cached where it can be, told once where it cannot."""

from __future__ import annotations

import asyncio
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import anyio
import pytest
import trio

from recallm import InMemoryStorage, RecallmWarning, registry, semantic_cache
from recallm.testing import FakeEmbedder


class Disk(InMemoryStorage):
    """A storage that may wait."""

    blocking = True


class OnAsyncio(Disk):
    """A storage that awaits what only asyncio runs."""

    serves_async = True

    async def aperform(self, operation: Any) -> Any:
        """Perform an operation on asyncio's loop."""
        await asyncio.sleep(0)
        return operation.on(self)


LOOPS: dict[str, Callable[[Callable[[], Any]], Any]] = {
    "asyncio": lambda main: asyncio.run(main()),
    "trio": trio.run,
    "anyio on asyncio": lambda main: anyio.run(main, backend="asyncio"),
    "anyio on trio": lambda main: anyio.run(main, backend="trio"),
}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("storage", [InMemoryStorage, Disk, OnAsyncio])
def test_async_functions_are_cached_on_every_loop(loop: str, storage: Callable[[], Any]) -> None:
    """Embeddings, storages and verifiers are waited for on any of the usual loops, and no part is taken for ill."""
    embedder = FakeEmbedder()

    async def verify(*_: object) -> bool:
        await anyio.sleep(0)
        return True

    stored = storage()

    @semantic_cache(context={}, storage=stored, embedder=embedder, guards=(), verify=verify)
    async def ask(prompt: str) -> str:
        await anyio.sleep(0)
        return f"about {prompt}"

    async def main() -> list[str]:
        return [await ask("one two"), await ask("one two"), await ask("two one")]

    assert LOOPS[loop](main) == ["about one two"] * 3
    stats = ask.stats()
    assert (stats.exact_hits, stats.semantic_hits, stats.misses) == (1, 1, 1)
    assert (stats.errors, stats.bypasses, stats.circuits) == ({}, {}, {})
    assert registry.breaker_of(stored).state == "closed"


@pytest.mark.parametrize("loop", LOOPS)
def test_concurrent_tasks_share_an_answer_on_every_loop(loop: str) -> None:
    """Tasks that want the same answer at the same time wait for one of them to compute it."""
    calls: list[str] = []

    @semantic_cache(context={}, storage=InMemoryStorage(), embedder=FakeEmbedder(), guards=(), ignore=("calls",))
    async def ask(prompt: str) -> str:
        calls.append(prompt)
        await anyio.sleep(0.02)
        return "an answer"

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(ask, "q")

    LOOPS[loop](main)
    assert calls == ["q"]
    assert ask.stats().coalesced == 4


def test_a_cancelled_scope_of_trio_ends_the_call() -> None:
    """A cancellation of trio's reaches a call that waits, which is counted as cancelled."""
    called: list[str] = []

    class Slow(FakeEmbedder):
        def embed(self, text: str) -> Any:
            time.sleep(0.3)
            return super().embed(text)

    @semantic_cache(context={}, storage=InMemoryStorage(), embedder=Slow(), guards=(), ignore=("called",))
    async def ask(prompt: str) -> str:
        called.append(prompt)
        return "an answer"

    async def main() -> bool:
        await ask.awarmup()
        with trio.move_on_after(0.05) as scope:
            await ask("q")
        return scope.cancelled_caught

    assert trio.run(main)
    assert called == []
    assert ask.stats().bypasses == {"cancelled": 1}


def test_a_trio_that_is_barred_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that has barred the import of trio is on no loop of trio's."""
    monkeypatch.setitem(sys.modules, "trio", None)

    @semantic_cache(context={}, storage=InMemoryStorage(), embedder=FakeEmbedder(), guards=())
    def ask(prompt: str) -> str:
        return "an answer"

    assert [ask("one two"), ask("two one")] == ["an answer"] * 2
    assert ask.stats().errors == {}


def test_without_a_loop_the_function_is_called_and_its_author_told() -> None:
    """A coroutine that no known loop drives is not cached; a warning says so, once, and no part is taken for ill."""
    embedder = FakeEmbedder()

    @semantic_cache(context={}, storage=InMemoryStorage(), embedder=embedder, guards=())
    async def ask(prompt: str) -> str:
        return f"about {prompt}"

    def by_hand(prompt: str) -> str:
        call: Any = ask(prompt)
        with pytest.raises(StopIteration) as ended:
            call.send(None)
        return str(ended.value.value)

    with pytest.warns(RecallmWarning, match="neither asyncio nor trio.*await it under asyncio or trio"):
        assert by_hand("one") == "about one"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert by_hand("two") == "about two"
    stats = ask.stats()
    assert (stats.bypasses, stats.errors, stats.circuits) == ({"event_loop": 2}, {}, {})
