"""``entries``: the namespaces of a storage, or the entries of one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Any

from recallm.commands.finding import SHOWN
from recallm.commands.opening import add_storage, opened
from recallm.commands.output import add_json, duration, note, print_json, print_table, size

if TYPE_CHECKING:
    import argparse

    from recallm.records import Candidate, Entry
    from recallm.storage.base import StorageBackend

KEYS = "they are signed or encrypted with other keys than RECALLM_SECRET and RECALLM_ENCRYPTION_KEY, or damaged"
"""Why entries that are there cannot be read."""

SAMPLED = 256
"""From how many entries of a namespace its size is estimated; smaller ones are measured."""


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("entries", help="the namespaces of a storage, or the entries of one")
    add_storage(parser)
    parser.add_argument("listed", nargs="?", metavar="NAMESPACE", help="list its entries; without it, all namespaces")
    parser.add_argument("--namespace", metavar="NAMESPACE", help="the same; it may follow other options")
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="lines, 20 if not given; 0: all")
    parser.add_argument("--contains", metavar="TEXT", help="only entries whose prompts contain this, in any case")
    parser.add_argument("--newest", action="store_true", help="the newest first; all entries are read for it")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print the list; return 1 if it is empty."""
    storage = opened(options)
    options.namespace = options.namespace if options.listed is None else options.listed
    if options.namespace is None:
        return _print_namespaces(storage, options)
    wanted = None if options.limit <= 0 else options.limit
    found = _chosen(storage, options)
    if options.newest:
        found = iter(sorted(found, key=lambda candidate: candidate.age))
    listed = list(islice(found, wanted))
    more = wanted is not None and next(found, None) is not None
    if options.json:
        print_json([described(candidate) for candidate in listed])
    elif listed:
        rows = [
            (each.entry.key[:SHOWN], duration(each.age), _expiry(each), size(size_of(each.entry)), _prompt(each.entry))
            for each in listed
        ]
        print_table(("KEY", "AGE", "EXPIRES IN", "SIZE", "PROMPT"), rows, right=(1, 2, 3))
    if more and not options.json:
        note(f"the first {wanted} of them; --limit 0 lists all")
    if not listed:
        note(_why_nothing(storage, options))
    return 0 if listed else 1


def described(candidate: Candidate) -> dict[str, object]:
    """Return what is known of an entry, but for its answer and its vector, as JSON can hold it."""
    entry, _, age, expires_in = candidate
    return {
        "key": entry.key,
        "namespace": entry.namespace,
        "partition": entry.partition,
        "prompt": entry.prompt,
        "age": round(age, 3),
        "expires_in": None if expires_in in (None, inf) else round(expires_in or 0.0, 3),
        "bytes": size_of(entry),
        "dimensions": 0 if entry.vector is None else int(entry.vector.size),
        "seconds": entry.seconds,
        "tokens": entry.tokens,
        "cost": entry.cost,
        "tags": list(entry.tags),
        "is_refusal": entry.is_refusal,
    }


def size_of(entry: Entry) -> int:
    """Return how many bytes an entry holds: prompt, payload and vector."""
    vector = 0 if entry.vector is None else 4 * int(entry.vector.size)
    return len(entry.prompt.encode("utf-8", "surrogatepass")) + len(entry.payload) + vector


def _chosen(storage: StorageBackend, options: argparse.Namespace) -> Iterator[Candidate]:
    found = storage.entries(options.namespace)
    if options.contains is None:
        return found
    text = options.contains.casefold()
    return (candidate for candidate in found if text in candidate.entry.prompt.casefold())


def _why_nothing(storage: StorageBackend, options: argparse.Namespace) -> str:
    held = storage.sizes([options.namespace]).get(options.namespace, 0)
    if not held:
        return f"there is no entry in namespace {options.namespace!r}"
    if options.contains is not None and next(storage.entries(options.namespace), None) is not None:
        return f"no prompt of the {held} entries contains {options.contains!r}"
    return f"none of the {held} entries can be read: {KEYS}"


def _print_namespaces(storage: StorageBackend, options: argparse.Namespace) -> int:
    counts = storage.sizes(list(storage.namespaces()))
    names = sorted(counts, key=lambda name: (-counts[name], name))
    listed = names if options.limit <= 0 else names[: options.limit]
    rows = [_measured(storage, name, counts[name]) for name in listed]
    if options.json:
        print_json(rows)
    elif rows:
        cells = [
            (str(each["entries"]), f"{'' if each['exact'] else '~'}{size(each['bytes'])}", each["namespace"] or '""')
            for each in rows
        ]
        print_table(("ENTRIES", "SIZE", "NAMESPACE"), cells, right=(0, 1))
    if len(listed) < len(names):
        rest = sum(counts[name] for name in names[len(listed) :])
        note(f"and {len(names) - len(listed)} smaller namespaces with {rest} entries; --limit 0 lists all")
    for each in rows:
        if not each["readable"]:
            note(f"the entries of {each['namespace']!r} cannot be read: {KEYS}")
    if not rows:
        note("the storage holds no entries")
    return 0 if rows else 1


def _measured(storage: StorageBackend, name: str, count: int) -> dict[str, Any]:
    """Return how large a namespace is, by a sample of its entries if it has many."""
    sample = [size_of(each.entry) for each in islice(storage.entries(name), SAMPLED)]
    exact = len(sample) < SAMPLED
    total = sum(sample) if exact else round(sum(sample) / len(sample) * count)
    return {"namespace": name, "entries": count, "bytes": total, "exact": exact, "readable": bool(sample)}


def _prompt(entry: Entry) -> str:
    return "(no answer: keeps a prompt from a wrong one, see wrong())" if entry.is_refusal else entry.prompt


def _expiry(candidate: Candidate) -> str:
    if candidate.expires_in is None:
        return "?"
    return "never" if candidate.expires_in == inf else duration(candidate.expires_in)
