"""What audits prove: the draw, the interval, and when a budget is passed."""

from __future__ import annotations

from itertools import islice
from math import comb, exp, inf, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recallm.telemetry.proof import RISK, closing_chances, expected_audits, interval, is_drawn, is_over, log_evidence

pytestmark = pytest.mark.once

audits = st.integers(0, 300).flatmap(lambda audited: st.tuples(st.integers(0, audited), st.just(audited)))
budgets = st.floats(0.001, 0.9)


@pytest.mark.parametrize(
    ("wrong", "audited", "lower", "upper"),
    [
        (0, 0, 0.0, 1.0),
        (0, 10, 0.0, 0.3085),
        (1, 10, 0.0025, 0.4450),
        (5, 10, 0.1871, 0.8129),
        (10, 10, 0.6915, 1.0),
        (81, 263, 0.2527, 0.3676),
    ],
)
def test_interval_is_that_of_the_tables(wrong: int, audited: int, lower: float, upper: float) -> None:
    """The ends are those of published 95 % Clopper-Pearson intervals, and the whole range before the first audit."""
    assert interval(wrong, audited) == pytest.approx((lower, upper), abs=5e-5)


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.03, 0.2, 0.5, 0.97])
@pytest.mark.parametrize("audited", [1, 20, 150])
def test_interval_covers_every_rate(rate: float, audited: int) -> None:
    """Of all that may be seen of a rate, what has an interval that holds the rate has a probability of 95 % or more."""
    covered = 0.0
    for wrong in range(audited + 1):
        lower, upper = interval(wrong, audited)
        if lower <= rate <= upper:
            covered += comb(audited, wrong) * rate**wrong * (1 - rate) ** (audited - wrong)
    assert covered >= 0.95


def test_interval_outlasts_counts_that_do_not_fit() -> None:
    """More wrong hits than audits, which two readers of counts may see, give the interval of all being wrong."""
    assert interval(7, 5) == interval(5, 5)


def test_interval_is_narrower_with_less_confidence() -> None:
    """A lower confidence gives a narrower interval within that of the higher."""
    (low, high), (lower, higher) = interval(3, 100, 0.8), interval(3, 100, 0.99)
    assert lower < low < high < higher


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_a_share_of_the_hits_is_drawn(share: float) -> None:
    """As many are drawn as the share says, of one prompt's hits as of many prompts'."""
    of_one = sum(is_drawn(b"one", turn, share) for turn in range(20_000))
    of_many = sum(is_drawn(b"%d" % turn, 7, share) for turn in range(20_000))
    deviation = (20_000 * share * (1 - share)) ** 0.5
    assert abs(of_one - 20_000 * share) < 4 * deviation
    assert abs(of_many - 20_000 * share) < 4 * deviation


def test_no_hit_or_every_hit_is_drawn_at_the_ends() -> None:
    """A share of 0 draws nothing and a share of 1 everything."""
    assert not any(is_drawn(b"key", turn, 0.0) for turn in range(1000))
    assert all(is_drawn(b"key", turn, 1.0) for turn in range(1000))


