"""Keeps entries on a Redis server, shared by a fleet of workers."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Coroutine, Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, get_args

from recallm import checks
from recallm.concurrency.forking import ForkSafeLock, reset_after_fork
from recallm.concurrency.workers import Workers
from recallm.errors import InvalidTypeError
from recallm.records import Candidate, Entry, Recalled, Stored
from recallm.storage.base import Invalidate, Put, Recall, Remove, Search, Sizes, StorageBackend, StorageOperation
from recallm.storage.redis.clients import (
    TIMEOUT_SECONDS,
    LoopClients,
    address,
    checked_client,
    clients_of_url,
    conflict_and_refusal,
    has_search,
    require_redis,
)
from recallm.storage.redis.commands import CommandRunner, Operation, arun, run
from recallm.storage.redis.entry_format import EntryFormat
from recallm.storage.redis.layouts import Layout, QueryEngine, VectorSets
from recallm.storage.redis.mirror import MirroredStreams
from recallm.storage.redis.reads import ReadOperations
from recallm.storage.redis.server import ServerState
from recallm.storage.redis.writes import WriteOperations

if TYPE_CHECKING:
    from recallm.typing import Vector

T = TypeVar("T")
LayoutName: TypeAlias = Literal["auto", "vectorset", "search", "plain"]
_UPKEEP = Workers("recallm-redis", size=2)

DISCONNECT_SECONDS = 1.0
"""How long a cancelled operation may take to give its connection back, which takes a round trip."""


class RedisStorage(StorageBackend):
    """Keeps entries on a Redis or Valkey server, shared by every process that uses it. Needs the extra ``redis``.

    Works with Redis 7 or later and with Valkey: with vector sets (Redis 8) or the query engine if the server has
    them, else with the vectors mirrored in this process. Whatever the server returns is checked, and similarities
    are computed here from the stored vectors. Your clients are used as they are.

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
        )
        self._reads = ReadOperations(self._server_state, entry_format, self._in_background)
        self._writes = WriteOperations(self._server_state, entry_format, max_entries, self._in_background)
        self._errors = conflict_and_refusal()
        self._upkeep: set[str] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._lock = ForkSafeLock()
        reset_after_fork(self)

    def after_fork(self) -> None:
        """Find no upkeep under way; redis-py makes connections of the child's own."""
        self._upkeep = set()

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
        own = {name: options.pop(name) for name in tuple(options) if name in _OPTIONS}
        client, sync_client = clients_of_url(url, timeout=timeout, client_name=client_name, options=options)
        storage = cls(client, sync_client, **own)
        # Nobody else holds these clients, so nobody else closes them.
        weakref.finalize(storage, sync_client.close)
        return storage

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

    def search(
        self, namespace: str, partition: str, vector: Vector, threshold: float, limit: int | None
    ) -> Sequence[Candidate]:
        """Return the partition's most similar live entries at or above `threshold`."""
        return self._run(self._reads.search(namespace, partition, vector, threshold, limit))

    def put(self, entry: Entry, epoch: int, ttl: float | None) -> Stored:
        """Store `entry`, unless its namespace has another epoch than `epoch` by now."""
        return self._run(self._writes.put(entry, epoch, ttl))

    def remove(self, namespace: str, keys: Sequence[str]) -> int:
        """Remove single entries, and begin a new epoch."""
        return self._run(self._writes.remove(namespace, keys))

    def invalidate(self, namespace: str) -> int:
        """Remove all entries of a namespace, and begin a new epoch."""
        return self._run(self._writes.invalidate(namespace))

    def sizes(self, namespaces: Iterable[str]) -> Mapping[str, int]:
        """Return the number of live entries of each namespace that has any."""
        return self._run(self._writes.sizes(namespaces))

    async def aperform(self, operation: StorageOperation) -> Any:
        """Perform an operation with the running event loop's client. If cancelled, it does not wait for the server."""
        if self._clients is None:
            return await super().aperform(operation)
        task = self._start_task(arun(self._perform(self._clients.current(), self._steps(operation))))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            # redis-py gives a connection back after a round trip, which a silent server does not answer.
            task.cancel()
            asyncio.get_running_loop().call_later(DISCONNECT_SECONDS, task.cancel)
            raise

    async def aclose(self) -> None:
        """Close the running event loop's connections; the next operation makes new ones."""
        if self._clients is not None:
            await self._clients.close_current()

    def _steps(self, operation: StorageOperation) -> Operation[Any]:
        """Return the steps of an operation."""
        match operation:
            case Recall(namespace, key):
                return self._reads.recall(namespace, key)
            case Search(namespace, partition, vector, threshold, limit):
                return self._reads.search(namespace, partition, vector, threshold, limit)
            case Put(entry, epoch, ttl):
                return self._writes.put(entry, epoch, ttl)
            case Remove(namespace, keys):
                return self._writes.remove(namespace, keys)
            case Invalidate(namespace):
                return self._writes.invalidate(namespace)
            case Sizes(namespaces):
                return self._writes.sizes(namespaces)
        raise InvalidTypeError(f"{operation!r} is no operation of a storage")

    def _run(self, operation: Operation[T]) -> T:
        if self._sync_client is not None:
            return run(self._perform(self._sync_client, operation))
        return asyncio.run(self._run_alone(operation))

    async def _run_alone(self, operation: Operation[T]) -> T:
        """Perform an operation on an event loop of its own, for sync code if there is an async client only."""
        if self._clients is None:
            raise InvalidTypeError(f"{self!r} has no client")
        client = self._clients.fresh()
        try:
            return await arun(self._perform(client, operation))
        finally:
            await client.aclose()

    def _perform(self, client: Any, operation: Operation[T]) -> Generator[Any, Any, T]:
        try:
            return (yield from CommandRunner(client, *self._errors).perform(operation))
        except Exception:
            # The server may have been restarted, or replaced by another.
            self._server_state.expire()
            raise

    def _in_background(self, name: str, operation: Callable[[], Operation[None]]) -> None:
        """Perform an operation in the background, unless one of that name is under way."""
        with self._lock:
            if name in self._upkeep:
                return
            self._upkeep.add(name)
        if self._sync_client is not None:
            _UPKEEP.submit(lambda: self._run_upkeep(name, lambda: self._run(operation())))
        elif self._clients is not None:
            client = self._clients.current()
            self._start_task(self._arun_upkeep(name, client, operation))

    def _start_task(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._end_task)
        return task

    def _end_task(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        # asyncio complains about an exception that nobody asks for, as nobody does after a cancellation.
        if not task.cancelled():
            task.exception()

    def _run_upkeep(self, name: str, work: Callable[[], object]) -> None:
        try:
            work()
        finally:
            self._upkeep.discard(name)

    async def _arun_upkeep(self, name: str, client: Any, operation: Callable[[], Operation[None]]) -> None:
        try:
            await arun(self._perform(client, operation()))
        except Exception:  # noqa: BLE001, S110  # a later call has upkeep that failed done again
            pass
        finally:
            self._upkeep.discard(name)


_OPTIONS = frozenset({"prefix", "layout", "max_entries", "secret", "encrypt", "decrypt", "max_bytes", "mirror_bytes"})


def _checked(client: Any, field: str) -> Any:
    return checked_client(client, field=field, asynchronous=field == "client")


def from_url(url: str) -> RedisStorage:
    """Return the storage of ``redis://``, ``rediss://`` and ``unix://``, with its defaults."""
    return RedisStorage.from_url(url)
