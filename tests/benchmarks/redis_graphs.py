"""What the graphs of the server's indexes find and cost, by the numbers that they are built and searched with.

    python tests/benchmarks/redis_graphs.py                                   # 20k vectors
    python tests/benchmarks/redis_graphs.py --size 100000 --links 16 32 --building 200 --searching 200 500 1000

Vectors are put on the server in pipelines of the layouts' own commands, and searched for by these. Recall is the share
of the stored vectors at or above the threshold, by brute force, that a search finds; `missed best` counts the searches
that do not find the nearest one. The times are the server's, of a processor.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.measuring import made_vectors, noise, units
from support.redis_servers import COMMANDS, Server, running

from recallm.storage.redis import layouts
from recallm.storage.redis.keys import EntryVersion, NamespaceKeys, digest, partition_digest
from recallm.storage.redis.layouts import QueryEngine, VectorQuery, VectorSets

if TYPE_CHECKING:
    from numpy.typing import NDArray

THRESHOLD = 0.92
COUNT = 16
AT_ONCE = 1000

KEYS = NamespaceKeys("graphs", "bench").of_generation("g")


def version(at: int, dim: int) -> EntryVersion:
    """Return the version of the vector at a place."""
    return EntryVersion(at.to_bytes(12, "big"), digest(f"key {at}"), partition_digest("p", dim))


def fill(client: Any, layout: QueryEngine | VectorSets, vectors: NDArray[np.float32]) -> None:
    """Store vectors; each is in the index when its command is answered."""
    dim = vectors.shape[1]
    if isinstance(layout, QueryEngine):
        client.execute_command(*layout.create_command(dim))
    for start in range(0, len(vectors), AT_ONCE):
        pipe = client.pipeline(transaction=False)
        for at, vector in enumerate(vectors[start : start + AT_ONCE], start):
            each = version(at, dim)
            fields = {b"v": vector.tobytes(), **layout.index_fields(KEYS, each)}
            if isinstance(layout, QueryEngine):
                pipe.hset(KEYS.entry(each.key), mapping=fields)
            for command in layout.add_commands(KEYS, each, vector):
                pipe.execute_command(*command)
        pipe.execute()


def search(client: Any, layout: QueryEngine | VectorSets, query: NDArray[np.float32]) -> set[bytes]:
    """Return the digests of the keys that a search finds."""
    asked = VectorQuery(KEYS, partition_digest("p", query.size), query, THRESHOLD, COUNT)
    sent = layout.search_commands(asked)
    found = layout.parse_search(asked, sent, [client.execute_command(*command) for command in sent])
    return set() if found is None else {key for key, _ in found.found}


def spent(client: Any) -> float:
    """Return how many seconds of processor time the server has taken so far, however busy the machine is."""
    taken = client.info("cpu")
    return float(taken["used_cpu_user"] + taken["used_cpu_sys"])


def measure(
    server: Server,
    vectors: NDArray[np.float32],
    queries: NDArray[np.float32],
    truths: Sequence[Sequence[bytes]],
    given: argparse.Namespace,
) -> None:
    """Fill a server with each graph, and search it with each effort."""
    for links in given.links:
        for building in given.building:
            layouts.SEARCH_LINKS, layouts.VECTOR_SET_LINKS, layouts.BUILDING_EFFORT = links, links, building
            layout = QueryEngine("graphs") if server.kind == "search" else VectorSets()
            with server.client() as client:
                client.flushall()
                before, since = client.info("memory")["used_memory"], spent(client)
                fill(client, layout, vectors)
                used = (client.info("memory")["used_memory"] - before) / len(vectors)
                taken_ms = 1000 * (spent(client) - since) / len(vectors)
                graph = f"{server.kind}, {len(vectors)} vectors, M {links}, EF_CONSTRUCTION {building}"
                print(f"{graph}: {taken_ms:.3f} ms and {used:.0f} bytes a vector", flush=True)
                for effort in given.searching:
                    layouts.SEARCH_EFFORT = effort
                    wanted = missed = best = 0
                    since = spent(client)
                    for query, truth in zip(queries, truths, strict=True):
                        found = search(client, layout, query)
                        wanted, missed = wanted + len(truth), missed + len(set(truth) - found)
                        best += bool(truth) and truth[0] not in found
                    taken_ms = 1000 * (spent(client) - since) / len(queries)
                    recall = f"recall {1 - missed / max(1, wanted):.5f}, {missed} of {wanted} missed"
                    print(f"  EF {effort:<5} {recall}, missed best {best}, {taken_ms:.3f} ms a search", flush=True)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--links", type=int, nargs="+", default=[16, 32])
    parser.add_argument("--building", type=int, nargs="+", default=[layouts.BUILDING_EFFORT])
    parser.add_argument("--searching", type=int, nargs="+", default=[100, 200, 500, 1000])
    parser.add_argument("--kinds", nargs="+", default=["search", "vectorset"])
    given = parser.parse_args()
    vectors = made_vectors(given.size, given.dim, 1)
    random = np.random.default_rng(3)
    near = vectors[random.integers(len(vectors), size=given.queries)]
    queries = units(near + noise(random, near.shape, 0.3))
    truths = []
    for start in range(0, len(queries), AT_ONCE // 10):
        for similarities in queries[start : start + AT_ONCE // 10] @ vectors.T:
            places = np.flatnonzero(similarities >= THRESHOLD)
            best = places[np.argsort(-similarities[places])][:COUNT]
            truths.append([digest(f"key {at}") for at in best])
    for kind in given.kinds:
        if kind in COMMANDS:
            with running(kind) as server:
                measure(server, vectors, queries, truths, given)


if __name__ == "__main__":
    main()