@given(st.binary(min_size=1, max_size=32), st.integers(0, 2**40), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_draws_all_that_a_smaller_does(key: bytes, turn: int, one: float, other: float) -> None:
    """The draw is the same each time, and what a share draws a larger share draws as well."""
    assert is_drawn(key, turn, one) == is_drawn(key, turn, one)
    assert is_drawn(key, turn, min(one, other)) <= is_drawn(key, turn, max(one, other))


@given(audits, budgets)
def test_evidence_is_a_fair_game_at_the_budget(audited: tuple[int, int], budget: float) -> None:
    """If just the budget is wrong, the next audit leaves the evidence as it is on average; it begins with 1."""
    wrong, number = audited
    assert log_evidence(0, 0, budget) == pytest.approx(0.0, abs=1e-9)
    now = log_evidence(wrong, number, budget)
    after = (log_evidence(wrong + 1, number + 1, budget), log_evidence(wrong, number + 1, budget))
    assert budget * exp(after[0] - now) + (1 - budget) * exp(after[1] - now) == pytest.approx(1.0, rel=1e-6)


@given(audits, budgets)
def test_wrong_ones_speak_against_a_cache_and_right_ones_for_it(audited: tuple[int, int], budget: float) -> None:
    """A wrong audit only adds evidence and a right one only takes some away."""
    wrong, number = audited
    now = log_evidence(wrong, number, budget)
    assert log_evidence(wrong + 1, number + 1, budget) > now > log_evidence(wrong, number + 1, budget)


@pytest.mark.untraced
@pytest.mark.parametrize("budget", [0.01, 0.05, 0.3])
def test_a_cache_that_keeps_its_budget_is_hardly_ever_closed(budget: float) -> None:
    """At a rate of just the budget, at most 5 % are closed in the time in which three budgets are found ten times."""
    within = 10 * round(expected_audits(min(0.95, 3 * budget), budget))
    *_, closed = islice(closing_chances(budget, budget), within)
    assert 0.0 < closed <= RISK


def sampled_closing(hits: list[bool], random: np.random.Generator, *, share: float, budget: float) -> bool:
    """Return whether a cache is closed whose hits are wrong in this order, with audits drawn from them."""
    wrong = audited = 0
    for hit_is_wrong in hits:
        if random.random() < share:
            audited += 1
            wrong += hit_is_wrong
            if hit_is_wrong and is_over(wrong, audited, budget):
                return True
    return False


@pytest.mark.untraced
@pytest.mark.parametrize(
    "pattern",
    [
        [False] * 49 + [True],
        ([False] * 490 + [True] * 10),
        ([False] * 4900 + [True] * 100),
    ],
    ids=["even", "clustered", "late"],
)
def test_clusters_do_not_close_a_cache_that_keeps_its_budget(pattern: list[bool]) -> None:
    """If never more than the budget of the hits so far were wrong, few are closed, in whatever clusters they come."""
    hits = pattern * (5000 // len(pattern))
    closed = sum(sampled_closing(hits, np.random.default_rng(seed), share=0.2, budget=0.02) for seed in range(200))
    assert closed <= 200 * RISK


@pytest.mark.parametrize(
    ("wrong", "audited", "budget", "over"),
    [
        (0, 0, 0.01, False),
        (0, 1_000_000, 0.01, False),
        (3, 3, 0.01, True),
        (2, 100, 0.01, False),
        (5, 100, 0.01, True),
        (0, 5, 0.0, False),
        (1, 1_000_000, 0.0, True),
        (5, 5, 1.0, False),
        (20_000, 1_000_000, 0.01, True),
        (7, 3, 0.01, True),
    ],
)
def test_a_budget_is_passed_when_audits_prove_it(wrong: int, audited: int, budget: float, over: bool) -> None:
    """Few audits prove little and many much; a budget of 0 lets nothing be wrong, and one of 1 everything."""
    assert is_over(wrong, audited, budget) is over


def test_less_risk_asks_for_more_evidence() -> None:
    """The risk is one over the evidence that is asked for."""
    evidence = log_evidence(5, 100, 0.01)
    assert is_over(5, 100, 0.01, risk=exp(-evidence) * 1.01)
    assert not is_over(5, 100, 0.01, risk=exp(-evidence) * 0.99)
    assert evidence > log(1 / RISK)


@pytest.mark.untraced
def test_chances_of_closing_are_those_of_a_simulation() -> None:
    """The chance of being closed by an audit is the share of simulated caches that are."""
    chances = list(islice(closing_chances(0.05, 0.01), 100))
    assert chances == sorted(chances)
    closed = sum(
        sampled_closing(hits(seed), np.random.default_rng(seed), share=1.0, budget=0.01) for seed in range(2000)
    )
    assert closed / 2000 == pytest.approx(chances[-1], abs=0.04)


def hits(seed: int) -> list[bool]:
    """Return a hundred hits, each of them wrong with a probability of 5 %."""
    return [bool(wrong) for wrong in np.random.default_rng([seed, 1]).random(100) < 0.05]


def test_audits_until_closing() -> None:
    """The higher the rate, the fewer audits it takes; a rate within the budget, or hardly above it, is not found."""
    needed = [expected_audits(rate, 0.01) for rate in (0.02, 0.03, 0.1, 1.0)]
    assert needed == sorted(needed, reverse=True)
    assert needed[1] == pytest.approx(293, abs=1)
    assert needed[-1] == 3.0
    assert expected_audits(0.01, 0.01) == inf
    assert expected_audits(0.0101, 0.01, most=500) == inf
