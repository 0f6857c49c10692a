"""Statistics: a cache's counts as a value, and the increments of each event.

To count something more, add a last field to `CacheStats` and a case to `increments`: sums over caches, ``repr`` and the
Prometheus counters follow from the fields.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, TypeAlias, assert_never

from recallm.records import (
    Audited,
    Bypass,
    Coalesced,
    Compared,
    Embedded,
    Event,
    Failure,
    Hit,
    Miss,
    Reported,
    Revalidating,
    ServedStale,
    Stored,
    Veto,
)
from recallm.telemetry.journal import Journal
from recallm.telemetry.labels import encodable
from recallm.telemetry.proof import interval

SHOWN = 8
"""How many names of a mapping the ``repr`` shows."""


def _count(meaning: str) -> Any:
    """Return a field that counts events, shown and exported as a Prometheus counter."""
    return field(default=0, metadata={"meaning": meaning})


def _counts_by(label: str, meaning: str) -> Any:
    """Return a field that counts events by a name, shown and exported as a Prometheus counter with a label."""
    return field(default_factory=dict, metadata={"meaning": meaning, "label": label})


@dataclass(frozen=True, slots=True, repr=False)
class CacheStats:
    """The counts of a cache since it was made or its statistics were reset.

    Attributes:
        exact_hits: calls answered because this very prompt was stored.
        semantic_hits: calls answered because a similar prompt was.
        misses: cacheable calls for which the function was called.
        similarity_sum: sum of the hits' cosines (exact hits count as 1).
        bypasses: reason → calls for which the cache stood aside.
        errors: stage → errors kept from callers.
        vetoes: guard → candidates it refused; ``"store_if"`` and ``"verify"`` stand for theirs, ``"history"``
            for that of a conversation (see the option ``history``).
        stored: answers stored.
        evicted: entries removed to make room for others.
        coalesced: hits of calls that waited for another call to compute the answer.
        saved_seconds: seconds that the function took to make the served entries, summed over hits.
        saved_tokens: tokens that the function reported for the served entries, summed over hits.
        namespace_sizes: namespace → live entries; what ``wrong()`` stores to keep a prompt from an answer is one, too.
        circuits: ``"storage"`` or ``"embedder"`` → ``"open"`` or ``"probing"``, if it is skipped for failing;
            ``"similar"`` → ``"stopped by max_wrong"`` (see that option).
        stale: misses of calls whose function raised, and that got an expired entry.
        saved_cost: what the served entries had cost, summed over hits, in your currency (see the option ``price``).
        shadow_hits: ``"exact"`` and ``"similar"`` → misses that would have been such hits if ``serve="none"`` had not
            kept them from being served.
        audits: band of cosines, such as ``"0.92-0.94"`` → similar hits whose answer was compared with the function's
            own (see the option ``audit``). Each was a miss, and its call got the function's answer.
        wrong_audits: band → those that were wrong.
        reported_wrong: answers that ``wrong()`` of a cached function was told of.
        stale_hits: hits with an expired entry, while the function made a new answer (see the option
            ``stale_while_revalidate``).
    """

    exact_hits: int = 0
    semantic_hits: int = 0
    misses: int = _count("Cacheable calls for which the function was called.")
    similarity_sum: float = 0.0
    bypasses: Mapping[str, int] = _counts_by("reason", "Calls for which the cache stood aside.")
    errors: Mapping[str, int] = _counts_by("stage", "Troubles kept from callers.")
    vetoes: Mapping[str, int] = _counts_by("guard", "Candidates that a guard refused.")
    stored: int = _count("Answers stored.")
    evicted: int = _count("Entries that made room for others.")
    coalesced: int = _count("Hits of calls that waited for another to make the answer.")
    saved_seconds: float = 0.0
    saved_tokens: int = 0
    namespace_sizes: Mapping[str, int] = field(default_factory=dict)
    circuits: Mapping[str, str] = field(default_factory=dict)
    stale: int = _count("Calls answered with an expired entry because the function raised.")
    saved_cost: float = 0.0
    shadow_hits: Mapping[str, int] = _counts_by("tier", "Misses that would have been hits if serving were on.")
    audits: Mapping[str, int] = _counts_by("band", "Similar hits compared with the function's own answer.")
    wrong_audits: Mapping[str, int] = _counts_by("band", "Similar hits whose answer an audit found wrong.")
    reported_wrong: int = _count("Answers that users reported to be wrong.")
    stale_hits: int = _count("Hits with an expired entry while a new answer was made.")

    @property
    def hits(self) -> int:
        """Calls answered from the cache."""
        return self.exact_hits + self.semantic_hits

    @property
    def hit_rate(self) -> float:
        """Hits as a share of the cacheable calls, or 0.0 before the first."""
        calls = self.hits + self.misses
        return self.hits / calls if calls else 0.0

    @property
    def avg_similarity(self) -> float:
        """Mean cosine of the hits, or 0.0 before the first."""
        return self.similarity_sum / self.hits if self.hits else 0.0

    @property
    def audited(self) -> int:
        """Similar hits whose answer was compared with the function's own."""
        return sum(self.audits.values())

    @property
    def wrong(self) -> int:
        """Answers known to be wrong, from audits and from reports."""
        return sum(self.wrong_audits.values()) + self.reported_wrong

    @property
    def wrong_rate(self) -> float:
        """Share of the audited hits that were wrong, or 0.0 before the first.

        Reports do not count here: nobody reports what is right.
        """
        return sum(self.wrong_audits.values()) / self.audited if self.audits else 0.0

    @property
    def wrong_rate_interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the share of wrong ones among all similar hits, as far as audits tell."""
        return interval(sum(self.wrong_audits.values()), self.audited)

    @property
    def wrong_by_band(self) -> Mapping[str, tuple[int, int]]:
        """Band of cosines → audited hits, and how many of them were wrong; from the lowest on."""
        return {within: (self.audits[within], self.wrong_audits.get(within, 0)) for within in sorted(self.audits)}

    def __repr__(self) -> str:
        rows = {
            "hits": f"{self.hits} ({self.exact_hits} exact, {self.semantic_hits} semantic)",
            "misses": str(self.misses),
            "hit_rate": f"{self.hit_rate:.1%}",
            "avg_similarity": f"{self.avg_similarity:.3f}",
            "stored": f"{self.stored} (evicted {self.evicted})",
            "saved": f"{self.saved_seconds:.1f} s, {self.saved_tokens} tokens"
            + (f", cost {self.saved_cost:.4g}" if self.saved_cost else ""),
        }
        in_rows = {
            "exact_hits",
            "semantic_hits",
            "similarity_sum",
            "evicted",
            "saved_seconds",
            "saved_tokens",
            "saved_cost",
            "audits",
            "wrong_audits",
        }
        if self.audits:
            low, high = self.wrong_rate_interval
            rows["audited"] = (
                f"{self.audited}, {sum(self.wrong_audits.values())} wrong: {self.wrong_rate:.1%} "
                f"(95 %: {low:.1%} to {high:.1%})"
            )
            rows["wrong_by_band"] = ", ".join(f"{at} {bad} of {of}" for at, (of, bad) in self.wrong_by_band.items())
        others = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in {*rows, *in_rows}}
        numbers_first = sorted(others.items(), key=lambda item: isinstance(item[1], Mapping))
        rows |= {name: _shown(value) for name, value in numbers_first if value}
        return "CacheStats(\n" + "".join(f"  {name:<16}{text}\n" for name, text in rows.items()) + ")"

    def __add__(self, other: CacheStats) -> CacheStats:
        """Return the statistics of two caches together."""
        values = ((each.name, getattr(self, each.name), getattr(other, each.name)) for each in fields(self))
        return CacheStats(**{name: _sum(one, two) for name, one, two in values})


def counters() -> Iterator[tuple[Field[Any], str, str | None]]:
    """Yield each field that counts events, its meaning, and its label, or None if it is a single number."""
    for each in fields(CacheStats):
        if "meaning" in each.metadata:
            yield each, each.metadata["meaning"], each.metadata.get("label")


def _shown(value: Any) -> str:
    if not isinstance(value, Mapping):
        return str(value)
    if not all(isinstance(count, int) for count in value.values()):
        return ", ".join(f"{name} {state}" for name, state in value.items())
    largest = sorted(value.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{encodable(name)} {count}" for name, count in largest[:SHOWN])
    return shown + (f", and {len(largest) - SHOWN} more" if len(largest) > SHOWN else "")


def _sum(one: Any, other: Any) -> Any:
    """Return the sum of two numbers, or of two mappings: counts are added, of other values the second's stay."""
    if not isinstance(one, Mapping):
        return one + other
    total = dict(one)
    for name, value in other.items():
        total[name] = total[name] + value if name in total and isinstance(value, int) else value
    return total


