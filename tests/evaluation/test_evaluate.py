"""An evaluation counts what a cache would do with labelled pairs, and a cache does just that."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.angles import Angles

from recallm import CacheConfig, InMemoryStorage, Pair, SemanticCache, evaluate
from recallm.errors import InvalidTypeError, InvalidValueError
from recallm.evaluation.evaluate import GuardCounts
from recallm.evaluation.judge import Counts
from recallm.testing import FakeEmbedder


def no_cats(prompt: str, cached_prompt: str) -> bool:
    """Claim that neither prompt is about cats."""
    return "cat" not in prompt + cached_prompt


def no_dogs(prompt: str, cached_prompt: str) -> bool:
    """Claim that the call is not about dogs."""
    return "dog" not in prompt


PAIRS = [
    Pair("0.99 reworded", "stored", True, "near"),
    Pair("0.93 reworded", "stored", True, "near"),
    Pair("0.93 cat", "stored", True, "far"),
    Pair("0.80 reworded", "stored", True, "far"),
    Pair("0.95 cat dog", "stored", False, "near"),
    Pair("0.95 dog", "stored", False, "far"),
    Pair("0.91 trap", "stored", False, "far"),
    Pair("0.50 trap", "stored", False),
]


def test_counts_what_is_served_at_each_threshold() -> None:
    """What is served is counted at each threshold, in ascending order, without guards and with them."""
    result = evaluate(PAIRS, embedder=Angles(), guards=(no_cats, no_dogs), thresholds=(0.98, 0.9), at=0.92)
    assert [row.threshold for row in result.rows] == [0.9, 0.92, 0.98]
    assert [row.bare for row in result.rows] == [Counts(4, 4, 3, 3), Counts(4, 4, 3, 2), Counts(4, 4, 1, 0)]
    assert [row.guarded for row in result.rows] == [Counts(4, 4, 2, 1), Counts(4, 4, 2, 0), Counts(4, 4, 1, 0)]


def test_guards_are_credited_alone_and_for_what_only_they_refuse() -> None:
    """Each guard is counted at `at`, among the pairs that cosine alone would serve there."""
    result = evaluate(PAIRS, embedder=Angles(), guards=(no_cats, no_dogs), at=0.92)
    assert result.guards == (GuardCounts("no_cats", 1, 1, 0, 1), GuardCounts("no_dogs", 2, 0, 1, 0))


def test_kinds_are_counted_apart() -> None:
    """Each kind of pair is counted by itself, and pairs without a kind in the whole only."""
    result = evaluate(PAIRS, embedder=Angles(), guards=(no_cats,), at="balanced")
    assert result.at == 0.92
    assert {kind: row.bare for kind, row in result.kinds.items()} == {
        "near": Counts(2, 1, 2, 1),
        "far": Counts(2, 2, 1, 1),
    }
    assert result.kinds["far"].guarded == Counts(2, 2, 0, 1)


def test_a_profile_is_the_embedders_own() -> None:
    """`at="balanced"` is the threshold that the embedder was calibrated to, as in its caches."""
    embedder = Angles()
    embedder.thresholds = {"balanced": 0.7}  # type: ignore[attr-defined]  # an optional member
    assert evaluate(PAIRS, embedder=embedder, at="balanced").at == 0.7


words = st.lists(st.sampled_from(["a", "b", "c", "cat", "dog"]), min_size=1, max_size=6).map(" ".join)


@given(words, words, st.sampled_from([0.3, 0.5, 0.8, 0.92, 1.0]), st.booleans())
def test_a_cache_does_what_the_evaluation_says(a: str, b: str, threshold: float, guarded: bool) -> None:
    """A cache that has stored `b` and is asked `a` answers from it if, and only if, the evaluation says so."""
    guards = (no_cats, no_dogs) if guarded else ()
    embedder = FakeEmbedder(dim=32)
    cache = SemanticCache(InMemoryStorage(), CacheConfig(threshold=threshold), embedder, guards=guards)
    cached = cache.wrap(lambda prompt: prompt.upper(), context={}, prompt="prompt")
    cached(b)
    cached(a)
    result = evaluate([Pair(a, b, True)], embedder=embedder, guards=guards, thresholds=(0.1, threshold), at=threshold)
    (row,) = [row for row in result.rows if row.threshold == threshold]
    assert row.guarded.hits == cache.stats().hits


def test_reads_as_a_table() -> None:
    """`repr` is a table of the counts with intervals, and a dash if there is nothing to divide by."""
    text = repr(evaluate([*PAIRS, {"a": "x", "b": "y"}], embedder=Angles(), guards=(no_cats, no_dogs), at=0.92))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[0] == "4 same pairs, 4 look-alikes, 1 without a label left out; angles"
    assert "0.920 5 75.0 [30.1, 95.4] 60.0 [23.1, 88.2] 40.0 50.0 [15.0, 85.0]" in lines
    assert "0.920 2 50.0 [15.0, 85.0] 100.0 [34.2, 100.0] 0.0 0.0 [0.0, 49.0]" in lines
    assert "far 0 0.0 [0.0, 65.8] - - 0.0 [0.0, 65.8]" in lines
    assert "no_cats 1 1 0 1" in lines
    assert max(map(len, text.splitlines())) <= 110
    empty = repr(evaluate([Pair("0.5 x", "stored", True)], embedder=Angles(), guards=(), thresholds=(0.9,)))
    assert "with guards" not in empty
    assert empty.splitlines()[-1].split() == ["0.920", "0", "0.0", "[0.0,", "79.3]", "-", "-", "-"]


def test_an_evaluation_is_a_value() -> None:
    """The fields of an evaluation cannot be set."""
    result = evaluate(PAIRS, embedder=Angles())
    with pytest.raises(FrozenInstanceError):
        result.at = 0.5  # type: ignore[misc]  # that it cannot be set is the point


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"thresholds": (1.5,)}, InvalidValueError),
        ({"thresholds": ("strict",)}, InvalidTypeError),
        ({"thresholds": 0.9}, InvalidTypeError),
        ({"at": "sloppy"}, InvalidValueError),
        ({"at": "exact"}, InvalidValueError),
        ({"embedder": object()}, InvalidTypeError),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], error: type[Exception]) -> None:
    """Options are checked before anything is embedded."""
    embedder = Angles()
    with pytest.raises((error, TypeError)):
        evaluate(PAIRS, **{"embedder": embedder, **options})
    assert embedder.texts == []
