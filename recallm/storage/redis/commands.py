"""The steps that an operation asks of a Redis server, and how a client performs them.

An operation is a generator that yields steps and is sent their replies. `CommandRunner` turns steps into calls of a
redis-py client. Its sync and async clients have the same methods, so each call gives a reply or the awaitable of one;
`run` and `arun` send the replies back. So neither operations nor their steps are written twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from inspect import isawaitable, iscoroutinefunction
from typing import Any, TypeAlias, TypeVar

from recallm.concurrency.workers import Workers
from recallm.storage.redis.connections import is_cluster
from recallm.storage.redis.exchanges import Calls, ClusterExchange, Command, Exchange, PoolExchange

T = TypeVar("T")


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


@dataclass(frozen=True, slots=True)
class Work:
    """Call a function that computes for long; an event loop has a worker thread call it. Result: what it returns."""

    function: Callable[[], Any]


Step: TypeAlias = Batch | Watch | Exec | Work
Operation: TypeAlias = Generator[Step, Any, T]


ODD_KEY = ("wrongtype", "mismatch", "not an integer", "would overflow", "exhausted the last possible id")
"""Words of the errors for a key that holds something else than its command expects: a vector set of another dimension
or quantisation, a counter that is no number or the highest there is, a stream that has used up its ids."""


def is_odd_key(reply: object) -> bool:
    """Return whether a reply says that a key holds something else than what this package keeps under it."""
    return isinstance(reply, Exception) and any(words in str(reply).lower() for words in ODD_KEY)


REFUSALS = ("unknown command", "doesn't exist in redis commands", "noperm", "no permissions")
"""Words of the errors for commands that a server, or a cluster's client, does not know, or that a user may not use."""


def is_refusal(reply: object) -> bool:
    """Return whether a reply says that the server does not know a command, or that the user may not use it."""
    return isinstance(reply, Exception) and any(words in str(reply).lower() for words in REFUSALS)


def readable(replies: Sequence[Any]) -> list[Any]:
    """Return replies, with None for each about a key that holds something else than expected.

    Raises:
        Exception: the first other error among them.
    """
    return list(checked([None if is_odd_key(reply) else reply for reply in replies]))


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
        self._drive: Callable[[Calls], Any] = arun if iscoroutinefunction(client.execute_command) else run
        self._exchange: Exchange
        if is_cluster(client):
            self._exchange = ClusterExchange(client, conflict, refusal)
        else:
            self._exchange = PoolExchange(client, refusal, self._drive)

    def perform(self, operation: Operation[T]) -> Generator[Any, Any, T]:
        """Yield the results of the client's calls, to be sent back as they are or awaited."""
        try:
            result = yield from self._advance(operation)
            yield from self._exchange.release(failed=False)
        except GeneratorExit:
            self._exchange.drop()
            raise
        except BaseException:
            yield from self._exchange.release(failed=True)
            raise
        finally:
            operation.close()
        return result

    def _advance(self, operation: Operation[T]) -> Generator[Any, Any, T]:
        advance: Callable[[Any], Step] = operation.send
        result: Any = None
        while True:
            try:
                step = advance(result)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]  # an operation's return type
            if self._drive is arun and _is_cancelled():
                # redis-py may lose a cancellation, as `asyncio.wait_for` does on Python 3.11.
                raise asyncio.CancelledError
            try:
                advance, result = operation.send, (yield from self._step(step))
            except Exception as error:  # noqa: BLE001  # the operation may know what to do
                yield from self._exchange.cut()
                advance, result = operation.throw, error

    def _step(self, step: Step) -> Calls:
        match step:
            case Exec(commands):
                return self._exchange.execute(commands)
            case Watch(keys, reads):
                return self._exchange.watch(keys, reads)
            case Work(function):
                return self._work(function)
            case Batch(commands, watching=True):
                return self._exchange.send_watching(commands)
            case Batch(commands):
                return self._exchange.send(commands)

    def _work(self, function: Callable[[], Any]) -> Calls:
        if self._drive is arun:
            return (yield asyncio.wrap_future(_WORKERS.submit(function)))
        return function()


_WORKERS = Workers("recallm-redis-work", size=2)
"""They hold Python's lock most of the time: more would be no faster."""


def run(calls: Generator[Any, Any, T]) -> T:
    """Make a sync client's calls."""
    advance: Callable[[Any], Any] = calls.send
    result: Any = None
    while True:
        try:
            advance, result = calls.send, advance(result)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # an operation's return type
        except BaseException as error:
            if getattr(calls, "gi_frame", None) is None:
                raise
            # A signal handler's exception, raised between two calls.
            advance, result = calls.throw, error


async def arun(calls: Generator[Any, Any, T]) -> T:
    """Make an async client's calls, in a task of their own."""
    advance: Callable[[Any], Any] = calls.send
    result: Any = None
    while True:
        try:
            call = advance(result)
            advance, result = calls.send, (await call if isawaitable(call) else call)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # an operation's return type
        except GeneratorExit:
            calls.close()
            raise
        except BaseException as error:
            if getattr(calls, "gi_frame", None) is not None:
                # Cancellation too must release what is watched.
                advance, result = calls.throw, error
            elif isinstance(error, Exception) and _is_cancelled():
                # An error of a connection that is closed takes the place of the cancellation.
                raise asyncio.CancelledError from error
            else:
                raise


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
