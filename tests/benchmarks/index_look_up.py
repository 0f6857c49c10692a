"""What an exact look-up in `VectorIndex` costs, beside the alternatives, in one process and interleaved.

Run with ``python tests/benchmarks/index_look_up.py --pairs pairs.jsonl --sizes 1000 10000 100000 1000000``.

Rows are the prompts of the pairs, embedded once by the offline model and kept beside the file (a share is
held out for queries), then mixtures of them up to the size asked for: ``x + 0.5 (y - z)`` of three random
rows, divided by its norm, which keeps their second moments. Without pairs, clustered rows with a decaying
spectrum are generated. Queries are held-out rows, mixtures and small perturbations of stored rows; for each
threshold they are told apart into hits and misses by a full product. Alternatives (faiss-cpu, usearch,
hnswlib) that are not installed are left out; threadpoolctl is needed for the figures with one BLAS thread.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import os
import platform
import threading
import time
import tracemalloc
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any

import numpy as np

from recallm import FastEmbedEmbedder
from recallm.embedders.managed import ManagedEmbedder
from recallm.evaluation import judge as judging
from recallm.evaluation.pairs import labelled
from recallm.storage.index.vector_index import VectorIndex

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    LookUp = Callable[[Floats, float], object]

LIMIT = 16
QUERIES = 25
DIM = 384


def unit(rows: NDArray[Any]) -> Floats:
    """Divide rows by their norms."""
    units: Floats = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return units


def mixtures(pool: Floats, n: int, share: float, *, rng: np.random.Generator) -> Floats:
    """Return n rows ``x + share * (y - z)`` of random rows of the pool, in unit length."""
    rows = np.empty((n, pool.shape[1]), np.float32)
    for start in range(0, n, 20_000):
        x, y, z = rng.integers(0, len(pool), (3, min(20_000, n - start)))
        rows[start : start + len(x)] = unit(pool[x] + share * (pool[y] - pool[z]))
    return rows


def generated(n: int, *, rng: np.random.Generator) -> Floats:
    """Return clustered rows whose variances decay along the axes, for want of real embeddings."""
    scales = (1.0 + np.arange(DIM) / 12.0) ** -1.0
    centres = rng.standard_normal((n // 4, DIM)) * scales
    return unit(centres[rng.integers(0, len(centres), n)] + 0.4 * rng.standard_normal((n, DIM)) * scales)


def embedded(path: Path) -> Floats:
    """Return the embeddings of both prompts of each pair, made by the offline model on first use."""
    kept = path.with_suffix(".npy") if os.access(path.parent, os.W_OK) else Path(gettempdir()) / f"{path.stem}.npy"
    if not kept.exists():
        pairs = labelled(path).pairs
        texts = [text for pair in pairs for text in (pair.a, pair.b)]
        vectors = judging.embedded(list(dict.fromkeys(texts)), ManagedEmbedder(FastEmbedEmbedder.offline()))
        np.save(kept, np.array([vector for vector in vectors.values() if vector is not None]))
    rows: Floats = np.load(kept)
    return unit(rows)


class Data:
    """Rows to store and queries to ask, from given or generated embeddings."""

    def __init__(self, pool: Floats, largest: int) -> None:
        self.rng = np.random.default_rng(0)
        pool = pool[self.rng.permutation(len(pool))]
        self.held_out, self.pool = pool[:400], pool[400:]
        extra = mixtures(self.pool, max(0, largest - len(self.pool)), 0.5, rng=self.rng)
        self.rows = np.concatenate((self.pool[:largest], extra))

    def queries(self, n: int, thresholds: Sequence[float]) -> dict[tuple[float, str], Floats]:
        """Return up to `QUERIES` hits and misses for each threshold over the first n rows."""
        near = self.rows[self.rng.integers(0, n, 300)]
        spread = self.rng.uniform(0.02, 0.6, (300, 1)).astype(np.float32)
        y, z = self.pool[self.rng.integers(0, len(self.pool), (2, 300))]
        asked = np.concatenate(
            (self.held_out, mixtures(self.pool, 300, 1.0, rng=self.rng), unit(near + spread * (y - z)))
        )
        best = np.full(len(asked), -1.0, np.float32)
        for start in range(0, n, 20_000):
            best = np.maximum(best, (self.rows[start : min(start + 20_000, n)] @ asked.T).max(axis=0))
        order = self.rng.permutation(len(asked))
        chosen = {}
        for threshold in thresholds:
            chosen[threshold, "miss"] = asked[order[best[order] < threshold - 1e-4][:QUERIES]]
            chosen[threshold, "hit"] = asked[order[best[order] > threshold + 1e-4][:QUERIES]]
        return chosen


def filled(rows: Floats) -> tuple[VectorIndex, NDArray[np.float64], int]:
    """Fill an index; return it, each put's seconds, and the bytes of resident memory it took."""
    gc.collect()
    before = resident()
    index = VectorIndex(rows.shape[1])
    seconds = np.empty(len(rows))
    for number, row in enumerate(rows):
        key = f"{number:032x}"
        start = time.perf_counter()
        index.put(key, row)
        seconds[number] = time.perf_counter() - start
    return index, seconds, resident() - before - seconds.nbytes


