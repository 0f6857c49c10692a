"""Operations of a storage that may wait: a crowd of calls is no trouble with the storage."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

from recallm import CacheConfig, InMemoryStorage, semantic_cache
from recallm.concurrency.patience import turn_in
from recallm.engine.operations import STORAGE_WORKERS, TURNS

CROWD = 10
SECONDS = 0.06
CONFIG = CacheConfig(cache_timeout_seconds=0.5)
"""Less than the last of a crowd waits for its first turn, and more than an operation takes."""


class Narrow(InMemoryStorage):
    """A storage that lets one operation at a time go on, on an event loop."""

    blocking = True
    serves_async = True

    def __init__(self) -> None:
        super().__init__()
        self.turns = asyncio.Semaphore(1)

    async def aperform(self, operation: Any) -> Any:
        """Perform an operation in its turn."""
        async with turn_in(self.turns):
            await asyncio.sleep(SECONDS)
            return operation.on(self)


class Slow(InMemoryStorage):
    """A storage whose operations take a while."""

    blocking = True

    def recall(self, namespace: str, key: str) -> Any:
        """Take a while."""
        time.sleep(SECONDS)
        return super().recall(namespace, key)


def test_a_burst_of_new_prompts_on_an_event_loop_is_stored() -> None:
    """Calls that wait for each other for longer than their time limit are neither bypassed nor open the circuit."""

    @semantic_cache(context={}, storage=Narrow(), threshold="exact", config=CONFIG)
    async def answer(prompt: str) -> str:
        return prompt

    async def burst() -> list[str]:
        return list(await asyncio.gather(*(answer(f"prompt {number}") for number in range(CROWD))))

    assert asyncio.run(burst()) == [f"prompt {number}" for number in range(CROWD)]
    stats = answer.stats()
    assert (stats.misses, stats.stored, stats.bypasses, stats.errors) == (CROWD, CROWD, {}, {})
    assert CONFIG.cache_timeout_seconds < CROWD * SECONDS < TURNS * CONFIG.cache_timeout_seconds / 2


def test_a_burst_of_threads_is_stored() -> None:
    """The same for sync calls, of which more wait than there are workers."""
    rounds = int(CONFIG.cache_timeout_seconds / SECONDS) + 2
    crowd = rounds * STORAGE_WORKERS._size

    @semantic_cache(context={}, storage=Slow(), threshold="exact", config=CONFIG)
    def answer(prompt: str) -> str:
        return prompt

    callers = [threading.Thread(target=answer, args=(f"prompt {number}",)) for number in range(crowd)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    stats = answer.stats()
    assert (stats.misses, stats.stored, stats.bypasses, stats.errors) == (crowd, crowd, {}, {})