def merge(parts: Iterable[CacheStats]) -> CacheStats:
    """Return the sum of several caches' statistics."""
    return sum(parts, CacheStats())


SIMILARITY_BUCKETS = (0.7, 0.8, 0.85, 0.88, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99, 1.0)
"""Upper bounds of cosines, closest where thresholds lie."""

LOOKUP_BUCKETS = (1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 1e-3, 2.5e-3, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0)
"""Upper bounds in seconds, from an exact hit in memory to the default time limit of an embedding."""

Place: TypeAlias = tuple[str, str | int | None]
"""Where something is counted: a field of `CacheStats` and the key in it (None: the field is a number), or a histogram
and the bucket (None: the sum)."""

Counts: TypeAlias = Mapping[Place, float]

HitRow: TypeAlias = tuple[bool, float, float, int, float, float]
"""Of a hit: whether it was exact, its cosine, what its answer had taken in seconds, tokens and money, and its own
seconds."""

OtherRow: TypeAlias = tuple[tuple[Place, float], ...]
"""Of any other event: how much is added where."""

Row: TypeAlias = HitRow | OtherRow | None
"""Of one event; None: a reset."""


_SINGLE: Mapping[type, str] = {
    Coalesced: "coalesced",
    ServedStale: "stale",
    Revalidating: "stale_hits",
    Reported: "reported_wrong",
}
"""The fields that count the events of one type."""


