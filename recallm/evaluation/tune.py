"""The threshold with the most hits whose wrong rate is confidently below a target."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Literal, TypeAlias, get_args

from recallm import checks
from recallm.engine.flow import RECORDED_FLOOR
from recallm.evaluation.judge import Counts, Progress, count_served, judge
from recallm.evaluation.pairs import Pairs, labelled
from recallm.guards.default import DEFAULT_GUARDS
from recallm.registry import default_embedder, managed
from recallm.telemetry.intervals import binomial_cdf, upper_bound
from recallm.typing import EmbedderLike, Guard

ShareOf: TypeAlias = Literal["hits", "look-alikes"]
"""What a wrong rate is a share of."""

CANDIDATES = tuple(thousandth / 1000 for thousandth in range(round(1000 * RECORDED_FLOOR), 1000))
"""The thresholds to choose from. The guarantee requires that they be fixed before the data are seen; recordings hold
no pairs below the first."""

TIMES_MORE_STEP = 1.1
"""How finely the number of missing pairs is searched: it is an estimate, shown with two digits."""

MOST_TIMES_MORE = 1000.0
"""Nobody labels a thousand times as many pairs: beyond, more of the same does not help."""


@dataclass(frozen=True, slots=True, repr=False)
class Tuning:
    """What `tune` found; `repr` says it in words and prints the line to paste.

    Attributes:
        threshold: the one to use, or None if no threshold is confidently good enough.
        counts: what it serves of the pairs; None without a threshold.
        upper_bound: the wrong rate is below this, with `confidence`; None without a threshold.
        max_wrong: the target.
        of: what the wrong rate is a share of.
        confidence: probability that the wrong rate is as low as promised.
        more_pairs: without a threshold, about how many more labelled pairs would do if the shares stay as they are;
            None if more of the same will not help.
        lowest_wrong: without a threshold, the lowest wrong rate seen and the threshold where it was; None if there
            were no hits.
        pairs: how many pairs this rests on.
        unlabelled: how many items were left out because they had no label.
        guarded: whether guards were asked.
    """

    threshold: float | None
    counts: Counts | None
    upper_bound: float | None
    max_wrong: float
    of: ShareOf
    confidence: float
    more_pairs: int | None
    lowest_wrong: tuple[float, float] | None
    pairs: int
    unlabelled: int
    guarded: bool

    @property
    def line(self) -> str | None:
        """The decorator to paste, or None without a threshold."""
        if self.threshold is None:
            return None
        return f"@semantic_cache(threshold={self.threshold!r}{'' if self.guarded else ', guards=()'}, ...)"

    def __repr__(self) -> str:
        target = f"at most {100 * self.max_wrong:g} % of the {self.of}"
        if self.threshold is None or self.counts is None or self.upper_bound is None:
            return f"No threshold is wrong in {target} with {100 * self.confidence:g} % confidence: {self._explanation}"
        counts = self.counts
        whole = counts.hits if self.of == "hits" else counts.different
        return (
            f"{self.line}\n"
            f"of {self.pairs} pairs it serves {counts.hits}: {counts.right} of {counts.same} same pairs, "
            f"{counts.wrong} of {counts.different} look-alikes\n"
            f"wrong: {counts.wrong} of {whole} {self.of}; with {100 * self.confidence:g} % confidence below "
            f"{100 * self.upper_bound:.2f} % (target {100 * self.max_wrong:g} %)"
        )

    @property
    def _explanation(self) -> str:
        if self.lowest_wrong is None:
            return f"the {self.pairs} pairs do not tell: label more that are alike, some the same and some not."
        wrong, where = self.lowest_wrong
        if self.more_pairs is None:
            return (
                f"the lowest share seen was {100 * wrong:.1f} %, at {where:g}. More pairs like these {self.pairs} "
                "will not help; guards, a verifier, another embedder or a higher target may."
            )
        return (
            f"{self.pairs} labelled pairs are too few to tell. "
            f"You need about {self.more_pairs:,} more, if they turn out like these."
        )


def tune(
    pairs: Pairs,
    *,
    max_wrong: float = 0.01,
    of: ShareOf = "hits",
    confidence: float = 0.95,
    embedder: EmbedderLike | None = None,
    guards: Sequence[Guard] = DEFAULT_GUARDS,
    thresholds: Sequence[float] = CANDIDATES,
    progress: Progress | None = None,
) -> Tuning:
    """Choose the threshold with the most hits whose wrong rate is confidently below a target.

    With probability `confidence` over the pairs' labels, the wrong rate at the threshold returned is at most
    `max_wrong`, on traffic of which the pairs are a fair sample: label what `recallm.record` wrote down, all of it or
    lines drawn by lot. Thresholds are tested in fixed sequences from strict to loose, each sequence until a test fails
    (Learn then Test, Angelopoulos et al. 2021), by the exact binomial bound (Clopper and Pearson 1934). One sequence
    starts at the strictest threshold with enough hits for a proof, and further ones at each doubling of that number;
    the number of hits does not depend on the labels. The sequences share the risk.

    Args:
        pairs: as for `evaluate`.
        max_wrong: the target, in (0, 1).
        of: ``"hits"``: the share of the answers served that are wrong, 1 - precision;
            ``"look-alikes"``: the share of the look-alikes that are served, which does not depend on how many of the
            pairs are look-alikes.
        confidence: probability of the guarantee, in (0, 1).
        embedder: see `recallm.typing.EmbedderLike`; None: the default one. The threshold holds for it only.
        guards: as for `semantic_cache`; ``()``: none.
        thresholds: the cosines to choose from; fix them before you look at the pairs.
        progress: as for `evaluate`.

    Raises:
        InvalidValueError: something is not a pair, or a number is outside its range.
        InvalidTypeError: an argument has the wrong type.
        OSError: the file cannot be read.
        ModelUnavailableError: the embedding model cannot be loaded.
    """
    checks.share(max_wrong, "max_wrong")
    checks.share(confidence, "confidence")
    checks.choice(of, "of", get_args(ShareOf))
    ascending = checks.thresholds(thresholds)
    labelled_pairs = labelled(pairs)
    model = default_embedder() if embedder is None else managed(checks.embedder(embedder))
    judged = judge(labelled_pairs.pairs, embedder=model, guards=guards, thresholds=ascending, progress=progress)
    strict_first = [count_served(judged, index, guarded=True) for index in reversed(range(len(ascending)))]
    samples = [(each.wrong, each.hits if of == "hits" else each.different) for each in strict_first]
    risk = 1 - confidence
    good, risk_each = proven(samples, max_wrong, risk)
    # Of thresholds with as many hits the strictest is taken: it promises no less, and serves fewer look-alikes.
    best = max(good, key=lambda index: (strict_first[index].right, -index), default=None)
    if best is not None and strict_first[best].right == 0:
        best = None
    useful = [sample for each, sample in zip(strict_first, samples, strict=True) if each.right]
    more = times_more(useful, max_wrong, risk_each) if best is None else None
    return Tuning(
        threshold=None if best is None else ascending[-1 - best],
        counts=None if best is None else strict_first[best],
        upper_bound=None if best is None else upper_bound(*samples[best], risk=risk_each),
        max_wrong=max_wrong,
        of=of,
        confidence=confidence,
        more_pairs=None if more is None else _rounded_up((more - 1) * len(judged)),
        lowest_wrong=None if best is not None else _lowest_wrong(strict_first, samples, ascending[::-1]),
        pairs=len(judged),
        unlabelled=labelled_pairs.unlabelled,
        guarded=bool(guards),
    )


def proven(samples: Sequence[tuple[int, int]], max_wrong: float, risk: float) -> tuple[list[int], float]:
    """Return which samples prove a share of at most `max_wrong`, all of them with one risk of error.

    Args:
        samples: (wrong, trials) of each threshold, from strict to loose; trials never fall.
        max_wrong: the share to stay at or below.
        risk: probability that any of those returned is above it.

    Returns:
        Their indices, and the risk at which each was tested.
    """
    trials = [total for _, total in samples]
    starts: list[int] = []
    for shares in range(1, len(samples) + 1):
        starts = _starts(trials, max_wrong, risk / shares)
        if len(starts) <= shares:
            break
    risk_each = risk / max(1, len(starts))
    good: dict[int, None] = {}
    for start in starts:
        for index in range(start, len(samples)):
            # The same claim as `upper_bound(...) <= max_wrong`, at a fiftieth of the cost.
            if binomial_cdf(*samples[index], max_wrong) > risk_each or trials[index] == 0:
                break
            good[index] = None
    return list(good), risk_each


def _starts(trials: Sequence[int], max_wrong: float, risk: float) -> list[int]:
    """Return where sequences start: at the first index with enough trials, and at each doubling of that number."""
    starts: dict[int, None] = {}
    needed = _least_trials(max_wrong, risk)
    while (index := bisect_left(trials, needed)) < len(trials):
        starts[index] = None
        needed *= 2
    return list(starts)


def _least_trials(max_wrong: float, risk: float) -> int:
    """Return how many trials prove the claim if none of them is wrong."""
    trials = 1
    while binomial_cdf(0, trials, max_wrong) > risk:
        trials *= 2
    return bisect_left(range(trials), True, key=lambda number: binomial_cdf(0, number, max_wrong) <= risk)


def times_more(samples: Sequence[tuple[int, int]], max_wrong: float, risk: float) -> float | None:
    """Return how many times as many trials, with the same shares of wrong ones, would prove the claim.

    Args:
        samples: (wrong, trials) of each threshold; it is enough if the claim is proven for one of them.
        max_wrong: the share to stay at or below.
        risk: probability that the claim is wrong.

    Returns:
        The factor, or None if no factor below `MOST_TIMES_MORE` would do.
    """
    fewest: float | None = None
    for wrong, trials in samples:
        if not trials or wrong / trials >= max_wrong:
            continue
        times = TIMES_MORE_STEP
        most = MOST_TIMES_MORE if fewest is None else fewest
        while times < most:
            if binomial_cdf(ceil(wrong * times), floor(trials * times), max_wrong) <= risk:
                fewest = times
                break
            times *= TIMES_MORE_STEP
    return fewest


def _rounded_up(number: float) -> int:
    """Return a number rounded up to two digits."""
    unit: int = 10 ** max(0, floor(log10(max(1.0, number))) - 1)
    return ceil(number / unit) * unit


def _lowest_wrong(
    counts: Sequence[Counts], samples: Sequence[tuple[int, int]], thresholds: Sequence[float]
) -> tuple[float, float] | None:
    shares = [
        (wrong / trials, threshold)
        for each, (wrong, trials), threshold in zip(counts, samples, thresholds, strict=True)
        if trials and each.right
    ]
    return min(shares, key=lambda share: (share[0], -share[1]), default=None)
