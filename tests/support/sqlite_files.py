"""What tests do with storages in SQLite files."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from recallm.records import Candidate
from recallm.storage.base import StorageBackend
from recallm.testing.fakes import fake_entry


def put(storage: StorageBackend, prompt: str, ttl: float | None = None, **fields: Any) -> int:
    """Store the entry of a prompt; return how many others were evicted."""
    entry = fake_entry(prompt, **fields)
    stored = storage.put(entry, storage.recall(entry.namespace, entry.key).epoch, ttl)
    assert stored.kept
    return stored.evicted


def recalled(storage: StorageBackend, prompt: str, **fields: Any) -> Candidate | None:
    """Return what a look-up for the very prompt gives."""
    entry = fake_entry(prompt, **fields)
    return storage.recall(entry.namespace, entry.key).candidate


def found(storage: StorageBackend, prompt: str, threshold: float = 0.99, **fields: Any) -> list[str]:
    """Return the prompts of the entries that are similar to a prompt."""
    entry = fake_entry(prompt, **fields)
    assert entry.vector is not None
    candidates = storage.search(entry.namespace, entry.partition, entry.vector, threshold, 16)
    return [candidate.entry.prompt for candidate in candidates]


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.01)
