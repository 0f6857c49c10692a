"""What a cache would do with labelled pairs: each `b` is stored, then `a` is asked."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from recallm.embedders.managed import ManagedEmbedder
from recallm.engine.decision import decide, guard_name
from recallm.evaluation.pairs import Pair
from recallm.records import Candidate, Entry, Query
from recallm.telemetry.intervals import wilson
from recallm.typing import Guard

if TYPE_CHECKING:
    from recallm.typing import Vector

TEXTS_AT_ONCE = 128
"""How many texts are embedded between two reports of progress: a second or two of work on a CPU."""

Progress: TypeAlias = Callable[[str, int, int], object]
"""(stage, done, total): called now and then, with what is being done and how many of how many are done."""


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """What a cache would do with one pair.

    Attributes:
        pair: the pair.
        similarity: cosine of the two prompts, or None if one of them may match exactly only.
        reach: how many of the thresholds, in ascending order, serve it if no guard is asked.
        refused_by: names of the guards that refuse it, each asked by itself; empty if no threshold serves it.
    """

    pair: Pair
    similarity: float | None
    reach: int
    refused_by: tuple[str, ...]

    def is_served(self, index: int, *, guarded: bool) -> bool:
        """Return whether the stored answer is served at the threshold of this index."""
        return index < self.reach and not (guarded and self.refused_by)


@dataclass(frozen=True, slots=True)
class Counts:
    """How many pairs of each label there are, and how many of them a threshold serves.

    Attributes:
        same: pairs whose prompts have the same answer.
        different: look-alikes: pairs whose prompts have different answers.
        right: how many of the same pairs are served.
        wrong: how many of the look-alikes are served.
    """

    same: int
    different: int
    right: int
    wrong: int

    @property
    def hits(self) -> int:
        """How many pairs are served, right or wrong."""
        return self.right + self.wrong

    @property
    def hit_rate(self) -> float | None:
        """Share of the same pairs that are served; None if there are no same pairs."""
        return share_of(self.right, self.same)

    @property
    def precision(self) -> float | None:
        """Share of the hits that are right; None if there are no hits."""
        return share_of(self.right, self.hits)

    @property
    def wrong_rate(self) -> float | None:
        """Share of the hits that are wrong, 1 - precision; None if there are no hits."""
        return share_of(self.wrong, self.hits)

    @property
    def look_alikes_served(self) -> float | None:
        """Share of the look-alikes that are served; None if there are no look-alikes."""
        return share_of(self.wrong, self.different)

    @property
    def precision_interval(self) -> tuple[float, float]:
        """The precision's 95 % interval (Wilson 1927)."""
        return wilson(self.right, self.hits)


def share_of(part: int, whole: int) -> float | None:
    """Return a part as a share of the whole, or None if the whole is 0."""
    return part / whole if whole else None


def count_served(judged: Sequence[JudgedPair], index: int, *, guarded: bool) -> Counts:
    """Return how many pairs the threshold of this index serves."""
    served = [each.pair.same for each in judged if each.is_served(index, guarded=guarded)]
    same = sum(each.pair.same for each in judged)
    return Counts(same, len(judged) - same, sum(served), len(served) - sum(served))


def judge(
    pairs: Sequence[Pair],
    *,
    embedder: ManagedEmbedder,
    guards: Sequence[Guard],
    thresholds: Sequence[float],
    progress: Progress | None = None,
) -> tuple[JudgedPair, ...]:
    """Return what a cache would do with each pair, as `recallm.engine.decision.decide` decides.

    Args:
        pairs: what is judged.
        embedder: gives the similarities; texts that it does not represent match exactly only.
        guards: pure functions of two prompts; their verdicts hold at every threshold.
        thresholds: ascending cosines.
        progress: called at the beginning, after each `TEXTS_AT_ONCE` texts or pairs, and at the end.

    Raises:
        Exception: whatever the embedder raises.
    """
    vectors = embedded(list(dict.fromkeys(text for pair in pairs for text in (pair.a, pair.b))), embedder, progress)
    judged = []
    for done, pair in enumerate(pairs):
        if progress is not None and done % TEXTS_AT_ONCE == 0:
            progress("judging", done, len(pairs))
        judged.append(_judge_pair(pair, vectors, guards, thresholds))
    if progress is not None:
        progress("judging", len(pairs), len(pairs))
    return tuple(judged)


def _judge_pair(
    pair: Pair, vectors: Mapping[str, Vector | None], guards: Sequence[Guard], thresholds: Sequence[float]
) -> JudgedPair:
    similarity = _similarity(pair, vectors)
    if similarity is None:
        return JudgedPair(pair, None, 0, ())
    query = Query(pair.a, "", "", pair.a)
    found = [Candidate(Entry(pair.b, "", "", pair.b, None, b""), similarity, 0.0)]
    # A pair served at one threshold is served at every lower one.
    reach = bisect_left(thresholds, True, key=lambda threshold: not decide(query, found, threshold, ()).served)
    refused_by: tuple[str, ...] = ()
    if reach:
        refused_by = tuple(
            guard_name(guard) for guard in guards if decide(query, found, thresholds[0], (guard,)).refusals
        )
    return JudgedPair(pair, similarity, reach, refused_by)


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
    for part in embedder.embed_many(texts, at_once=TEXTS_AT_ONCE):
        if progress is not None:
            progress("embedding", len(vectors), len(texts))
        vectors.update(zip(texts[len(vectors) :], part, strict=False))
    if progress is not None:
        progress("embedding", len(texts), len(texts))
    return vectors