def row_of(event: Event, elapsed: float) -> HitRow | OtherRow:
    """Return what an event adds, and hold on to nothing else of it.

    Args:
        event: what happened.
        elapsed: seconds since the call began.
    """
    if isinstance(event, Hit):
        candidate = event.candidate
        entry = candidate.entry
        return event.exact, candidate.similarity, entry.seconds, entry.tokens, entry.cost, elapsed
    return increments(event)


def increments(event: Event) -> OtherRow:
    """Return what an event adds where; a hit has a row of its own, which `folded` takes apart."""
    match event:
        case Miss(reason=reason, shadowed=shadowed):
            return ((("misses", None), 1), *(() if reason == "audited" else _shadow(shadowed)))
        case Bypass(reason):
            return ((("bypasses", reason), 1),)
        case Failure(stage):
            return ((("errors", stage), 1),)
        case Veto(guard):
            return ((("vetoes", guard), 1),)
        case Stored(kept, evicted):
            return ((("stored", None), int(kept)), (("evicted", None), evicted))
        case Coalesced() | ServedStale() | Revalidating() | Reported():
            return (((_SINGLE[type(event)], None), 1),)
        case Audited(similarity, same):
            within = band(similarity)
            return ((("audits", within), 1), (("wrong_audits", within), int(not same)))
        case Embedded(seconds):
            bucket = bisect_left(LOOKUP_BUCKETS, seconds)
            return ((("embedding_seconds", bucket), 1), (("embedding_seconds", None), seconds))
        case Hit() | Compared():
            return ()
    assert_never(event)


def band(similarity: float) -> str:
    """Return the band of cosines, of those that the metrics have, in which a cosine lies.

    >>> band(0.93), band(0.3), band(1.0)
    ('0.92-0.94', '0-0.7', '0.99-1')
    """
    above = min(bisect_left(SIMILARITY_BUCKETS, similarity), len(SIMILARITY_BUCKETS) - 1)
    below = SIMILARITY_BUCKETS[above - 1] if above else 0.0
    return f"{below:g}-{SIMILARITY_BUCKETS[above]:g}"


def _shadow(hit: Hit | None) -> OtherRow:
    """Return what a miss adds that would have been this hit."""
    return () if hit is None else ((("shadow_hits", "exact" if hit.exact else "similar"), 1),)


def folded(counts: Counts, rows: list[Row]) -> Counts:
    """Return counts with what several events add; a reset among them begins anew from nothing."""
    if None in rows:
        counts, rows = {}, rows[len(rows) - rows[::-1].index(None) :]
    totals = dict(counts)
    hits: list[Any] = []
    for row in rows:
        if row and isinstance(row[0], bool):
            hits.append(row)
            continue
        for place, amount in row:  # type: ignore[union-attr]  # no reset is left among them
            totals[place] = totals.get(place, 0) + amount
    if hits:
        _add_hits(totals, hits)
    return totals


def _add_hits(totals: dict[Place, float], hits: list[HitRow]) -> None:
    """Add hits, which come often, column by column: that takes a third of the time."""
    exact, similarities, seconds, tokens, costs, elapsed = zip(*hits, strict=True)
    semantic = [similarity for similarity, is_exact in zip(similarities, exact, strict=True) if not is_exact]
    added: dict[Place, float] = {
        ("exact_hits", None): len(hits) - len(semantic),
        ("semantic_hits", None): len(semantic),
        ("similarity_sum", None): sum(similarities),
        ("saved_seconds", None): sum(seconds),
        ("saved_tokens", None): sum(tokens),
        ("saved_cost", None): sum(costs),
        ("similarity", None): sum(semantic),
        ("lookup_seconds", None): sum(elapsed),
    }
    for name, buckets, values in (
        ("similarity", SIMILARITY_BUCKETS, semantic),
        ("lookup_seconds", LOOKUP_BUCKETS, elapsed),
    ):
        for value in values:
            place: Place = name, bisect_left(buckets, value)
            added[place] = added.get(place, 0) + 1
    for place, amount in added.items():
        totals[place] = totals.get(place, 0) + amount


class Ledger:
    """One cache's counts since the last reset. Any thread, signal handler or finalizer may use it at any moment."""

    def __init__(self) -> None:
        self._journal: Journal[Counts, Row] = Journal({}, folded)
        self.add = self._journal.add

    @property
    def stats(self) -> CacheStats:
        """The statistics up to now."""
        counted: dict[str, Any] = {}
        for (name, by), count in self._journal.totals.items():
            if name not in _FIELDS:
                continue
            if by is None:
                counted[name] = count
            else:
                counted.setdefault(name, {})[by] = count
        return CacheStats(**counted)

    def record(self, event: Event) -> None:
        """Count one event."""
        self.add(row_of(event, 0.0))

    def reset(self) -> None:
        """Begin again from nothing."""
        self.add(None)


_FIELDS = {each.name for each in fields(CacheStats)}
