"""The steps that an operation asks of a Redis server, and how a client performs them.

An operation is a generator that yields steps and is sent their replies. `CommandRunner` turns steps into calls of a
redis-py client. Its sync and async clients have the same methods, so each call gives a reply or the awaitable of one;
`run` and `arun` send the replies back. So neither operations nor their steps are written twice.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")

Argument: TypeAlias = str | bytes | int | float
Command: TypeAlias = tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """Send commands together. Result: the replies, errors among them.

    Attributes:
        commands: what to send.
        watching: True: use the connection that watches, and go on watching. False: end the watch, if there is one.
    """

    commands: Sequence[Command]
    watching: bool = False


@dataclass(frozen=True, slots=True)
class Watch:
    """Watch keys for the next `Exec`, then read. Result: the replies, errors among them."""

    keys: Sequence[str]
    reads: Sequence[Command]


@dataclass(frozen=True, slots=True)
class Exec:
    """Perform commands in one transaction. Result: the replies, or None if a watched key has changed."""

    commands: Sequence[Command]


Step: TypeAlias = Batch | Watch | Exec
Operation: TypeAlias = Generator[Step, Any, T]


class ReplyError(Exception):
    """A server's reply is not what its command returns."""


def checked(replies: Sequence[Any]) -> Sequence[Any]:
    """Return replies if none of them is an error.

    Raises:
        Exception: the first error among them.
    """
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies


class CommandRunner:
    """Makes the calls of one operation on one client.

    Args:
        client: a redis-py client, sync or async, of one server or of a cluster.
        conflict: what the client raises if a watched key has changed.
        refusal: what the client raises if the server refuses a command.
    """

    def __init__(self, client: Any, conflict: type[Exception], refusal: type[Exception]) -> None:
        self._client = client
        self._conflict = conflict
        self._refusal = refusal
        self._watching: Any = None

    def perform(self, operation: Operation[T]) -> Generator[Any, Any, T]:
        """Yield the results of the client's calls, to be sent back as they are or awaited."""
        advance: Callable[[Any], Step] = operation.send
        result: Any = None
        failed = True
        try:
            while True:
                try:
                    step = advance(result)
                except StopIteration as end:
                    failed = False
                    return end.value  # type: ignore[no-any-return]  # an operation's return type
                try:
                    advance, result = operation.send, (yield from self._step(step))
                except Exception as error:  # noqa: BLE001  # the operation may know what to do
                    advance, result = operation.throw, error
        finally:
            operation.close()
            yield from self._release(failed=failed)

    def _step(self, step: Step) -> Generator[Any, Any, Any]:
        if isinstance(step, Exec):
            return (yield from self._execute(step.commands))
        if isinstance(step, Batch) and step.watching:
            return (yield from self._send_watching(step.commands))
        yield from self._release()
        if isinstance(step, Batch):
            return (yield from self._send(step.commands))
        self._watching = self._client.pipeline(transaction=True)
        yield self._watching.watch(*step.keys)
        return (yield from self._send_watching(step.reads))

    def _send_watching(self, commands: Sequence[Command]) -> Generator[Any, Any, list[Any]]:
        """Send commands on the connection that watches: all who watch might wait for another one of a small pool."""
        connection = getattr(self._watching, "connection", None)
        if connection is not None:
            yield connection.send_packed_command(connection.pack_commands(commands))
        replies: list[Any] = []
        for command in commands:
            try:
                reply = connection.read_response() if connection else self._watching.execute_command(*command)
                replies.append((yield reply))
            except self._refusal as error:
                replies.append(error)
        return replies

    def _send(self, commands: Sequence[Command]) -> Generator[Any, Any, Any]:
        if not commands:
            return []
        pipe = self._client.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        return (yield pipe.execute(raise_on_error=False))

    def _execute(self, commands: Sequence[Command]) -> Generator[Any, Any, Any]:
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
        yield from self._release()
        return replies

    def _release(self, *, failed: bool = False) -> Generator[Any, Any, None]:
        pipe, self._watching = self._watching, None
        if pipe is None:
            return
        connection = getattr(pipe, "connection", None)
        if failed and connection is not None:
            # A silent server would not answer UNWATCH either, and the pool would lose the connection.
            yield connection.disconnect()
            pipe.watching = False
        yield pipe.reset()


def run(calls: Generator[Any, Any, T]) -> T:
    """Make a sync client's calls."""
    result: Any = None
    try:
        while True:
            result = calls.send(result)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # an operation's return type


async def arun(calls: Generator[Any, Any, T]) -> T:
    """Make an async client's calls."""
    advance: Callable[[Any], Any] = calls.send
    result: Any = None
    try:
        while True:
            call = advance(result)
            try:
                advance, result = calls.send, await call if isawaitable(call) else call
            except BaseException as error:  # noqa: BLE001  # cancellation too must release what is watched
                advance, result = calls.throw, error
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # an operation's return type
