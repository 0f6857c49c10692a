"""Minutes of everything at once: threads, descriptors and memory must stay flat, and the statistics must add up.

Run with ``python tests/benchmarks/soak.py --seconds 600``. Threads and tasks ask random prompts of random users under
``max_entries`` and short times to live, while functions fail, namespaces are invalidated, tasks are cancelled, signal
handlers raise, children are forked, event loops come and go, the server loses its connections, storages are replaced
under their name, and caches are made and dropped. Prints a line for each tenth of the time and exits with 1 if what was
in use at the end is more than what was in use after the first fifth.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import signal
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.redis_servers import COMMANDS, Server, running

import recallm
from recallm import CacheConfig, RedisStorage, ThreadSafeInMemoryStorage, semantic_cache
from recallm.testing import FakeEmbedder

USERS = 40
GROWTH_MEGABYTES, GROWTH_THREADS, GROWTH_DESCRIPTORS = 15.0, 4, 10
"""How much more may be in use at the end than after the warm-up: what comes and goes with each moment."""


class TimeIsUpError(Exception):
    """What the signal handler raises."""


class Flaky:
    """Functions that fail now and then, cached for threads and for tasks, and the number of calls of each."""

    def __init__(self, server: Server | None) -> None:
        self.calls: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.server = server
        self.raises = False
        recallm.register_storage("soak", self.new_storage(), replace=True)
        shared = "soak" if server is None else RedisStorage.from_url(server.url)
        self.sync = semantic_cache(**self.options("soak"), name="sync")(self.answer)
        self.struck = semantic_cache(**self.options("soak"), name="struck")(self.answer)
        self.tasks = semantic_cache(**self.options(shared), name="tasks")(self.answer_later)

    @staticmethod
    def new_storage() -> ThreadSafeInMemoryStorage:
        """Return a storage that evicts."""
        return ThreadSafeInMemoryStorage(max_entries=2000)

    @staticmethod
    def options(storage: Any) -> dict[str, Any]:
        """Return the options that the functions are cached with."""
        return {
            "storage": storage,
            "embedder": FakeEmbedder(dim=64),
            "context": lambda kw: {"user": kw["user"]},
            "namespace": lambda kw: f"n{kw['user']}",
            "config": CacheConfig(coalesce_timeout_seconds=1.0),
            "prompt": "prompt",
            "version": "1",
        }

    @staticmethod
    def answer(prompt: str, user: int, stream: bool = False) -> dict[str, Any]:
        """Answer, or fail."""
        if random.random() < 0.05:  # noqa: S311  # a simulation
            raise ConnectionError
        return {"text": prompt * 3, "usage": {"total_tokens": 7}}

    @staticmethod
    async def answer_later(prompt: str, user: int, stream: bool = False) -> dict[str, Any]:
        """Answer, or fail, after a while."""
        await asyncio.sleep(0.001)
        return Flaky.answer(prompt, user)

    def count(self, kind: str) -> None:
        """Count a call that is made."""
        with self.lock:
            self.calls[kind] += 1


def now_and_then(share: float) -> bool:
    """Return True for this share of the times."""
    return random.random() < share  # noqa: S311


def arguments() -> tuple[tuple[str, int], dict[str, Any]]:
    """Return the arguments of a random call."""
    words = " ".join(random.choices("how get my money back old red bike".split(), k=3))  # noqa: S311
    given: dict[str, Any] = {"cache_ttl": random.choice([0.05, 0.5, 5.0])}  # noqa: S311
    if now_and_then(0.03):
        given["stream"] = True
    return (words, random.randrange(USERS)), given  # noqa: S311


def in_threads(flaky: Flaky) -> None:
    """Ask a while, invalidate now and then, and replace the storage at times."""
    for _ in range(500):
        args, given = arguments()
        flaky.count("sync")
        with suppress(ConnectionError):
            flaky.sync(*args, **given)
        if now_and_then(0.01):
            flaky.sync.cache.invalidate_namespace(f"n{args[1]}")
    if now_and_then(0.05):
        recallm.register_storage("soak", flaky.new_storage(), replace=True)


async def _in_tasks(flaky: Flaky) -> None:
    for _ in range(10):
        tasks = []
        for _ in range(20):
            args, given = arguments()
            flaky.count("tasks")
            tasks.append(asyncio.create_task(flaky.tasks(*args, **given)))
        await asyncio.sleep(0)
        if now_and_then(0.2):
            tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def in_loops(flaky: Flaky) -> None:
    """Ask from tasks on an event loop that ends; the server forgets all clients at times."""
    asyncio.run(_in_tasks(flaky))
    if flaky.server is not None and now_and_then(0.1):
        with flaky.server.client() as client:
            client.client_kill_filter(_type="normal", skipme=True)


def in_passing(_flaky: Flaky) -> None:
    """Make a cache with an embedder and a storage of its own, use it, and drop it."""
    dropped = semantic_cache(**Flaky.options(ThreadSafeInMemoryStorage()), name="dropped")(Flaky.answer)
    for number in range(5):
        with suppress(ConnectionError):
            dropped(f"question {number}", 1)
    time.sleep(0.02)


def in_main_thread(flaky: Flaky) -> None:
    """Ask under an alarm whose handler raises, and fork a child at times."""
    args, given = arguments()
    flaky.count("struck")
    with suppress(ConnectionError, TimeIsUpError):
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-4, 3e-3))  # noqa: S311
        try:
            flaky.raises = True
            flaky.struck(*args, **given)
        finally:
            flaky.raises = False
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    if now_and_then(0.002):
        fork(flaky)


def fork(flaky: Flaky) -> None:
    """Fork a child that asks, and wait for it; it ends with another status than 0 if it hangs or fails."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)
        status = 1
        try:
            Flaky.answer = staticmethod(lambda prompt, user, stream=False: "a child's answer")  # type: ignore[method-assign,assignment]
            flaky.sync("how get money", 1)
            status = 0
        except ConnectionError:
            status = 0
        finally:
            os._exit(status)
    flaky.count(f"children that end with {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}")


