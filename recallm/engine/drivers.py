"""Drivers: perform the effects of flows, in one loop that waits in place and one that awaits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from inspect import isawaitable
from time import perf_counter
from typing import Any, TypeVar, assert_never

from recallm.concurrency.coalescing import Leadership, Role, SingleFlight
from recallm.concurrency.timeouts import Pending, PendingAwaitable, PendingFuture, submit
from recallm.concurrency.workers import Workers
from recallm.engine.core import Core
from recallm.engine.effects import Call, Called, Coalesce, Decode, Effect, Embed, Emit, LoadModel, Verify
from recallm.engine.flow import Flow
from recallm.keying.signature import call_kind
from recallm.records import Bypass, Embedded, Event, Hit, Miss
from recallm.storage.base import StorageOperation

T = TypeVar("T")

STORAGE_WORKERS = Workers("recallm-storage", size=16)
"""As many operations wait for a network at once without waiting for each other as a service commonly has threads."""

VERIFY_WORKERS = Workers("recallm-verify", size=8)
"""A verifier computes, or waits for a model that does: more at once would be slower each."""

CODEC_WORKERS = Workers("recallm-codec", size=2)
"""Decoding holds Python's lock most of the time: two large answers at once take as long as one after the other."""

DECODE_SECONDS = 2.0
"""How long an async call waits for a large answer; 8 MB of pydantic models take about a second."""

THREADS, TASKS = SingleFlight(), SingleFlight()
"""The answers that sync calls (in threads) and async calls (in tasks) are computing."""

OUTCOMES = (Hit, Miss, Bypass)
"""The types of events of which each call emits one."""


class EffectHandler:
    """Performs the effects of one call.

    Args:
        core: what the call shares with others of its cache.
        observe: called with each event and the seconds since the call began.
        asynchronous: whether `arun` drives the call, so that a result may be awaited.
        is_as_read: returns whether the call still asks for what it asked for when it was read.
    """

    __slots__ = (
        "_asynchronous",
        "_core",
        "_counted",
        "_leadership",
        "_observe",
        "_single_flight",
        "_started",
        "is_as_read",
    )

    def __init__(
        self,
        core: Core,
        observe: Callable[[Event, float], object],
        *,
        asynchronous: bool,
        is_as_read: Callable[[], bool] = lambda: True,
    ) -> None:
        self._core = core
        self.is_as_read = is_as_read
        self._observe = observe
        self._asynchronous = asynchronous
        self._single_flight = TASKS if asynchronous else THREADS
        self._started = perf_counter()
        self._leadership: Leadership | None = None
        self._counted = False

    def begin(self, effect: Effect) -> Any:
        """Perform an effect; return its result, or a `Pending` one if it may take time.

        `Call` is not performed here: the driver calls the function.
        """
        match effect:
            case Emit():
                return self.emit(effect.event)
            case StorageOperation():
                return self._operate(effect)
            case LoadModel():
                return self._load_model()
            case Embed():
                return self._embed(effect.text)
            case Coalesce():
                return self._join(effect.key)
            case Verify():
                return self._verify(effect)
            case Decode():
                return self._decode(effect)
            case Call():
                raise AssertionError("the driver calls the function")
            case _:
                assert_never(effect)

    def emit(self, event: Event) -> None:
        """Report an event."""
        self._counted = self._counted or isinstance(event, OUTCOMES)
        self._observe(event, perf_counter() - self._started)

    def _operate(self, operation: StorageOperation) -> Any:
        storage = self._core.find_storage()
        timeout = self._core.config.cache_timeout_seconds
        if self._asynchronous and storage.serves_async:
            breaker = self._core.find_breaker(storage)
            breaker.admit()
            return PendingAwaitable(storage.aperform(operation), timeout, breaker)
        if not storage.blocking:
            return operation.on(storage)
        return submit(STORAGE_WORKERS, lambda: operation.on(storage), timeout, self._core.find_breaker(storage))

    def _load_model(self) -> Any:
        embedder = self._core.find_embedder()
        info = embedder.model_info()
        if not isinstance(info, Future):
            return info

        def ended(_error: BaseException | None, timed_out: bool) -> None:
            if timed_out:
                embedder.load_timed_out()

        return PendingFuture(info, self._core.config.load_timeout_seconds, ended)

    def _embed(self, text: str) -> Any:
        embedder = self._core.find_embedder()
        known, vector = embedder.cached_vector(text)
        if known:
            return vector
        timeout = self._core.config.embed_timeout_seconds
        return submit(embedder.workers, lambda: embedder.embed(text), timeout, embedder.breaker)

    def _join(self, key: str) -> Role | Pending:
        if not self._asynchronous and _is_on_a_loop():
            return "alone"
        joined = self._single_flight.join((id(self._core.find_storage()), key))
        if isinstance(joined, Leadership):
            self._leadership = joined
            return "leading"
        if not isinstance(joined, Future):
            return joined
        remaining = self._core.config.coalesce_timeout_seconds - (perf_counter() - self._started)
        return PendingFuture(joined, max(0.0, remaining), lambda _error, _timed_out: None)

    def _verify(self, effect: Verify) -> Pending:
        timeout = self._core.config.verify_timeout_seconds
        if self._asynchronous and call_kind(effect.verifier) == "async":
            return PendingAwaitable(effect.verifier(effect.prompt, effect.cached_prompt, effect.response), timeout)
        return submit(VERIFY_WORKERS, lambda: _verdict(effect), timeout)

    def _decode(self, effect: Decode) -> Any:
        if not self._asynchronous:
            return effect.codec.decode(effect.payload)
        return submit(CODEC_WORKERS, lambda: effect.codec.decode(effect.payload), DECODE_SECONDS)

    def function_raised(self, effect: Call, error: BaseException) -> Exception:
        """Return the exception if the flow may serve a stale entry for it; else count the call and raise it."""
        if effect.allow_stale and isinstance(error, Exception):
            return error
        if effect.otherwise is not None:
            self.emit(effect.otherwise)
        raise error

    def cancelled(self) -> None:
        """Count a call that was cancelled before it became a hit, a miss or a bypass."""
        if not self._counted:
            self.emit(Bypass("cancelled"))

    def waited(self, effect: Effect, began: float) -> None:
        """Report how long the call waited, if it waited for an embedding."""
        if isinstance(effect, Embed):
            self.emit(Embedded(perf_counter() - began))

    def close(self) -> None:
        """Give back this call's leadership, if it has one, so that the calls that wait for it go on."""
        if self._leadership is not None:
            self._single_flight.leave(self._leadership)
            self._leadership = None


