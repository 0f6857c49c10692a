"""How long SQLiteStorage takes, beside storages in memory and on a plain Redis server: each step, and the file's size.

    python tests/benchmarks/sqlite.py                           # 10k entries, 384 dimensions
    python tests/benchmarks/sqlite.py --sizes 10000 100000 --queries 1000

The storages take turns in one run. A miss is what a new prompt costs a cache: no exact hit, no similar one, a put.
"Open" is what a new process waits for: the first exact look-up, the first similar one, and until all vectors are read.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any

# On few processors numpy's threads take them from the servers that are measured.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.measuring import enlarged, made_vectors, noise, show, timed, units
from support.redis_servers import COMMANDS, running

from recallm import RedisStorage, SQLiteStorage, StorageBackend, ThreadSafeInMemoryStorage
from recallm.records import Entry
from recallm.storage.base import Search

if TYPE_CHECKING:
    from numpy.typing import NDArray

THRESHOLD = 0.92
LIMIT = 16
PAYLOAD = b"\x01s" + b"an answer of a few sentences. " * 16

Storages = dict[str, StorageBackend]


def entry(at: int, vectors: NDArray[np.float32]) -> Entry:
    """Return the entry of one vector."""
    return Entry(f"{at:064x}", "bench", "p" * 64, f"prompt number {at}", vectors[at], PAYLOAD)


def fill(storages: Storages, vectors: NDArray[np.float32], start: int, end: int) -> None:
    """Store entries on each storage in turn, and print what a put takes."""
    times: dict[str, list[float]] = {name: [] for name in storages}
    for name, storage in storages.items():
        epoch = storage.recall("bench", "none").epoch
        for at in range(start, end):
            assert timed(partial(storage.put, entry(at, vectors), epoch, None), times[name]).kept
    for name, seconds in times.items():
        show(f"{name}: put", seconds)


def look_up(storages: Storages, vectors: NDArray[np.float32], size: int, queries: int) -> None:
    """Print what an exact hit, a similar one, and a miss with its put take, each on every storage in turn."""
    random = np.random.default_rng(3)
    steps = ("exact hit", "similar hit", "miss and put")
    times: dict[tuple[str, str], list[float]] = {(name, step): [] for step in steps for name in storages}
    for number in range(queries):
        at = int(random.integers(size))
        near = units(vectors[at][None] + noise(random, (1, vectors.shape[1]), 0.3))[0]
        far = units(random.standard_normal((1, vectors.shape[1])))[0]
        new = Entry(f"new {size} {number}", "bench", "p" * 64, "a new prompt", far, PAYLOAD)
        for name, storage in storages.items():
            hit = timed(partial(storage.recall, "bench", f"{at:064x}"), times[name, steps[0]])
            assert hit.candidate is not None
            found = timed(partial(storage.search, "bench", "p" * 64, near, THRESHOLD, LIMIT), times[name, steps[1]])
            assert found
            timed(partial(miss, storage, new), times[name, steps[2]])
    for (name, step), seconds in times.items():
        show(f"{name}: {step}", seconds)


def miss(storage: StorageBackend, new: Entry) -> None:
    """Do what a cache does for a prompt that is not there: two look-ups and a put."""
    assert new.vector is not None
    search = Search(new.namespace, new.partition, new.vector, THRESHOLD, LIMIT)
    recalled = storage.recall(new.namespace, new.key)
    storage.search(search.namespace, search.partition, search.vector, search.threshold, search.limit)
    storage.put(new, recalled.epoch, None)


def open_anew(path: Path, vectors: NDArray[np.float32], size: int) -> None:
    """Print what the first look-ups of a process take."""
    storage = SQLiteStorage(path, timeout=5.0)
    first: list[float] = []
    second: list[float] = []
    timed(partial(storage.recall, "bench", f"{0:064x}"), first)
    last = vectors[size - 1]
    began = perf_counter()
    timed(partial(storage.search, "bench", "p" * 64, last, THRESHOLD, LIMIT), second)
    while not any(
        found.entry.key == f"{size - 1:064x}" for found in storage.search("bench", "p" * 64, last, 0.99, LIMIT)
    ):
        sleep(0.01)
    everything = perf_counter() - began
    print(
        f"  SQLite, opened anew: first exact hit {1000 * first[0]:.1f} ms, first similar look-up "
        f"{1000 * second[0]:.1f} ms, all vectors read after {everything:.2f} s"
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000])
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--dim", type=int, default=384)
    given = parser.parse_args()
    vectors = enlarged(made_vectors(max(given.sizes), given.dim, 1), max(given.sizes))
    folder = Path(tempfile.mkdtemp())
    try:
        with ExitStack() as stack:
            path = folder / "answers.db"
            storages: dict[str, Any] = {"memory": ThreadSafeInMemoryStorage(), "SQLite": SQLiteStorage(path)}
            kind = next((each for each in ("debian", "valkey") if each in COMMANDS), None)
            if kind is not None:
                server = stack.enter_context(running(kind))
                storages["Redis, plain"] = RedisStorage.from_url(server.url, layout="plain", timeout=5.0)
            size = 0
            for wanted in sorted(given.sizes):
                print(f"{wanted} entries in one partition, {given.dim} dimensions")
                fill(storages, vectors, size, wanted)
                size = wanted
                for storage in storages.values():
                    for _ in range(20 + size // 400):
                        storage.search("bench", "p" * 64, vectors[0], THRESHOLD, LIMIT)
                storages["SQLite"]._writes.checkpoint()
                print(f"  SQLite: {path.stat().st_size / size:.0f} bytes an entry in the file")
                look_up(storages, vectors, size, given.queries)
                open_anew(path, vectors, size)
            gone: list[float] = []
            for name, storage in storages.items():
                timed(partial(storage.invalidate, "bench"), gone)
                show(f"{name}: invalidate", gone[-1:])
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
