"""What audits of a live service tell: whether the interval holds the wrong rate, and when a budget stops the cache.

A service of some tenants is asked 20,000 times, by a Zipf law over the labelled pairs of tests/data/pairs_*.jsonl that
the offline model finds similar. Guards are off, and so many look-alikes are among the pairs that a given share of the
similar hits is wrong by label. Each seed has a traffic of its own. The true rate of a seed is that of its traffic: of
the similar hits, audited ones included, those whose stored answer was wrong by label.

All seeds are replayed: what is stored, which hits are similar, `is_drawn`, `interval` and `is_over` are the cache's,
without the rest of a call. Some go through the real flow as well: model, look-up, draw, audit in the background,
storing, stop. Without audits both must find the same hits, similar and wrong.

    python tests/benchmarks/live_proof.py [--seeds 100] [--calls 20000] [--flows 5]
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recallm import CacheConfig, FastEmbedEmbedder, ThreadSafeInMemoryStorage, semantic_cache
from recallm.engine.background import AUDITS
from recallm.telemetry.proof import RISK, closing_chances, expected_audits, interval, is_drawn, is_over

if TYPE_CHECKING:
    from numpy.typing import NDArray

DATA = Path(__file__).parents[1] / "data"
FILES = ("pairs_dev", "pairs_medical", "pairs_legal", "pairs_search")
THRESHOLD = 0.85
TENANTS = 8
EXPONENT = 1.0
"""The share of the calls of the n-th most frequent pair is in proportion to 1 / n ** EXPONENT."""

BUDGET = 0.01
PATIENT = CacheConfig(cache_timeout_seconds=60.0, embed_timeout_seconds=60.0)
"""A call that is given up on a busy machine would be none of the traffic."""

TEXTS_AT_ONCE = 64


class Labelled(NamedTuple):
    """Two prompts that are similar, and whether one answer is right for both."""

    a: str
    b: str
    same: bool


class Vectors(NamedTuple):
    """An embedder that looks up what the real model has embedded."""

    rows: Mapping[str, NDArray[np.float32]]
    model_id: str = "all-MiniLM-L6-v2, embedded beforehand"

    def embed(self, text: str) -> NDArray[np.float32]:
        """Return the vector of a prompt."""
        return self.rows[text]


@cache
def material(files: Sequence[str] = FILES) -> tuple[tuple[Labelled, ...], Vectors]:
    """Return the labelled pairs that the model finds similar, none of them to another, and the prompts' vectors."""
    rows = [json.loads(line) for name in files for line in (DATA / f"{name}.jsonl").read_text().splitlines()]
    vectors = embedded({text for row in rows for text in (row["a"], row["b"])})
    pairs: list[Labelled] = []
    taken: list[NDArray[np.float32]] = []
    for row in rows:
        if not {row["a"], row["b"]} <= vectors.keys():
            continue
        both = np.array([vectors[row["a"]], vectors[row["b"]]])
        apart = not taken or float((both @ np.array(taken).T).max()) < THRESHOLD - 1e-3
        if float(both[0] @ both[1]) >= THRESHOLD + 1e-3 and apart:
            pairs.append(Labelled(row["a"], row["b"], row["same"]))
            taken.extend(both)
    return tuple(pairs), Vectors(vectors)


def embedded(texts: set[str]) -> dict[str, NDArray[np.float32]]:
    """Return the unit vectors of those texts that the offline model represents."""
    model = FastEmbedEmbedder.offline()
    model.load()
    readable = sorted((text for text in texts if model.represents(text)), key=len)
    vectors: dict[str, NDArray[np.float32]] = {}
    for start in range(0, len(readable), TEXTS_AT_ONCE):
        part = readable[start : start + TEXTS_AT_ONCE]
        rows = np.asarray(model.embed_batch(part), dtype=np.float32)
        vectors.update(zip(part, rows / np.linalg.norm(rows, axis=1, keepdims=True), strict=True))
    return vectors


class Call(NamedTuple):
    """A call of the service: who asks what, what else is similar to it, and what is right for both."""

    tenant: int
    prompt: str
    other: str
    answer: str
    answer_of_other: str


def traffic(pairs: Sequence[Labelled], seed: int, calls: int, wrong_share: float) -> Iterator[Call]:
    """Yield the calls of one seed: pairs of tenants by a Zipf law, in an order and a mix of look-alikes of its own."""
    random = np.random.default_rng(seed)
    right = [(tenant, pair) for tenant in range(TENANTS) for pair in pairs if pair.same]
    alike = [(tenant, pair) for tenant in range(TENANTS) for pair in pairs if not pair.same]
    wrong = round(len(right) * wrong_share / (1 - wrong_share))
    items = [*right, *(alike[place] for place in random.choice(len(alike), wrong, replace=False))]
    weights = 1 / (1 + random.permutation(len(items))) ** EXPONENT
    chosen = random.choice(len(items), calls, p=weights / weights.sum())
    for place, turned in zip(chosen, random.random(calls) < 0.5, strict=True):
        tenant, pair = items[place]
        prompts = (pair.b, pair.a) if turned else (pair.a, pair.b)
        answers = (pair.a, pair.a) if pair.same else prompts
        yield Call(tenant, *prompts, *answers)


