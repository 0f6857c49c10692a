"""What the Prometheus metrics are: names, meanings, labels and buckets, and which count is shown as what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from recallm.telemetry.labels import encodable
from recallm.telemetry.stats import LOOKUP_BUCKETS, SIMILARITY_BUCKETS, Counts, counters


class Definition(NamedTuple):
    """A metric: its name, its meaning, its label besides the cache, and its buckets if it is a histogram."""

    name: str
    meaning: str
    label: str | None = None
    buckets: tuple[float, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of its labels."""
        return ("cache",) if self.label is None else ("cache", self.label)

    @property
    def bounds(self) -> tuple[str, ...]:
        """The upper bounds of its buckets, as Prometheus writes them."""
        return (*map(str, self.buckets), "+Inf")


NAMES: Mapping[str, str] = {"audits": "audited", "wrong_audits": "wrong"}
"""The fields of `CacheStats` whose metrics have other names: there, sums have them."""

DEFINITIONS: Mapping[str, Definition] = {
    each.name: each
    for each in (
        *(Definition(NAMES.get(field.name, field.name), meaning, label) for field, meaning, label in counters()),
        Definition("hits", "Calls answered from the cache.", "tier"),
        Definition("saved_seconds", "Time the function took when the served entries were made."),
        Definition("saved_tokens", "Tokens the function reported when the served entries were made."),
        Definition("saved_cost", "What the served entries had cost, in the currency of price=."),
        Definition("similarity", "Cosine of semantic hits.", buckets=SIMILARITY_BUCKETS),
        Definition("lookup_seconds", "Time to decide on a hit or a miss.", buckets=LOOKUP_BUCKETS),
        Definition("embedding_seconds", "Time to embed one prompt.", buckets=LOOKUP_BUCKETS),
    )
}

ENTRIES = Definition("entries", "Live entries.")
CIRCUITS = Definition("circuit_open", "1 while a part is skipped.", "part")

TIERS: Mapping[str, str] = {"exact_hits": "exact", "semantic_hits": "semantic"}
"""The fields of `CacheStats` that are one metric with a label."""

STARTING: Counts = {
    **{(name, None): 0 for name in TIERS},
    **{(each.name, None): 0 for each in DEFINITIONS.values() if each.label is None},
    **{(each.name, bucket): 0 for each in DEFINITIONS.values() if each.buckets for bucket in range(len(each.bounds))},
}
"""What is shown before it is first counted, as rates need a zero to begin with."""


def definition_of(name: str) -> Definition | None:
    """Return the metric that a count is part of, or None if it is only a statistic."""
    return DEFINITIONS.get("hits" if name in TIERS else NAMES.get(name, name))


def label_values(cache: str, by: object = None) -> list[str]:
    """Return the values of a metric's labels."""
    return [encodable(str(each)) for each in (cache, by) if each is not None]
