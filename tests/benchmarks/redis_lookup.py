"""How long RedisStorage takes, for each layout, on real servers: look-ups, the rest, memory and a churn.

    python tests/benchmarks/redis_lookup.py                     # 10k entries, then a short churn
    python tests/benchmarks/redis_lookup.py --sizes 10000 100000 --partitions 1000 --churn 30
    python tests/benchmarks/redis_lookup.py --vectors my.npy    # embeddings of your own prompts, (n, dim)

Look-ups of the layouts alternate in one run. Beside them: fetching every embedding into Python, and redisvl's
SemanticCache if it is installed.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

# On few processors numpy's threads take them from the servers that are measured.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.churn import churn
from support.measuring import enlarged, made_vectors, noise, show, timed, units
from support.redis_servers import COMMANDS, LAYOUTS, Server, running
from support.redis_storages import maker, mirrored_bytes

from recallm.records import Entry
from recallm.storage.redis.storage import RedisStorage

if TYPE_CHECKING:
    from numpy.typing import NDArray

THRESHOLD = 0.92
LIMIT = 16
PAYLOAD = b"\x01s" + b"an answer of a few sentences. " * 16


def used_bytes(server: Server) -> int:
    """Return the memory that a server's data take."""
    with server.client() as client:
        return int(client.info("memory")["used_memory"])


