"""How commands reach a server or a cluster, and their replies come back: each reply belongs to its command.

A connection of a pool is shared with everybody who uses the client. If an exchange ends before all replies have been
read, by an error, a cancellation or a signal handler's exception, the connection is closed, since whoever used it next
would read the replies that are left. Methods are generators that yield what the client's methods return.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable, Generator, Sequence
from functools import lru_cache
from hashlib import sha1
from inspect import isawaitable
from typing import Any, Protocol, TypeAlias

from recallm.storage.redis.connections import acquire, disconnect_idle, sever

Argument: TypeAlias = str | bytes | int | float
Command: TypeAlias = tuple[Argument, ...]
Calls: TypeAlias = Generator[Any, Any, Any]
"""Yields what a client's methods return, a result or an awaitable, and is sent the result."""


class ReplyError(Exception):
    """A server's reply is not what its command returns."""


def packed(commands: Sequence[Command], encoder: Any) -> list[bytes]:
    """Return what to send for commands, as `send_packed_command` takes it.

    redis-py's own way joins what it has anew for each argument, and takes twice as long for a store.

    Args:
        commands: the commands.
        encoder: the connection's, which knows how the client encodes text.
    """
    parts: list[bytes] = []
    encoding, errors = encoder.encoding, encoder.encoding_errors
    for command in commands:
        parts.append(b"*%d\r\n" % len(command))
        for argument in command:
            match argument:
                case bytes():
                    data = argument
                case str():
                    data = argument.encode(encoding, errors)
                case int():
                    data = b"%d" % argument
                case _:
                    data = encoder.encode(argument)
            parts += (b"$%d\r\n" % len(data), data, b"\r\n")
    return [b"".join(parts)]


def by_digest(command: Command) -> Command:
    """Return a command that names a script by its digest, if it runs one: that is sent a thousand bytes shorter."""
    if command[0] != "EVAL":
        return command
    return ("EVALSHA", _digest(str(command[1])), *command[2:])


@lru_cache(maxsize=64)
def _digest(script: str) -> str:
    return sha1(script.encode(), usedforsecurity=False).hexdigest()


def is_unknown_script(reply: object) -> bool:
    """Return whether a reply says that the server has never seen a script in full, or has forgotten it."""
    return isinstance(reply, Exception) and "no matching script" in str(reply).lower()


class Exchange(Protocol):
    """How one operation speaks to a server."""

    def send(self, commands: Sequence[Command]) -> Calls:
        """End the watch, if there is one, and send commands; return the replies, errors among them."""
        ...

    def watch(self, keys: Sequence[str], reads: Sequence[Command]) -> Calls:
        """Watch keys, and send commands; return the replies to these."""
        ...

    def send_watching(self, commands: Sequence[Command]) -> Calls:
        """Send commands on the connection that watches, and go on watching."""
        ...

    def execute(self, commands: Sequence[Command]) -> Calls:
        """Perform commands in one transaction; return the replies, or None if a watched key has changed."""
        ...

    def cut(self) -> Calls:
        """End an exchange that failed, so that another can begin."""
        ...

    def release(self, *, failed: bool) -> Calls:
        """Give the connection back."""
        ...

    def drop(self) -> None:
        """Give the connection up: nobody awaits anything any more."""
        ...