def _is_on_a_loop() -> bool:
    """Return whether this thread runs an event loop, which waiting in place would block."""
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
    """Return a result, awaited if it can be."""
    return await result if isawaitable(result) else result


def run(flow: Flow[T], handler: EffectHandler, function: Callable[[], object]) -> T:
    """Run a flow to its end, waiting in place.

    Args:
        flow: the flow to run.
        handler: performs its effects; made with ``asynchronous=False``.
        function: the user's function with its arguments; its exceptions go to `EffectHandler.function_raised`.
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
                as_read, began = handler.is_as_read(), perf_counter()
                try:
                    result = Called(function(), perf_counter() - began, as_read)
                except BaseException as error:  # noqa: BLE001  # raised again, unless there is an answer
                    result = handler.function_raised(effect, error)
                advance = flow.send
                continue
            try:
                advance, result = flow.send, handler.begin(effect)
                if isinstance(result, Pending):
                    began = perf_counter()
                    result = result.result()
                    handler.waited(effect, began)
            except Exception as error:  # noqa: BLE001  # the flow decides what trouble means
                advance, result = flow.throw, error
            except BaseException:
                handler.cancelled()
                raise
    finally:
        flow.close()
        handler.close()


async def arun(flow: Flow[T], handler: EffectHandler, function: Callable[[], Awaitable[object]]) -> T:
    """Run a flow to its end, awaiting. Arguments as `run`; the handler was made with ``asynchronous=True``."""
    advance: Callable[[Any], Effect] = flow.send
    result: Any = None
    try:
        while True:
            try:
                effect = advance(result)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]  # a flow's return type
            if isinstance(effect, Call):
                as_read, began = handler.is_as_read(), perf_counter()
                try:
                    result = Called(await function(), perf_counter() - began, as_read)
                except BaseException as error:  # noqa: BLE001  # raised again, unless there is an answer
                    result = handler.function_raised(effect, error)
                advance = flow.send
                continue
            try:
                advance, result = flow.send, handler.begin(effect)
                if isinstance(result, Pending):
                    began = perf_counter()
                    result = await result.result_async()
                    handler.waited(effect, began)
            except Exception as error:  # noqa: BLE001  # the flow decides what trouble means
                advance, result = flow.throw, error
            except BaseException:
                handler.cancelled()
                raise
    finally:
        flow.close()
        handler.close()


def maintain(flow: Flow[T], core: Core, observe: Callable[[Event, float], object] | None = None) -> T:
    """Run a flow that never calls the function.

    Args:
        flow: the flow to run.
        core: the cache whose storage and embedder it uses.
        observe: called with each event and the seconds since the flow began; None: the cache's recorder counts them.
    """
    return run(flow, EffectHandler(core, observe or core.recorder.record, asynchronous=False), _uncalled)


async def amaintain(flow: Flow[T], core: Core, observe: Callable[[Event, float], object] | None = None) -> T:
    """Run a flow that never calls the function, without blocking the event loop. Arguments as `maintain`."""
    return await arun(flow, EffectHandler(core, observe or core.recorder.record, asynchronous=True), _uncalled)


def _uncalled() -> Any:
    raise AssertionError("maintenance never calls the function")
