"""Tuning: the threshold promised is as good as promised, or none is named."""

from __future__ import annotations

import random
from bisect import bisect_right
from itertools import accumulate
from operator import neg
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.angles import Angles
from support.examples import examples

from recallm import Pair, tune
from recallm.errors import InvalidTypeError, InvalidValueError
from recallm.evaluation.tune import proven, times_more
from recallm.telemetry.intervals import upper_bound

pytestmark = pytest.mark.once


def pairs_at(cosine: float, *, same: int = 0, different: int = 0) -> list[Pair]:
    """Return pairs of one similarity."""
    labels = [True] * same + [False] * different
    return [Pair(f"{cosine} {number}", "stored", label) for number, label in enumerate(labels)]


def tuned(pairs: list[Pair], **options: Any) -> Any:
    """Tune on a model whose similarities are written in the prompts, without guards."""
    return tune(pairs, **{"embedder": Angles(), "guards": (), **options})


def test_takes_the_loosest_threshold_that_is_proven() -> None:
    """The threshold is just above the first look-alikes, and there is a line to paste."""
    result = tuned(pairs_at(0.95, same=300) + pairs_at(0.9001, same=200) + pairs_at(0.85, same=50, different=50))
    assert result.threshold == 0.9
    assert (result.counts.right, result.counts.wrong) == (500, 0)
    assert 0 < result.upper_bound <= 0.01
    assert result.line == "@semantic_cache(threshold=0.9, guards=(), ...)"
    assert repr(result).splitlines()[0] == result.line
    assert "of 600 pairs it serves 500: 500 of 550 same pairs, 0 of 50 look-alikes" in repr(result)


def test_of_thresholds_with_the_same_hits_the_strictest_is_taken() -> None:
    """If no pair lies between 0.95 and 0.85, nothing there is let in."""
    assert tuned(pairs_at(0.9501, same=400)).threshold == 0.95


def test_the_default_guards_are_asked_and_need_not_be_pasted() -> None:
    """What a guard refuses is not served, and the line to paste does not mention guards that were asked."""
    pairs = pairs_at(0.95, same=400)
    assert tune(pairs, embedder=Angles(), guards=(lambda a, b: True,)).line == "@semantic_cache(threshold=0.949, ...)"
    assert tune(pairs, embedder=Angles(), guards=(lambda a, b: False,)).threshold is None


def test_too_few_pairs_are_told_how_many_more() -> None:
    """With too few pairs it says how many more are needed, and with as many a threshold is found."""
    few = tuned(pairs_at(0.95, same=50))
    assert (few.threshold, few.line, few.counts, few.upper_bound) == (None, None, None, None)
    assert 200 <= few.more_pairs <= 350
    assert f"You need about {few.more_pairs} more" in repr(few)
    assert tuned(pairs_at(0.95, same=50 + few.more_pairs)).threshold is not None


def test_where_more_pairs_will_not_help_it_says_so() -> None:
    """If a third of the hits is wrong, it says that more pairs will not help."""
    result = tuned(pairs_at(0.95, same=200, different=100))
    assert (result.threshold, result.more_pairs) == (None, None)
    assert result.lowest_wrong == (1 / 3, 0.949)
    assert "the lowest share seen was 33.3 %" in repr(result)


def test_pairs_that_nothing_serves_tell_nothing() -> None:
    """If no pair is similar enough to be served, there is no threshold and no line to paste."""
    result = tuned(pairs_at(0.3, same=500, different=500))
    assert (result.threshold, result.more_pairs, result.lowest_wrong) == (None, None, None)
    assert "do not tell" in repr(result)


def test_the_share_of_the_look_alikes_may_be_the_target() -> None:
    """The share of look-alikes served does not fall with more same pairs, and needs look-alikes as proof."""
    pairs = pairs_at(0.95, same=20) + pairs_at(0.8, different=400)
    result = tuned(pairs, of="look-alikes")
    assert (result.threshold, result.counts.right, result.counts.wrong) == (0.949, 20, 0)
    assert "wrong: 0 of 400 look-alikes" in repr(result)
    assert tuned(pairs, of="hits").threshold is None
    assert tuned(pairs_at(0.95, same=500), of="look-alikes").threshold is None


