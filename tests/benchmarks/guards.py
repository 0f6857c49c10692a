"""Measures what the guards gain and cost on labelled pairs, and how long they take.

Run with ``python tests/benchmarks/guards.py tests/data/pairs_test.jsonl …``. Hits are the share of the pairs labelled
the same that are served; wrong is the share of the served pairs that are look-alikes.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from recallm import DEFAULT_GUARDS, Pair
from recallm.evaluation.judge import embedded
from recallm.evaluation.pairs import labelled
from recallm.guards import default, prompt, words
from recallm.registry import default_embedder
from recallm.scoring import similarity
from recallm.typing import PROFILES

GRID = [step / 200 for step in range(120, 201)]


class Judged(NamedTuple):
    """A pair, its cosine, and the guards that refuse it."""

    pair: Pair
    cosine: float
    refused_by: frozenset[str]


class Served(NamedTuple):
    """The shares of same pairs and of look-alikes that are served, and of the served pairs that are the same."""

    hits: float
    look_alikes: float
    precision: float


def judged(path: Path) -> list[Judged]:
    """Return the pairs of a file, but for those with a text that cannot be embedded."""
    pairs = labelled(path).pairs
    vectors = embedded(list({text for pair in pairs for text in (pair.a, pair.b)}), default_embedder())
    found = []
    for pair in pairs:
        a, b = vectors[pair.a], vectors[pair.b]
        if a is not None and b is not None:
            refused = frozenset(guard.__name__ for guard in DEFAULT_GUARDS if not guard(pair.a, pair.b))
            found.append(Judged(pair, similarity(a, b), refused))
    return found


def served(rows: Sequence[Judged], threshold: float, asked: frozenset[str]) -> Served:
    """Return what is served at a threshold if these guards are asked."""
    passed = [row for row in rows if row.cosine >= threshold and asked.isdisjoint(row.refused_by)]
    right = sum(row.pair.same for row in passed)
    same = sum(row.pair.same for row in rows)
    return Served(right / same, (len(passed) - right) / max(1, len(rows) - same), right / max(1, len(passed)))


def best(rows: Sequence[Judged], asked: frozenset[str], is_safe: Callable[[Served], bool]) -> str:
    """Return the most hits at any threshold of `GRID` at which what is served is safe enough."""
    found = [(served(rows, threshold, asked), threshold) for threshold in GRID]
    good = [(row.hits, threshold) for row, threshold in found if row.hits and is_safe(row)]
    if not good:
        return "none"
    hits, threshold = max(good)
    return f"{hits:.1%} at {threshold:.3f}"


def _is_precise(precision: float) -> Callable[[Served], bool]:
    return lambda row: row.precision >= precision


def report(path: Path, rows: Sequence[Judged]) -> None:
    """Print hits, look-alikes and precision on one file, with and without the guards, and by guard."""
    nobody, everybody = frozenset[str](), frozenset(guard.__name__ for guard in DEFAULT_GUARDS)
    same = sum(row.pair.same for row in rows)
    print(f"\n{path.name}: {same} same pairs, {len(rows) - same} look-alikes")
    limits = [(f"{most:.0%} of what is served wrong", _is_precise(1 - most)) for most in (0.01, 0.05, 0.10)]
    limits.append(("1% of look-alikes served", lambda row: row.look_alikes <= 0.01))
    for name, is_safe in limits:
        print(f"  most hits at <= {name}: bare {best(rows, nobody, is_safe)}, guarded {best(rows, everybody, is_safe)}")
    for profile, threshold in PROFILES.items():
        bare, guarded = served(rows, threshold, nobody), served(rows, threshold, everybody)
        level = [served(rows, lower, everybody) for lower in GRID]
        as_many = max((row.precision for row in level if row.hits >= bare.hits), default=0.0)
        print(
            f"  {profile:<9}{threshold}: hits {bare.hits:.1%} -> {guarded.hits:.1%} (lost {_lost(bare, guarded):.1%}), "
            f"look-alikes {bare.look_alikes:.1%} -> {guarded.look_alikes:.1%}, precision {bare.precision:.3f} -> "
            f"{guarded.precision:.3f}, at bare hits {as_many:.3f}"
        )
    threshold = PROFILES["balanced"]
    for guard in sorted(everybody):
        bare, alone = served(rows, threshold, nobody), served(rows, threshold, frozenset((guard,)))
        without, all_of_them = served(rows, threshold, everybody - {guard}), served(rows, threshold, everybody)
        print(
            f"  {guard:<22} alone: look-alikes removed {_removed(bare, alone):6.1%}, "
            f"hits lost {_lost(bare, alone):5.1%}; "
            f"left out: look-alikes +{without.look_alikes - all_of_them.look_alikes:5.1%}, "
            f"hits +{without.hits - all_of_them.hits:5.1%}"
        )


def _lost(before: Served, after: Served) -> float:
    return 1 - after.hits / before.hits if before.hits else 0.0


def _removed(before: Served, after: Served) -> float:
    return 1 - after.look_alikes / before.look_alikes if before.look_alikes else 0.0


def cost_of_long_prompts() -> None:
    """Print how long all guards take for one candidate of a length, whose prompt is parsed already."""
    stock = (
        "how do I change the delivery address of an order that I placed yesterday with the express option today".split()
    )
    for size in (20, 200, 5000):
        text = " ".join((stock * (size // len(stock) + 1))[:size])
        taken = []
        for number in range(200 if size <= 200 else 5):
            pair = Pair(text, text.replace("express", f"express{number % 7}").replace("order", "parcel"), same=False)
            _parse(pair)
            taken.append(_seconds(pair))
        print(f"  {size} words: {1e6 * statistics.median(taken):,.0f} us a candidate")


def cost_of_pairs(pairs: Sequence[Pair]) -> None:
    """Print how long all guards take for one real candidate: in a busy process, with new prompts, and with new words.

    All guards are asked, whether one of them refuses or not.
    """
    taken: dict[str, list[float]] = {"known prompts": [], "new prompts": [], "new words": []}
    for pair in pairs:
        _judge(pair)
        _parse(pair)
        taken["known prompts"].append(_seconds(pair))
        _forget_prompts()
        taken["new prompts"].append(_seconds(pair))
        _forget_prompts()
        words._WORDS.clear()
        taken["new words"].append(_seconds(pair))
    print(f"  {len(pairs)} pairs of real prompts:")
    for name, seconds in taken.items():
        steps = statistics.quantiles(seconds, n=20)
        print(f"    {name}: p50 {1e6 * steps[9]:,.0f} us, p95 {1e6 * steps[18]:,.0f} us a candidate")


def _forget_prompts() -> None:
    prompt._PARSED.clear()
    default._COMPARED.clear()


def _parse(pair: Pair) -> None:
    _forget_prompts()
    prompt.parse(pair.a)
    prompt.parse(pair.b)


def _seconds(pair: Pair) -> float:
    """Return the processor time in which all guards judge a pair."""
    began = time.process_time()
    _judge(pair)
    return time.process_time() - began


def _judge(pair: Pair) -> None:
    for guard in DEFAULT_GUARDS:
        guard(pair.a, pair.b)


def main() -> None:
    """Report on each file, then print the cost, also that of their pairs which reach the loosest threshold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+")
    near: list[Pair] = []
    for path in parser.parse_args().files:
        rows = judged(path)
        report(path, rows)
        near += [row.pair for row in rows if row.cosine >= PROFILES["loose"]]
    print("\ncost of all guards:")
    cost_of_long_prompts()
    cost_of_pairs(near)


if __name__ == "__main__":
    main()
