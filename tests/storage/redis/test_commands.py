"""Sync and async clients of redis-py perform the same steps, with few connections, and give them back."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import suppress
from typing import Any, TypeVar

import pytest
import redis
import redis.asyncio
from support.redis_servers import LAYOUTS, Server
from support.redis_storages import all_stored, make

from recallm.storage.base import Put, Recall, Search
from recallm.storage.redis.clients import conflict_and_refusal
from recallm.storage.redis.commands import Batch, CommandRunner, Exec, Operation, Watch, arun, run
from recallm.storage.redis.exchanges import Command, packed
from recallm.storage.redis.storage import RedisStorage

T = TypeVar("T")


def perform(server: Server, operation: Operation[T], *, asynchronous: bool) -> T:
    """Perform an operation with a client of its own."""
    errors = conflict_and_refusal()
    if not asynchronous:
        with server.client() as client:
            return run(CommandRunner(client, *errors).perform(operation))

    async def perform_async() -> T:
        client = redis.asyncio.Redis(port=server.port)
        try:
            return await arun(CommandRunner(client, *errors).perform(operation))
        finally:
            await client.aclose()

    return asyncio.run(perform_async())


def test_a_transaction_reads_what_it_watches_and_then_writes(server: Server, asynchronous: bool) -> None:
    """A sync and an async client watch keys, read them, read on while they watch, and perform a transaction."""
    server.empty()

    def operation() -> Operation[list[Any]]:
        first = yield Watch(["k"], [("GET", "k"), ("TYPE", "k")])
        second = yield Batch([("GET", "k")], watching=True)
        third = yield Exec([("SET", "k", "1"), ("GET", "k")])
        return [first, second, third]

    assert perform(server, operation(), asynchronous=asynchronous) == [[None, b"none"], [None], [True, b"1"]]


def test_a_watched_key_that_changes_ends_the_transaction(server: Server, asynchronous: bool) -> None:
    """A transaction whose watched key another client changes gives None, and nothing of it is performed."""
    server.empty()

    def operation() -> Operation[Any]:
        yield Watch(["k"], [("GET", "k")])
        with server.client() as other:
            other.set("k", "theirs")
        return (yield Exec([("SET", "k", "ours")]))

    assert perform(server, operation(), asynchronous=asynchronous) is None
    with server.client() as client:
        assert client.get("k") == b"theirs"


def test_a_refused_command_is_an_error_among_the_replies(server: Server, asynchronous: bool) -> None:
    """The replies to the commands beside one that the server refuses are not lost, whether keys are watched or not."""
    server.empty()

    def operation() -> Operation[list[Any]]:
        commands: list[Command] = [("NOSUCHCOMMAND",), ("STRLEN", "k")]
        first = yield Batch(commands)
        second = yield Watch(["k"], commands)
        return [first, second]

    for refused, length in perform(server, operation(), asynchronous=asynchronous):
        assert isinstance(refused, redis.ResponseError)
        assert length == 0


def test_redis_py_has_the_parts_that_watching_uses(server: Server) -> None:
    """A watching pipeline of redis-py, sync or async, has a connection that sends many commands at once."""
    parts = {"encoder", "send_packed_command", "read_response", "disconnect"}
    with server.client() as client, client.pipeline(transaction=True) as pipe:
        pipe.watch("k")
        assert pipe.watching
        assert parts <= set(dir(pipe.connection))

    async def watch() -> None:
        async with redis.asyncio.Redis(port=server.port) as client, client.pipeline(transaction=True) as pipe:
            await pipe.watch("k")
            assert pipe.watching
            assert parts <= set(dir(pipe.connection))

    asyncio.run(watch())


def test_commands_are_packed_as_the_client_packs_them() -> None:
    """What is sent for any kind of argument is what redis-py would send."""
    commands: list[Command] = [("SET", "ключ", b"\x00\r\n" * 5000, "PX", 12, 0.5), ("PING",), ("ECHO", "")]
    connection: Any = redis.Connection()  # type: ignore[no-untyped-call]  # redis-py has no types here
    assert b"".join(packed(commands, connection.encoder)) == b"".join(connection.pack_commands(commands))


def test_one_connection_is_enough(redis_server: Server) -> None:
    """Concurrent puts succeed with a pool of a single connection."""
    redis_server.empty()

    async def store() -> bool:
        pool = redis.asyncio.BlockingConnectionPool(port=redis_server.port, max_connections=1, timeout=20)
        client = redis.asyncio.Redis(connection_pool=pool)
        storage = RedisStorage(client, layout=LAYOUTS[redis_server.kind])
        try:
            return await all_stored(storage, [make(f"entry {number}") for number in range(10)], 60.0)
        finally:
            await client.aclose()
            await pool.disconnect()

    assert asyncio.run(store())


def test_a_silent_server_costs_a_pool_no_connection(redis_server: Server) -> None:
    """Operations that time out on a frozen server give their connections back to the pool."""
    redis_server.empty()
    client = redis_server.client(max_connections=2, socket_timeout=0.1, retry=None)
    storage, entry = RedisStorage(sync_client=client, layout=LAYOUTS[redis_server.kind]), make("entry")
    epoch = storage.recall("n", entry.key).epoch
    redis_server.signal(signal.SIGSTOP)
    try:
        for _ in range(5):
            with pytest.raises((redis.TimeoutError, redis.ConnectionError)) as raised:
                storage.put(entry, epoch, None)
            assert not isinstance(raised.value, redis.exceptions.MaxConnectionsError)
    finally:
        redis_server.signal(signal.SIGCONT)
    assert storage.put(entry, epoch, None).kept
    client.close()


def test_a_cancelled_operation_leaves_the_storage_usable(server: Server) -> None:
    """After a put is cancelled in the middle of its transaction, the storage works as before."""
    server.empty()

    async def cancel_and_go_on() -> None:
        storage = RedisStorage(redis.asyncio.Redis(port=server.port))
        try:
            entry = make()
            assert entry.vector is not None
            epoch = (await storage.aperform(Recall("n", entry.key))).epoch
            for delay in range(12):
                task = asyncio.create_task(storage.aperform(Put(entry, epoch, None)))
                await asyncio.sleep(delay * 0.0002)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            assert (await storage.aperform(Put(entry, epoch, None))).kept
            assert len(await storage.aperform(Search("n", "p", entry.vector, 0.9, 16))) == 1
        finally:
            await storage.aclose()

    asyncio.run(cancel_and_go_on())


def test_who_is_cancelled_does_not_wait_for_a_silent_server(redis_server: Server) -> None:
    """A cancelled put ends in under a second on a frozen server, though the client has no time limit."""
    redis_server.empty()

    async def load_timed_out() -> float:
        client = redis.asyncio.Redis(port=redis_server.port)
        storage = RedisStorage(client, layout=LAYOUTS[redis_server.kind])
        entry = make("entry")
        epoch = (await storage.aperform(Recall("n", entry.key))).epoch
        redis_server.signal(signal.SIGSTOP)
        began = time.monotonic()
        try:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(storage.aperform(Put(entry, epoch, None)), 0.1)
            return time.monotonic() - began
        finally:
            redis_server.signal(signal.SIGCONT)
            assert (await storage.aperform(Put(entry, epoch, None))).kept
            await client.aclose()

    assert asyncio.run(load_timed_out()) < 0.9


class LosingConnection(redis.asyncio.Connection):
    """A connection on which a cancellation arrives with a reply, and is lost."""

    losing = False

    async def read_response(self, *args: Any, **options: Any) -> Any:
        """Read a reply, be cancelled, and go on."""
        reply = await super().read_response(*args, **options)
        if self.losing:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
        return reply


def test_a_cancellation_that_a_call_loses_ends_the_operation_all_the_same(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operation whose cancellation is lost in a call takes no further step, and gives its connection back."""
    server.empty()

    def operation() -> Operation[None]:
        yield Batch([("PING",)])
        monkeypatch.setattr(LosingConnection, "losing", True)
        yield Watch(["k"], [("GET", "k")])
        yield Exec([("SET", "k", "1")])

    async def cancel() -> Any:
        pool = redis.asyncio.ConnectionPool(connection_class=LosingConnection, port=server.port, max_connections=1)
        client = redis.asyncio.Redis(connection_pool=pool)
        task = asyncio.create_task(arun(CommandRunner(client, *conflict_and_refusal()).perform(operation())))
        await asyncio.wait([task])
        assert task.cancelled()
        monkeypatch.setattr(LosingConnection, "losing", False)
        reply = await client.get("k")
        await pool.disconnect()
        return reply

    assert asyncio.run(cancel()) is None


def test_an_error_in_the_place_of_a_cancellation_is_one() -> None:
    """If a call that is cancelled raises the error of its closed connection, the task is cancelled nonetheless."""

    async def fail() -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            raise ConnectionError from None

    def calls() -> Any:
        yield fail()

    async def cancel() -> None:
        task = asyncio.create_task(arun(calls()))
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel())
