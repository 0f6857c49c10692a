"""What a TieredStorage in front of Redis gains: time of a call and share of calls that send nothing.

    python tests/benchmarks/redis_tiered.py                                    # 3 ms, 4 processes' worth of calls
    python tests/benchmarks/redis_tiered.py --delay 1 --staleness 0.2 --rate 200

Prompts are asked with the frequencies of Zipf's law, half of them word for word and half reworded in one of four ways,
by one process at a given rate, with and without copies in turn. All answers are stored beforehand by another process.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.redis_round_trips import ANSWER, THRESHOLD, Table, proxied
from support.redis_servers import COMMANDS, LAYOUTS, running

from recallm import CacheConfig, RedisStorage, TieredStorage, semantic_cache

ROWS = 2000


def asked_of(storage: Any, table: Table) -> Any:
    """Return a cached function on a storage."""

    @semantic_cache(
        context={},
        storage=storage,
        embedder=table,
        guards=(),
        threshold=THRESHOLD,
        namespace="bench",
        version="1",
        config=CacheConfig(cache_timeout_seconds=5.0),
    )
    def ask(prompt: str) -> str:
        return f"{prompt}: {ANSWER}"

    return ask


def prompts(count: int, seed: int) -> list[str]:
    """Return prompts by Zipf's law."""
    random = np.random.default_rng(seed)
    weights = 1.0 / np.arange(1, ROWS + 1)
    rows = random.choice(ROWS, size=count, p=weights / weights.sum())
    reworded = random.integers(0, 8, size=count)
    return [str(row) if way >= 4 else f"{row}~{way}" for row, way in zip(rows, reworded, strict=True)]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delay", type=float, default=3.0, help="ms of a round trip")
    parser.add_argument("--staleness", type=float, default=1.0, help="seconds")
    parser.add_argument("--rate", type=float, default=100.0, help="calls a second")
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--kinds", nargs="+", default=[kind for kind in LAYOUTS if kind != "debian"])
    given = parser.parse_args()
    table = Table(ROWS)
    for kind in [each for each in given.kinds if each in COMMANDS]:
        with running(kind) as server, proxied(server.port) as proxy:
            other = asked_of(RedisStorage.from_url(server.url, layout=LAYOUTS[kind], timeout=5.0), table)
            for row in range(ROWS):
                other(str(row))
            proxy.round_trip_ms = given.delay
            for name in ("far alone", "with copies"):
                far = RedisStorage.from_url(f"redis://127.0.0.1:{proxy.port}/0", layout=LAYOUTS[kind], timeout=5.0)
                storage = far if name == "far alone" else TieredStorage(None, far, staleness=given.staleness)
                ask, seconds, silent = asked_of(storage, table), [], 0
                began = time.perf_counter()
                for place, prompt in enumerate(prompts(given.calls, 3)):
                    time.sleep(max(0.0, began + place / given.rate - time.perf_counter()))
                    proxy.reset()
                    start = time.perf_counter()
                    ask(prompt)
                    seconds.append(time.perf_counter() - start)
                    silent += proxy.traffic.commands == 0
                p50, p90, p99 = (1000 * float(each) for each in np.percentile(seconds, [50, 90, 99]))
                share = silent / given.calls
                print(
                    f"{LAYOUTS[kind]} ({kind}), {given.delay:g} ms, {name:<11} "
                    f"p50 {p50:6.2f} ms  p90 {p90:6.2f} ms  p99 {p99:6.2f} ms  {share:.0%} of the calls send nothing",
                    flush=True,
                )


if __name__ == "__main__":
    main()
