"""Round trips, commands, bytes and time of whole calls on Redis behind a network, for each layout, sync and async.

    python tests/benchmarks/redis_round_trips.py                              # 10k entries, 0, 1, 3 and 10 ms
    python tests/benchmarks/redis_round_trips.py --sizes 10000 100000 --delays 3 --ways sync
    python tests/benchmarks/redis_round_trips.py --embed 5                    # an embedding takes 5 ms, like a model
    python tests/benchmarks/redis_round_trips.py --crowd 200                  # also: the longest stall of the loop

A proxy in this process delays what passes: ``--delays`` are milliseconds for a whole round trip, half in each
direction. A round trip is counted when a client begins to send after it has been sent something. Entries are filled in
through the same functions without a delay. Beside the layouts, in the same run: redisvl's SemanticCache on the query
engine, if it is installed. Its semantic hit is a
check, its miss a check and a store; it keeps no embeddings, and knows no exact hit. The peers take turns, call by call.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

# On few processors numpy's threads take them from the servers that are measured.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.delay_proxy import DelayProxy, Traffic
from support.redis_servers import COMMANDS, LAYOUTS, running

from recallm import CacheConfig, SemanticCache, semantic_cache
from recallm.storage.redis.storage import RedisStorage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recallm.typing import Vector

Ways: TypeAlias = Sequence[str]
"""Which functions are measured: "sync", "async" or both."""

DIM = 384
THRESHOLD = 0.92
ANSWER = "an answer of a few sentences. " * 16
CASES = (
    "exact hit",
    "semantic hit, embedding new",
    "semantic hit, embedding known",
    "miss, embedding new",
    "miss, embedding known",
)


class Table:
    """An embedder of a given slowness: ``"7"`` is row 7, ``"7~3"`` lies near it, and ``"new 3"`` near no row."""

    model_id = "table"
    threads = 8
    seconds = 0.0

    def __init__(self, rows: int) -> None:
        random = np.random.default_rng(0)
        scales = 1.0 / np.sqrt(np.arange(1, DIM + 1))
        centres = random.standard_normal((max(1, rows // 5), DIM)) * scales
        found = centres[random.integers(len(centres), size=rows)] + 0.5 * random.standard_normal((rows, DIM)) * scales
        self.rows = unit(found)

    def embed(self, text: str) -> Vector:
        """Return the vector of a prompt, after the time that a model takes."""
        time.sleep(self.seconds)
        return self.vector(text)

    def vector(self, text: str) -> Vector:
        """Return the vector of a prompt at once."""
        row, near, number = text.partition("~")
        if near:
            random = np.random.default_rng(int(number))
            return unit(self.rows[int(row)] + random.standard_normal(DIM) * (0.3 / np.sqrt(DIM)))
        if row.startswith("new"):
            return unit(np.random.default_rng(int(row[4:])).standard_normal(DIM))
        vector: Vector = self.rows[int(row)]
        return vector

    def truth(self, text: str) -> int | None:
        """Return the row that brute force finds for a prompt; None if the best two are too close to call."""
        cosines = self.rows @ self.vector(text)
        second, best = np.argsort(cosines)[-2:]
        clear = cosines[best] - max(cosines[second], THRESHOLD) > 1e-5
        return int(best) if clear else None


def unit(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Return rows of unit length."""
    found: NDArray[np.float32] = (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)
    return found


class Peer:
    """A cache that is measured: one layout of recallm, or redisvl.

    Args:
        name: what to call it in the table.
        ask: answers a prompt from the cache, or computes and stores the answer.
        aask: the same for async code.
        knows: whether it keeps embeddings, so that a semantic hit differs by whether the embedding is known.
        fill: stores rows up to a number.
        embed: has the embedding of a prompt known beforehand; None: embeddings are not kept.
    """

    def __init__(
        self,
        name: str,
        ask: Callable[[str], Any],
        aask: Callable[[str], Awaitable[Any]],
        fill: Callable[[asyncio.Runner, int, Ways], object],
        embed: Callable[[str], object] | None = None,
    ) -> None:
        self.name, self.ask, self.aask, self.fill, self.embed = name, ask, aask, fill, embed


