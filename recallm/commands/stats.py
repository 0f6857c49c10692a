"""``stats``: what Prometheus' text format tells of caches, as a table."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.request import urlopen

from recallm.commands.output import add_json, duration, note, print_json, print_table
from recallm.errors import InvalidValueError
from recallm.telemetry.definitions import CIRCUITS, DEFINITIONS

if TYPE_CHECKING:
    import argparse

MAX_BYTES = 64 << 20
"""The longest text that is read."""

TIMEOUT_SECONDS = 10.0

_COUNTERS = {f"recallm_{each.name}_total": each for each in DEFINITIONS.values() if not each.buckets}

_BY_LABEL = {
    **{each.name: each.name for each in (*_COUNTERS.values(), CIRCUITS) if each.label is not None},
    "hits": "hits_by_tier",
}
"""What is counted by a label besides the cache, and what it is called here."""

_REASONS = {
    "hits_by_tier": "hit",
    "shadow_hits": "hit, not served",
    "bypasses": "bypass",
    "errors": "error",
    "vetoes": "veto",
    "audited": "audited, at",
    "wrong": "wrong, at",
    "circuit_open": "skipped",
}
"""What is told of one cache by reason, and how a line of it begins."""

_HISTOGRAMS = {
    "recallm_similarity": "avg_similarity",
    "recallm_lookup_seconds": "avg_lookup_seconds",
    "recallm_embedding_seconds": "avg_embedding_seconds",
}


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("stats", help="hits, misses and errors, from a Prometheus endpoint or file")
    parser.add_argument("source", metavar="URL_OR_FILE", help="http://…/metrics, a file, or - for the standard input")
    parser.add_argument("--cache", metavar="NAME", help="only this cache, with what is counted by reason")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print the table; return 1 if the text tells of no cache."""
    caches, entries = _read(_text(options.source))
    if options.cache is not None:
        caches = {name: counts for name, counts in caches.items() if name == options.cache}
    if not caches:
        note("no metrics of recallm are there" + ("" if options.cache is None else f" of cache {options.cache!r}"))
        return 1
    if options.json:
        print_json({"caches": caches, "entries": entries})
        return 0
    rows = [_row(name, counts) for name, counts in sorted(caches.items())]
    titles = ("HITS", "MISSES", "HIT RATE", "BYPASSES", "ERRORS", "WRONG", "SAVED", "CACHE")
    print_table(titles, rows, right=range(7))
    if options.cache is not None:
        _print_reasons(caches[options.cache])
    if entries and options.cache is None:
        print()
        rows_of_entries = [(f"{count:.0f}", name) for name, count in sorted(entries.items())]
        print_table(("ENTRIES", "NAMESPACE"), rows_of_entries, right=(0,))
    return 0


def _row(name: str, counts: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        f"{counts['hits']:.0f}",
        f"{counts['misses']:.0f}",
        f"{100 * counts['hit_rate']:.1f} %",
        f"{sum(counts['bypasses'].values()):.0f}",
        f"{sum(counts['errors'].values()):.0f}",
        f"{sum(counts['wrong'].values()) + counts['reported_wrong']:.0f}",
        duration(counts["saved_seconds"]) + (f", cost {counts['saved_cost']:.4g}" if counts["saved_cost"] else ""),
        name,
    )


def _print_reasons(counts: Mapping[str, Any]) -> None:
    rows = [
        (f"{count:.0f}", title, reason)
        for key, title in _REASONS.items()
        for reason, count in sorted(counts[key].items(), key=lambda item: -item[1])
        if count
    ]
    if rows:
        print()
        print_table(("COUNT", "WHAT", "WHY"), rows, right=(0,))


def _text(source: str) -> str:
    if source == "-":
        return sys.stdin.read(MAX_BYTES)
    if not source.startswith(("http://", "https://")):
        return Path(source).read_text(encoding="utf-8")
    try:
        with urlopen(source, timeout=TIMEOUT_SECONDS) as reply:  # noqa: S310  # the scheme is one of two
            body: bytes = reply.read(MAX_BYTES)
            return body.decode("utf-8", "replace")
    except URLError as error:
        raise InvalidValueError(f"the endpoint does not answer: {getattr(error, 'reason', error)}") from None


def _read(text: str) -> tuple[dict[str, dict[str, Any]], dict[str, float]]:
    """Return the counts of each cache, and the entries of each namespace."""
    from prometheus_client.parser import text_string_to_metric_families

    caches: dict[str, dict[str, Any]] = {}
    means: dict[tuple[str, str], dict[str, float]] = defaultdict(lambda: {"_sum": 0.0, "_count": 0.0})
    entries: dict[str, float] = {}
    try:
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    except ValueError:
        raise InvalidValueError("this is not Prometheus' text format; give the address of the metrics") from None
    for name, labels, value, *_ in samples:
        if name == "recallm_entries":
            namespace = labels.get("namespace", "")
            entries[namespace] = entries.get(namespace, 0.0) + value
        cache = labels.get("cache")
        if cache is None or not name.startswith("recallm_"):
            continue
        counts = caches.setdefault(cache, _nothing())
        stem, _, ending = name.rpartition("_")
        if stem in _HISTOGRAMS and ending in ("sum", "count"):
            means[cache, stem][f"_{ending}"] += value
        else:
            _count(counts, name, labels, value)
    for (cache, stem), mean in means.items():
        caches[cache][_HISTOGRAMS[stem]] = mean["_sum"] / mean["_count"] if mean["_count"] else 0.0
    for counts in caches.values():
        asked = counts["hits"] + counts["misses"]
        counts["hit_rate"] = counts["hits"] / asked if asked else 0.0
    return caches, entries


def _nothing() -> dict[str, Any]:
    plain = dict.fromkeys((each.name for each in _COUNTERS.values() if each.label is None), 0.0)
    labelled: dict[str, Any] = {name: {} for name in _BY_LABEL.values()}
    return {"hits": 0.0, "misses": 0.0, "hit_rate": 0.0, **plain, **labelled}


def _count(counts: dict[str, Any], name: str, labels: Mapping[str, str], value: float) -> None:
    definition = CIRCUITS if name == "recallm_circuit_open" else _COUNTERS.get(name)
    if definition is None:
        return
    if definition.label is None or definition.name == "hits":
        counts[definition.name] += value
    if definition.label is not None:
        _add(counts[_BY_LABEL[definition.name]], labels.get(definition.label, ""), value)


def _add(counts: dict[str, float], name: str, value: float) -> None:
    counts[name] = counts.get(name, 0.0) + value
