"""Bursts of calls on a Redis server that has died, freezes or is fine: each ends in time, and leaves no turn taken."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from typing import Any

import pytest
from support.redis_servers import Server, running
from support.redis_storages import storage_on

from recallm import CacheConfig, semantic_cache
from recallm.concurrency.patience import PARTS
from recallm.engine.operations import TURNS
from recallm.storage.base import Recall
from recallm.storage.redis.storage import DISCONNECT_SECONDS, RedisStorage
from recallm.testing import FakeEmbedder

CROWD = 200
LIMIT = 0.3
CONFIG = CacheConfig(cache_timeout_seconds=LIMIT)

NOTICED = LIMIT + TURNS * LIMIT / PARTS
"""When those who wait have noticed at the latest that the circuit is open: the first operations take their time limit
to open it, and who waits looks after each part of the time for which it may."""

NEVER_LONGER = (TURNS + 3) * LIMIT
"""All turns of a call, and a time limit for each of its look-up, its search and its store."""


class Burst:
    """Many calls at the same moment, and how long each took.

    Args:
        storage: where they look.
        asynchronous: whether they are tasks or threads.
    """

    def __init__(self, storage: RedisStorage, *, asynchronous: bool) -> None:
        options: dict[str, Any] = {"context": {}, "embedder": FakeEmbedder(), "guards": (), "threshold": 0.95}
        options |= {"storage": storage, "config": CONFIG}
        self.asynchronous = asynchronous
        self.seconds: list[float] = []

        @semantic_cache(**options)
        async def aanswer(prompt: str) -> str:
            return f"answer to {prompt}"

        @semantic_cache(**options)
        def answer(prompt: str) -> str:
            return f"answer to {prompt}"

        self.answer: Any = aanswer if asynchronous else answer

    def call(self, prompts: list[str]) -> list[str]:
        """Return the answers to prompts that are all asked at once."""
        self.seconds = []
        if self.asynchronous:
            return asyncio.run(self._tasks(prompts))
        answers: dict[str, str] = {}

        def ask(prompt: str) -> None:
            began = time.perf_counter()
            answers[prompt] = self.answer(prompt)
            self.seconds.append(time.perf_counter() - began)

        threads = [threading.Thread(target=ask, args=(prompt,)) for prompt in prompts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [answers[prompt] for prompt in prompts]

    async def _tasks(self, prompts: list[str]) -> list[str]:
        async def ask(prompt: str) -> str:
            began = time.perf_counter()
            found: str = await self.answer(prompt)
            self.seconds.append(time.perf_counter() - began)
            return found

        return list(await asyncio.gather(*(ask(prompt) for prompt in prompts)))


@pytest.mark.redis
@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL], ids=["frozen", "dead"])
def test_a_burst_on_a_server_in_trouble_ends_in_time(asynchronous: bool, how: signal.Signals) -> None:
    """Two hundred calls are answered by their function before long, and later ones at once: the circuit is open."""
    with running("debian") as server:
        burst = Burst(storage_on(server), asynchronous=asynchronous)
        burst.call(["warm"])
        server.signal(how)
        try:
            prompts = [f"prompt {number}" for number in range(CROWD)]
            assert burst.call(prompts) == [f"answer to {prompt}" for prompt in prompts]
            assert max(burst.seconds) < NEVER_LONGER
            assert sorted(burst.seconds)[CROWD // 2] < 2 * NOTICED
            later: list[float] = []
            for number in range(3):
                burst.call([f"later {number}"])
                later += burst.seconds
            assert min(later) < LIMIT / 3
        finally:
            if how == signal.SIGSTOP:
                server.signal(signal.SIGCONT)


def test_cancelled_tasks_leave_no_turn_taken(redis_server: Server) -> None:
    """Of two hundred tasks that wait for a frozen server all are cancelled, and then each turn can be taken again."""
    storage = storage_on(redis_server)
    server = redis_server

    async def cancelled() -> list[Any]:
        await storage.aperform(Recall("n", "warm"))
        server.signal(signal.SIGSTOP)
        try:
            tasks = [asyncio.ensure_future(storage.aperform(Recall("n", f"key {at}"))) for at in range(CROWD)]
            await asyncio.sleep(0.05)
            for task in tasks[::-1]:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            server.signal(signal.SIGCONT)
        assert {type(each) for each in ended} == {asyncio.CancelledError}
        async with asyncio.timeout(DISCONNECT_SECONDS + 9.0):
            found = await asyncio.gather(*(storage.aperform(Recall("n", f"key {at}")) for at in range(CROWD)))
        await storage.aclose()
        return found

    assert len({recalled.epoch for recalled in asyncio.run(cancelled())}) == 1
