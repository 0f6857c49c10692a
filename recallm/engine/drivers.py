"""Drivers: perform the effects of flows, in one loop that waits in place and one that awaits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar, assert_never

from recallm.concurrency.coalescing import Leadership, Role, SingleFlight
from recallm.concurrency.event_loops import ends_task, running_loop_kind
from recallm.concurrency.patience import Patience
from recallm.concurrency.signals import let_through
from recallm.concurrency.timeouts import Failed, Pending, PendingFuture, PendingThen, submit_admitted
from recallm.engine.asking import VERIFY_WORKERS, ask, rewrite
from recallm.engine.background import claimed, compare_later
from recallm.engine.computing import compute
from recallm.engine.core import Core
from recallm.engine.effects import (
    Call,
    Called,
    Coalesce,
    Compare,
    Decode,
    Draw,
    Effect,
    Embed,
    EmbedTurns,
    Emit,
    Handled,
    Judge,
    LoadModel,
    Raise,
    ReadAgain,
    Revalidate,
    Rewrite,
    Verify,
)
from recallm.engine.embedding import Embeds
from recallm.engine.operations import STORAGE_WORKERS, TURNS, perform
from recallm.engine.plan import Flow
from recallm.errors import contained
from recallm.records import OUTCOMES, Bypass, Embedded, Event, Failure, Stored
from recallm.storage.base import Put, PutTagged, Recall, Removal, StorageBackend, StorageOperation

if TYPE_CHECKING:
    from recallm.concurrency.backlog import Claim
    from recallm.keying.keyer import Request


T = TypeVar("T")

THREADS, TASKS = SingleFlight(of_threads=True), SingleFlight(of_threads=False)
"""The answers that sync calls (in threads) and async calls (in tasks) are computing."""


class EffectHandler(Embeds):
    """Performs the effects of one call, all on the storage and the embedder that were in use when it began.

    Args:
        core: what the call shares with others of its cache.
        observe: called with each event and the seconds since the call began.
        asynchronous: whether `arun` drives the call, so that a result may be awaited.
        is_call: whether the flow is a call of the function, of which each is counted once.
        is_as_read: returns whether the call still asks for what it asked for when it was read.
        revalidate: has the function make a new answer to a request, some time later; it gets the claim to do so.
    """

    __slots__ = (
        "_asynchronous",
        "_counted",
        "_is_call",
        "_leadership",
        "_observe",
        "_queueing",
        "_revalidate",
        "_single_flight",
        "_started",
        "_storage",
        "_verify_until",
        "is_as_read",
    )

    def __init__(
        self,
        core: Core,
        observe: Callable[[Event, float], object],
        *,
        asynchronous: bool,
        is_call: bool = True,
        is_as_read: Callable[[], bool] = lambda: True,
        revalidate: Callable[[Request, Claim], object] | None = None,
    ) -> None:
        self._revalidate = revalidate
        super().__init__(core)
        self.is_as_read = is_as_read
        self._observe = observe
        self._asynchronous = asynchronous
        self._single_flight = TASKS if asynchronous else THREADS
        self._started = perf_counter()
        self._leadership: Leadership | None = None
        self._is_call = is_call
        self._counted = not is_call
        self._storage: StorageBackend | None = None
        self._queueing: Patience | None = None
        self._verify_until: float | None = None

    def begin(self, effect: Handled) -> Any:
        """Perform an effect.

        Returns:
            Its result; a `Pending` one if it may take time; `Failed` if it cannot be had.

        Raises:
            BaseException: what interrupts the caller, such as a signal handler's exception.
        """
        try:
            match effect:
                case Emit():
                    return self.emit(effect.event)
                case StorageOperation():
                    return self._operate(effect)
                case LoadModel():
                    return self._load_model()
                case Embed():
                    return self._embed(effect)
                case EmbedTurns():
                    return self._embed_turns(effect)
                case Coalesce():
                    return self._join(effect.key)
                case Verify() | Rewrite():
                    return self._of_user(effect)
                case _:
                    return self._rest(effect)
        except Exception as error:  # noqa: BLE001  # the flow decides what trouble means
            let_through(error)
            return Failed(error)

    def emit(self, event: Event) -> None:
        """Report an event.

        Raises:
            Exception: that of a failure which is none, as a signal handler raised it; it is the caller's.
        """
        if isinstance(event, OUTCOMES):
            self._counted = True
        elif isinstance(event, Failure):
            let_through(event.error)
        elif isinstance(event, Stored) and event.kept and self._leadership is not None:
            self._leadership.lesson = "stored"
        self._observe(event, perf_counter() - self._started)

    def _operate(self, operation: StorageOperation) -> Any:
        if self._storage is None:
            self._storage = self._core.existing_storage()
        storage = self._storage
        if storage is None:
            return self._open(operation)
        if storage.recalls_and_searches and isinstance(operation, Recall):
            operation = self._with_search(operation)
        elif isinstance(operation, Put) and operation.entry.tags:
            operation = PutTagged(operation.entry, operation.epoch, operation.ttl, self._started)
        if storage.blocking:
            result = contained(storage.at_once, operation)
            if result is not None:
                return result
        natively = self._asynchronous and storage.serves_async and running_loop_kind() == "asyncio"
        if not storage.blocking and not natively:
            return contained(operation.on, storage)
        if isinstance(operation, Recall) and storage.recalls_and_searches:
            self._embed_ahead(operation)
        if self._queueing is None:
            self._queueing = Patience(TURNS * self._core.config.cache_timeout_seconds)
        return perform(self._core, storage, operation, self._queueing, natively=natively)

    def _open(self, operation: StorageOperation) -> Pending:
        """Have the storage made, and then perform an operation on it."""
        opening = self._core.opening
        if not isinstance(operation, Removal):
            opening.admit()

        def operate(storage: StorageBackend) -> Any:
            self._storage = storage
            return self.begin(operation)

        made = submit_admitted(
            STORAGE_WORKERS, self._core.find_storage, self._core.config.cache_timeout_seconds, opening
        )
        return PendingThen(made, operate)

    def _join(self, key: str) -> Role | Pending:
        if not self._asynchronous and running_loop_kind() is not None:  # to wait in place would block the loop
            return "alone"
        # Held before it is known to others, so that an interrupt at any point leaves no leader behind.
        claim = self._leadership = Leadership((id(self._storage), key))
        joined = self._single_flight.join(claim)
        if joined == "leading":
            return joined if self._single_flight.has_ended(claim.key, self._started) else "first"
        self._leadership = None
        if not isinstance(joined, Future):
            return joined
        remaining = self._core.config.coalesce_timeout_seconds - (perf_counter() - self._started)
        return PendingFuture(joined, remaining, lambda _: self._single_flight.stop_waiting(claim), claim.waits_in_vain)

    def _of_user(self, effect: Verify | Rewrite) -> Any:
        if isinstance(effect, Verify):
            return self._verify(effect)
        is_same = self.is_as_read if self._is_call else None
        return rewrite(effect, self._core.rewriting, asynchronous=self._asynchronous, is_same=is_same)

    def _verify(self, effect: Verify) -> Pending:
        now = perf_counter()
        if self._verify_until is None:
            self._verify_until = now + self._core.config.verify_timeout_seconds
        timeout = self._verify_until - now
        if timeout <= 0.0:
            raise TimeoutError
        return ask(
            VERIFY_WORKERS,
            effect.verifier,
            effect.prompt,
            effect.cached_prompt,
            effect.response,
            timeout=timeout,
            breaker=self._core.verifying,
            asynchronous=self._asynchronous,
        )

    def _rest(self, effect: Decode | Judge | Draw | Compare | Revalidate | ReadAgain) -> Any:
        """Perform an effect that few calls have."""
        match effect:
            case Decode() | Judge():
                return compute(effect, asynchronous=self._asynchronous)
            case Draw(key, share):
                return self._core.is_audited(key, share)
            case Compare():
                return compare_later(effect, self._core)
            case ReadAgain():
                return self.is_as_read()
            case Revalidate(request, key):
                claim = claimed(self._storage, key)
                if claim is not None and self._revalidate is not None:
                    self._revalidate(request, claim)
                return None
            case _:
                assert_never(effect)

    def called(self) -> None:
        """Have the calls that wait for this one's answer make their own, unless it is stored after all."""
        if self._leadership is not None:
            self._leadership.lesson = "alone"

    def function_raised(self, effect: Call, error: BaseException) -> bool:
        """Return whether the flow may serve a stale entry for an exception of the function; if not, count the call."""
        if not self._ends_call(error):
            self.called()
        if effect.allow_stale and isinstance(error, Exception):
            return True
        if effect.otherwise is not None:
            self.emit(effect.otherwise)
        self._counted = True
        return False

    def _ends_call(self, error: BaseException) -> bool:
        """Return whether an exception ends this call alone, so that another one may well get an answer."""
        if isinstance(error, Exception):
            return False
        return isinstance(error, KeyboardInterrupt) or (self._asynchronous and ends_task(error))

    def interrupted(self) -> None:
        """Count a call that was cancelled, or interrupted, before it became a hit, a miss or a bypass."""
        if not self._counted:
            self.emit(Bypass("cancelled"))

    def waited(self, effect: Effect, began: float) -> None:
        """Report how long the call waited, if it waited for an embedding."""
        if isinstance(effect, Embed | EmbedTurns):
            self.emit(Embedded(perf_counter() - began))

    def close(self) -> None:
        """Give back this call's leadership, if it has one, so that the calls that wait for it go on."""
        if self._ahead is not None:
            self._find_embedder().workers.abandon(self._ahead[2], patience=self._core.config.embed_timeout_seconds)
            self._ahead = None
        if self._leadership is not None:
            self._single_flight.leave(self._leadership)
            self._leadership = None


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
            advance = flow.send
            if isinstance(effect, Call):
                as_read, began = handler.is_as_read(), perf_counter()
                try:
                    result = Called(function(), perf_counter() - began, as_read)
                    handler.called()
                except BaseException as error:
                    if not handler.function_raised(effect, error):
                        raise
                    result = error
                continue
            if isinstance(effect, Raise):
                try:
                    raise effect.error
                finally:
                    # The exception refers to this frame, which must not refer to the exception.
                    del effect
            result = handler.begin(effect)
            if isinstance(result, Pending):
                began = perf_counter()
                result = result.result()
                handler.waited(effect, began)
            if isinstance(result, Failed):
                advance, result = flow.throw, result.error
    except BaseException:
        handler.interrupted()
        raise
    finally:
        try:
            flow.close()
        finally:
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
            advance = flow.send
            if isinstance(effect, Call):
                as_read, began = handler.is_as_read(), perf_counter()
                try:
                    result = Called(await function(), perf_counter() - began, as_read)
                    handler.called()
                except BaseException as error:
                    if not handler.function_raised(effect, error):
                        raise
                    result = error
                continue
            if isinstance(effect, Raise):
                try:
                    raise effect.error
                finally:
                    # The exception refers to this frame, which must not refer to the exception.
                    del effect
            result = handler.begin(effect)
            if isinstance(result, Pending):
                began = perf_counter()
                result = await result.result_async()
                handler.waited(effect, began)
            if isinstance(result, Failed):
                advance, result = flow.throw, result.error
    except BaseException:
        handler.interrupted()
        raise
    finally:
        try:
            flow.close()
        finally:
            handler.close()


def maintain(flow: Flow[T], core: Core, observe: Callable[[Event, float], object] | None = None) -> T:
    """Run a flow that never calls the function.

    Args:
        flow: the flow to run.
        core: the cache whose storage and embedder it uses.
        observe: called with each event and the seconds since the flow began; None: the cache's recorder counts them.
    """
    handler = EffectHandler(core, observe or core.recorder.record, asynchronous=False, is_call=False)
    return run(flow, handler, _uncalled)


async def amaintain(flow: Flow[T], core: Core, observe: Callable[[Event, float], object] | None = None) -> T:
    """Run a flow that never calls the function, without blocking the event loop. Arguments as `maintain`."""
    handler = EffectHandler(core, observe or core.recorder.record, asynchronous=True, is_call=False)
    return await arun(flow, handler, _uncalled)


def _uncalled() -> Any:
    raise AssertionError("maintenance never calls the function")
