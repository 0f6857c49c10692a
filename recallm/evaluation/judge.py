"""What a cache would do with labelled pairs: each `b` is stored, then `a` is asked."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from recallm.embedders.managed import ManagedEmbedder
from recallm.engine.decision import decide, guard_name
from recallm.evaluation.intervals import wilson
from recallm.evaluation.pairs import Pair
from recallm.records import Candidate, Entry, Query
from recallm.typing import Guard

if TYPE_CHECKING:
    from recallm.typing import Vector

SLICE = 128
"""How many texts are embedded between two reports of progress."""

Progress: TypeAlias = Callable[[str, int, int], object]
"""Told what is being done, how many of it are done, and of how many."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What a cache would do with one pair.

    Attributes:
        pair: the pair.
        similarity: cosine of the two prompts, or None where one of them may match exactly only.
        reach: how many of the ascending thresholds serve it where no guard is asked.
        refused_by: names of the guards that refuse it, each asked by itself, where any threshold serves it.
    """

    pair: Pair
    similarity: float | None
    reach: int
    refused_by: tuple[str, ...]

    def served(self, place: int, *, guarded: bool) -> bool:
        """Claim that the stored answer is served at the threshold in this place."""
        return place < self.reach and not (guarded and self.refused_by)


@dataclass(frozen=True, slots=True)
class Counts:
    """How many pairs there were, and how many of them were served.

    Attributes:
        same: pairs of which one answer serves both prompts.
        different: pairs that only look alike.
        right: same pairs served.
        wrong: look-alikes served.
    """

    same: int
    different: int
    right: int
    wrong: int

    @property
    def hits(self) -> int:
        """Pairs served."""
        return self.right + self.wrong

    @property
    def hit_rate(self) -> float | None:
        """Share of the same pairs that are served; None of none."""
        return share(self.right, self.same)

    @property
    def precision(self) -> float | None:
        """Share of the hits that are right; None of none."""
        return share(self.right, self.hits)

    @property
    def wrong_rate(self) -> float | None:
        """Share of the hits that are wrong: 1 - precision; None of none."""
        return share(self.wrong, self.hits)

    @property
    def look_alikes_served(self) -> float | None:
        """Share of the look-alikes that are served; None of none."""
        return share(self.wrong, self.different)

    @property
    def precision_interval(self) -> tuple[float, float]:
        """The precision's 95 % interval (Wilson 1927)."""
        return wilson(self.right, self.hits)


def share(part: int, whole: int) -> float | None:
    """Return a part as a share of the whole, or None where the whole is nothing."""
    return part / whole if whole else None


def count(judged: Sequence[Judged], place: int, *, guarded: bool) -> Counts:
    """Count what the threshold in `place` serves."""
    served = [each.pair.same for each in judged if each.served(place, guarded=guarded)]
    same = sum(each.pair.same for each in judged)
    return Counts(same, len(judged) - same, sum(served), len(served) - sum(served))


def judge(
    pairs: Sequence[Pair],
    *,
    embedder: ManagedEmbedder,
    guards: Sequence[Guard],
    thresholds: Sequence[float],
    progress: Progress | None = None,
) -> tuple[Judged, ...]:
    """Return what a cache would do with each pair, as `recallm.engine.decision.decide` decides.

    Args:
        pairs: what is judged.
        embedder: gives the similarities; texts that it does not represent match exactly only.
        guards: pure functions of two prompts; their verdicts hold at every threshold.
        thresholds: ascending cosines.
        progress: told how far it is.
    """
    vectors = embedded(list(dict.fromkeys(text for pair in pairs for text in (pair.a, pair.b))), embedder, progress)
    judged = []
    for done, pair in enumerate(pairs):
        if progress is not None and done % SLICE == 0:
            progress("judging", done, len(pairs))
        judged.append(_judge_one(pair, vectors, guards, thresholds))
    if progress is not None:
        progress("judging", len(pairs), len(pairs))
    return tuple(judged)


def _judge_one(
    pair: Pair, vectors: Mapping[str, Vector | None], guards: Sequence[Guard], thresholds: Sequence[float]
) -> Judged:
    similarity = _similarity(pair, vectors)
    if similarity is None:
        return Judged(pair, None, 0, ())
    query = Query(pair.a, "", "", pair.a)
    found = [Candidate(Entry(pair.b, "", "", pair.b, None, b""), similarity, 0.0)]
    # A pair served at one threshold is served at every lower one.
    reach = bisect_left(thresholds, True, key=lambda threshold: not decide(query, found, threshold, ()).served)
    refused_by: tuple[str, ...] = ()
    if reach:
        refused_by = tuple(
            guard_name(guard) for guard in guards if decide(query, found, thresholds[0], (guard,)).refusals
        )
    return Judged(pair, similarity, reach, refused_by)


def _similarity(pair: Pair, vectors: Mapping[str, Vector | None]) -> float | None:
    from recallm.scoring import similarity

    if pair.a == pair.b:
        return 1.0
    a, b = vectors[pair.a], vectors[pair.b]
    return None if a is None or b is None else similarity(a, b)


def embedded(
    texts: Sequence[str], embedder: ManagedEmbedder, progress: Progress | None = None
) -> dict[str, Vector | None]:
    """Return each text's unit vector, or None if the embedder does not represent it.

    Raises:
        OddVectorError: the embedder returned something else than a vector.
        Exception: whatever the embedder raises.
    """
    embedder.load()
    vectors: dict[str, Vector | None] = {}
    for part in embedder.embed_many(texts, at_once=SLICE):
        if progress is not None:
            progress("embedding", len(vectors), len(texts))
        vectors.update(zip(texts[len(vectors) :], part, strict=False))
    if progress is not None:
        progress("embedding", len(texts), len(texts))
    return vectors
