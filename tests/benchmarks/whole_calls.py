"""What calls cost through the decorator while a cache fills, with an embedder that takes no time.

Run with ``python tests/benchmarks/whole_calls.py``. Prompts are numbers that stand for rows of clustered
vectors with a decaying spectrum; every fill step is a miss that is stored. ``--storage`` fills the storage alone, and
prints what its puts and searches take at the most, also in processor time of the thread: on a busy machine, that of
other programs does not count.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from recallm import ThreadSafeInMemoryStorage, semantic_cache
from recallm.records import Entry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recallm.typing import Vector

DIM = 384
SAMPLES = 1000


class Table:
    """An embedder that looks its vectors up: prompt ``"7"`` is row 7, ``"7~"`` lies near it."""

    model_id = "table"

    def __init__(self, rows: int) -> None:
        rng = np.random.default_rng(0)
        scales = (1.0 + np.arange(DIM) / 12.0) ** -1.0
        centres = rng.standard_normal((rows // 4, DIM)) * scales
        noise = 0.4 * rng.standard_normal((rows, DIM)) * scales
        self.rows = (centres[rng.integers(0, len(centres), rows)] + noise).astype(np.float32)
        self.rows /= np.linalg.norm(self.rows, axis=1, keepdims=True)
        self.nudge = (0.005 * rng.standard_normal(DIM)).astype(np.float32)

    def embed(self, text: str) -> Vector:
        """Return a row, or one near it."""
        row: Vector = self.rows[int(text.rstrip("~"))]
        return row + self.nudge if text.endswith("~") else row


def timed(call: Callable[[str], object], prompts: list[str]) -> NDArray[np.float64]:
    """Return how long each call took, in microseconds."""
    taken = np.empty(len(prompts))
    for place, prompt in enumerate(prompts):
        began = time.perf_counter_ns()
        call(prompt)
        taken[place] = (time.perf_counter_ns() - began) / 1e3
    return taken


class Watch:
    """Times what one operation takes, in seconds that pass and in seconds of the thread."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.processor: list[float] = []

    def __call__(self, operation: Callable[[], object]) -> None:
        """Perform an operation."""
        began, worked = time.perf_counter(), time.thread_time()
        operation()
        self.processor.append(time.thread_time() - worked)
        self.wall.append(time.perf_counter() - began)

    def report(self, name: str) -> None:
        """Print the times in milliseconds."""
        for kind, taken in (("wall", self.wall), ("processor", self.processor)):
            p50, high, worst = 1e3 * np.percentile(taken, [50, 99.9, 100])
            print(
                f"{name:<8}{kind:<11}p50 {p50:6.3f}  p99.9 {high:6.2f}  worst {worst:6.1f} ms, at {np.argmax(taken):,}"
            )


def fill_storage(entries: int, *, bounded: bool) -> None:
    """Print what puts and searches take while a storage fills, or is full from half of the entries on."""
    storage = ThreadSafeInMemoryStorage(max_entries=entries // 2 if bounded else None)
    table = Table(entries)
    epoch = storage.recall("n", "").epoch
    puts, searches = Watch(), Watch()
    gc.collect()
    for number, row in enumerate(table.rows):
        entry = Entry(f"{number:040x}", "n", "partition", f"prompt {number}", row.copy(), b"x" * 500)
        puts(partial(storage.put, entry, epoch, None))
        if number % 10 == 0:
            searches(partial(storage.search, "n", "partition", row, 0.92, 16))
    print(f"{entries:,} entries into {storage!r}")
    puts.report("put")
    searches.report("search")


def main() -> None:
    """Print a table of call times at each size, and the slowest call while filling."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--fill", type=int, default=200_000)
    parser.add_argument("--threshold", type=float, default=0.98)
    parser.add_argument("--storage", action="store_true", help="fill the storage alone, without a bound and with one")
    options = parser.parse_args()
    if options.storage:
        for bounded in (False, True):
            fill_storage(options.fill, bounded=bounded)
        return
    table = Table(options.fill + 2)

    @semantic_cache(
        context={}, guards=(), threshold=options.threshold, embedder=table, storage=ThreadSafeInMemoryStorage()
    )
    def ask(prompt: str) -> str:
        return f"the answer to {prompt}"

    rng = np.random.default_rng(1)
    print(f"{'entries':>9}  {'call':<14}{'p50 us':>9}{'p99 us':>9}{'worst ms':>10}")
    filled, fill_times = 0, np.empty(0)
    for size in [*options.sizes, options.fill]:
        misses = timed(ask, [str(number) for number in range(filled, size)])
        fill_times = np.concatenate((fill_times, misses))
        filled = size
        gc.collect()
        some = [str(number) for number in rng.integers(0, size, SAMPLES)]
        before = ask.stats()
        cases = {
            "exact hit": timed(ask, some),
            "semantic hit": timed(ask, [f"{prompt}~" for prompt in some]),
            "miss + store": misses[-SAMPLES:],
        }
        after = ask.stats()
        assert after.exact_hits - before.exact_hits >= SAMPLES * 9 // 10
        assert after.semantic_hits - before.semantic_hits >= SAMPLES * 9 // 10
        for name, taken in cases.items():
            p50, p99 = np.percentile(taken, [50, 99])
            print(f"{size:>9,}  {name:<14}{p50:>9,.0f}{p99:>9,.0f}{taken.max() / 1e3:>10.1f}", flush=True)
    worst = fill_times.argmax()
    print(f"worst of {len(fill_times):,} calls while filling: {fill_times[worst] / 1e3:.1f} ms, at entry {worst:,}")
    print(ask.stats())


if __name__ == "__main__":
    main()
