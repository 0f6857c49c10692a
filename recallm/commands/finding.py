"""Finds entries for commands: those of one namespace or of all, and one by its key or the beginning of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from recallm.errors import InvalidValueError
from recallm.records import Candidate
from recallm.storage.base import StorageBackend

KEY_LENGTH = 40
"""The digits of a whole key."""

SHORTEST = 6
"""So many digits of a key must be given."""

SHOWN = 12
"""So many digits of a key are shown in a table: enough to tell entries apart."""


def namespaces(storage: StorageBackend, asked: str | None) -> list[str]:
    """Return the namespace that was asked for, or else all, sorted."""
    return sorted(storage.namespaces()) if asked is None else [asked]


def every_entry(
    storage: StorageBackend, asked: str | None, progress: Callable[[str, int, int], object] | None = None
) -> Iterator[Candidate]:
    """Yield the entries of a namespace, or else of all."""
    names = namespaces(storage, asked)
    total = sum(storage.sizes(names).values())
    done = 0
    for name in names:
        for candidate in storage.entries(name):
            done += 1
            if progress is not None:
                progress("reading", min(done, total - 1), total)
            yield candidate
    if progress is not None:
        progress("reading", total, total)


def by_key(storage: StorageBackend, key: str, namespace: str | None) -> list[Candidate]:
    """Return the entries whose keys begin so, at most two.

    Raises:
        InvalidValueError: too little of a key is given.
    """
    if len(key) < SHORTEST:
        raise InvalidValueError(f"key {key!r} is too short; give at least {SHORTEST} digits of it")
    found: list[Candidate] = []
    for name in namespaces(storage, namespace):
        if len(key) == KEY_LENGTH:
            candidate = storage.recall(name, key).candidate
            candidates = [] if candidate is None else [candidate]
        else:
            candidates = [each for each in storage.entries(name) if each.entry.key.startswith(key)]
        found += candidates
        if len(found) > 1:
            break
    return found[:2]


def one_by_key(storage: StorageBackend, key: str, namespace: str | None) -> Candidate | None:
    """Return the entry whose key begins so, with what is known of its expiry; None if there is none.

    Raises:
        InvalidValueError: there are several, or too little of a key is given.
    """
    found = by_key(storage, key, namespace)
    if len(found) > 1:
        raise InvalidValueError(f"several keys begin with {key!r}; give more of it")
    if not found:
        return None
    entry = found[0].entry
    # A look-up does not tell when it expires.
    if found[0].expires_in is not None:
        return found[0]
    return next((each for each in storage.entries(entry.namespace) if each.entry.key == entry.key), found[0])
