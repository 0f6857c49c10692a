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

from recallm.breaker import Breaker
from recallm.config import CacheConfig
from recallm.effects import Call, Called, Effect, Embed, Join, Note, StorageOperation, Verify
from recallm.encoding import Encoder
from recallm.errors import InvalidTypeError
from recallm.flight import Flights, Lead, Turn
from recallm.flow import Flow
from recallm.records import Embedded, Event
from recallm.shapes import shape_of
from recallm.storage.base import StorageBackend
from recallm.workers import Workers

T = TypeVar("T")

STORAGE_WORKERS = Workers("recallm-storage", size=16)
VERIFY_WORKERS = Workers("recallm-verify", size=8)
THREADS, TASKS = Flights(), Flights()


@dataclass(frozen=True, slots=True)
class Pending:
    """A result that a worker, or another call, is making.

    Attributes:
        future: where it will be.
        timeout: seconds to wait for it.
        ended: told what the wait raised, or None, and whether the time limit ran out.
    """

    future: Future[Any]
    timeout: float
    ended: Callable[[BaseException | None, bool], object]

    def wait(self) -> Any:
        """Wait for the result in place."""
        try:
            result = self.future.result(self.timeout)
        except BaseException as error:
            self.ended(error, self._is_late(error))
            raise
        self.ended(None, False)
        return result

    async def arrive(self) -> Any:
        """Await the result."""
        try:
            result = await asyncio.wait_for(asyncio.wrap_future(self.future), self.timeout)
        except BaseException as error:
            self.ended(error, self._is_late(error))
            raise
        self.ended(None, False)
        return result

    def _is_late(self, error: BaseException) -> bool:
        # The operation may have raised a `TimeoutError` of its own; ending an await cancels what is left.
        return isinstance(error, TimeoutError) and (not self.future.done() or self.future.cancelled())


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
    def storage_breaker(self) -> Breaker:
        """What keeps calls from a storage in trouble."""
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
        flights: what is being made by calls of this kind.
        lead: the answer that this call is making for others as well, if any.
    """

    resources: Resources
    observe: Callable[[Event, float], object]
    started: float
    flights: Flights = THREADS
    lead: Lead | None = None

    def begin(self, effect: Effect) -> Any:
        """Perform an effect, or return the `Pending` result of one that may take time."""
        if isinstance(effect, Note):
            return self.observe(effect.event, perf_counter() - self.started)
        limits = self.resources.config
        if isinstance(effect, StorageOperation):
            storage = self.resources.storage
            if not storage.blocking:
                return effect.on(storage)
            breaker = self.resources.storage_breaker
            return _work(STORAGE_WORKERS, lambda: effect.on(storage), limits.cache_timeout_seconds, breaker)
        if isinstance(effect, Join):
            return self._join(effect)
        if isinstance(effect, Verify):
            return _work(VERIFY_WORKERS, lambda: _verdict(effect), limits.verify_timeout_seconds)
        encoder = self.resources.encoder
        if isinstance(effect, Embed):
            known, vector = encoder.known(effect.text)
            if known:
                return vector
            limit = limits.embed_timeout_seconds
            return _work(encoder.workers, lambda: encoder.encode(effect.text), limit, encoder.breaker)
        prepared = encoder.prepare()
        if isinstance(prepared, Future):
            return Pending(prepared, limits.load_timeout_seconds, lambda _, late: encoder.give_up() if late else None)
        return prepared

    def _join(self, effect: Join) -> Turn | Pending:
        if self.flights is THREADS and _is_on_a_loop():
            return "alone"
        joined = self.flights.join((id(self.resources.storage), effect.key))
        if isinstance(joined, Lead):
            self.lead = joined
            return "leading"
        if not isinstance(joined, Future):
            return joined
        left = self.resources.config.coalesce_timeout_seconds - (perf_counter() - self.started)
        return Pending(joined, max(0.0, left), lambda _, __: None)

    def leave(self) -> None:
        """End what this call does for others."""
        if self.lead is not None:
            self.flights.leave(self.lead)
            self.lead = None

    def native(self, effect: Effect) -> Awaitable[Any] | None:
        """Return an effect that can be awaited on the event loop, or None where it has no async way."""
        limits = self.resources.config
        if isinstance(effect, StorageOperation) and self.resources.storage.serves_async:
            breaker = self.resources.storage_breaker
            breaker.admit()
            return _watched(self.resources.storage.aperform(effect), limits.cache_timeout_seconds, breaker)
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


def _is_on_a_loop() -> bool:
    """Tell whether waiting in place would hold up an event loop, and whoever needs it to go on."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _work(workers: Workers, task: Callable[[], Any], limit: float, breaker: Breaker | None = None) -> Pending:
    """Have a worker perform a task, unless its circuit is open."""
    if breaker is not None:
        breaker.admit()
    try:
        future = workers.submit(task)
    except Exception as error:
        if breaker is not None:
            breaker.record(error)
        raise

    def ended(error: BaseException | None, late: bool) -> None:
        if error is not None:
            workers.abandon(future)
        if breaker is not None:
            breaker.record(error, late=late)

    return Pending(future, limit, ended)


async def _watched(operation: Awaitable[T], limit: float, breaker: Breaker) -> T:
    """Await an operation within a time limit, and tell its circuit how it ended."""
    try:
        result = await asyncio.wait_for(operation, limit)
    except BaseException as error:
        breaker.record(error, late=isinstance(error, TimeoutError))
        raise
    breaker.record(None)
    return result


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
        world.leave()


async def arun(flow: Flow[T], world: World, function: Callable[[], Awaitable[object]]) -> T:
    """Run a flow to its end, awaiting. Arguments as `run`."""
    world.flights = TASKS
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
        world.leave()


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
