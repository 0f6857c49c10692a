"""Intervals of shares, against published values and by their definition."""

from __future__ import annotations

from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recallm.telemetry.intervals import binomial_cdf, upper_bound, wilson


@pytest.mark.parametrize(
    ("count", "total", "lower", "upper"),
    [(0, 10, 0.0, 0.2775), (1, 10, 0.0179, 0.4042), (5, 10, 0.2366, 0.7634), (81, 263, 0.2553, 0.3662)],
)
def test_wilson_gives_known_values(count: int, total: int, lower: float, upper: float) -> None:
    """81 of 263 is the worked example of Newcombe (1998); the other values follow from the closed form."""
    assert wilson(count, total) == pytest.approx((lower, upper), abs=5e-5)


@pytest.mark.parametrize(
    ("count", "total", "risk", "bound"),
    [
        (0, 10, 0.025, 0.3085),
        (1, 10, 0.025, 0.4450),
        (5, 10, 0.025, 0.8129),
        (81, 263, 0.025, 0.3676),
        (0, 299, 0.05, 0.00997),
        (10, 10, 0.05, 1.0),
        (0, 0, 0.05, 1.0),
    ],
)
def test_upper_bound_gives_known_values(count: int, total: int, risk: float, bound: float) -> None:
    """Bounds are the ends of 95 % Clopper-Pearson intervals as tables print them, or the rule of three."""
    assert upper_bound(count, total, risk=risk) == pytest.approx(bound, abs=5e-5)


counts = st.integers(1, 200).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total)))


@given(counts, st.floats(0.001, 0.999))
def test_cdf_is_the_sum_of_the_probabilities(sample: tuple[int, int], share: float) -> None:
    """The distribution function is the sum of the probabilities, written out term by term."""
    count, total = sample
    terms = (comb(total, each) * share**each * (1 - share) ** (total - each) for each in range(count + 1))
    assert binomial_cdf(count, total, share) == pytest.approx(sum(terms), rel=1e-9, abs=1e-12)


@given(counts, st.floats(0.001, 0.5))
def test_upper_bound_is_where_the_sample_becomes_unlikely(sample: tuple[int, int], risk: float) -> None:
    """At the bound a sample so small has the probability `risk`; the bound is above the share seen."""
    count, total = sample
    bound = upper_bound(count, total, risk=risk)
    assert count / total <= bound <= 1.0
    if count < total:
        assert binomial_cdf(count, total, bound) == pytest.approx(risk, rel=1e-6)


@given(counts)
def test_wilson_holds_the_share_and_stays_in_range(sample: tuple[int, int]) -> None:
    """The interval holds the share that was seen and lies within [0, 1], at the ends too."""
    count, total = sample
    lower, upper = wilson(count, total)
    assert 0.0 <= lower <= count / total <= upper <= 1.0


def test_large_samples_are_quick_and_exact() -> None:
    """With a million trials the values agree with the normal approximation, within its own error."""
    assert binomial_cdf(10_000, 1_000_000, 0.01) == pytest.approx(0.5, abs=0.01)
    assert upper_bound(10_000, 1_000_000, risk=0.05) == pytest.approx(0.010165, abs=2e-6)