def resident() -> int:
    """Bytes of this process in memory (Linux), else 0."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0


def plain(rows: Floats, query: Floats, threshold: float) -> list[tuple[int, float]]:
    """Answer as the index does, places for keys, by a product with all rows."""
    cosines = rows @ query
    places = np.flatnonzero(cosines >= threshold)
    return sorted(zip(places.tolist(), cosines[places].tolist(), strict=True), key=lambda row: -row[1])[:LIMIT]


def contenders(rows: Floats, index: VectorIndex, options: argparse.Namespace) -> dict[str, LookUp]:
    """Name the ways of looking up that are installed and feasible at this size."""
    ways: dict[str, LookUp] = {
        "recallm": lambda query, threshold: index.search(query, threshold, limit=LIMIT),
        "matrix": partial(plain, rows),
    }
    n, dim = rows.shape
    if importlib.util.find_spec("faiss"):
        import faiss

        flat = faiss.IndexFlatIP(dim)
        flat.add(rows)
        ways["faiss flat"] = lambda query, _: flat.search(query[None], LIMIT)
        if n <= options.graphs_up_to:
            graph = faiss.IndexHNSWFlat(dim, 16, faiss.METRIC_INNER_PRODUCT)
            graph.hnsw.efSearch = 64
            graph.add(rows)
            ways["faiss HNSW"] = lambda query, _: graph.search(query[None], LIMIT)[1][0]
    if importlib.util.find_spec("usearch"):
        from usearch.index import MetricKind, search  # type: ignore[attr-defined,unused-ignore]

        own = rows.copy()  # or it would find in the processor's cache what the matrix has just read
        ways["usearch exact"] = lambda query, _: search(own, query, LIMIT, MetricKind.IP, exact=True)
    if importlib.util.find_spec("hnswlib") and n <= options.graphs_up_to:
        import hnswlib

        hnsw = hnswlib.Index("ip", dim)
        hnsw.init_index(n, M=16, ef_construction=100)
        hnsw.add_items(rows)
        hnsw.set_ef(64)
        ways["hnswlib"] = lambda query, _: hnsw.knn_query(query, k=min(LIMIT, n))[0][0]
    return ways


def recall(way: LookUp, rows: Floats, queries: Floats, threshold: float) -> float:
    """Return which share of the best rows at or above the threshold a graph returns."""
    found = wanted = 0
    for query in queries:
        cosines = rows @ query
        places = np.flatnonzero(cosines >= threshold)
        best = set(places[np.argsort(-cosines[places])][:LIMIT].tolist())
        got: Any = way(query, threshold)
        wanted += len(best)
        found += len(best & set(np.asarray(got).tolist()))
    return found / max(1, wanted)


def timed(ways: dict[str, LookUp], queries: Floats, threshold: float, repeats: int) -> dict[str, tuple[float, float]]:
    """Return each way's median and 95th percentile in microseconds; the ways take turns."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    order = list(ways.items())
    for _ in range(repeats):
        for query in queries:
            order = order[1:] + order[:1]
            for name, way in order:
                start = time.perf_counter()
                way(query, threshold)
                taken[name].append(1e6 * (time.perf_counter() - start))
    return {name: (float(np.median(us)), float(np.percentile(us, 95))) for name, us in taken.items()}


