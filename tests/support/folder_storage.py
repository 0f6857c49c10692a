"""A storage in files, which processes of one machine share, for exact look-ups only."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from recallm.records import Candidate, Entry, Recalled, Stored
from recallm.storage.base import StorageBackend


class FolderStorage(StorageBackend):
    """Keeps each entry in a file of its own.

    Args:
        folder: where the files are.
    """

    blocking = False

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def _path(self, key: str) -> Path:
        return Path(self.folder, f"{key}.entry")

    def recall(self, namespace: str, key: str) -> Recalled:
        """Return the entry of a key."""
        try:
            entry = Entry(*pickle.loads(self._path(key).read_bytes()))  # noqa: S301  # the test's own
        except FileNotFoundError:
            return Recalled(None, 0)
        return Recalled(Candidate(entry, 1.0, 0.0), 0)

    def search(self, namespace: str, partition: str, vector: Any, threshold: float, limit: int | None) -> Sequence[Any]:
        """Find nothing."""
        return []

    def put(self, entry: Entry, epoch: int, ttl: float | None) -> Stored:
        """Write an entry."""
        unfinished = self._path(f"{entry.key}.{os.getpid()}")
        unfinished.write_bytes(pickle.dumps(tuple(entry)))
        unfinished.replace(self._path(entry.key))
        return Stored(kept=True)

    def remove(self, namespace: str, keys: Sequence[str]) -> int:
        """Remove entries."""
        there = [key for key in keys if self._path(key).exists()]
        for key in there:
            self._path(key).unlink()
        return len(there)

    def invalidate(self, namespace: str) -> int:
        """Refuse."""
        raise NotImplementedError

    def sizes(self, namespaces: Iterable[str]) -> Mapping[str, int]:
        """Count nothing."""
        return {}