class Bench:
    """One layout on one server, filled step by step.

    Args:
        kind: kind of server.
        server: where it runs.
        vectors: what to store, in this order.
        partitions: how many partitions they are spread over.
    """

    def __init__(self, kind: str, server: Server, vectors: NDArray[np.float32], *, partitions: int = 1) -> None:
        self.name = f"{LAYOUTS[kind]} ({kind})"
        self.storage = RedisStorage.from_url(server.url, layout=LAYOUTS[kind], timeout=5.0, prefix=f"b{partitions}")
        self.vectors = vectors
        self.partitions = partitions
        self.server = server
        self.stored = 0
        self.puts: list[float] = []
        self.began_bytes = used_bytes(server)

    def entry(self, at: int) -> Entry:
        """Return the entry of one vector."""
        partition = f"p{at % self.partitions}"
        return Entry(f"key-{at}", "bench", partition, f"prompt number {at}", self.vectors[at], PAYLOAD)

    def fill(self, count: int) -> None:
        """Store entries until there are `count`."""
        epoch = self.storage.recall("bench", "none").epoch
        for at in range(self.stored, count):
            assert timed(partial(self.storage.put, self.entry(at), epoch, None), self.puts).kept
        self.stored = count

    def look_up(self, query: NDArray[np.float32], partition: int) -> list[str]:
        """Return the keys that one look-up finds."""
        found = self.storage.search("bench", f"p{partition}", query, THRESHOLD, LIMIT)
        return [candidate.entry.key for candidate in found]

    def truth(self, query: NDArray[np.float32], partition: int) -> list[str]:
        """Return the keys that brute force finds."""
        ours = self.vectors[partition : self.stored : self.partitions]
        near = np.flatnonzero(ours @ query >= THRESHOLD - 1e-5)
        exact = ours[near].astype(np.float64) @ query.astype(np.float64)
        places = partition + self.partitions * near
        best = sorted((-cosine, f"key-{at}") for at, cosine in zip(places, exact, strict=True) if cosine >= THRESHOLD)
        return [key for _, key in best[:LIMIT]]

    def warm_up(self) -> None:
        """Look up until a mirror has caught up."""
        for _ in range(20 + self.stored // 400):
            self.look_up(self.vectors[0], 0)


def lookups(benches: Sequence[Bench], queries: int) -> None:
    """Compare look-ups, one after the other on each layout, with brute force."""
    random = np.random.default_rng(3)
    times: dict[str, list[float]] = {bench.name: [] for bench in benches}
    wanted, missed = dict.fromkeys(times, 0), dict.fromkeys(times, 0)
    for bench in benches:
        bench.warm_up()
        for partition in range(1, bench.partitions):
            bench.look_up(bench.vectors[partition], partition)
    asked = [_query(benches[0], random) for _ in range(queries)]
    # Brute force beforehand: its threads would take the processor from what is timed.
    truths = [benches[0].truth(query, at % benches[0].partitions) for at, query in asked]
    for (at, query), truth in zip(asked, truths, strict=True):
        for bench in benches:
            partition = at % bench.partitions
            found = timed(partial(bench.look_up, query, partition), times[bench.name])
            wanted[bench.name] += len(truth)
            missed[bench.name] += len(set(truth) - set(found))
    for name, seconds in times.items():
        recall = 1 - missed[name] / max(1, wanted[name])
        show(f"{name}: look-up, recall {recall:.4f} of {wanted[name]}", seconds)


def _query(bench: Bench, random: np.random.Generator) -> tuple[int, NDArray[np.float32]]:
    """Return the number of a stored vector, and a vector near it."""
    at = int(random.integers(bench.stored))
    return at, units(bench.vectors[at][None] + noise(random, (1, bench.vectors.shape[1]), 0.3))[0]


def the_rest(bench: Bench) -> None:
    """Time stores, exact hits, sizes and invalidation, and print the memory that an entry takes."""
    storage = bench.storage
    hits: list[float] = []
    sizes: list[float] = []
    for at in range(300):
        assert timed(partial(storage.recall, "bench", f"key-{at}"), hits).candidate is not None
        assert timed(lambda: storage.sizes(["bench"]), sizes) == {"bench": bench.stored}
    per_entry = (used_bytes(bench.server) - bench.began_bytes) / bench.stored
    mirrored = mirrored_bytes(storage) / bench.stored
    show(f"{bench.name}: store", bench.puts)
    show(f"{bench.name}: exact hit", hits)
    show(f"{bench.name}: size", sizes)
    gone: list[float] = []
    assert timed(lambda: storage.invalidate("bench"), gone) == bench.stored
    show(f"{bench.name}: invalidate {bench.stored}", gone)
    print(f"  {bench.name}: {per_entry:.0f} bytes an entry in the server, {mirrored:.0f} in the process")


def fetch_everything(server: Server, vectors: NDArray[np.float32], rounds: int) -> None:
    """Time the layout in which every look-up fetches all embeddings."""
    with server.client() as client:
        for at, vector in enumerate(vectors):
            client.hset(f"all:{at}", "v", vector.tobytes())
        times: list[float] = []

        def look_up() -> float:
            pipe = client.pipeline(transaction=False)
            for at in range(len(vectors)):
                pipe.hget(f"all:{at}", "v")
            rows = np.frombuffer(b"".join(pipe.execute()), dtype="<f4").reshape(len(vectors), -1)
            return float((rows @ vectors[0]).max())

        for _ in range(rounds):
            timed(look_up, times)
        show(f"fetch everything, {len(vectors)} entries: look-up", times)


def redisvl_cache(server: Server, vectors: NDArray[np.float32], queries: int) -> None:
    """Time redisvl's SemanticCache on the query engine, if it is installed."""
    try:
        from redisvl.extensions.cache.llm import SemanticCache
        from redisvl.utils.vectorize import CustomVectorizer
    except ImportError:
        print("  redisvl is not installed: pip install redisvl")
        return
    dim = vectors.shape[1]
    vectorizer = CustomVectorizer(embed=lambda _text: [0.1] * dim)
    theirs = SemanticCache(name="theirs", distance_threshold=1 - THRESHOLD, vectorizer=vectorizer, redis_url=server.url)
    answer = PAYLOAD.decode("latin-1")
    for at, vector in enumerate(vectors):
        theirs.store(prompt=f"prompt number {at}", response=answer, vector=vector.tolist())
    times: list[float] = []
    random = np.random.default_rng(3)
    for _ in range(queries):
        at = int(random.integers(len(vectors)))
        query = units(vectors[at][None] + noise(random, (1, dim), 0.3))[0].tolist()
        timed(partial(theirs.check, vector=query, num_results=LIMIT), times)
    show(f"redisvl SemanticCache, {len(vectors)} entries: look-up", times)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000], help="entries in one partition")
    parser.add_argument("--partitions", type=int, default=0, help="also spread the largest size over so many")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--vectors", type=Path, help="an .npy file of embeddings")
    parser.add_argument("--kinds", nargs="+", default=[kind for kind in LAYOUTS if kind != "debian"])
    parser.add_argument("--churn", type=float, default=5.0, help="seconds of eight processes at work")
    given = parser.parse_args()
    count = max(given.sizes)
    base = made_vectors(count, given.dim, 1) if given.vectors is None else units(np.load(given.vectors))
    vectors = enlarged(base, count)
    kinds = [kind for kind in given.kinds if kind in COMMANDS]
    with ExitStack() as stack:
        servers = {kind: stack.enter_context(running(kind)) for kind in kinds}
        benches = [Bench(kind, servers[kind], vectors) for kind in kinds]
        for size in sorted(given.sizes):
            print(f"{size} entries in one partition, {vectors.shape[1]} dimensions")
            for bench in benches:
                bench.fill(size)
            lookups(benches, given.queries)
        for bench in benches:
            the_rest(bench)
        if given.partitions:
            print(f"{count} entries in {given.partitions} partitions")
            for server in servers.values():
                server.empty()
            spread = [Bench(kind, servers[kind], vectors, partitions=given.partitions) for kind in kinds]
            for bench in spread:
                bench.fill(count)
            lookups(spread, given.queries)
        if "search" in servers:
            print("others")
            servers["search"].empty()
            small = vectors[: min(given.sizes)]
            fetch_everything(servers["search"], small, rounds=10)
            redisvl_cache(servers["search"], small, given.queries)
        if given.churn:
            for kind, server in servers.items():
                server.empty()
                print(f"churn on {kind}: {churn(maker(server.url, LAYOUTS[kind]), seconds=given.churn)}")


if __name__ == "__main__":
    main()
