"""What a burst of new prompts meets on one RedisStorage behind a network: bypasses, stalls of the loop, connections.

    python tests/benchmarks/redis_crowd.py                                # 200 tasks, then 200 threads, 3 ms
    python tests/benchmarks/redis_crowd.py --crowd 500 --delay 10 --kinds vectorset

All ask at the same moment, twice: first for prompts that nobody has asked, so that each call looks up, calls its
function (``--answer`` ms) and stores; then for the same ones, which are there. On a busy machine the loop is also held
by other processes: its thread's own processor time tells how long by us. The network is a proxy in another process.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

# On few processors numpy's threads take them from the servers that are measured.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.delay_proxy import DelayProxy
from support.redis_servers import COMMANDS, LAYOUTS, Server, running

from recallm import semantic_cache
from recallm.storage.redis.storage import RedisStorage

if TYPE_CHECKING:
    from recallm.typing import Vector

ANSWER = "an answer of a few sentences. " * 16


class Random:
    """An embedder that takes no time, and finds no two prompts alike."""

    model_id = "random"
    threads = 8

    def embed(self, text: str) -> Vector:
        """Return the vector of a prompt."""
        row = np.random.default_rng(crc32(text.encode())).standard_normal(384)
        unit: Vector = (row / np.linalg.norm(row)).astype(np.float32)
        return unit


class Stall:
    """How long the running event loop was held at a stretch, and how long of that by its own thread."""

    def __init__(self) -> None:
        self.longest = self.busiest = 0.0
        self._task = asyncio.ensure_future(self._watch())

    async def _watch(self) -> None:
        while True:
            began, began_busy = time.perf_counter(), time.thread_time()
            await asyncio.sleep(0)
            self.longest = max(self.longest, time.perf_counter() - began)
            self.busiest = max(self.busiest, time.thread_time() - began_busy)
            await asyncio.sleep(0.001)

    def close(self) -> str:
        """Watch no more; return what was seen."""
        self._task.cancel()
        return f"longest stall {1000 * self.longest:5.1f} ms ({1000 * self.busiest:.1f} of its own)"


def options_of(url: str, layout: Any) -> dict[str, Any]:
    """Return what functions of one storage are decorated with; all else has its defaults."""
    storage = RedisStorage.from_url(url, layout=layout)
    return {"context": {}, "storage": storage, "embedder": Random(), "guards": (), "namespace": "crowd"}


def show(label: str, seconds: float, answer: Any, extra: str) -> None:
    """Print what came of a burst."""
    stats = answer.stats()
    counts = f"{stats.hits} hits, {stats.misses} misses, {stats.stored} stored, {dict(stats.bypasses)} bypassed"
    print(f"  {label:<24} {seconds:6.2f} s  {counts}, errors {dict(stats.errors)}{extra}", flush=True)


def connections(server: Server) -> int:
    """Return how many connections of recallm a server has."""
    with server.client() as client:
        return sum(each.get("name") == "recallm" for each in client.client_list())


async def tasks(server: Server, port: int, given: argparse.Namespace) -> None:
    """Let tasks of one event loop call."""
    options = options_of(f"redis://127.0.0.1:{port}/0", LAYOUTS[server.kind])

    def decorated(name: str) -> Any:
        @semantic_cache(**options, name=name)
        async def answer(prompt: str) -> str:
            await asyncio.sleep(given.answer / 1000)
            return f"{prompt}: {ANSWER}"

        return answer

    await decorated("warm")("warm")
    for label in ("new prompts", "the same again"):
        answer = decorated(f"{server.kind} {label}")
        gc.collect()
        stall, began = Stall(), time.perf_counter()
        answers = await asyncio.gather(*(answer(f"prompt {at}") for at in range(given.crowd)))
        seconds = time.perf_counter() - began
        assert answers == [f"prompt {at}: {ANSWER}" for at in range(given.crowd)]
        seen = f", {stall.close()}, {connections(server)} connections"
        show(f"{given.crowd} tasks, {label}", seconds, answer, seen)
    await options["storage"].aclose()


def threads(server: Server, port: int, given: argparse.Namespace) -> None:
    """Let threads call."""
    options = options_of(f"redis://127.0.0.1:{port}/0", LAYOUTS[server.kind])

    def decorated(name: str) -> Any:
        @semantic_cache(**options, name=name)
        def answer(prompt: str) -> str:
            time.sleep(given.answer / 1000)
            return f"{prompt}: {ANSWER}"

        return answer

    decorated("warm")("warm")
    for label in ("new prompts", "the same again"):
        answer = decorated(f"{server.kind} {label} sync")
        barrier = threading.Barrier(given.crowd + 1)

        def call(prompt: str, answer: Callable[[str], str] = answer, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            assert answer(prompt) == f"{prompt}: {ANSWER}"

        crowd = [threading.Thread(target=call, args=(f"prompt {at}",)) for at in range(given.crowd)]
        for thread in crowd:
            thread.start()
        barrier.wait()
        began = time.perf_counter()
        for thread in crowd:
            thread.join()
        show(
            f"{given.crowd} threads, {label}",
            time.perf_counter() - began,
            answer,
            f", {connections(server)} connections",
        )


def serve(port: int, delay: float, told: Connection) -> None:
    """Run a proxy until nobody listens to it."""
    proxy = DelayProxy(port, delay)
    told.send(proxy.port)
    told.poll(None)


@contextmanager
def far_away(server: Server, delay: float) -> Iterator[int]:
    """Give the port at which a server is reached by way of a proxy in another process."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(server.port, delay, theirs), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crowd", type=int, default=200, help="how many ask at the same moment")
    parser.add_argument("--delay", type=float, default=3.0, help="ms of a round trip")
    parser.add_argument("--answer", type=float, default=50.0, help="ms that the function takes")
    parser.add_argument("--kinds", nargs="+", default=[kind for kind in LAYOUTS if kind != "debian"])
    parser.add_argument("--ways", nargs="+", default=["tasks", "threads"])
    given = parser.parse_args()
    for kind in [each for each in given.kinds if each in COMMANDS]:
        for way in given.ways:
            with running(kind) as server, far_away(server, given.delay) as port:
                print(f"{LAYOUTS[kind]} ({kind}), {given.delay:g} ms a round trip")
                if way == "tasks":
                    asyncio.run(tasks(server, port, given))
                else:
                    threads(server, port, given)


if __name__ == "__main__":
    main()