def test_unlabelled_pairs_are_left_out() -> None:
    """Pairs without a label are left out and counted."""
    items: list[Any] = [*pairs_at(0.95, same=400), {"prompt": "x", "cached_prompt": "y", "same": None}]
    result = tuned(items)
    assert (result.pairs, result.unlabelled) == (400, 1)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_wrong": 0}, InvalidValueError),
        ({"max_wrong": 1.0}, InvalidValueError),
        ({"max_wrong": True}, InvalidTypeError),
        ({"max_wrong": "1 %"}, InvalidTypeError),
        ({"confidence": 1.0}, InvalidValueError),
        ({"of": "pairs"}, InvalidValueError),
        ({"thresholds": ()}, InvalidValueError),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], error: type[Exception]) -> None:
    """A bad option is an error that says what is allowed."""
    with pytest.raises(error, match="use"):
        tuned(pairs_at(0.95, same=1), **options)


bands = st.lists(
    st.tuples(st.sampled_from([0.99, 0.95, 0.9, 0.85, 0.8]), st.integers(0, 120), st.integers(0, 6)), max_size=5
)


@examples(0.4)
@given(bands, st.sampled_from([0.01, 0.05, 0.2]), st.sampled_from(["hits", "look-alikes"]))
def test_never_promises_more_than_the_bound(drawn: list[tuple[float, int, int]], max_wrong: float, of: str) -> None:
    """The bound of the chosen threshold is at most the target, and not below that of one single test."""
    pairs = [pair for cosine, same, wrong in drawn for pair in pairs_at(cosine, same=same, different=wrong)]
    if not pairs:
        return
    result = tuned(pairs, max_wrong=max_wrong, of=of, thresholds=[number / 100 for number in range(70, 100)])
    if result.threshold is None:
        return
    counts = result.counts
    trials = counts.hits if of == "hits" else counts.different
    assert upper_bound(counts.wrong, trials, risk=1 - 0.95) <= result.upper_bound <= max_wrong
    assert counts.right > 0


samples = st.lists(st.tuples(st.integers(0, 300), st.floats(0, 0.05)), min_size=1, max_size=20)


@given(samples, st.floats(0.005, 0.2), st.floats(0.01, 0.2))
def test_each_sample_taken_for_proven_has_a_low_bound(
    steps: list[tuple[int, float]], max_wrong: float, risk: float
) -> None:
    """Each sample that counts as proven has a low bound, at the risk that the sequences share."""
    taken, wrong, trials = [], 0, 0
    for more, part in steps:
        trials, wrong = trials + more, wrong + round(more * part)
        taken.append((wrong, trials))
    good, risk_each = proven(taken, max_wrong, risk)
    assert 0 < risk_each <= risk
    assert all(upper_bound(*taken[place], risk=risk_each) <= max_wrong for place in good)


def test_more_of_the_same_is_counted_in_times() -> None:
    """It is known how many times as many trials would do, or None if no number of them would."""
    assert times_more([(0, 30)], 0.01, 0.05) == pytest.approx(10, rel=0.11)
    assert times_more([(1, 30), (0, 0)], 0.01, 0.05) is None


def wrong_in_truth(threshold: float, start: float, slope: float) -> float:
    """Return the true wrong rate of similarities drawn evenly between 0.7 and 1, at or above `threshold`."""
    middle = (max(threshold, 0.7) + 1) / 2
    return start + slope * (1 - middle)


@pytest.mark.untraced
@pytest.mark.parametrize(("start", "slope"), [(0.0, 0.3), (0.04, 0.1), (0.05, 0.001), (0.0505, 0.0)])
@pytest.mark.parametrize("size", [120, 1000])
def test_the_promise_is_kept_as_often_as_it_says(start: float, slope: float, size: int) -> None:
    """On drawn traffic whose wrong rate is known, at most one in twenty thresholds is worse than the target.

    The rates rise from below the target, rise from just below it, lie on it, and lie above it everywhere.
    """
    draw = random.Random(f"{start} {slope} {size}")  # noqa: S311  # a simulation
    thresholds = [number / 100 for number in range(70, 100)]
    broken, rounds = 0, 300
    for _ in range(rounds):
        cosines = sorted((draw.uniform(0.7, 1.0) for _ in range(size)), reverse=True)
        # Linear in the cosine, so that the mean above a threshold is the rate at its middle.
        wrong = [0, *accumulate(draw.random() < start + slope * (1 - cosine) for cosine in cosines)]
        hits = [bisect_right(cosines, -threshold, key=neg) for threshold in reversed(thresholds)]
        found = [(wrong[served], served) for served in hits]
        good, _ = proven(found, 0.05, 0.05)
        broken += any(wrong_in_truth(thresholds[-1 - place], start, slope) > 0.05 for place in good)
    # 26 of 300 is what a risk of exactly 0.05 exceeds once in 500 runs.
    assert broken <= 26
