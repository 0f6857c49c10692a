"""How far a share seen in a sample may be from the true one."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate, takewhile
from math import exp, fsum, lgamma, log, log1p, sqrt
from operator import mul

NEGLIGIBLE = 1e-18
"""Terms below this share of the largest are left out: a float64 holds 16 digits, so no sum of them shows."""


def wilson(count: int, total: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return the score interval of a binomial share (Wilson 1927).

    Args:
        count: successes, 0 to `total`.
        total: trials.
        confidence: of the two-sided interval, in (0, 1).

    Returns:
        Its lower and upper end in [0, 1]; (0, 1) if there are no trials.

    >>> [round(end, 4) for end in wilson(5, 10)]
    [0.2366, 0.7634]
    """
    # It takes ten milliseconds to import, and counts are read by programs that draw no such interval.
    from statistics import NormalDist

    if total == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, weight = count / total, z * z / total
    middle = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * sqrt(share * (1 - share) / total + weight / (4 * total))
    lower, upper = middle - half, middle + half
    return 0.0 if count == 0 else max(0.0, lower), 1.0 if count == total else min(1.0, upper)


def binomial_cdf(count: int, total: int, share: float) -> float:
    """Return the probability of at most `count` successes in `total` trials of probability `share`.

    >>> round(binomial_cdf(0, 10, 0.5) * 2**10, 9)
    1.0
    """
    if count >= total or share <= 0.0:
        return 1.0
    if count < 0 or share >= 1.0:
        return 0.0
    peak = min(count, int((total + 1) * share))
    log_choose = lgamma(total + 1) - lgamma(peak + 1) - lgamma(total - peak + 1)
    largest = exp(log_choose + peak * log(share) + (total - peak) * log1p(-share))
    odds = share / (1 - share)
    below = (each / (total - each + 1) / odds for each in range(peak, 0, -1))
    above = ((total - each + 1) / each * odds for each in range(peak + 1, count + 1))
    return min(1.0, largest * (1.0 + _sum_of_products(below) + _sum_of_products(above)))


def _sum_of_products(ratios: Iterable[float]) -> float:
    """Return r1 + r1 r2 + r1 r2 r3 …, as far as the terms are not negligible."""
    terms = takewhile(lambda term: term > NEGLIGIBLE, accumulate(ratios, mul))
    return fsum(terms)


def upper_bound(count: int, total: int, *, risk: float) -> float:
    """Return the exact one-sided upper confidence bound of a binomial share (Clopper and Pearson 1934).

    Args:
        count: successes, 0 to `total`.
        total: trials.
        risk: probability, in (0, 1), that the true share is above the bound.

    Returns:
        The smallest share under which seeing at most `count` has a probability of at most `risk`.

    >>> round(upper_bound(0, 299, risk=0.05), 4)
    0.01
    """
    if count >= total:
        return 1.0
    lower, upper = count / total, 1.0
    while lower < (middle := (lower + upper) / 2) < upper:
        if binomial_cdf(count, total, middle) <= risk:
            upper = middle
        else:
            lower = middle
    return upper