class Outcome(NamedTuple):
    """What came of one seed.

    Attributes:
        similar: similar hits, audited ones included, until the cache was stopped.
        wrong: those whose stored answer was wrong by label.
        audits: whether each audit found a wrong answer, in order.
        range: the interval of the wrong rate.
        kept: whether at each audit no more than the budget of the similar hits up to then were wrong.
        stopped_by: the audit after which similar hits were no longer served; None: they always were.
        stopped_at: how many calls there had been by then.
    """

    similar: int
    wrong: int
    audits: tuple[bool, ...]
    range: tuple[float, float]
    kept: bool
    stopped_by: int | None
    stopped_at: int | None

    @property
    def rate(self) -> float:
        """The true rate."""
        return self.wrong / self.similar

    @property
    def covers(self) -> bool:
        """Whether the interval holds the true rate."""
        return self.range[0] <= self.rate <= self.range[1]


class Asking(NamedTuple):
    """One way of asking the service.

    Attributes:
        ask: asks it once; returns whether a similar hit was audited (None: it was no similar hit) and whether the
            stored answer was wrong.
        is_stopped: whether similar hits are no longer served.
        range: returns the interval of the wrong rate.
    """

    ask: Callable[[Call], tuple[bool | None, bool]]
    is_stopped: Callable[[], bool]
    range: Callable[[], tuple[float, float]]


def asked(asking: Asking, calls: Iterator[Call]) -> Outcome:
    """Ask all these calls, or those until the cache is stopped, and return what comes of it."""
    similar = wrong = 0
    audits: list[bool] = []
    kept = True
    for number, call in enumerate(calls, start=1):
        audited, is_wrong = asking.ask(call)
        similar += audited is not None
        wrong += is_wrong
        if not audited:
            continue
        audits.append(is_wrong)
        kept = kept and wrong <= BUDGET * similar
        if is_wrong and asking.is_stopped():
            return Outcome(similar, wrong, tuple(audits), asking.range(), kept, len(audits), number)
    return Outcome(similar, wrong, tuple(audits), asking.range(), kept, None, None)


def replayed(seed: int, audit: float, max_wrong: float | None) -> Asking:
    """Return the service without the parts of a call that decide nothing here."""
    own: set[tuple[int, str]] = set()
    found: list[bool] = []
    turns = 0

    def ask(call: Call) -> tuple[bool | None, bool]:
        nonlocal turns
        place = call.tenant, call.prompt
        if place in own:
            return None, False
        if (call.tenant, call.other) not in own:
            own.add(place)
            return None, False
        drawn = is_drawn(f"{seed} {place}".encode(), turns, audit)
        turns += 1
        is_wrong = call.answer != call.answer_of_other
        if drawn:
            own.add(place)
            found.append(is_wrong)
        return drawn, is_wrong

    def is_stopped() -> bool:
        return max_wrong is not None and is_over(sum(found), len(found), max_wrong)

    return Asking(ask, is_stopped, lambda: interval(sum(found), len(found)))


def served(seed: int, audit: float, max_wrong: float | None, vectors: Vectors) -> Asking:
    """Return the service as a cached function."""
    right: dict[tuple[int, str], str] = {}
    called: list[tuple[int, str]] = []
    found: list[bool] = []
    own: set[tuple[int, str]] = set()

    def same(_prompt: str, cached: object, response: object) -> bool:
        found.append(cached != response)
        return cached == response

    @semantic_cache(
        threshold=THRESHOLD,
        guards=(),
        context=lambda kw: {"seed": seed, "tenant": kw["tenant"]},
        embedder=vectors,
        storage=ThreadSafeInMemoryStorage(),
        audit=audit,
        same=same,
        max_wrong=max_wrong,
        version="1",
        config=PATIENT,
    )
    def answer(question: str, *, tenant: int) -> str:
        called.append((tenant, question))
        return right[tenant, question]

    def ask(call: Call) -> tuple[bool | None, bool]:
        place = call.tenant, call.prompt
        right[place] = call.answer
        audits = len(found)
        got = answer(call.prompt, tenant=call.tenant)
        if len(called) == len(own):  # A hit: an exact one once the function has been called for this very prompt.
            return (None if place in own else False), got != call.answer
        own.add(place)
        drain()
        return (True, found[-1]) if len(found) > audits else (None, False)

    def wrong_rate_interval() -> tuple[float, float]:
        counted = answer.stats()
        assert (counted.audited, counted.wrong) == (len(found), sum(found))
        assert not {**counted.bypasses, **counted.errors}
        return counted.wrong_rate_interval

    return Asking(ask, lambda: "similar" in answer.stats().circuits, wrong_rate_interval)


def drain() -> None:
    """Wait until all audits have been made."""
    done = threading.Event()
    AUDITS.submit(done.set)
    assert done.wait(60), "the audits take too long"