class PoolExchange:
    """Speaks to one server on one connection, which it takes from the client's pool when it is first needed.

    Args:
        client: a redis-py client, sync or async.
        refusal: what the client raises if the server refuses a command.
        drive: makes calls, in place or on the event loop.
    """

    def __init__(self, client: Any, refusal: type[Exception], drive: Callable[[Calls], Any]) -> None:
        self._client = client
        self._pool = client.connection_pool
        self._refusal = refusal
        self._drive = drive
        self._connection: Any = None
        self._watching = False
        self._busy = False

    def send(self, commands: Sequence[Command]) -> Calls:
        """End the watch, if there is one, and send commands."""
        before = self._end_of_watch()
        if not (before or commands):
            return []
        replies = yield from self._with_retries(lambda: self._exchange([*before, *commands]))
        self._watching = False
        return replies[len(before) :]

    def watch(self, keys: Sequence[str], reads: Sequence[Command]) -> Calls:
        """Watch keys and read, in one round trip."""
        before: list[Command] = [*self._end_of_watch(), ("WATCH", *keys)]
        self._watching = True
        replies = yield from self._with_retries(lambda: self._exchange([*before, *reads]))
        for reply in replies[: len(before)]:
            if isinstance(reply, Exception):
                raise reply
        return replies[len(before) :]

    def send_watching(self, commands: Sequence[Command]) -> Calls:
        """Send commands on the connection that watches: all who watch might wait for another one of a small pool."""
        return (yield from self._exchange(commands))

    def execute(self, commands: Sequence[Command]) -> Calls:
        """Perform commands in one transaction. A connection made anew would watch nothing: no retries if it watches."""
        if self._watching:
            replies = yield from self._transact(commands)
        else:
            replies = yield from self._with_retries(lambda: self._transact(commands))
        self._watching = False
        return replies

    def cut(self) -> Calls:
        """Close the connection if replies are still to come on it."""
        if self._busy and self._connection is not None:
            yield self._connection.disconnect(True)
            self._busy = self._watching = False

    def release(self, *, failed: bool) -> Calls:
        """Give the connection back to the pool, with nothing watched and no reply to come."""
        if self._connection is None:
            return
        # A silent server would not answer UNWATCH either.
        self._busy = self._busy or (failed and self._watching)
        yield from self.cut()
        if self._watching:
            yield from self._exchange(self._end_of_watch())
            self._watching = False
        connection, self._connection = self._connection, None
        yield self._pool.release(connection)

    def drop(self) -> None:
        """Close the connection; the pool belongs to an event loop that has ended."""
        connection, self._connection = self._connection, None
        if connection is not None:
            sever(connection)

    def _end_of_watch(self) -> list[Command]:
        return [("UNWATCH",)] if self._watching else []

    def _with_retries(self, exchange: Callable[[], Calls]) -> Calls:
        """Exchange as often as the client's own settings say if the connection fails."""
        if self._connection is None:
            yield from self._acquire()
        connection = self._connection
        return (
            yield connection.retry.call_with_retry(
                lambda: self._drive(exchange()), lambda _error: connection.disconnect(True)
            )
        )

    def _acquire(self) -> Calls:
        try:
            # Not by way of whoever makes the calls if it is there at once: an exception between would lose it.
            self._connection = acquire(self._pool)
            if isawaitable(self._connection):
                coming, self._connection = self._connection, None
                self._connection = yield coming
        except (GeneratorExit, CancelledError):
            raise
        except BaseException as error:
            if not isinstance(error, OSError) and not type(error).__module__.startswith("redis."):
                # redis-py gives a connection back that a signal handler's exception hit while it introduced itself.
                disconnect_idle(self._pool)
            raise

    def _exchange(self, commands: Sequence[Command]) -> Calls:
        """Send commands, scripts by their digests; from the first that the server does not know, scripts again in full.

        Those that it knew are performed again after it, as they may build on it; none does harm the second time.
        """
        replies = yield from self._send_and_read([by_digest(command) for command in commands])
        unknown = next((place for place, reply in enumerate(replies) if is_unknown_script(reply)), len(replies))
        again = [place for place in range(unknown, len(replies)) if commands[place][0] == "EVAL"]
        if again:
            found = yield from self._send_and_read([commands[place] for place in again])
            for place, reply in zip(again, found, strict=True):
                replies[place] = reply
        return replies

    def _send_and_read(self, commands: Sequence[Command]) -> Calls:
        connection = self._connection
        self._busy = True
        yield connection.send_packed_command(packed(commands, connection.encoder))
        replies: list[Any] = []
        for command in commands:
            try:
                replies.append((yield self._client.parse_response(connection, command[0])))
            except self._refusal as error:
                replies.append(error)
        self._busy = False
        return replies

    def _transact(self, commands: Sequence[Command]) -> Calls:
        connection = self._connection
        self._busy = True
        yield connection.send_packed_command(packed([("MULTI",), *commands, ("EXEC",)], connection.encoder))
        refused: list[Exception] = []
        replies: Any = None
        for _ in range(len(commands) + 2):
            try:
                replies = yield connection.read_response()
            except self._refusal as error:
                refused.append(error)
        self._busy = False
        if refused:
            raise refused[0]
        if replies is None:
            return None
        if not isinstance(replies, list) or len(replies) != len(commands):
            raise ReplyError("EXEC returned another number of replies than there were commands")
        callbacks = self._client.response_callbacks
        return [
            reply if isinstance(reply, Exception) or command[0] not in callbacks else callbacks[command[0]](reply)
            for command, reply in zip(commands, replies, strict=True)
        ]


