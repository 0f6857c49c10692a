"""Statistics: a cache's counts as a value, and the increments of each event.

To count something more, add a last field to `CacheStats` and a case to `increments`: sums over caches, ``repr`` and the
Prometheus counters follow from the fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, TypeAlias, assert_never

from recallm.concurrency.forking import ForkSafeLock
from recallm.records import Bypass, Coalesced, Compared, Embedded, Event, Failure, Hit, Miss, ServedStale, Stored, Veto

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
        vetoes: guard → candidates it refused; ``"store_if"`` and ``"verify"`` stand for theirs.
        stored: answers stored.
        evicted: entries removed to make room for others.
        coalesced: hits of calls that waited for another call to compute the answer.
        saved_seconds: seconds that the function took to make the served entries, summed over hits.
        saved_tokens: tokens that the function reported for the served entries, summed over hits.
        namespace_sizes: namespace → live entries.
        circuits: ``"storage"`` or ``"embedder"`` → ``"open"`` or ``"probing"``, if it is skipped for failing.
        stale: misses of calls whose function raised, and that got an expired entry.
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
        rows = {
            "hits": f"{self.hits} ({self.exact_hits} exact, {self.semantic_hits} semantic)",
            "misses": str(self.misses),
            "hit_rate": f"{self.hit_rate:.1%}",
            "avg_similarity": f"{self.avg_similarity:.3f}",
            "stored": f"{self.stored} (evicted {self.evicted})",
            "saved": f"{self.saved_seconds:.1f} s, {self.saved_tokens} tokens",
        }
        in_rows = {"exact_hits", "semantic_hits", "similarity_sum", "evicted", "saved_seconds", "saved_tokens"}
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
    shown = ", ".join(f"{name} {count}" for name, count in largest[:SHOWN])
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


Increment: TypeAlias = tuple[str, str | None, int]
"""A field of `CacheStats`, the key in it (None: the field is a number), and how much is added."""


def increments(event: Event) -> tuple[Increment, ...]:
    """Return what an event adds to which fields; hits add nothing here, as `_HitTotals` counts them."""
    match event:
        case Miss():
            return (("misses", None, 1),)
        case Bypass(reason):
            return (("bypasses", reason, 1),)
        case Failure(stage):
            return (("errors", stage, 1),)
        case Veto(guard):
            return (("vetoes", guard, 1),)
        case Stored(kept, evicted):
            return (("stored", None, int(kept)), ("evicted", None, evicted))
        case Coalesced():
            return (("coalesced", None, 1),)
        case ServedStale():
            return (("stale", None, 1),)
        case Hit() | Embedded() | Compared():
            return ()
    assert_never(event)


class _HitTotals:
    """The totals of hits, summed in place: a new `CacheStats` for each hit would take a fifth of its time."""

    __slots__ = ("exact_hits", "saved_seconds", "saved_tokens", "semantic_hits", "similarity_sum")

    def __init__(self) -> None:
        self.exact_hits = self.semantic_hits = self.saved_tokens = 0
        self.similarity_sum = self.saved_seconds = 0.0

    def add(self, hit: Hit) -> None:
        """Count one hit."""
        candidate = hit.candidate
        if hit.exact:
            self.exact_hits += 1
        else:
            self.semantic_hits += 1
        self.similarity_sum += candidate.similarity
        self.saved_seconds += candidate.entry.seconds
        self.saved_tokens += candidate.entry.tokens


class Ledger:
    """One cache's counts since the last reset, with a lock."""

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self.reset()

    @property
    def stats(self) -> CacheStats:
        """The statistics up to now."""
        with self._lock:
            counted: dict[str, Any] = {name: getattr(self._hits, name) for name in self._hits.__slots__}
            for (name, by), count in self._others.items():
                if by is None:
                    counted[name] = count
                else:
                    counted.setdefault(name, {})[by] = count
        return CacheStats(**counted)

    def record(self, event: Event) -> None:
        """Count one event."""
        with self._lock:
            if isinstance(event, Hit):
                self._hits.add(event)
                return
            for name, by, count in increments(event):
                self._others[name, by] = self._others.get((name, by), 0) + count

    def reset(self) -> None:
        """Begin again from nothing."""
        with self._lock:
            self._hits = _HitTotals()
            self._others: dict[tuple[str, str | None], int] = {}
