"""How often a cache would be right on labelled pairs, over thresholds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recallm import checks
from recallm.config import resolve_threshold
from recallm.engine.decision import guard_name
from recallm.evaluation.judge import Counts, JudgedPair, Progress, count_served, judge
from recallm.evaluation.pairs import Pairs, labelled
from recallm.guards.default import DEFAULT_GUARDS
from recallm.registry import default_embedder, managed
from recallm.telemetry.intervals import wilson
from recallm.typing import EmbedderLike, Guard, Profile

THRESHOLDS: tuple[float, ...] = (0.8, 0.85, 0.88, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99)
"""The cosines of the table: denser above 0.9, where the profiles lie."""


@dataclass(frozen=True, slots=True)
class ThresholdCounts:
    """What one threshold serves: a line of the tables.

    Attributes:
        threshold: a cosine.
        bare: what it serves if no guard is asked.
        guarded: what it serves if the guards are asked.
    """

    threshold: float
    bare: Counts
    guarded: Counts


@dataclass(frozen=True, slots=True)
class GuardCounts:
    """What one guard refuses of the pairs whose similarity reaches a threshold.

    Attributes:
        name: the guard's name.
        right: how many look-alikes it refuses, asked by itself.
        wrong: how many same pairs it refuses, asked by itself.
        only_right: how many of `right` no other guard refuses: without this one they would be served.
        only_wrong: how many of `wrong` no other guard refuses: without this one they would be hits.
    """

    name: str
    right: int
    wrong: int
    only_right: int
    only_wrong: int


@dataclass(frozen=True, slots=True, repr=False)
class Evaluation:
    """What a cache would do with labelled pairs; `repr` is a table.

    A pair is *served* at a threshold if a cache that holds `b` would answer `a` from it: the similarity reaches the
    threshold and no guard refuses. A *look-alike* is a pair whose prompts have different answers.

    ====================  ==============================================================
    hit rate              same pairs served, of all same pairs
    precision             same pairs served, of all pairs served
    wrong rate            look-alikes served, of all pairs served: 1 - precision
    look-alikes served    look-alikes served, of all look-alikes
    ====================  ==============================================================

    Hit rate and look-alikes served show what the embedder and the guards can tell apart, whatever the mix of pairs.
    Precision and wrong rate depend on how many of the pairs are look-alikes: they are those of your traffic only if
    the pairs are a fair sample of it, as `recallm.record` takes it.

    Attributes:
        model_id: the embedder's.
        rows: what each threshold serves, in ascending order.
        at: the threshold of `kinds` and `guards`.
        kinds: kind → what is served at `at`; empty if no pair has a kind.
        guards: what each guard refuses, in the order given.
        unlabelled: how many items were left out because they had no label.
    """

    model_id: str
    rows: tuple[ThresholdCounts, ...]
    at: float
    kinds: Mapping[str, ThresholdCounts]
    guards: tuple[GuardCounts, ...]
    unlabelled: int

    def __repr__(self) -> str:
        all_pairs = self.rows[0].bare
        left_out = f", {self.unlabelled} without a label left out" if self.unlabelled else ""
        lines = [
            f"{all_pairs.same} same pairs, {all_pairs.different} look-alikes{left_out}; {self.model_id}",
            "shares in %, with 95 % Wilson intervals; wrong: share of the hits",
        ]
        lines += _table("without guards", [(f"{row.threshold:.3f}", row.bare) for row in self.rows])
        if self.guards:
            lines += _table("with guards", [(f"{row.threshold:.3f}", row.guarded) for row in self.rows])
        if self.kinds:
            guarded = " with guards" if self.guards else ""
            kinds = [(kind, row.guarded) for kind, row in self.kinds.items()]
            lines += _table(f"by kind, at {self.at:.3f}{guarded}", kinds)
        if self.guards:
            titles = (f"vetoes at {self.at:.3f}", "right", "wrong", "only right", "only wrong")
            vetoes = [(each.name, each.right, each.wrong, each.only_right, each.only_wrong) for each in self.guards]
            lines += ["", *("{:<30}{:>6}{:>8}{:>12}{:>12}".format(*cells) for cells in (titles, *vetoes))]
        return "\n".join(lines)


def evaluate(
    pairs: Pairs,
    *,
    embedder: EmbedderLike | None = None,
    guards: Sequence[Guard] = DEFAULT_GUARDS,
    thresholds: Sequence[float] = THRESHOLDS,
    at: Profile | float = "balanced",
    progress: Progress | None = None,
) -> Evaluation:
    """Return what a cache would do with labelled pairs, at each threshold, without guards and with them.

    Use it to see what a threshold or a guard gains and costs on prompts of your own; `tune` chooses a
    threshold. See `Evaluation` for what hit rate, precision and wrong rate are.

    Args:
        pairs: the path of a JSONL file, or pairs: mappings with ``a``, ``b``, ``same`` and perhaps
            ``kind``. See `recallm.evaluation.pairs.labelled`.
        embedder: see `recallm.typing.EmbedderLike`; None: the default one.
        guards: as for `semantic_cache`; ``()``: none.
        thresholds: cosines in [0, 1], in any order.
        at: a profile or cosine, which joins `thresholds`; kinds and single guards are counted at it.
        progress: called now and then as ``progress(stage, done, total)``; None: nothing is called.

    Raises:
        InvalidValueError: something is not a pair, or a threshold is outside [0, 1].
        InvalidTypeError: an argument has the wrong type.
        OSError: the file cannot be read.
        ModelUnavailableError: the embedding model cannot be loaded.

    >>> from recallm.testing import FakeEmbedder
    >>> pairs = [{"a": "is tea hot", "b": "tea is hot", "same": True}]
    >>> evaluate(pairs, embedder=FakeEmbedder()).rows[0].guarded.hit_rate
    1.0
    """
    labelled_pairs = labelled(pairs)
    model = default_embedder() if embedder is None else managed(checks.embedder(embedder))
    checks.profile_or_cosine(at, "at")
    at = resolve_threshold(at, model.load().thresholds)
    ascending = checks.thresholds([*thresholds, at])
    judged = judge(labelled_pairs.pairs, embedder=model, guards=guards, thresholds=ascending, progress=progress)
    index = ascending.index(at)
    kinds = {each.pair.kind: None for each in judged if each.pair.kind is not None}
    return Evaluation(
        model_id=model.load().model_id,
        rows=tuple(_counts_at(judged, ascending, each) for each in range(len(ascending))),
        at=at,
        kinds={
            kind: _counts_at([each for each in judged if each.pair.kind == kind], ascending, index)
            for kind in sorted(kinds)
        },
        guards=_guard_counts(judged, index, [guard_name(guard) for guard in guards]),
        unlabelled=labelled_pairs.unlabelled,
    )


def _counts_at(judged: Sequence[JudgedPair], thresholds: Sequence[float], index: int) -> ThresholdCounts:
    bare, guarded = count_served(judged, index, guarded=False), count_served(judged, index, guarded=True)
    return ThresholdCounts(thresholds[index], bare, guarded)


def _guard_counts(judged: Sequence[JudgedPair], index: int, names: Sequence[str]) -> tuple[GuardCounts, ...]:
    alone: Counter[tuple[str, bool]] = Counter()
    only: Counter[tuple[str, bool]] = Counter()
    for each in judged:
        if each.is_served(index, guarded=False):
            refused_by = set(each.refused_by)
            alone.update((name, each.pair.same) for name in refused_by)
            only.update((name, each.pair.same) for name in refused_by if len(refused_by) == 1)
    return tuple(
        GuardCounts(name, alone[name, False], alone[name, True], only[name, False], only[name, True])
        for name in dict.fromkeys(names)
    )


def _table(title: str, rows: Sequence[tuple[str, Counts]]) -> list[str]:
    width = max(30, len(title) + 2, *(len(name) + 2 for name, _ in rows))
    header = f"{title:<{width}}{'hits':>6}{'hit rate':>20}{'precision':>20}{'wrong':>8}{'look-alikes served':>20}"
    return ["", header, *(f"{name:<{width}}{_cells(counts)}" for name, counts in rows)]


def _cells(counts: Counts) -> str:
    wrong = "-" if counts.wrong_rate is None else f"{100 * counts.wrong_rate:.1f}"
    return (
        f"{counts.hits:>6}{_percent(counts.right, counts.same):>20}{_percent(counts.right, counts.hits):>20}"
        f"{wrong:>8}{_percent(counts.wrong, counts.different):>20}"
    )


def _percent(part: int, whole: int) -> str:
    if not whole:
        return "-"
    lower, upper = wilson(part, whole)
    return f"{100 * part / whole:.1f} [{100 * lower:.1f}, {100 * upper:.1f}]"
