"""Keeps entries in a SQLite file, shared by the processes of one machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import finalize

from recallm import checks
from recallm.concurrency.backlog import Upkeep
from recallm.records import Candidate, Entry, Recalled, Stored
from recallm.storage.base import Search, StorageBackend
from recallm.storage.entry_format import MAX_FACTS_BYTES, EntryFormat
from recallm.storage.index.mirrors import Mirrors
from recallm.storage.sqlite.clock import FileClock
from recallm.storage.sqlite.connections import Pool
from recallm.storage.sqlite.file import checked_path
from recallm.storage.sqlite.mirror import ShelfMirror
from recallm.storage.sqlite.parts import FileParts, MirrorKey
from recallm.storage.sqlite.reads import ReadOperations
from recallm.storage.sqlite.uses import Uses
from recallm.storage.sqlite.writes import WriteOperations
from recallm.storage.urls import max_entries_in

if TYPE_CHECKING:
    from recallm.typing import Vector

CLOSING_SECONDS = 1.0
"""How long the file stays open for what goes on in the background."""

TIMEOUT_SECONDS = 0.1
"""How long an operation waits for others who write: less than `CacheConfig.cache_timeout_seconds`."""

CHECKSUM_KEY = b"recallm: no secret, a checksum"
"""Signs entries if there is no secret: a disk may forget a bit, and an answer with another one must not be served."""


class SQLiteStorage(StorageBackend):
    """Keeps entries in a file, shared by the threads, tasks and processes of one machine. Needs nothing but Python.

    The file survives restarts and crashes of the program. After a failure of the power the answers that were stored
    last may be gone, while a removal that has returned stays done. Vectors are read into memory on the first look-up
    in a partition, and later look-ups read what has been added since. What is read is checked, and never executed. Only
    the owner may read the file and those that SQLite keeps beside it (``-wal``, ``-shm``): prompts and answers are in
    them.

    The file must lie on a local disk, not on a network, and must not be replaced or copied while a process uses it
    (``sqlite3 answers.db ".backup copy.db"`` copies it). If it is full, locked, read-only, damaged, or none of a
    storage's, that is logged and calls go to their functions; the file is left as it is. Entries expire by the file's
    own time, which follows the machine's clock but never goes back: an entry does not come back, nor live any longer,
    if the clock is set back; if it is set forward, entries expire earlier.

    Args:
        path: the file, which is made if it is not there; its folder must be. ``~`` is the home folder.
        max_entries: the most entries that the file may hold; the least recently used answer makes room. What other
            processes use counts from their next put, or their thousandth look-up, on. None: no bound.
        timeout: seconds to wait for others who write; removals wait for 5 seconds at least.
        secret: signs entries (HMAC-SHA256); others are ignored. None: entries have a checksum.
        encrypt: bytes → bytes, applied to prompts and responses before they are stored.
        decrypt: its inverse; raises if the bytes are not its own.
        max_bytes: the most bytes that one prompt, or one response, may take in the file.
        mirror_bytes: about how many bytes of memory the vectors may take in this process.

    Raises:
        InvalidTypeError: an argument has the wrong type.
        InvalidValueError: an argument has a value that is not allowed, or `path` can be no file.
    """

    recalls_and_searches = True
    keeps_tags = True

    def __init__(
        self,
        path: str | Path,
        *,
        max_entries: int | None = None,
        timeout: float = TIMEOUT_SECONDS,
        secret: bytes | str | None = None,
        encrypt: Callable[[bytes], bytes] | None = None,
        decrypt: Callable[[bytes], bytes] | None = None,
        max_bytes: int = 8 * 1024 * 1024,
        mirror_bytes: int = 512 * 1024 * 1024,
    ) -> None:
        self.path = checked_path(path, "path")
        self.max_entries = checks.bound(max_entries, "max_entries")
        timeout = checks.seconds(timeout, "timeout")
        entry_format = EntryFormat(
            checks.secret(secret, "secret") or CHECKSUM_KEY,
            *checks.encryption(encrypt, decrypt),
            checks.positive_int(max_bytes, "max_bytes"),
        )
        mirrors: Mirrors[MirrorKey, ShelfMirror] = Mirrors(
            checks.positive_int(mirror_bytes, "mirror_bytes"), ShelfMirror
        )
        pool = Pool(self.path, timeout, 3 * max_bytes + 16 * MAX_FACTS_BYTES, mirrors.clear)
        self._pool = pool
        self._upkeep, uses = Upkeep("recallm-sqlite", size=1), Uses(wanted=max_entries is not None)
        parts = FileParts(pool, entry_format, FileClock(), mirrors, self._upkeep, uses)
        self._writes = WriteOperations(parts, max_entries)
        self._reads = ReadOperations(parts, self._writes.write_uses)
        self._again = partial(
            SQLiteStorage,
            self.path,
            max_entries=max_entries,
            timeout=timeout,
            secret=secret,
            encrypt=encrypt,
            decrypt=decrypt,
            max_bytes=max_bytes,
            mirror_bytes=mirror_bytes,
        )
        finalize(self, pool.close_idle)

    def __reduce__(self) -> tuple[Callable[[], SQLiteStorage], tuple[()]]:
        # Another process opens the file for itself.
        return self._again, ()

    def __repr__(self) -> str:
        return f"<SQLiteStorage at {str(self.path)!r}, max_entries={self.max_entries}>"

    def recall(self, namespace: str, key: str) -> Recalled:
        """Return the live entry under `key`, and the namespace's epoch."""
        return self._reads.recall(namespace, key)

    def recall_and_search(self, namespace: str, key: str, search: Search) -> Recalled:
        """Return the live entry under `key` or, if there is none, what is similar."""
        return self._reads.recall_and_search(namespace, key, search)

    def search(
        self, namespace: str, partition: str, vector: Vector, threshold: float, limit: int | None
    ) -> Sequence[Candidate]:
        """Return the partition's most similar live entries at or above `threshold`."""
        return self._reads.search(Search(namespace, partition, vector, threshold, limit))

    def put(self, entry: Entry, epoch: int, ttl: float | None) -> Stored:
        """Store `entry`, unless its namespace has another epoch by now, or the file may not be written."""
        return self._writes.put(entry, epoch, ttl)

    def put_tagged(self, entry: Entry, epoch: int, ttl: float | None, began: float) -> Stored:
        """Store `entry` as `put` does, unless a tag of it was removed since `began`."""
        return self._writes.put(entry, epoch, ttl, began)

    def remove_tagged(self, tag: str) -> int:
        """Remove the entries of all namespaces that have a tag."""
        return self._writes.remove_tagged(tag)

    def remove(self, namespace: str, keys: Sequence[str]) -> int:
        """Remove single entries, and begin a new epoch."""
        return self._writes.remove(namespace, keys)

    def invalidate(self, namespace: str) -> int:
        """Remove all entries of a namespace, and begin a new epoch."""
        return self._writes.invalidate(namespace)

    def sizes(self, namespaces: Iterable[str]) -> Mapping[str, int]:
        """Return the number of live entries of each namespace that has any."""
        return self._reads.sizes(namespaces)

    def namespaces(self) -> Iterable[str]:
        """Yield the namespaces that hold live entries."""
        return self._reads.namespaces()

    def entries(self, namespace: str) -> Iterator[Candidate]:
        """Yield every live entry of a namespace, some read at a time; none of them counts as used."""
        return self._reads.entries(namespace)

    def close(self) -> None:
        """Close the file, once what goes on in the background has ended; the next operation opens it again.

        Unless others use it, it then holds all that was stored, and may be copied without its log.
        """
        self._upkeep.finish(CLOSING_SECONDS)
        self._pool.close_idle()


def from_url(url: str) -> SQLiteStorage:
    """Return the storage of ``sqlite:///answers.db``; ``?max_entries=`` bounds it.

    Four slashes begin an absolute path, and ``sqlite://~/`` the home folder.

    Raises:
        InvalidValueError: the URL names no file, or has other options.
    """
    from urllib.parse import unquote

    place, _, query = url.partition("://")[2].partition("?")
    return SQLiteStorage(unquote(place.removeprefix("/")), max_entries=max_entries_in(query, "sqlite"))