@dataclass(frozen=True)
class Used:
    """What the process has in use."""

    megabytes: float
    threads: int
    descriptors: int


def used() -> Used:
    """Return what the process has in use now (Linux)."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    return Used(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, len(list(Path("/proc/self/task").iterdir())), descriptors)


def repeated(work: Callable[[Flaky], None], flaky: Flaky, until: float) -> threading.Thread:
    """Return a thread that does something again and again."""

    def repeat() -> None:
        while time.monotonic() < until:
            work(flaky)

    return threading.Thread(target=repeat)


def run(flaky: Flaky, seconds: float) -> tuple[Used, Used]:
    """Do everything at once; return what was in use after the first fifth of the time, and at the end of it."""
    began = time.monotonic()
    until = began + seconds
    threads = [repeated(work, flaky, until) for work in (in_threads, in_threads, in_loops, in_loops, in_passing)]
    for thread in threads:
        thread.start()
    measured = []
    for tenth in range(1, 11):
        while time.monotonic() < began + tenth * seconds / 10:
            in_main_thread(flaky)
        measured.append(used())
        print(f"{time.monotonic() - began:6.0f} s  {measured[-1]}  {sum(flaky.calls.values()):>10,} calls", flush=True)
    for thread in threads:
        thread.join()
    return max(measured[:2], key=lambda each: each.megabytes), measured[-1]


def counts_add_up(flaky: Flaky) -> bool:
    """Print each function's statistics, and return whether every call is counted once."""
    exact = True
    for name in ("sync", "struck", "tasks"):
        function: Any = getattr(flaky, name)
        stats = function.stats()
        counted = stats.hits + stats.misses + sum(stats.bypasses.values())
        missing = flaky.calls[name] - counted
        print(f"{name}: {flaky.calls[name]:,} calls, {missing:+d} not counted\n{stats}")
        # A handler may raise before a call is one: while wrapt is still binding its arguments.
        exact &= 0 <= missing <= 0.02 * flaky.calls[name] if name == "struck" else missing == 0
    return exact


@contextmanager
def a_server() -> Iterator[Server | None]:
    """Yield a server, if one is installed."""
    kind = next(iter(COMMANDS), None)
    if kind is None:
        yield None
        return
    with running(kind) as server:
        yield server


def main() -> None:
    """Run, print what is in use as time goes by, and check it and the sums."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    seconds = parser.parse_args().seconds
    warnings.simplefilter("ignore")  # Python 3.12 warns of forks beside threads

    with a_server() as server:
        flaky = Flaky(server)

        def time_is_up(*_: object) -> None:
            if flaky.raises:
                raise TimeIsUpError

        signal.signal(signal.SIGALRM, time_is_up)
        early, late = run(flaky, seconds)
        exact = counts_add_up(flaky)
    children = {name: count for name, count in flaky.calls.items() if name.startswith("children")}
    flat = (
        late.megabytes - early.megabytes <= GROWTH_MEGABYTES
        and late.threads - early.threads <= GROWTH_THREADS
        and late.descriptors - early.descriptors <= GROWTH_DESCRIPTORS
    )
    sound = set(children) <= {"children that end with 0"}
    print(f"flat: {flat} ({early} -> {late}); counts exact: {exact}; {children}")
    sys.exit(not (flat and exact and sound))


if __name__ == "__main__":
    main()
