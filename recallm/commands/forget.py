"""``forget``: removes entries by key, by tag, by similarity to a text, by namespace, or all of them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from recallm.commands.embedding import add_embedder, named, threshold
from recallm.commands.finding import SHOWN, every_entry, namespaces, one_by_key
from recallm.commands.opening import add_storage, opened
from recallm.commands.output import Progress, add_json, note, print_json, print_table
from recallm.errors import InvalidValueError

if TYPE_CHECKING:
    import argparse

    from recallm.engine.similar_entries import Similar
    from recallm.records import Candidate
    from recallm.storage.base import StorageBackend

LISTED = 20
"""How many entries are shown before the question whether to remove them."""


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("forget", help="remove entries, after a question")
    add_storage(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--key", action="append", metavar="KEY", help="a key or the beginning of one; may be repeated")
    what.add_argument("--tag", metavar="TAG", help="entries with this tag, in every namespace, see invalidate_tag")
    what.add_argument("--similar-to", metavar="TEXT", help="entries whose prompts are similar to this")
    what.add_argument("--all", action="store_true", help="every entry of every namespace")
    parser.add_argument("--namespace", metavar="NAME", help="only there; alone: all entries of it")
    parser.add_argument(
        "--threshold", default="balanced", help="for --similar-to: a profile or a cosine, else balanced"
    )
    add_embedder(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Remove what was asked for; return 1 if there was nothing, or the question was answered by no."""
    _check(options)
    storage = opened(options)
    if options.tag is not None:
        question = f"Remove all entries with tag {options.tag!r}"
        return _confirmed(lambda: storage.remove_tagged(options.tag), question, options)
    if options.key or options.similar_to is not None:
        return _forget_entries(storage, _asked_for(storage, options), options)
    names = namespaces(storage, options.namespace)
    sizes = storage.sizes(names)
    total = sum(sizes.values())
    if total and not options.yes and not options.json:
        print_table(("ENTRIES", "NAMESPACE"), [(str(sizes[name]), name) for name in names if name in sizes], right=(0,))
    return _confirmed(lambda: sum(storage.invalidate(name) for name in names), _question(total), options)


def _check(options: argparse.Namespace) -> None:
    everywhere = [f"--{name}" for name in ("all", "tag") if getattr(options, name)]
    if not (everywhere or options.key or options.similar_to is not None or options.namespace is not None):
        raise InvalidValueError("say what to forget: --key, --tag, --similar-to, --namespace or --all")
    if everywhere and options.namespace is not None:
        raise InvalidValueError(f"{everywhere[0]} is about every namespace; leave it or --namespace out")
    options.threshold = threshold(options.threshold, "--threshold")


def _asked_for(storage: StorageBackend, options: argparse.Namespace) -> list[Candidate]:
    if options.similar_to is not None:
        similar = _similar(storage, options)
        if similar.of_other_models:
            note(f"{similar.of_other_models} entries were made by other models, and not compared; see --embedder")
        return similar.found
    found = {key: one_by_key(storage, key, options.namespace) for key in options.key}
    for key, candidate in found.items():
        if candidate is None:
            note(f"there is no entry with a key that begins with {key!r}")
    return [candidate for candidate in found.values() if candidate is not None]


def _forget_entries(storage: StorageBackend, found: list[Candidate], options: argparse.Namespace) -> int:
    if found and not options.yes and not options.json:
        shown = sorted(found, key=lambda each: -each.similarity)[:LISTED]
        rows = [(each.entry.key[:SHOWN], f"{each.similarity:.3f}", each.entry.prompt) for each in shown]
        print_table(("KEY", "SIMILARITY", "PROMPT"), rows, right=(1,))
        if len(found) > LISTED:
            note(f"and {len(found) - LISTED} more")
    by_namespace: dict[str, list[str]] = {}
    for candidate in found:
        by_namespace.setdefault(candidate.entry.namespace, []).append(candidate.entry.key)
    return _confirmed(
        lambda: sum(storage.remove(name, keys) for name, keys in by_namespace.items()), _question(len(found)), options
    )


def _similar(storage: StorageBackend, options: argparse.Namespace) -> Similar:
    from recallm.engine.similar_entries import similar_entries
    from recallm.registry import default_embedder, managed

    given = named(options.embedder)
    embedder = default_embedder() if given is None else managed(given)
    entries = every_entry(storage, options.namespace, Progress())
    return similar_entries(entries, options.similar_to, embedder, options.threshold)


def _question(total: int) -> str | None:
    """Return what to ask before so many entries are removed, or None if there are none."""
    return f"Remove {'this entry' if total == 1 else f'these {total} entries'}" if total else None


def _confirmed(remove: Callable[[], int], question: str | None, options: argparse.Namespace) -> int:
    """Remove after a question, unless ``--yes`` answers it, and tell how many entries are gone.

    Args:
        remove: removes the entries, and returns how many there were.
        question: what to ask; None: there is nothing to remove.
        options: those of the command.
    """
    if question is not None and not options.yes:
        if not sys.stdin.isatty():
            raise InvalidValueError(f"nobody can be asked here: {question}? Pass --yes")
        print(f"{question}? [y/N] ", end="", file=sys.stderr)
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            note("nothing was removed")
            return 1
    removed = 0 if question is None else remove()
    if options.json:
        print_json({"removed": removed})
    else:
        print(f"{removed} {'entry' if removed == 1 else 'entries'} removed")
    return 0 if removed else 1
