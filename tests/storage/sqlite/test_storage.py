"""Entries in a SQLite file: what every storage does, and what this one does besides."""

from __future__ import annotations

from pathlib import Path

import pytest

from recallm import SQLiteStorage
from recallm.storage.base import StorageBackend
from recallm.testing import StorageContract


class TestSQLiteStorage(StorageContract):
    """A storage in a new file each."""

    @pytest.fixture(autouse=True)
    def in_folder(self, tmp_path: Path) -> None:
        """Have the files lie in the test's own folder."""
        self.folder = tmp_path
        self.made = 0

    def make_storage(self) -> StorageBackend:
        """Return a storage in a file that is yet to be made."""
        self.made += 1
        return SQLiteStorage(self.folder / f"{self.made}.db", timeout=20.0)
