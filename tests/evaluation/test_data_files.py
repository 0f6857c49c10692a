"""The labelled pairs of ours that guards and thresholds are measured on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from recallm.evaluation.pairs import Pair, labelled

FILES = sorted((Path(__file__).parents[1] / "data").glob("pairs_*.jsonl"))


def prompts(pair: Pair) -> frozenset[str]:
    """Return the two prompts of a pair, without regard to their order, letter case and space at the ends."""
    return frozenset((pair.a.strip().casefold(), pair.b.strip().casefold()))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_line_is_a_labelled_pair_of_some_kind(path: Path) -> None:
    """Each line is a pair with a label and a kind, and its two prompts are not the same text."""
    read = labelled(path)
    assert read.unlabelled == 0
    assert [pair for pair in read.pairs if not pair.kind or pair.a == pair.b] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_about_half_of_the_pairs_are_the_same(path: Path) -> None:
    """Hits and wrong hits are shares of hundreds of pairs: neither label has less than two in five of them."""
    pairs = labelled(path).pairs
    assert len(pairs) >= 200
    assert 0.4 <= sum(pair.same for pair in pairs) / len(pairs) <= 0.6


def test_no_pair_is_counted_twice() -> None:
    """A pair occurs once, in one file, whichever of its prompts comes first."""
    times = Counter(prompts(pair) for path in FILES for pair in labelled(path).pairs)
    assert [sorted(both) for both, count in times.items() if count > 1] == []
