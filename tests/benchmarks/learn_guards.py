"""Learns how much each difference between two prompts speaks against one answer for both.

Run with ``python tests/benchmarks/learn_guards.py tests/data/pairs_dev.jsonl …``, on development files only. It fits a
logistic regression to what `recallm.guards.evidence` finds in the pairs that are similar enough to be candidates and
that no guard refuses on one difference alone. Each file has the same total weight, and so has each label within it.
Prints the constants to paste into `recallm.guards.evidence`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recallm import Pair
from recallm.evaluation.judge import embedded
from recallm.evaluation.pairs import labelled
from recallm.guards import default as guards
from recallm.guards import evidence as differences
from recallm.guards.evidence import Evidence
from recallm.guards.prompt import parse
from recallm.registry import default_embedder
from recallm.scoring import similarity

if TYPE_CHECKING:
    from numpy.typing import NDArray

REFUSE_ALONE = (
    guards.languages_agree,
    guards.numbers_agree,
    guards.literals_agree,
    guards.direction_agrees,
    guards.capitals_agree,
    guards.manner_agrees,
)
SHRINKAGE = 1.0
STEPS = 50
FILE_WEIGHT = 300.0
FLOOR = 0.75
"""The least similarity of pairs to learn from, well below the named thresholds, the lowest of which is 0.85."""


def features(pair: Pair) -> tuple[frozenset[Evidence], float, float]:
    """Return the evidence in a pair, the share of its words that differ, and the share of unexplained words."""
    found = differences.compare(pair.a, pair.b)
    one, other = parse(pair.a), parse(pair.b)
    only = differences.unshared(one, other)
    return found.evidence, *differences.extent(one, other, only, (found.ours, found.theirs))


def near(path: Path) -> list[Pair]:
    """Return the pairs of a file whose similarity is at least `FLOOR`."""
    pairs = labelled(path).pairs
    vectors = embedded(list({text for pair in pairs for text in (pair.a, pair.b)}), default_embedder())
    kept = []
    for pair in pairs:
        a, b = vectors[pair.a], vectors[pair.b]
        if a is not None and b is not None and similarity(a, b) >= FLOOR:
            kept.append(pair)
    return kept


def fitted(x: NDArray[np.float64], y: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the constants of a logistic regression, found by Newton's method; the first, the bias, is not shrunk."""
    constants = np.zeros(x.shape[1])
    shrinkage = np.full(x.shape[1], SHRINKAGE)
    shrinkage[0] = 1e-9
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-x @ constants))
        slope = x.T @ (weights * (chance - y)) + shrinkage * constants
        curvature = (x * (weights * chance * (1 - chance))[:, None]).T @ x + np.diag(shrinkage)
        constants -= np.linalg.solve(curvature, slope)
    return constants


def main() -> None:
    """Learn the constants from all files, and print them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+")
    names = list(differences.WEIGHTS)
    rows, labels, shares = [], [], []
    for path in parser.parse_args().files:
        pairs = [pair for pair in near(path) if all(guard(pair.a, pair.b) for guard in REFUSE_ALONE)]
        for pair in pairs:
            evidence, share, words = features(pair)
            rows.append([1.0, share, words, *(name in evidence for name in names)])
            labels.append(not pair.same)
            shares.append(FILE_WEIGHT / 2 / sum(each.same == pair.same for each in pairs))
    bias, share, words, *rest = fitted(np.array(rows, float), np.array(labels, float), np.array(shares))
    print("WEIGHTS: Mapping[Evidence, float] = {")
    for name, weight in sorted(zip(names, rest, strict=True), key=lambda item: -item[1]):
        print(f"    Evidence.{name.name}: {weight:.2f},")
    print(f"}}\nBIAS = {bias:.2f}\nPER_SHARE = {share:.2f}\nPER_WORD = {words:.2f}")


if __name__ == "__main__":
    main()