def blas_threads(count: int | None) -> AbstractContextManager[object]:
    """Limit the threads of every BLAS and OpenMP library loaded, if threadpoolctl is there to do so."""
    if count is None:
        return nullcontext()
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[object] = threadpool_limits(count)
    return limits


def look_ups(data: Data, n: int, index: VectorIndex, options: argparse.Namespace) -> None:
    """Print the table of look-ups at one size."""
    rows = data.rows[:n]
    ways = contenders(rows, index, options)
    chosen = data.queries(n, options.thresholds)
    for limit in (1, None):
        print(f"\n{n:,} rows, {'1 BLAS thread' if limit else 'default threads'}: median / p95 in microseconds")
        print(f"{'':>11}" + "".join(f"{name:>19}" for name in ways) + "   matrix/own  faiss flat/own")
        for (threshold, kind), queries in chosen.items():
            if not len(queries):
                print(f"{threshold:5} {kind:>4}  no such query among those drawn")
                continue
            with blas_threads(limit):
                for query in queries[:2]:
                    index.search(query, threshold)
                figures = timed(ways, queries, threshold, options.repeats)
            own = figures["recallm"][0]
            faiss = f"{figures['faiss flat'][0] / own:10.1f}" if "faiss flat" in figures else ""
            cells = "".join(f"{f'{median:,.0f} / {high:,.0f}':>19}" for median, high in figures.values())
            print(f"{threshold:5} {kind:>4} {cells}{figures['matrix'][0] / own:12.1f} {faiss}", flush=True)
    if n <= options.rebuild_up_to:
        # Not in turn with the others: it would empty the caches for whoever comes next.
        lists, query = rows.tolist(), data.held_out[0]
        taken = [_seconds(lambda: np.array(lists, np.float32) @ query) for _ in range(5)]
        print(f"rebuilt from lists at each look-up: {1e6 * float(np.median(taken)):,.0f}")
    for name in ("hnswlib", "faiss HNSW"):
        if name in ways:
            shares = [
                f"{recall(ways[name], rows, chosen[threshold, 'hit'], threshold):.3f} at {threshold}"
                for threshold in options.thresholds
            ]
            print(f"{name}: recall of the best {LIMIT} at or above the threshold {', '.join(shares)}")


def partitions(dim: int) -> None:
    """Print what thousands of tiny partitions take."""
    for each in (0, 1, 2, 5):
        rows = unit(np.random.default_rng(0).standard_normal((each + 1, dim)).astype(np.float32))
        keys = [f"{number:032x}" for number in range(each)]
        tracemalloc.start()
        kept = []
        for _ in range(2_000):
            index = VectorIndex(dim)
            for key, row in zip(keys, rows, strict=False):
                index.put(key, row)
            kept.append(index)
        taken = tracemalloc.get_traced_memory()[0] / len(kept)
        tracemalloc.stop()
        print(f"a partition of {each} rows: {taken:,.0f} bytes, of which vectors {each * dim * 4:,}")


def threads(data: Data, index: VectorIndex, seconds: float) -> None:
    """Print look-ups a second with several readers, alone and while one thread stores and deletes."""
    n = len(index)
    queries = data.queries(n, (0.92,))[0.92, "miss"]
    single = 0.0
    for readers, writing in ((1, False), (2, False), (8, False), (1, True), (2, True), (8, True)):
        stop = threading.Event()
        counts = [0] * (readers + 1)

        def read(which: int, counts: list[int] = counts, stop: threading.Event = stop) -> None:
            while not stop.is_set():
                index.search(queries[counts[which] % len(queries)], 0.92)
                counts[which] += 1

        def write(counts: list[int] = counts, stop: threading.Event = stop) -> None:
            while not stop.is_set():
                row = counts[-1] % n
                index.put("extra", data.rows[row])
                index.discard("extra")
                counts[-1] += 1

        running = [threading.Thread(target=read, args=(which,)) for which in range(readers)]
        running += [threading.Thread(target=write)] * writing
        for thread in running:
            thread.start()
        time.sleep(seconds)
        stop.set()
        for thread in running:
            thread.join()
        rate = sum(counts[:-1]) / seconds
        single = single or rate
        beside = f"beside {counts[-1] / seconds:,.0f} stores and deletes a second" if writing else "alone"
        print(f"{readers} readers {beside}: {rate:,.0f} look-ups a second ({rate / single:.2f} of one alone)")


