"""Measures what the guards gain and cost on labelled pairs, and how long they take.

Run with ``python tests/benchmarks/guards.py tests/data/pairs_test.jsonl …``. Hits are the share of the pairs labelled
the same that are served; wrong is the share of the served pairs that are look-alikes.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from recallm import DEFAULT_GUARDS, Guard, Pair
from recallm.evaluation.judge import embedded
from recallm.evaluation.pairs import labelled
from recallm.guards.evidence import compare
from recallm.guards.prompt import parse
from recallm.registry import default_embedder
from recallm.scoring import similarity
from recallm.typing import PROFILES

GRID = [step / 200 for step in range(120, 200)]


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


def best(rows: Sequence[Judged], asked: frozenset[str], most_wrong: float) -> str:
    """Return the most hits at any threshold of `GRID` at which the share of wrong answers is small enough."""
    found = [(served(rows, threshold, asked), threshold) for threshold in GRID]
    good = [(row.hits, threshold) for row, threshold in found if row.hits and 1 - row.precision <= most_wrong]
    if not good:
        return "none"
    hits, threshold = max(good)
    return f"{hits:.1%} at {threshold:.3f}"


def report(path: Path) -> None:
    """Print hits, look-alikes and precision on one file, with and without the guards, and by guard."""
    rows = judged(path)
    nobody, everybody = frozenset[str](), frozenset(guard.__name__ for guard in DEFAULT_GUARDS)
    same = sum(row.pair.same for row in rows)
    print(f"\n{path.name}: {same} same pairs, {len(rows) - same} look-alikes")
    for most_wrong in (0.01, 0.05, 0.10):
        line = [f"{name} {best(rows, asked, most_wrong)}" for name, asked in (("bare", nobody), ("guarded", everybody))]
        print(f"  most hits at <= {most_wrong:.0%} wrong: {', '.join(line)}")
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


def cost() -> None:
    """Print how long all guards take for one candidate whose prompt is parsed already."""
    words = (
        "how do I change the delivery address of an order that I placed yesterday with the express option today".split()
    )
    for size in (20, 200, 5000):
        prompt = " ".join((words * (size // len(words) + 1))[:size])
        taken = []
        for number in range(200 if size <= 200 else 5):
            cached_prompt = prompt.replace("express", f"express{number % 7}").replace("order", "parcel")
            parse(cached_prompt)
            compare.cache_clear()
            began = time.perf_counter()
            for guard in DEFAULT_GUARDS:
                _ask(guard, prompt, cached_prompt)
            taken.append(time.perf_counter() - began)
        print(f"  {size} words: {1e6 * statistics.median(taken):,.0f} us a candidate")


def _ask(guard: Guard, prompt: str, cached_prompt: str) -> None:
    guard(prompt, cached_prompt)


def main() -> None:
    """Report on each file, then print the cost."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+")
    for path in parser.parse_args().files:
        report(path)
    print("\ncost of all guards:")
    cost()


if __name__ == "__main__":
    main()
