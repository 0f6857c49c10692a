"""``show``: one entry whole, its answer as data."""

from __future__ import annotations

import json
from math import inf
from typing import TYPE_CHECKING, Any

from recallm.commands.entries import described
from recallm.commands.finding import one_by_key
from recallm.commands.opening import add_storage, opened
from recallm.commands.output import add_json, duration, note, print_fields, print_json, printable, size
from recallm.commands.payloads import view

if TYPE_CHECKING:
    import argparse


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("show", help="one entry: prompt, age, expiry and the stored answer, as data")
    add_storage(parser)
    parser.add_argument("key", metavar="KEY", help="the entry's key, or the beginning of it, as `entries` shows it")
    parser.add_argument("--namespace", metavar="NAME", help="where to look; without it, everywhere")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print the entry; return 1 if there is none."""
    found = one_by_key(opened(options), options.key, options.namespace)
    if found is None:
        note(f"there is no entry with a key that begins with {options.key!r}")
        return 1
    entry = found.entry
    shown = view(entry.payload)
    if options.json:
        print_json({**described(found), "fresh_for": entry.fresh_for, "kind": shown.kind, "response": shown.data})
        return 0
    expires_in = found.expires_in
    expiry = "not told" if expires_in is None else "never" if expires_in == inf else f"in {duration(expires_in)}"
    print_fields(
        [
            ("key", entry.key),
            ("namespace", entry.namespace),
            ("partition", entry.partition),
            ("age", duration(found.age)),
            ("expires", expiry),
            *([] if entry.fresh_for is None else [("fresh for", duration(max(0.0, entry.fresh_for)))]),
            ("took", duration(entry.seconds)),
            ("tokens", str(entry.tokens)),
            ("vector", "none: exact only" if entry.vector is None else f"{entry.vector.size} dimensions"),
            *([("tags", ", ".join(entry.tags))] if entry.tags else []),
            ("prompt", entry.prompt),
            ("response", f"{shown.kind}, {size(len(entry.payload))}"),
        ]
    )
    text = shown.data if isinstance(shown.data, str) else json.dumps(shown.data, indent=2, ensure_ascii=False)
    print(f"\n{printable(text, lines=True)}")
    return 0