def report_coverage(found: Sequence[Outcome]) -> None:
    """Print how often the interval holds the true rate."""
    width = np.mean([each.range[1] - each.range[0] for each in found])
    print(f"  {np.mean([each.similar for each in found]):,.0f} similar hits, {mean_audits(found):,.0f} audits a seed")
    print_rates(found)
    covered = sum(each.covers for each in found)
    print(f"  the 95 % interval, {width:.2%} wide, holds the true rate in {covered} of {len(found)} seeds", flush=True)


def mean_audits(found: Sequence[Outcome]) -> float:
    """Return how many audits there were on average."""
    return float(np.mean([len(each.audits) for each in found]))


def print_rates(found: Sequence[Outcome]) -> None:
    """Print the true rates."""
    rates = [each.rate for each in found]
    print(f"  true rate {np.mean(rates):.2%} on average, from {min(rates):.2%} to {max(rates):.2%}")


def report_stops(found: Sequence[Outcome], unlimited: Sequence[Outcome], calls: int) -> None:
    """Print by how many audits a budget stops the cache, and by how many it should."""
    most = min(len(each.audits) for each in unlimited)
    by_theory = [list(islice(closing_chances(each.rate, BUDGET), most)) for each in unlimited]
    print("  audits, share of the seeds that are stopped by then, and that should be at their true rates")
    for audits in [*range(50, most, 50), most]:
        share = np.mean([each.stopped_by is not None and each.stopped_by <= audits for each in found])
        print(f"  {audits:>6} {share:>7.0%} {np.mean([row[audits - 1] for row in by_theory]):>7.0%}")
    average = expected_audits(float(np.mean([each.rate for each in unlimited])), BUDGET)
    print(f"  at the mean of the true rates it should take {average:,.0f} audits on average")
    print(f"  it takes {np.median([each.stopped_at or calls for each in found]):,.0f} calls in the median", flush=True)


def report_false_stops(found: Sequence[Outcome]) -> None:
    """Print how often a cache is stopped that keeps to its budget."""
    stopped = [each for each in found if each.stopped_by is not None]
    print_rates(found)
    print(f"  stopped: {len(stopped)} of {len(found)} seeds, with {mean_audits(found):,.0f} audits a seed")
    kept = sum(each.kept for each in found)
    print(f"  of the {kept} that kept the budget at each audit: {sum(each.kept for each in stopped)}", flush=True)
    print(f"  at most {RISK:.0%} of those that keep it may be, for ever", flush=True)


def compare_with_the_flow(pairs: Sequence[Labelled], vectors: Vectors, seeds: Sequence[int], calls: int) -> None:
    """Send some seeds through the real flow, and print what comes of them."""
    for seed in seeds:
        began = time.process_time()
        plain = asked(served(seed, 0.0, None, vectors), traffic(pairs, seed, calls, 0.03))
        again = asked(replayed(seed, 0.0, None), traffic(pairs, seed, calls, 0.03))
        assert (plain.similar, plain.wrong) == (again.similar, again.wrong), "the replay is not faithful"
        audited = asked(served(seed, 0.1, None, vectors), traffic(pairs, seed, calls, 0.03))
        limited = asked(served(seed, 0.1, BUDGET, vectors), traffic(pairs, seed, calls, 0.03))
        stop = next(
            (at for at in range(1, len(audited.audits) + 1) if is_over(sum(audited.audits[:at]), at, BUDGET)), None
        )
        assert limited.stopped_by == stop, "the cache is not stopped by the audit that proves it"
        print(
            f"  seed {seed}: {plain.similar} similar hits in both; audited {len(audited.audits)}, true rate "
            f"{audited.rate:.2%}, interval {audited.range[0]:.2%} to {audited.range[1]:.2%}, stopped by audit "
            f"{limited.stopped_by} at call {limited.stopped_at} ({time.process_time() - began:.0f} s)",
            flush=True,
        )


def main() -> None:
    """Ask with thrice as many wrong hits as the budget allows, and with just as many."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--flows", type=int, default=5)
    given = parser.parse_args()
    pairs, vectors = material()
    print(f"{sum(pair.same for pair in pairs)} right pairs, {sum(not pair.same for pair in pairs)} look-alikes")

    def run(wrong_share: float, audit: float, max_wrong: float | None = None) -> list[Outcome]:
        return [
            asked(replayed(seed, audit, max_wrong), traffic(pairs, seed, given.calls, wrong_share))
            for seed in range(given.seeds)
        ]

    for audit in (0.02, 0.1):
        print(f"\n{given.calls:,} calls, 3 % of the similar hits wrong, audit={audit:g}")
        unlimited = run(0.03, audit)
        report_coverage(unlimited)
    print(f"\nthe same with max_wrong={BUDGET:g}")
    report_stops(run(0.03, 0.1, BUDGET), unlimited, given.calls)
    print(f"\n{BUDGET:.0%} of the similar hits wrong, audit=0.1, max_wrong={BUDGET:g}")
    report_false_stops(run(BUDGET, 0.1, BUDGET))
    print(f"\n{given.flows} seeds through the real flow")
    compare_with_the_flow(pairs, vectors, range(given.flows), given.calls)


if __name__ == "__main__":
    main()
