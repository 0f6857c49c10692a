"""Whatever interrupts an operation, each reply on a connection of its client belongs to the command that asks next."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
from support.interrupting import each_point
from support.redis_servers import Server
from support.redis_storages import make

from recallm.storage.base import Put, Recall
from recallm.storage.redis.storage import RedisStorage

ENTRY = make("one two three")
WATCHED = (str(Path(redis.__file__).parent), "/recallm/storage/redis/")
STRIDE = 67
"""At every so many-th point an operation is interrupted."""


class AlarmError(Exception):
    """What a signal handler raises."""


class Operation:
    """An operation of a storage on a client of its own, that an error may end.

    Args:
        server: the server.
        name: which operation.
        reused: whether there is a connection already.
    """

    def __init__(self, server: Server, name: str, *, reused: bool) -> None:
        self.client = redis.Redis(port=server.port, max_connections=4, protocol=3)
        storage = RedisStorage(sync_client=self.client)
        epoch = storage.recall("n", ENTRY.key).epoch
        storage.put(ENTRY, epoch, 60.0)
        if not reused:
            self.client.connection_pool.disconnect()
        works: dict[str, Callable[[], object]] = {
            "recall": lambda: storage.recall("n", ENTRY.key),
            "search": lambda: storage.search("n", "p", ENTRY.vector, 0.9, 4),  # type: ignore[arg-type]
            "put": lambda: storage.put(ENTRY, epoch, 60.0),
            "remove": lambda: storage.remove("n", [ENTRY.key]),
            "invalidate": lambda: storage.invalidate("n"),
        }
        self._work = works[name]

    def __call__(self) -> None:
        """Perform it."""
        with suppress(AlarmError, redis.RedisError):
            self._work()


# redis-py leaves a socket to the garbage collector if connecting it is interrupted.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("error", [KeyboardInterrupt, AlarmError])
@pytest.mark.parametrize("operation", ["recall", "search", "put", "remove", "invalidate"])
@pytest.mark.parametrize("reused", [True, False])
def test_an_interrupted_operation_leaves_no_reply_behind(
    server: Server, operation: str, error: type[BaseException], reused: bool
) -> None:
    """After an exception at any point, commands on all connections of the pool get their own replies."""

    def strike(_: object) -> None:
        raise error

    times = 0
    for where, interrupted in each_point(
        lambda: Operation(server, operation, reused=reused), WATCHED, strike, stride=STRIDE
    ):
        times += 1
        replies = [interrupted.client.echo(f"{times} {at}") for at in range(3)]
        interrupted.client.close()
        assert replies == [f"{times} {at}".encode() for at in range(3)], where
    gc.collect()
    assert times > 3


@asynccontextmanager
async def slow_way(port: int) -> AsyncIterator[int]:
    """Give the port of a proxy that hands a server's replies on after a moment."""
    chance = random.Random(1)  # noqa: S311  # how long a moment is

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, longest: float) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                await asyncio.sleep(chance.random() * longest)
                sink.write(data)
        sink.close()

    async def accept(ours: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        theirs, there = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(ours, there, 0.0), pump(theirs, back, 0.004))

    proxy = await asyncio.start_server(accept, "127.0.0.1", 0)
    yield int(proxy.sockets[0].getsockname()[1])
    proxy.close()


@pytest.mark.parametrize("protocol", [2, 3])
def test_cancelled_operations_leave_no_reply_behind(server: Server, protocol: Any) -> None:
    """While operations are cancelled at any moment, look-ups and the user's own commands get their own replies."""
    server.empty()
    entries = [make(f"prompt {at}") for at in range(20)]
    chance = random.Random(2)  # noqa: S311  # when to cancel
    wrong: list[str] = []

    async def use(storage: RedisStorage, client: Any, at: int) -> None:
        entry = entries[at % len(entries)]
        work = Put(entry, epochs[0], None) if at % 7 == 0 else Recall("n", entry.key)
        with suppress(TimeoutError, redis.RedisError):
            async with asyncio.timeout(chance.random() * 0.012):
                found = await storage.aperform(work)
                if isinstance(work, Recall) and (found.candidate is None or found.candidate.entry.key != entry.key):
                    wrong.append(f"{at} {found}")
        if at % 3 == 0 and await client.echo(f"echo {at}") != f"echo {at}".encode():
            wrong.append(f"echo {at}")

    epochs: list[int] = []

    async def main() -> None:
        async with slow_way(server.port) as port:
            pool = redis.asyncio.BlockingConnectionPool(port=port, max_connections=6, timeout=20, protocol=protocol)
            client = redis.asyncio.Redis(connection_pool=pool)
            storage = RedisStorage(client)
            epochs.append((await storage.aperform(Recall("n", "k"))).epoch)
            for entry in entries:
                await storage.aperform(Put(entry, epochs[0], None))
            for start in range(0, 900, 30):
                await asyncio.gather(*(use(storage, client, at) for at in range(start, start + 30)))
            await pool.disconnect()

    asyncio.run(main())
    assert wrong == []
