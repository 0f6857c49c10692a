"""Keeps entries on a Redis server, shared by a fleet of workers."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, get_args

from recallm import checks
from recallm.concurrency.backlog import Upkeep
from recallm.concurrency.patience import turn_in
from recallm.errors import InvalidTypeError
from recallm.records import Candidate, Entry, Recalled, Stored
from recallm.storage.base import (
    Invalidate,
    Put,
    PutTagged,
    Recall,
    RecallAndSearch,
    Removal,
    Remove,
    RemoveTagged,
    Search,
    Sizes,
    StorageBackend,
    StorageOperation,
)
from recallm.storage.entry_format import EntryFormat
from recallm.storage.redis.clients import (
    TIMEOUT_SECONDS,
    LoopClient,
    LoopClients,
    address,
    checked_client,
    clients_of_url,
    conflict_and_refusal,
    has_search,
    require_redis,
)
from recallm.storage.redis.commands import CommandRunner, Operation, arun, run
from recallm.storage.redis.keys import RECORD_PLACE, epochs_pattern
from recallm.storage.redis.layouts import Layout, QueryEngine, VectorSets
from recallm.storage.redis.listing import NAMED_AT_ONCE, READ_AT_ONCE, SCANNED, ListOperations
from recallm.storage.redis.mirror import MirroredStreams
from recallm.storage.redis.reads import ReadOperations
from recallm.storage.redis.server import ServerState
from recallm.storage.redis.tagging import TagOperations
from recallm.storage.redis.writes import WriteOperations

if TYPE_CHECKING:
    from recallm.typing import Vector

T = TypeVar("T")
LayoutName: TypeAlias = Literal["auto", "vectorset", "search", "plain"]

DISCONNECT_SECONDS = 1.0
"""How long a cancelled operation may take to give its connection back, which takes a round trip."""


class RedisStorage(StorageBackend):
    """Keeps entries on a Redis or Valkey server, shared by every process that uses it. Needs the extra ``redis``.

    Works with Redis 7 or later and with Valkey: with vector sets (Redis 8) or the query engine if the server has
    them, else with the vectors mirrored in this process. Whatever the server returns is checked, and similarities
    are computed here from the stored vectors. Where the user may run scripts, these save round trips. Your clients are
    used as they are.

    Args:
        client: ``redis.asyncio.Redis`` or ``RedisCluster``, for async functions.
        sync_client: ``redis.Redis`` or ``RedisCluster``, for sync functions, and for async ones without `client`.
        prefix: what every key starts with.
        layout: ``"vectorset"``, ``"search"`` (query engine), ``"plain"`` or, for the first that works, ``"auto"``.
        max_entries: the most entries of one namespace; those that expire first, then the oldest, make room.
            None: no bound.
        secret: signs entries (HMAC-SHA256); entries that are not signed with it are ignored. None: no signatures.
        encrypt: bytes → bytes, applied to prompts and responses before they are stored.
        decrypt: its inverse; raises if the bytes are not its own.
        max_bytes: the most bytes that one prompt, or one response, may take on the server.
        mirror_bytes: about how many bytes this process may use for mirrored vectors (layout ``"plain"``).

    Raises:
        MissingExtraError: the extra is not installed.
        InvalidTypeError: an argument has the wrong type, or there is no client.
        InvalidValueError: an argument has a value that is not allowed, or a client has ``decode_responses=True``.
    """

    recalls_and_searches = True
    keeps_tags = True
    tells_changes = True

    def __init__(
        self,
        client: Any = None,
        sync_client: Any = None,
        *,
        prefix: str = "recallm",
        layout: LayoutName = "auto",
        max_entries: int | None = None,
        secret: bytes | str | None = None,
        encrypt: Callable[[bytes], bytes] | None = None,
        decrypt: Callable[[bytes], bytes] | None = None,
        max_bytes: int = 8 * 1024 * 1024,
        mirror_bytes: int = 512 * 1024 * 1024,
    ) -> None:
        require_redis()
        if client is None and sync_client is None:
            raise InvalidTypeError("RedisStorage needs a client (async), a sync_client or both; or use from_url")
        self._clients = None if client is None else LoopClients(_checked(client, "client"))
        self._sync_client = None if sync_client is None else _checked(sync_client, "sync_client")
        self.serves_sync = sync_client is not None
        self.serves_async = client is not None
        checks.key_prefix(prefix, "prefix")
        checks.choice(layout, "layout", get_args(LayoutName))
        checks.bound(max_entries, "max_entries")
        some_client = client if sync_client is None else sync_client
        self._address = address(some_client)
        layouts: dict[str, Layout] = {
            "vectorset": VectorSets(),
            "search": QueryEngine(prefix),
            "plain": MirroredStreams(checks.positive_int(mirror_bytes, "mirror_bytes")),
        }
        if layout != "search" and not has_search(some_client):
            del layouts["search"]
        chosen = None if layout == "auto" else layout
        self._server_state = ServerState(prefix, layouts, chosen=chosen)
        entry_format = EntryFormat(
            checks.secret(secret, "secret"),
            *checks.encryption(encrypt, decrypt),
            checks.positive_int(max_bytes, "max_bytes"),
            signed_label_bytes=RECORD_PLACE,
        )
        self._reads = ReadOperations(self._server_state, entry_format, self._in_background)
        self._writes = WriteOperations(self._server_state, entry_format, max_entries, self._in_background)
        self._tags = TagOperations(self._server_state, self._writes)
        self._lists = ListOperations(self._server_state, entry_format)
        self._errors = conflict_and_refusal()
        self._upkeep = Upkeep("recallm-redis", size=2)

    @classmethod
    def from_url(
        cls, url: str, *, timeout: float = TIMEOUT_SECONDS, client_name: str = "recallm", **options: Any
    ) -> RedisStorage:
        """Return a storage for sync and async functions, with clients that fail fast and do not retry.

        Args:
            url: ``redis://``, ``rediss://`` or ``unix://``; options in its query go to redis-py.
            timeout: seconds to wait for a connection, or for a reply.
            client_name: the name that the server lists the connections under.
            options: as `RedisStorage`'s; others go to redis-py.

        Raises:
            InvalidValueError: the URL, or an option, cannot be used.
        """
        require_redis()
        again = partial(cls.from_url, url, timeout=timeout, client_name=client_name, **options)
        own = {name: options.pop(name) for name in tuple(options) if name in _OPTIONS}
        client, sync_client = clients_of_url(url, timeout=timeout, client_name=client_name, options=options)
        storage = cls(client, sync_client, **own)
        # Nobody else holds these clients, so nobody else closes them.
        storage._clients = LoopClients(client, shared=False)
        weakref.finalize(storage, sync_client.close)
        storage._made_by = again
        return storage

    _made_by: Callable[[], RedisStorage] | None = None

    def __reduce__(self) -> tuple[Callable[[], RedisStorage], tuple[()]]:
        # Another process connects for itself.
        if self._made_by is None:
            from pickle import PicklingError

            raise PicklingError("a RedisStorage of clients stays in its process; make it by RedisStorage.from_url")
        return self._made_by, ()

    def __repr__(self) -> str:
        layout = self._server_state.current_layout
        found = "not connected yet" if layout is None else f"layout {layout.name!r}"
        return f"<RedisStorage at {self._address}, prefix {self._server_state.prefix!r}, {found}>"

    @property
    def layout(self) -> Layout | None:
        """The layout in use, or None if it is yet to be found out."""
        return self._server_state.current_layout

    def recall(self, namespace: str, key: str) -> Recalled:
        """Return the live entry under `key`, and the namespace's epoch."""
        return self._run(self._reads.recall(namespace, key))

    def recall_and_search(self, namespace: str, key: str, search: Search) -> Recalled:
        """Return the live entry under `key` and, unless that was there when last looked for, what is similar."""
        return self._run(self._reads.recall_and_search(namespace, key, search))

    def search(
        self, namespace: str, partition: str, vector: Vector, threshold: float, limit: int | None
    ) -> Sequence[Candidate]:
        """Return the partition's most similar live entries at or above `threshold`."""
        return self._run(self._reads.search(Search(namespace, partition, vector, threshold, limit)))

    def put(self, entry: Entry, epoch: int, ttl: float | None) -> Stored:
        """Store `entry`, unless its namespace has another epoch than `epoch` by now."""
        return self._run(self._writes.put(entry, epoch, ttl))

    def put_tagged(self, entry: Entry, epoch: int, ttl: float | None, began: float) -> Stored:
        """Store `entry` as `put` does, unless one of its tags has been removed since `began`."""
        return self._run(self._tags.put(entry, epoch, ttl, began))

    def remove_tagged(self, tag: str) -> int:
        """Remove the entries that have a tag, in all namespaces."""
        return self._run(self._tags.remove(tag))

    def remove(self, namespace: str, keys: Sequence[str]) -> int:
        """Remove single entries, and begin a new epoch."""
        return self._run(self._writes.remove(namespace, keys))

    def invalidate(self, namespace: str) -> int:
        """Remove all entries of a namespace, and begin a new epoch."""
        return self._run(self._writes.invalidate(namespace))

    def sizes(self, namespaces: Iterable[str]) -> Mapping[str, int]:
        """Return the number of live entries of each namespace that has any."""
        return self._run(self._writes.sizes(namespaces))

    def namespaces(self) -> Iterable[str]:
        """Return the namespaces that hold live entries. The user needs the command SCAN, which nothing else does."""
        keys = sorted({key.decode() for key in self._epoch_keys()})
        pages = [keys[start : start + NAMED_AT_ONCE] for start in range(0, len(keys), NAMED_AT_ONCE)]
        return [name for page in pages for name in self._run(self._lists.names(page))]

    def entries(self, namespace: str) -> Iterator[Candidate]:
        """Yield each live entry of a namespace, a few at a time. The user needs the command ZSCAN."""
        generation = self._run(self._lists.generation(namespace))
        seen: set[bytes] = set()
        cursor: int | None = 0
        while generation is not None and cursor is not None:
            found, cursor = self._run(self._lists.scan(namespace, generation, cursor))
            keys = [key for key in dict.fromkeys(found) if key not in seen]
            seen.update(keys)
            for start in range(0, len(keys), READ_AT_ONCE):
                page = self._run(self._lists.read(namespace, generation, keys[start : start + READ_AT_ONCE]))
                if page is None:
                    return
                yield from page

    def _epoch_keys(self) -> Iterable[bytes]:
        asked = {"match": epochs_pattern(self._server_state.prefix), "count": SCANNED}
        if self._sync_client is not None:
            return self._sync_client.scan_iter(**asked)  # type: ignore[no-any-return]  # redis-py has no types

        async def scanned() -> list[bytes]:
            if self._clients is None:
                return []
            return [key async for key in self._clients.current(copied=True).client.scan_iter(**asked)]

        return asyncio.run(scanned())

    async def aperform(self, operation: StorageOperation) -> Any:
        """Perform an operation with the running event loop's client. If cancelled, it does not wait for the server.

        Whoever wants answers gone does not wait behind a crowd that may still be served them.
        """
        if self._clients is None:
            return await super().aperform(operation)
        current = self._clients.current()
        async with turn_in(current.removals if isinstance(operation, Removal) else current.turns):
            task = self._start_task(current, self._perform(current.client, self._steps(operation)))
            try:
                return await asyncio.shield(task)
            except asyncio.CancelledError:
                # redis-py gives a connection back after a round trip, which a silent server does not answer.
                task.cancel()
                asyncio.get_running_loop().call_later(DISCONNECT_SECONDS, task.cancel)
                raise
            finally:
                current.widen()

    async def aclose(self) -> None:
        """Close the running event loop's connections; the next operation makes new ones."""
        if self._clients is not None:
            await self._clients.close_current()

    def _steps(self, operation: StorageOperation) -> Operation[Any]:
        """Return the steps of an operation."""
        match operation:
            case Recall(namespace, key):
                return self._reads.recall(namespace, key)
            case RecallAndSearch(namespace, key, search):
                return self._reads.recall_and_search(namespace, key, search)
            case Search():
                return self._reads.search(operation)
            case Put(entry, epoch, ttl):
                return self._writes.put(entry, epoch, ttl)
            case PutTagged(entry, epoch, ttl, began):
                return self._tags.put(entry, epoch, ttl, began)
            case RemoveTagged(tag):
                return self._tags.remove(tag)
            case Remove(namespace, keys):
                return self._writes.remove(namespace, keys)
            case Invalidate(namespace):
                return self._writes.invalidate(namespace)
            case Sizes(namespaces):
                return self._writes.sizes(namespaces)
        raise InvalidTypeError(f"a {type(operation).__name__} is no operation of a storage")

    def _run(self, operation: Operation[T]) -> T:
        if self._sync_client is not None:
            return run(self._perform(self._sync_client, operation))
        return asyncio.run(self._run_alone(operation))

    async def _run_alone(self, operation: Operation[T]) -> T:
        """Perform an operation on an event loop of its own, for sync code if there is an async client only."""
        if self._clients is None:
            raise InvalidTypeError(f"{self!r} has no client")
        return await arun(self._perform(self._clients.current(copied=True).client, operation))

    def _perform(self, client: Any, operation: Operation[T]) -> Generator[Any, Any, T]:
        try:
            return (yield from CommandRunner(client, *self._errors).perform(operation))
        except Exception:
            # The server may have been restarted, or replaced by another.
            self._server_state.expire()
            raise

    def _in_background(self, name: str, operation: Callable[[], Operation[None]]) -> None:
        """Perform an operation in the background, unless one of that name is under way."""
        claims = self._upkeep.claims
        if self._sync_client is not None:
            self._upkeep.begin(name, lambda: self._run(operation()))
        elif self._clients is not None and (claim := claims.claim(name)) is not None:
            current = self._clients.current()
            work = self._perform(current.client, operation())
            self._start_task(current, work).add_done_callback(lambda _task: claims.end(claim))

    def _start_task(self, current: LoopClient, calls: Generator[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(arun(calls))
        current.tasks.add(task)
        task.add_done_callback(partial(_end_task, current.tasks))
        return task


_OPTIONS = frozenset({"prefix", "layout", "max_entries", "secret", "encrypt", "decrypt", "max_bytes", "mirror_bytes"})


def _end_task(tasks: set[asyncio.Task[Any]], task: asyncio.Task[Any]) -> None:
    tasks.discard(task)
    # asyncio complains about an exception that nobody asks for: after a cancellation, or that of upkeep, which a later
    # call has done again.
    if not task.cancelled():
        task.exception()


def _checked(client: Any, field: str) -> Any:
    return checked_client(client, field=field, asynchronous=field == "client")


def from_url(url: str) -> RedisStorage:
    """Return the storage of ``redis://``, ``rediss://`` and ``unix://``, with its defaults."""
    return RedisStorage.from_url(url)
