"""Performs the effects of flows: one loop that waits in place, one that awaits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
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
from recallm.records import Bypass, Embedded, Event, Hit, Miss
from recallm.shapes import shape_of
from recallm.storage.base import StorageBackend
from recallm.waiting import Pending, watched, work
from recallm.workers import Workers

T = TypeVar("T")

STORAGE_WORKERS = Workers("recallm-storage", size=16)
VERIFY_WORKERS = Workers("recallm-verify", size=8)
THREADS, TASKS = Flights(), Flights()


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
        counted: whether this call is among the hits, misses and bypasses yet.
    """

    resources: Resources
    observe: Callable[[Event, float], object]
    started: float
    flights: Flights = THREADS
    lead: Lead | None = None
    counted: bool = False

    def begin(self, effect: Effect) -> Any:
        """Perform an effect, or return the `Pending` result of one that may take time."""
        if isinstance(effect, Note):
            self.counted = self.counted or isinstance(effect.event, Hit | Miss | Bypass)
            return self.observe(effect.event, perf_counter() - self.started)
        limits = self.resources.config
        if isinstance(effect, StorageOperation):
            storage = self.resources.storage
            if not storage.blocking:
                return effect.on(storage)
            breaker = self.resources.storage_breaker
            return work(STORAGE_WORKERS, lambda: effect.on(storage), limits.cache_timeout_seconds, breaker)
        if isinstance(effect, Join):
            return self._join(effect)
        if isinstance(effect, Verify):
            return work(VERIFY_WORKERS, lambda: _verdict(effect), limits.verify_timeout_seconds)
        encoder = self.resources.encoder
        if isinstance(effect, Embed):
            known, vector = encoder.known(effect.text)
            if known:
                return vector
            limit = limits.embed_timeout_seconds
            return work(encoder.workers, lambda: encoder.encode(effect.text), limit, encoder.breaker)
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
            return watched(self.resources.storage.aperform(effect), limits.cache_timeout_seconds, breaker)
        if isinstance(effect, Verify) and shape_of(effect.verifier) == "async":
            verdict = effect.verifier(effect.prompt, effect.cached_prompt, effect.response)
            return asyncio.wait_for(verdict, limits.verify_timeout_seconds)
        return None

    def failed(self, effect: Call, error: BaseException) -> Exception:
        """Return what the function raised where the flow has an answer for it; else count the call, and raise it."""
        if effect.spared and isinstance(error, Exception):
            return error
        if effect.otherwise is not None:
            self.counted = True
            self.observe(effect.otherwise, perf_counter() - self.started)
        raise error

    def broken_off(self) -> None:
        """Count a call that is cancelled before it was decided what to make of it."""
        if not self.counted:
            self.observe(Bypass("cancelled"), perf_counter() - self.started)

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
                began = perf_counter()
                try:
                    result = Called(function(), perf_counter() - began)
                except BaseException as error:  # noqa: BLE001  # raised again, unless there is an answer
                    result = world.failed(effect, error)
                advance = flow.send
                continue
            try:
                advance, result = flow.send, world.begin(effect)
                if isinstance(result, Pending):
                    began = perf_counter()
                    result = result.wait()
                    world.embedded(effect, began)
            except Exception as error:  # noqa: BLE001  # the flow decides what trouble means
                advance, result = flow.throw, error
            except BaseException:
                world.broken_off()
                raise
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
                began = perf_counter()
                try:
                    result = Called(await function(), perf_counter() - began)
                except BaseException as error:  # noqa: BLE001  # raised again, unless there is an answer
                    result = world.failed(effect, error)
                advance = flow.send
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
            except BaseException:
                world.broken_off()
                raise
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
