"""Performs the effects of flows: one loop that waits in place, one that awaits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import isawaitable
from time import perf_counter
from typing import Any, Protocol, TypeVar

from recallm.config import CacheConfig
from recallm.effects import Call, Called, Effect, Embed, Note, StorageOperation, Verify
from recallm.encoding import Encoder
from recallm.errors import InvalidTypeError
from recallm.flow import Flow
from recallm.records import Embedded, Event
from recallm.shapes import shape_of
from recallm.storage.base import StorageBackend
from recallm.workers import Workers

T = TypeVar("T")

STORAGE_WORKERS = Workers("recallm-storage", size=16)
VERIFY_WORKERS = Workers("recallm-verify", size=8)


@dataclass(frozen=True, slots=True)
class Pending:
    """A result that a worker is making.

    Attributes:
        future: where it will be.
        timeout: seconds to wait for it.
        give_up: called when it did not come in time.
    """

    future: Future[Any]
    timeout: float
    give_up: Callable[[Future[Any]], object]

    def wait(self) -> Any:
        """Wait for the result in place."""
        try:
            return self.future.result(self.timeout)
        except BaseException:
            self._abandon()
            raise

    async def arrive(self) -> Any:
        """Await the result."""
        try:
            return await asyncio.wait_for(asyncio.wrap_future(self.future), self.timeout)
        except BaseException:
            self._abandon()
            raise

    def _abandon(self) -> None:
        if not self.future.done():
            self.give_up(self.future)


class Resources(Protocol):
    """What calls run on; each is looked up when it is needed, and the look-up may fail."""

    @property
    def encoder(self) -> Encoder:
        """The embedder in use."""
        ...

    @property
    def storage(self) -> StorageBackend:
        """Where entries live."""
        ...

    @property
    def config(self) -> CacheConfig:
        """The time limits."""
        ...


@dataclass(slots=True)
class World:
    """What one call's effects are performed on.

    Attributes:
        resources: the embedder, the storage and the time limits.
        observe: told each event and the seconds since the call began.
        started: when the call began, by `perf_counter`.
    """

    resources: Resources
    observe: Callable[[Event, float], object]
    started: float

    def begin(self, effect: Effect) -> Any:
        """Perform an effect, or return the `Pending` result of one that may take time."""
        if isinstance(effect, Note):
            return self.observe(effect.event, perf_counter() - self.started)
        limits = self.resources.config
        if isinstance(effect, StorageOperation):
            storage = self.resources.storage
            if not storage.blocking:
                return effect.on(storage)
            future = STORAGE_WORKERS.submit(lambda: effect.on(storage))
            return Pending(future, limits.cache_timeout_seconds, STORAGE_WORKERS.abandon)
        if isinstance(effect, Verify):
            future = VERIFY_WORKERS.submit(lambda: _verdict(effect))
            return Pending(future, limits.verify_timeout_seconds, VERIFY_WORKERS.abandon)
        encoder = self.resources.encoder
        if isinstance(effect, Embed):
            encoded = encoder.encode(effect.text)
            if isinstance(encoded, Future):
                return Pending(encoded, limits.embed_timeout_seconds, encoder.workers.abandon)
            return encoded
        prepared = encoder.prepare()
        if isinstance(prepared, Future):
            return Pending(prepared, limits.load_timeout_seconds, encoder.give_up)
        return prepared

    def native(self, effect: Effect) -> Awaitable[Any] | None:
        """Return an effect that can be awaited on the event loop, or None where it has no async way."""
        limits = self.resources.config
        if isinstance(effect, StorageOperation) and self.resources.storage.serves_async:
            return asyncio.wait_for(self.resources.storage.aperform(effect), limits.cache_timeout_seconds)
        if isinstance(effect, Verify) and shape_of(effect.verifier) == "async":
            verdict = effect.verifier(effect.prompt, effect.cached_prompt, effect.response)
            return asyncio.wait_for(verdict, limits.verify_timeout_seconds)
        return None

    @contextmanager
    def calling(self, effect: Call) -> Iterator[None]:
        """Count a call of the function that raises; what it raises passes untouched."""
        try:
            yield
        except BaseException:
            if effect.otherwise is not None:
                self.observe(effect.otherwise, perf_counter() - self.started)
            raise

    def embedded(self, effect: Effect, began: float) -> None:
        """Report the time that waiting for an embedding took."""
        if isinstance(effect, Embed):
            now = perf_counter()
            self.observe(Embedded(now - began), now - self.started)


def _verdict(effect: Verify) -> object:
    """Return what the verifier says; an async one gets an event loop of its own, in a worker thread."""
    verdict = effect.verifier(effect.prompt, effect.cached_prompt, effect.response)
    return asyncio.run(awaited(verdict)) if isawaitable(verdict) else verdict


async def awaited(result: Any) -> Any:
    """Return a result, awaited where it can be."""
    return await result if isawaitable(result) else result


def run(flow: Flow[T], world: World, function: Callable[[], object]) -> T:
    """Run a flow to its end, waiting in place.

    Args:
        flow: what to run.
        world: what its effects are performed on.
        function: the user's function with its arguments; what it raises goes straight to the caller.
    """
    advance: Callable[[Any], Effect] = flow.send
    result: Any = None
    try:
        while True:
            try:
                effect = advance(result)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]  # a flow's return type
            if isinstance(effect, Call):
                with world.calling(effect):
                    began = perf_counter()
                    response = function()
                advance, result = flow.send, Called(response, perf_counter() - began)
                continue
            try:
                advance, result = flow.send, world.begin(effect)
                if isinstance(result, Pending):
                    began = perf_counter()
                    result = result.wait()
                    world.embedded(effect, began)
            except Exception as error:  # noqa: BLE001  # the flow decides what trouble means
                advance, result = flow.throw, error
    finally:
        flow.close()


async def arun(flow: Flow[T], world: World, function: Callable[[], Awaitable[object]]) -> T:
    """Run a flow to its end, awaiting. Arguments as `run`."""
    advance: Callable[[Any], Effect] = flow.send
    result: Any = None
    try:
        while True:
            try:
                effect = advance(result)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]  # a flow's return type
            if isinstance(effect, Call):
                with world.calling(effect):
                    began = perf_counter()
                    response = await function()
                advance, result = flow.send, Called(response, perf_counter() - began)
                continue
            try:
                native = world.native(effect)
                advance, result = flow.send, world.begin(effect) if native is None else await native
                if isinstance(result, Pending):
                    began = perf_counter()
                    result = await result.arrive()
                    world.embedded(effect, began)
            except Exception as error:  # noqa: BLE001  # the flow decides what trouble means
                advance, result = flow.throw, error
    finally:
        flow.close()


def checked_storage(storage: StorageBackend, *, asynchronous: bool) -> StorageBackend:
    """Return `storage` where it serves functions of this kind.

    Raises:
        InvalidTypeError: the function is sync and the storage has only an async client.
    """
    if not asynchronous and not storage.serves_sync:
        raise InvalidTypeError(
            f"{storage!r} has only an async client and cannot serve a sync function; "
            "give it a sync_client as well, or decorate an async function"
        )
    return storage
