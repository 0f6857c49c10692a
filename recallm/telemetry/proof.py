"""What audits prove: which similar hits are drawn, how often they are wrong, and when that is more than a budget.

The rate is that of calls: the share of similar hits whose stored answer was wrong. So each hit is drawn by itself,
however often its prompt is asked. Were it the prompt that is drawn, all its calls would be audited or none: the few
prompts that make up most of the traffic would be most of the sample or no part of it, and no interval could hold.
With draws of their own the audited hits are a simple random sample of all, whatever the traffic looks like, and
wrong answers that come in clusters, change with time or are mended by the audits themselves do no harm.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from itertools import count
from math import inf, lgamma, log, log1p

from recallm.telemetry.intervals import binomial_cdf, upper_bound

RISK = 0.05
"""The probability, over all time, that a cache is closed whose wrong rate keeps its budget."""

MEAN_EXCESS = 2.0
"""How far above the budget, in budgets, the rates that are bet on lie on average.

Of 0.25 to 4 it is what finds rates of two to ten budgets in the fewest audits or within a fifth of them.
"""

TURN_BYTES = 8
DRAWS = 2**64


def is_drawn(key: bytes, turn: int, share: float) -> bool:
    """Return whether a similar hit is audited. The same calls in the same order give the same audits again.

    Args:
        key: the digest of the call.
        turn: how many similar hits there were before, from 0 on; each has its own.
        share: of the similar hits, in [0, 1], that are audited.

    >>> sum(is_drawn(b"key", turn, 0.02) for turn in range(10_000))
    210
    """
    if not 0.0 < share < 1.0:
        return share >= 1.0
    drawn = blake2b(key + turn.to_bytes(TURN_BYTES, "big"), digest_size=TURN_BYTES).digest()
    return int.from_bytes(drawn, "big") < share * DRAWS


def interval(wrong: int, audited: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of the share of similar hits that are wrong (Clopper and Pearson 1934).

    Args:
        wrong: audited hits whose stored answer was wrong.
        audited: hits that were audited.
        confidence: of the two-sided interval, in (0, 1). It holds for one look; `is_over` is for looking at any time.

    Returns:
        Its lower and upper end in [0, 1]; (0.0, 1.0) before the first audit.

    >>> [round(end, 4) for end in interval(3, 100)], interval(0, 0)
    ([0.0062, 0.0852], (0.0, 1.0))
    """
    wrong = max(0, min(wrong, audited))
    risk = (1 - confidence) / 2
    return 1.0 - upper_bound(audited - wrong, audited, risk=risk), upper_bound(wrong, audited, risk=risk)


def log_evidence(wrong: int, audited: int, budget: float) -> float:
    """Return the logarithm of the evidence that more than a budget of the similar hits are wrong.

    It is what a gambler owns, with 1 to begin with, who bets on each audit at odds that are fair if just `budget` of
    them are wrong, on all higher rates at once: a mixture of likelihood ratios (Robbins 1970) over a beta distribution
    above the budget (Howard, Ramdas, McAuliffe and Sekhon 2021; as bets Waudby-Smith and Ramdas 2024). As long as the
    share of wrong ones among all similar hits so far is at most the budget, the gambler gains nothing on average, so
    this ever passes log(1 / risk) with a probability of at most `risk` (Ville 1939). Nothing is asked of the hits: by
    Jensen's inequality it holds for whatever rates in whatever order, as the draws do not depend on them.

    Args:
        wrong: audited hits whose stored answer was wrong, 0 to `audited`.
        audited: hits that were audited.
        budget: the share, in (0, 1), that may be wrong.

    >>> round(log_evidence(0, 100, 0.01), 2), round(log_evidence(8, 100, 0.01), 2)
    (-1.1, 7.93)
    """
    weight = max(1, round(1 / (MEAN_EXCESS * budget)))
    trials = audited + weight
    above = binomial_cdf(wrong, trials, budget)
    if above <= 0.0:
        return -inf
    mixed = log(weight) + lgamma(wrong + 1) + lgamma(trials - wrong) - lgamma(trials + 1) + log(above)
    return mixed - wrong * log(budget) - (trials - wrong) * log1p(-budget)


def is_over(wrong: int, audited: int, budget: float, *, risk: float = RISK) -> bool:
    """Return whether more than a budget of the similar hits are wrong, as far as audits prove it.

    It may be asked after every audit, for ever: that it is ever True of a cache that keeps its budget has a probability
    of at most `risk`. Asked so, an ordinary interval would condemn every cache in the end.

    Args:
        wrong: audited hits whose stored answer was wrong.
        audited: hits that were audited.
        budget: the share, in [0, 1], that may be wrong; with 0.0 a single wrong one is too many.
        risk: see above, in (0, 1).

    >>> [is_over(wrong, 100, 0.01) for wrong in (3, 4, 5)]
    [False, False, True]
    """
    wrong = min(wrong, audited)
    if wrong <= 0 or budget >= 1.0:
        return False
    return budget <= 0.0 or log_evidence(wrong, audited, budget) >= -log(risk)


def closing_chances(rate: float, budget: float, *, risk: float = RISK) -> Iterator[float]:
    """Yield the probability that `is_over` has been True by the first audit, by the second, and so on without end.

    Args:
        rate: the share of the similar hits, in [0, 1], that are wrong.
        budget: the share, in (0, 1), that may be.
        risk: see `is_over`.

    >>> from itertools import islice
    >>> [round(chance, 3) for chance in islice(closing_chances(0.03, 0.01), 99, 400, 100)]
    [0.218, 0.455, 0.623, 0.743]
    """
    closed, least = 0.0, 1
    open_with = [1.0]
    for audited in count(1):
        while least <= audited and not is_over(least, audited, budget, risk=risk):
            least += 1
        right = [chance * (1 - rate) for chance in open_with] + [0.0]
        wrong = [0.0] + [chance * rate for chance in open_with]
        reached = [one + other for one, other in zip(right, wrong, strict=True)]
        closed += sum(reached[least:])
        open_with = reached[:least]
        yield min(1.0, closed)


def expected_audits(rate: float, budget: float, *, risk: float = RISK, most: int = 100_000) -> float:
    """Return how many audits it takes on average until `is_over` is True.

    About log(1 / risk) plus a few, over the rate's Kullback-Leibler divergence from the budget (Wald 1945); this is the
    exact number for hits that are wrong independently of each other.

    Args:
        rate: the share of the similar hits, in [0, 1], that are wrong.
        budget: the share, in (0, 1), that may be.
        risk: see `is_over`.
        most: how many audits are looked at; if more than one in a million caches is open after them, the result is inf.

    >>> round(expected_audits(0.03, 0.01)), expected_audits(0.01, 0.01, most=1000)
    (293, inf)
    """
    if rate <= budget:
        return inf
    expected = 1.0
    for audited, closed in enumerate(closing_chances(rate, budget, risk=risk), start=1):
        if 1 - closed < 1e-6:
            return expected
        if audited == most:
            return inf
        expected += 1 - closed
    return inf