def fill_sync(ask: Any, start: int, count: int) -> None:
    """Store rows, and look up until a mirror has caught up."""
    for row in range(start, count):
        ask.refresh(str(row))
    for row in range(20 + count // 400):
        ask(f"{row % count}~{row}")


async def fill_async(ask: Any, start: int, count: int) -> None:
    """Store rows, and look up until a mirror has caught up."""
    for row in range(start, count):
        await ask.arefresh(str(row))
    for row in range(20 + count // 400):
        await ask(f"{row % count}~{row}")


def of_layout(kind: str, port: int, table: Table) -> Peer:
    """Return recallm on a server, through decorated functions that answer with the prompt."""
    elsewhere = SemanticCache("memory://", CacheConfig(threshold=THRESHOLD), table, guards=())
    storage = RedisStorage.from_url(f"redis://127.0.0.1:{port}/0", layout=LAYOUTS[kind], timeout=10.0)
    options: dict[str, Any] = {"context": {}, "storage": storage, "embedder": table, "guards": ()}
    options |= {"threshold": THRESHOLD, "namespace": "bench", "ttl": 86_400.0}
    options["config"] = CacheConfig(cache_timeout_seconds=10.0)

    @semantic_cache(**options)
    def ask(prompt: str) -> str:
        return f"{prompt}: {ANSWER}"

    @semantic_cache(**options)
    async def aask(prompt: str) -> str:
        return f"{prompt}: {ANSWER}"

    def same(prompt: str) -> str:
        return prompt

    embed = elsewhere.wrap(same, context={})

    filled = 0

    def fill(runner: asyncio.Runner, count: int, ways: Ways) -> None:
        nonlocal filled
        if "sync" in ways:
            fill_sync(ask, filled, count)
        if "async" in ways:
            runner.run(fill_async(aask, filled, count))
        filled = count

    return Peer(f"{LAYOUTS[kind]} ({kind})", ask, aask, fill, embed)


def of_redisvl(port: int, table: Table) -> Peer | None:
    """Return redisvl's SemanticCache, if it is installed."""
    try:
        from redisvl.extensions.cache.llm import SemanticCache as RedisvlCache
        from redisvl.utils.vectorize import CustomVectorizer
    except ImportError:
        print("redisvl is not installed (pip install redisvl): it is left out")
        return None
    vectorizer = CustomVectorizer(embed=lambda _text: [0.1] * DIM)
    url = f"redis://127.0.0.1:{port}/0"
    # Without a time to live, which would cost its hits a round trip more: it prolongs what it finds.
    cache = RedisvlCache(name="theirs", distance_threshold=1 - THRESHOLD, vectorizer=vectorizer, redis_url=url)

    def ask(prompt: str) -> str:
        vector = table.embed(prompt).tolist()
        found = cache.check(vector=vector)
        if found:
            return str(found[0]["response"])
        answer = f"{prompt}: {ANSWER}"
        cache.store(prompt=prompt, response=answer, vector=vector)
        return answer

    async def aask(prompt: str) -> str:
        vector = (await asyncio.to_thread(table.embed, prompt)).tolist()
        found = await cache.acheck(vector=vector)
        if found:
            return str(found[0]["response"])
        answer = f"{prompt}: {ANSWER}"
        await cache.astore(prompt=prompt, response=answer, vector=vector)
        return answer

    filled = 0

    def fill(_runner: asyncio.Runner, count: int, _ways: Ways) -> None:
        nonlocal filled
        for row in range(filled, count):
            cache.store(prompt=str(row), response=f"{row}: {ANSWER}", vector=table.rows[row].tolist())
        filled = count

    return Peer("redisvl (search)", ask, aask, fill)


class Prompts:
    """Prompts for each case, none of which is asked twice but where it has to be known.

    Args:
        table: the embedder.
        rows: how many rows are stored.
    """

    number = 0

    def __init__(self, table: Table, rows: int) -> None:
        self.table, self.rows = table, rows
        self._random = np.random.default_rng(11)

    def near(self) -> tuple[str, int]:
        """Return a prompt near a row, and the row that is nearest to it."""
        while True:
            Prompts.number += 1
            prompt = f"{int(self._random.integers(self.rows))}~{Prompts.number}"
            truth = self.table.truth(prompt)
            if truth is not None:
                return prompt, truth

    def new(self) -> str:
        """Return a prompt that nothing stored is near."""
        Prompts.number += 1
        return f"new {Prompts.number}"


class Measured:
    """Times and traffic of one case."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.traffic: list[Traffic] = []
        self.right = self.asked = 0

    def row(self) -> str:
        """Return the figures as a line: medians, but the 99th percentile of the time too."""
        p50, p99 = (1000 * float(each) for each in np.percentile(self.seconds, [50, 99]))

        def median(name: str) -> int:
            return int(np.median([getattr(each, name) for each in self.traffic]))

        counts = f"{median('round_trips'):3} trips {median('commands'):3} commands"
        wire = f"{median('sent'):6} B up {median('received'):6} B down"
        return f"p50 {p50:7.2f} ms  p99 {p99:7.2f} ms  {counts}  {wire}  right {self.right}/{self.asked}"

    def beside(self, theirs: Measured) -> str:
        """Return how many times the median of the last peer's these take, if that is redisvl."""
        if not theirs.asked or theirs is self:
            return ""
        return f"  {np.median(self.seconds) / np.median(theirs.seconds):.2f}x"


class Course:
    """The prompts of every case, asked of one peer behind one proxy, and what came of them."""

    def __init__(self, peer: Peer, proxy: DelayProxy, prompts: Prompts, samples: int) -> None:
        self.proxy, self.peer = proxy, peer
        self.results = {case: Measured() for case in CASES}
        self._prompts, self._samples = prompts, samples

    def steps(self) -> Iterator[tuple[str, str, str]]:
        """Yield (case, prompt, beginning of the right answer)."""
        for _ in range(self._samples):
            for how in ("new", "known"):
                prompt, truth = self._prompts.near()
                new = self._prompts.new()
                if how == "known" and self.peer.embed is None:
                    continue
                if how == "known" and self.peer.embed is not None:
                    self.peer.embed(prompt)
                    self.peer.embed(new)
                yield f"semantic hit, embedding {how}", prompt, f"{truth}:"
                yield f"miss, embedding {how}", new, f"{new}:"
            if self.peer.embed is not None:
                yield "exact hit", str(truth), f"{truth}:"

    def note(self, case: str, began: float, answer: object, right: str) -> None:
        """Note one call."""
        seconds = time.perf_counter() - began
        measured = self.results[case]
        measured.seconds.append(seconds)
        measured.traffic.append(self.proxy.traffic)
        measured.asked += 1
        measured.right += str(answer).startswith(right)

    def run(self) -> Iterator[None]:
        """Ask sync, one prompt each time this is advanced."""
        for case, prompt, right in self.steps():
            self.proxy.reset()
            began = time.perf_counter()
            self.note(case, began, self.peer.ask(prompt), right)
            yield

    def arun(self, runner: asyncio.Runner) -> Iterator[None]:
        """Ask async, one prompt each time this is advanced."""

        async def ask(case: str, prompt: str, right: str) -> None:
            self.proxy.reset()
            began = time.perf_counter()
            self.note(case, began, await self.peer.aask(prompt), right)

        for step in self.steps():
            runner.run(ask(*step))
            yield


def in_turns(walks: Sequence[Iterator[None]]) -> None:
    """Advance each in turn until all have ended."""
    for _ in zip_longest(*walks):
        pass


def compare(
    runner: asyncio.Runner,
    peers: Sequence[tuple[Peer, DelayProxy]],
    prompts: Prompts,
    given: argparse.Namespace,
) -> None:
    """Measure every peer at every delay, sync and async, and print a table."""
    for delay in given.delays:
        for way in given.ways:
            courses = []
            for peer, proxy in peers:
                proxy.round_trip_ms = delay
                courses.append(Course(peer, proxy, prompts, given.samples))
                peer.ask("0") if way == "sync" else runner.run(asked(peer))
            prompts.table.seconds = given.embed / 1000
            in_turns([course.run() if way == "sync" else course.arun(runner) for course in courses])
            prompts.table.seconds = 0.0
            for _, proxy in peers:
                proxy.round_trip_ms = 0.0
            print(f"{prompts.rows} entries, {delay:g} ms a round trip, {given.embed:g} ms an embedding, {way}")
            for case in CASES:
                for course in courses:
                    if course.results[case].asked:
                        beside = course.results[case].beside(courses[-1].results[case.replace("known", "new")])
                        print(f"  {case:<29} {course.peer.name:<22} {course.results[case].row()}{beside}", flush=True)


async def asked(peer: Peer) -> None:
    """Ask once, so that there is a connection."""
    await peer.aask("0")


async def stall(peer: Peer, proxy: DelayProxy, prompts: Prompts, tasks: int) -> None:
    """Print the longest time that the event loop was held while many tasks call at once, and their connections.

    On a busy machine the loop is also held by other processes; its thread's own processor time tells how long by us.
    """
    longest, busiest, done = 0.0, 0.0, False

    async def watch() -> None:
        nonlocal longest, busiest
        while not done:
            began, began_busy = time.perf_counter(), time.thread_time()
            await asyncio.sleep(0)
            longest = max(longest, time.perf_counter() - began)
            busiest = max(busiest, time.thread_time() - began_busy)
            await asyncio.sleep(0.001)

    await peer.aask("0")
    proxy.reset()
    # What brute force takes would be held against the loop.
    ready = Prompts(prompts.table, prompts.rows)
    asked = [(ready.near()[0], ready.new()) for _ in range(3 * tasks)]

    async def one(place: int) -> None:
        for near, new in asked[place::tasks]:
            await peer.aask(near)
            await peer.aask(new)

    watcher = asyncio.create_task(watch())
    began = time.perf_counter()
    ended = await asyncio.gather(*(one(place) for place in range(tasks)), return_exceptions=True)
    seconds = time.perf_counter() - began
    done = True
    await watcher
    what = f"{tasks} tasks, {2 * len(asked)} calls in {seconds:.2f} s"
    held = f"longest stall {1000 * longest:.1f} ms ({1000 * busiest:.1f} of its own)"
    raised = sum(isinstance(each, Exception) for each in ended)
    print(f"  {peer.name:<22} {what}: {held}, {proxy.traffic.connections} connections, {raised} tasks raised")


@contextmanager
def proxied(port: int) -> Iterator[DelayProxy]:
    """Run a proxy for a while."""
    proxy = DelayProxy(port)
    try:
        yield proxy
    finally:
        proxy.close()


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000], help="entries in one partition")
    parser.add_argument("--delays", type=float, nargs="+", default=[0.0, 1.0, 3.0, 10.0], help="ms of a round trip")
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--embed", type=float, default=0.0, help="ms of an embedding")
    parser.add_argument("--kinds", nargs="+", default=[kind for kind in LAYOUTS if kind != "debian"])
    parser.add_argument("--ways", nargs="+", default=["sync", "async"], help="sync, async or both")
    parser.add_argument("--crowd", type=int, default=0, help="also let so many tasks call at once")
    given = parser.parse_args()
    table = Table(max(given.sizes))
    with ExitStack() as stack, asyncio.Runner() as runner:
        peers: list[tuple[Peer, DelayProxy]] = []
        for kind in [each for each in given.kinds if each in COMMANDS]:
            proxy = stack.enter_context(proxied(stack.enter_context(running(kind)).port))
            peers.append((of_layout(kind, proxy.port, table), proxy))
        if "search" in COMMANDS:
            proxy = stack.enter_context(proxied(stack.enter_context(running("search")).port))
            redisvl = of_redisvl(proxy.port, table)
            if redisvl is not None:
                peers.append((redisvl, proxy))
        for size in sorted(given.sizes):
            for peer, _ in peers:
                began = time.perf_counter()
                peer.fill(runner, size, given.ways)
                print(f"{peer.name}: filled to {size} in {time.perf_counter() - began:.1f} s", flush=True)
            prompts = Prompts(table, size)
            compare(runner, peers, prompts, given)
            if given.crowd:
                for peer, proxy in peers:
                    proxy.round_trip_ms = max(given.delays)
                    runner.run(stall(peer, proxy, prompts, given.crowd))
                    proxy.round_trip_ms = 0.0


if __name__ == "__main__":
    main()
