"""Crowds of tasks on one storage: they do not all connect at the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from support.redis_servers import Server

from recallm.storage.base import Recall
from recallm.storage.redis.clients import CONNECTING_AT_ONCE
from recallm.storage.redis.storage import RedisStorage

CROWD = 40


class Gate:
    """A way to a server on which new connections wait while it is closed.

    Attributes:
        port: the port to connect to.
        open: set while new connections are served.
        accepted: how many connections there have been.
    """

    def __init__(self) -> None:
        self.port = self.accepted = 0
        self.open = asyncio.Event()
        self.open.set()


@asynccontextmanager
async def gate_before(server: Server) -> AsyncIterator[Gate]:
    """Run such a way for a while."""
    gate = Gate()
    ways: set[asyncio.Task[None]] = set()

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                sink.write(data)
        sink.close()
        with suppress(OSError):
            await sink.wait_closed()

    async def accept(ours: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        gate.accepted += 1
        await gate.open.wait()
        theirs, there = await asyncio.open_connection("127.0.0.1", server.port)
        for way in (pump(ours, there), pump(theirs, back)):
            ways.add(asyncio.ensure_future(way))

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    gate.port = int(listener.sockets[0].getsockname()[1])
    yield gate
    listener.close()
    await asyncio.wait(ways, timeout=20.0)


def test_few_operations_connect_at_the_same_time(server: Server) -> None:
    """Of a crowd a few operations make connections; the others wait until those that are there are free."""

    async def use() -> None:
        async with gate_before(server) as gate:
            storage = RedisStorage.from_url(f"redis://127.0.0.1:{gate.port}/0", timeout=20.0)
            await storage.aperform(Recall("n", "warm"))
            warm = gate.accepted
            gate.open.clear()
            tasks = [asyncio.ensure_future(storage.aperform(Recall("n", f"key {at}"))) for at in range(CROWD)]
            async with asyncio.timeout(20.0):
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                assert gate.accepted <= warm + CONNECTING_AT_ONCE
                gate.open.set()
                await asyncio.gather(*tasks)
            await storage.aclose()

    asyncio.run(use())