class ClusterExchange:
    """Speaks to a cluster through redis-py's pipelines, which find the node of each key.

    Args:
        client: a redis-py cluster client, sync or async.
        conflict: what the client raises if a watched key has changed.
        refusal: what the client raises if the server refuses a command.
    """

    def __init__(self, client: Any, conflict: type[Exception], refusal: type[Exception]) -> None:
        self._client = client
        self._conflict = conflict
        self._refusal = refusal
        self._watching: Any = None

    def send(self, commands: Sequence[Command]) -> Calls:
        """End the watch, if there is one, and send commands."""
        yield from self.release(failed=False)
        if not commands:
            return []
        if hasattr(self._client, "initialize") and any(command[0] == "EVAL" for command in commands):
            # An async client does not know a key's node before something is awaited on its event loop.
            yield self._client.initialize()
        pipe = self._client.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command, **self._target(command))
        return (yield pipe.execute(raise_on_error=False))

    def _target(self, command: Command) -> dict[str, Any]:
        """Return the node of a script's first key as an option; the client would ask the server for all its keys."""
        if command[0] != "EVAL":
            return {}
        node = self._client.get_node_from_key(command[3])
        return {} if node is None else {"target_nodes": node}

    def watch(self, keys: Sequence[str], reads: Sequence[Command]) -> Calls:
        """Watch keys, then read."""
        yield from self.release(failed=False)
        self._watching = self._client.pipeline(transaction=True)
        yield self._watching.watch(*keys)
        return (yield from self.send_watching(reads))

    def send_watching(self, commands: Sequence[Command]) -> Calls:
        """Send commands one by one, on the connection that watches."""
        replies: list[Any] = []
        for command in commands:
            try:
                replies.append((yield self._watching.execute_command(*command)))
            except self._refusal as error:
                replies.append(error)
        return replies

    def execute(self, commands: Sequence[Command]) -> Calls:
        """Perform commands in one transaction."""
        pipe = self._watching
        if pipe is None:
            pipe = self._client.pipeline(transaction=True)
        else:
            pipe.multi()
        for command in commands:
            pipe.execute_command(*command)
        try:
            replies = yield pipe.execute(raise_on_error=False)
        except self._conflict:
            replies = None
        yield from self.release(failed=False)
        return replies

    def cut(self) -> Calls:
        """Do nothing: pipelines of a cluster close the connections of an exchange that failed."""
        yield from ()

    def release(self, *, failed: bool) -> Calls:
        """Give the connections back."""
        pipe, self._watching = self._watching, None
        if pipe is None:
            return
        connection = getattr(pipe, "connection", None)
        if failed and connection is not None:
            yield connection.disconnect(True)
            pipe.watching = False
        yield pipe.reset()

    def drop(self) -> None:
        """Forget the pipeline."""
        self._watching = None
