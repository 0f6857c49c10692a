"""Statistics as a value: what a cache has done, and how one event changes it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias, assert_never

from recallm.forking import heed_forks, renewed
from recallm.records import Bypass, Coalesced, Compared, Embedded, Event, Failure, Hit, Miss, Spared, Stored, Veto


@dataclass(frozen=True, slots=True, repr=False)
class CacheStats:
    """What a cache has done since it was made or its statistics were reset.

    Attributes:
        exact_hits: calls answered because this very prompt was stored.
        semantic_hits: calls answered because a similar prompt was.
        misses: cacheable calls for which the function was called.
        similarity_sum: sum of the hits' cosines (exact hits count as 1).
        bypasses: reason → calls for which the cache stood aside.
        errors: stage → troubles kept from callers.
        vetoes: guard → candidates it refused.
        stored: answers kept.
        evicted: entries that made room for others.
        coalesced: hits of calls that waited for another to make the answer.
        stale: misses of calls whose function failed, and that got an answer which had expired.
        saved_seconds: time the function took when the entries were made, summed over hits.
        saved_tokens: likewise of the tokens it reported.
        namespace_sizes: namespace → live entries.
        circuits: ``"storage"`` or ``"embedder"`` → ``"open"`` or ``"probing"``, where it is left alone for failing.
    """

    exact_hits: int = 0
    semantic_hits: int = 0
    misses: int = 0
    similarity_sum: float = 0.0
    bypasses: Mapping[str, int] = field(default_factory=dict)
    errors: Mapping[str, int] = field(default_factory=dict)
    vetoes: Mapping[str, int] = field(default_factory=dict)
    stored: int = 0
    evicted: int = 0
    coalesced: int = 0
    saved_seconds: float = 0.0
    saved_tokens: int = 0
    namespace_sizes: Mapping[str, int] = field(default_factory=dict)
    circuits: Mapping[str, str] = field(default_factory=dict)
    stale: int = 0

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

    def __repr__(self) -> str:
        rows = [
            ("hits", f"{self.hits} ({self.exact_hits} exact, {self.semantic_hits} semantic)"),
            ("misses", str(self.misses)),
            ("hit_rate", f"{self.hit_rate:.1%}"),
            ("avg_similarity", f"{self.avg_similarity:.3f}"),
            ("stored", f"{self.stored} (evicted {self.evicted})"),
            ("saved", f"{self.saved_seconds:.1f} s, {self.saved_tokens} tokens"),
        ]
        rows.extend((name, str(getattr(self, name))) for name in ("coalesced", "stale") if getattr(self, name))
        for name in ("bypasses", "errors", "vetoes", "namespace_sizes"):
            counts: Mapping[str, int] = getattr(self, name)
            if counts:
                rows.append((name, _listed(counts)))
        if self.circuits:
            rows.append(("circuits", ", ".join(f"{part} {state}" for part, state in self.circuits.items())))
        return "CacheStats(\n" + "".join(f"  {name:<16}{text}\n" for name, text in rows) + ")"


SHOWN = 8


def _listed(counts: Mapping[str, int]) -> str:
    largest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{name} {count}" for name, count in largest[:SHOWN])
    return shown + (f", and {len(largest) - SHOWN} more" if len(largest) > SHOWN else "")


Counts: TypeAlias = dict[tuple[str, str | None], int]
"""By how much fields grow: (field, name) → count, the name None for fields that are numbers."""


def apply(stats: CacheStats, event: Event) -> CacheStats:
    """Return `stats` with one event counted."""
    if isinstance(event, Hit):
        return _with(stats, Hits().and_one(event))
    return _grown(stats, dict(_growth(event)))


def _growth(event: Event) -> tuple[tuple[tuple[str, str | None], int], ...]:
    """Return what an event that is no hit adds to which field."""
    match event:
        case Miss():
            return ((("misses", None), 1),)
        case Bypass(reason):
            return ((("bypasses", reason), 1),)
        case Failure(stage):
            return ((("errors", stage), 1),)
        case Veto(guard):
            return ((("vetoes", guard), 1),)
        case Stored(kept, evicted):
            return ((("stored", None), int(kept)), (("evicted", None), evicted))
        case Coalesced():
            return ((("coalesced", None), 1),)
        case Spared():
            return ((("stale", None), 1),)
        case Hit() | Embedded() | Compared():
            return ()
    assert_never(event)


def _grown(stats: CacheStats, counts: Counts) -> CacheStats:
    changed: dict[str, Any] = {}
    for (field_name, name), count in counts.items():
        before = changed.get(field_name, getattr(stats, field_name))
        changed[field_name] = before + count if name is None else {**before, name: before.get(name, 0) + count}
    return replace(stats, **changed)


class Hits(NamedTuple):
    """What hits change of the statistics, summed apart: a whole `CacheStats` an event would take a fifth of a hit."""

    exact: int = 0
    semantic: int = 0
    similarity_sum: float = 0.0
    seconds: float = 0.0
    tokens: int = 0

    def and_one(self, hit: Hit) -> Hits:
        """Return the sums with one more hit."""
        exact, semantic, similarity_sum, seconds, tokens = self
        candidate, was_exact, _ = hit
        entry = candidate.entry
        return Hits(
            exact + was_exact,
            semantic + (not was_exact),
            similarity_sum + candidate.similarity,
            seconds + entry.seconds,
            tokens + entry.tokens,
        )


def _with(stats: CacheStats, hits: Hits) -> CacheStats:
    return replace(
        stats,
        exact_hits=stats.exact_hits + hits.exact,
        semantic_hits=stats.semantic_hits + hits.semantic,
        similarity_sum=stats.similarity_sum + hits.similarity_sum,
        saved_seconds=stats.saved_seconds + hits.seconds,
        saved_tokens=stats.saved_tokens + hits.tokens,
    )


def merge(parts: Iterable[CacheStats]) -> CacheStats:
    """Return the sum of several caches' statistics."""
    total = CacheStats()
    for part in parts:
        total = CacheStats(
            exact_hits=total.exact_hits + part.exact_hits,
            semantic_hits=total.semantic_hits + part.semantic_hits,
            misses=total.misses + part.misses,
            similarity_sum=total.similarity_sum + part.similarity_sum,
            bypasses=_sum(total.bypasses, part.bypasses),
            errors=_sum(total.errors, part.errors),
            vetoes=_sum(total.vetoes, part.vetoes),
            stored=total.stored + part.stored,
            evicted=total.evicted + part.evicted,
            coalesced=total.coalesced + part.coalesced,
            saved_seconds=total.saved_seconds + part.saved_seconds,
            saved_tokens=total.saved_tokens + part.saved_tokens,
            namespace_sizes=_sum(total.namespace_sizes, part.namespace_sizes),
            circuits={**total.circuits, **part.circuits},
            stale=total.stale + part.stale,
        )
    return total


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> Mapping[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in (*one, *(set(other) - set(one)))}


class Ledger:
    """One cache's statistics: a lock, and what was counted since the last reset."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hits = Hits()
        self._others: Counts = {}
        heed_forks(self)

    def after_fork(self) -> None:
        """Find the lock free."""
        self._lock = renewed(self._lock)

    @property
    def stats(self) -> CacheStats:
        """The statistics up to now."""
        with self._lock:
            return _grown(_with(CacheStats(), self._hits), self._others)

    def record(self, event: Event) -> None:
        """Count one event."""
        with self._lock:
            if isinstance(event, Hit):
                self._hits = self._hits.and_one(event)
                return
            for place, count in _growth(event):
                self._others[place] = self._others.get(place, 0) + count

    def reset(self) -> None:
        """Begin again from nothing."""
        with self._lock:
            self._hits, self._others = Hits(), {}