def growth(data: Data, largest: int, path: Path) -> None:
    """Time look-ups while an index grows, print the curve and draw it beside memory bandwidth."""
    vector = np.ones(50_000_000, np.float32)
    with blas_threads(1):
        reads = min(_seconds(lambda: np.dot(vector, vector)) for _ in range(5))
    bandwidth = vector.nbytes / reads
    dim = data.rows.shape[1]
    print(f"\ngrowth, misses, 1 BLAS thread; memory is read at {bandwidth / 1e9:.1f} GB/s")
    marks = [int(mark) for mark in np.geomspace(250, largest, 1 + 3 * int(np.log10(largest / 250)))]
    curves: dict[str, list[float]] = {"recallm 0.85": [], "recallm 0.92": [], "matrix": []}
    index = VectorIndex(dim)
    for mark in marks:
        for number in range(len(index), mark):
            index.put(str(number), data.rows[number])
        chosen = data.queries(mark, (0.85, 0.92))
        with blas_threads(1):
            for threshold in (0.85, 0.92):
                ways: dict[str, LookUp] = {"own": index.search, "matrix": partial(plain, data.rows[:mark])}
                figures = timed(ways, chosen[threshold, "miss"], threshold, 1)
                curves[f"recallm {threshold}"].append(figures["own"][0])
            curves["matrix"].append(figures["matrix"][0])
        print(
            f"{mark:>9,} rows  " + "  ".join(f"{name} {curve[-1]:9,.0f} us" for name, curve in curves.items()),
            flush=True,
        )
    if importlib.util.find_spec("matplotlib"):
        import matplotlib as mpl

        mpl.use("Agg")
        import matplotlib.pyplot as plt

        for name, curve in curves.items():
            plt.loglog(marks, curve, marker="o", label=name)
        plt.loglog(
            marks,
            [1e6 * mark * dim * 4 / bandwidth for mark in marks],
            "k--",
            label="reading all vectors once",
        )
        plt.xlabel("rows")
        plt.ylabel("microseconds for a look-up, a miss")
        plt.legend()
        plt.grid(visible=True, which="both", alpha=0.3)
        plt.savefig(path, dpi=120)
        print(f"drawn in {path}")


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--thresholds", type=float, nargs="+", default=[0.70, 0.85, 0.92, 0.97])
    parser.add_argument("--pairs", type=Path, help="JSONL of pairs whose prompts are embedded; otherwise generated")
    parser.add_argument("--repeats", type=int, default=2, help=f"rounds over {QUERIES} queries")
    parser.add_argument("--graphs-up-to", type=int, default=10_000, help="build HNSW graphs up to this size")
    parser.add_argument("--rebuild-up-to", type=int, default=10_000, help="rebuild from lists up to this size")
    parser.add_argument("--plot", type=Path, help="also measure growth and draw it here")
    parser.add_argument("--threads", type=float, default=0.0, help="also read from threads, for so many seconds each")
    options = parser.parse_args()
    if options.pairs:
        pool, source = embedded(options.pairs), f"the prompts of {options.pairs.name}, and mixtures of them"
    else:
        pool, source = generated(16_000, rng=np.random.default_rng(1)), "generated clustered rows"
    data = Data(pool, max(options.sizes))
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, numpy {np.__version__}")
    print(f"rows: {source}; {data.rows.shape[1]} dimensions")
    partitions(data.rows.shape[1])
    for n in options.sizes:
        index, seconds, taken = filled(data.rows[:n])
        p50, p99, worst = np.percentile(seconds, [50, 99, 100])
        print(
            f"\n{n:,} rows: {taken / n:,.0f} resident bytes each ({taken / 1e9:.2f} GB, keys of 32 characters); "
            f"put median {1e6 * p50:.1f} us, p99 {1e6 * p99:.1f} us, worst {1e3 * worst:.1f} ms"
        )
        look_ups(data, n, index, options)
        if options.threads and n == min(100_000, max(options.sizes)):
            threads(data, index, options.threads)
        del index
    if options.plot:
        growth(data, max(options.sizes), options.plot)


if __name__ == "__main__":
    main()
