"""Minutes of everything at once: memory must stay flat, and the statistics must add up.

Run with ``python tests/benchmarks/soak.py --seconds 300``. Threads and tasks ask random prompts of random users under
``max_entries`` and short times to live, while the function fails, namespaces are invalidated and tasks are cancelled.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from recallm import CacheConfig, ThreadSafeInMemoryStorage, semantic_cache
from recallm.testing import FakeEmbedder

USERS = 40
NAMESPACES = 500


class Flaky:
    """A function that fails now and then, cached for threads and for tasks in one storage."""

    def __init__(self) -> None:
        options: dict[str, Any] = {
            "storage": ThreadSafeInMemoryStorage(max_entries=2000),
            "embedder": FakeEmbedder(dim=64),
            "context": lambda kw: {"user": kw["user"]},
            "namespace": lambda kw: f"n{kw['user'] % NAMESPACES}",
            "config": CacheConfig(coalesce_timeout_seconds=1.0),
            "ignore": ("self",),
            "prompt": "prompt",
        }
        self.calls = {"sync": 0, "async": 0}
        self.lock = threading.Lock()

        def answer(prompt: str, user: int, stream: bool = False) -> dict[str, Any]:
            if random.random() < 0.05:  # noqa: S311  # a simulation
                raise ConnectionError
            return {"text": prompt * 3, "usage": {"total_tokens": 7}}

        async def later(prompt: str, user: int, stream: bool = False) -> dict[str, Any]:
            await asyncio.sleep(0.001)
            return answer(prompt, user)

        self.ask = semantic_cache(**options, name="sync")(answer)
        self.ask_later = semantic_cache(**options, name="async")(later)

    def count(self, kind: str) -> None:
        """Count a call that was made."""
        with self.lock:
            self.calls[kind] += 1


def call() -> tuple[tuple[str, int], dict[str, Any]]:
    """Return the arguments of a random call."""
    words = " ".join(random.choices("how get my money back old red bike".split(), k=3))  # noqa: S311
    user = random.randrange(USERS)  # noqa: S311
    options: dict[str, Any] = {"cache_ttl": random.choice([0.05, 0.5, 5.0])}  # noqa: S311
    if random.random() < 0.03:  # noqa: S311
        options["stream"] = True
    return (words, user), options


def in_threads(flaky: Flaky, until: float) -> None:
    """Ask until the time is over, and invalidate now and then."""
    while time.monotonic() < until:
        args, options = call()
        flaky.count("sync")
        with suppress(ConnectionError):
            flaky.ask(*args, **options)
        if random.random() < 0.01:  # noqa: S311
            flaky.ask.cache.invalidate_namespace(f"n{args[1] % NAMESPACES}")


async def in_tasks(flaky: Flaky, until: float) -> None:
    """Ask until the time is over, and cancel now and then what has begun."""
    while time.monotonic() < until:
        tasks = []
        for _ in range(20):
            args, options = call()
            flaky.count("async")
            tasks.append(asyncio.create_task(flaky.ask_later(*args, **options)))
        await asyncio.sleep(0)
        if random.random() < 0.2:  # noqa: S311
            tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def resident_megabytes() -> float:
    """Return how much of this process is in memory (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    """Run, print memory as time goes by, and check the sums."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300.0)
    seconds = parser.parse_args().seconds
    flaky, began = Flaky(), time.monotonic()
    threads = [threading.Thread(target=in_threads, args=(flaky, began + seconds)) for _ in range(3)]
    threads.append(threading.Thread(target=lambda: asyncio.run(in_tasks(flaky, began + seconds))))
    for thread in threads:
        thread.start()
    for _ in range(10):
        time.sleep(seconds / 10)
        gc.collect()
        print(
            f"{time.monotonic() - began:6.0f} s  {resident_megabytes():8.1f} MB  {sum(flaky.calls.values()):>10,} calls"
        )
    for thread in threads:
        thread.join()
    for kind, function in (("sync", flaky.ask), ("async", flaky.ask_later)):
        stats = function.stats()
        counted = stats.hits + stats.misses + sum(stats.bypasses.values())
        print(f"{kind}: {flaky.calls[kind]:,} calls = {stats.hits:,} hits + {stats.misses:,} misses + "
              f"{sum(stats.bypasses.values()):,} bypasses ({counted - flaky.calls[kind]:+d})")  # fmt: skip
        print(stats)


if __name__ == "__main__":
    main()
