"""How long 200 tasks that share one in-process storage of 50,000 entries hold their event loop.

Run with ``python tests/benchmarks/event_loop.py``. Each kind of call runs by itself: short prompts, prompts of 8,000
characters of which sixteen similar ones are stored that guards refuse, and answers of a megabyte, as text and as JSON,
found and stored. Printed are, in milliseconds: the longest turn of the loop, in processor time of its thread, in which
neither a wait for Python's lock nor a collection of garbage counts; the longest of those collections; and the longest
gap between two turns of a task that does nothing else, in which 200 others have theirs.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import threading
import time
from asyncio.events import Handle
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recallm import ThreadSafeInMemoryStorage, semantic_cache
from recallm.records import Entry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recallm.typing import Vector

DIM = 384
LONG = 8_000
MEGABYTE = 1_000_000
WORDS = Path(__file__).parents[2].joinpath("README.md").read_text("utf-8").split()
CHANCE = random.Random(0)  # noqa: S311


def text(size: int) -> str:
    """Return an English text of so many characters."""
    drawn: list[str] = []
    length = 0
    while length < size:
        drawn.append(CHANCE.choice(WORDS))
        length += len(drawn[-1]) + 1
    return " ".join(drawn)[:size]


class Topics:
    """An embedder for which all prompts of one first word are similar, at 0.96, and no others."""

    model_id = "topics"

    def __init__(self) -> None:
        self.scales = (1.0 + np.arange(DIM) / 12.0) ** -1.0

    @cached_property
    def centres(self) -> NDArray[np.float32]:
        """The vectors of the topics, which are many: to import this file should take no time."""
        return np.random.default_rng(0).standard_normal((100_000, DIM)).astype(np.float32)

    def embed(self, prompt: str) -> Vector:
        """Return a vector near that of the topic."""
        topic = prompt.split(maxsplit=1)[0]
        noise = np.random.default_rng(len(prompt) + hash(prompt) % 2**32).standard_normal(DIM)
        row: Vector = ((self.centres[hash(topic) % len(self.centres)] + 0.2 * noise) * self.scales).astype(np.float32)
        return row


STORAGE = ThreadSafeInMemoryStorage()
EMBEDDER = Topics()
ANSWERS: dict[str, object] = {"short": "thirty days", "text": text(MEGABYTE), "json": [text(90)] * (MEGABYTE // 100)}


@semantic_cache(context={}, embedder=EMBEDDER, storage=STORAGE, threshold=0.9)
async def ask(prompt: str) -> object:
    """Answer by the kind that the prompt ends with."""
    return ANSWERS[prompt.rsplit(maxsplit=1)[1]]


def unit(row: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a vector of unit length."""
    return row / np.float32(np.linalg.norm(row))


async def fill(entries: int) -> None:
    """Store short entries beside that of one call."""
    await ask("first of all short")
    ((namespace, place),) = STORAGE._namespaces.items()
    ((partition, _),) = place.shelves
    epoch = STORAGE.recall(namespace, "").epoch
    for number in range(entries):
        prompt = f"topic{number} asked short"
        entry = Entry(f"{number:040x}", namespace, partition, prompt, unit(EMBEDDER.embed(prompt)), b"\x01sthirty days")
        STORAGE.put(entry, epoch, None)


class Turns:
    """Watches the turns of an event loop."""

    def __init__(self) -> None:
        self.worst = self.gap = self.collected = self.collecting = self.longest = 0.0
        self.original = Handle._run

    def __enter__(self) -> Turns:
        watch = self

        def run(handle: Handle) -> None:
            began, collected = time.thread_time(), watch.collected
            watch.original(handle)
            took = time.thread_time() - began - (watch.collected - collected)
            watch.worst = max(watch.worst, took)

        Handle._run = run  # type: ignore[assignment,method-assign]
        gc.callbacks.append(self.collects)
        return self

    def collects(self, phase: str, _: object) -> None:
        """Measure a collection of garbage by the loop's thread, which is Python's, and the same without a cache."""
        if threading.current_thread() is not threading.main_thread():
            return
        if phase == "start":
            self.collecting = time.thread_time()
        else:
            self.collected += time.thread_time() - self.collecting
            self.longest = max(self.longest, time.thread_time() - self.collecting)

    def __exit__(self, *_: object) -> None:
        Handle._run = self.original  # type: ignore[method-assign]
        gc.callbacks.remove(self.collects)

    async def beat(self) -> None:
        """Measure the gaps between this task's turns."""
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0)
            now = time.perf_counter()
            self.gap, last = max(self.gap, now - last), now


async def measured(name: str, call: Callable[[int], Awaitable[object]], tasks: int, calls: int) -> None:
    """Run the calls of one kind, and print how long they held the loop."""
    numbers = iter(range(calls))

    async def work() -> None:
        for number in numbers:
            await call(number)
            await asyncio.sleep(0)  # hits in place never give way

    before = ask.stats()
    began = time.perf_counter()
    with Turns() as turns:
        beating = asyncio.create_task(turns.beat())
        await asyncio.gather(*(work() for _ in range(tasks)))
        beating.cancel()
    after = ask.stats()
    bypasses, errors = (
        Counter(now) - Counter(then) for now, then in ((after.bypasses, before.bypasses), (after.errors, before.errors))
    )
    got = f"{after.exact_hits - before.exact_hits} exact, {after.semantic_hits - before.semantic_hits} semantic hits"
    held = "".join(f"{1e3 * seconds:>9.1f}" for seconds in (turns.worst, turns.longest, turns.gap))
    print(
        f"{name:<38}{held}{time.perf_counter() - began:>8.1f} s  "
        f"{got}, {after.misses - before.misses} misses, {dict(bypasses + errors)}",
        flush=True,
    )


async def amain(options: argparse.Namespace) -> None:
    """Fill the storage and run each kind of call."""
    await ask.awarmup()
    await fill(options.entries)
    long = [f"long {number} {text(LONG - 40)} " for number in range(16)]
    kinds: dict[str, tuple[Callable[[int], Awaitable[object]], int]] = {
        "short, missed and stored": (lambda at: ask(f"new{at} asked short"), 400),
        "short, exact hits": (lambda at: ask(f"new{at % 400} asked short"), 4000),
        "short, similar": (lambda at: ask(f"new{at % 400} asked {'please ' * (at // 400 + 1)}short"), 2000),
        "long, missed and stored": (lambda at: ask(f"{long[at]}short"), 16),
        "long, sixteen refused": (lambda at: ask(f"long {100 + at} {text(LONG - 40)} short"), options.long),
        "megabytes of text, missed and stored": (lambda at: ask(f"large{at} text"), 50),
        "megabytes of text, exact hits": (lambda at: ask(f"large{at % 50} text"), 400),
        "megabytes of JSON, missed and stored": (lambda at: ask(f"tree{at} json"), 50),
        "megabytes of JSON, exact hits": (lambda at: ask(f"tree{at % 50} json"), 400),
    }
    print(f"{'':<38}{'turn ms':>9}{'gc ms':>9}{'gap ms':>9}{'all':>10}")
    for name, (call, calls) in kinds.items():
        await measured(name, call, options.tasks, calls)
    with Turns() as turns:
        await ask.aexplain("unknown short")
    print(f"{'aexplain of an unknown prompt':<38}{1e3 * turns.worst:>9.1f}")


def main() -> None:
    """Print a line for each kind of call."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--entries", type=int, default=50_000)
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--long", type=int, default=40, help="how many calls with long prompts")
    asyncio.run(amain(parser.parse_args()))


if __name__ == "__main__":
    main()
