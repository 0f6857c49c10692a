"""Asking a user's verifier or rewriter, which take their time: awaited if they can be, else in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from recallm.concurrency.breaker import Breaker
from recallm.concurrency.timeouts import Failed, Pending, PendingAwaitable, PendingThen, submit
from recallm.concurrency.workers import Workers
from recallm.engine.effects import Rewrite
from recallm.errors import InvalidTypeError
from recallm.keying.signature import call_kind
from recallm.keying.standalone import settled

if TYPE_CHECKING:
    from recallm.keying.standalone import Standalone

VERIFY_WORKERS = Workers("recallm-verify", size=8)
"""A verifier computes, or waits for a model that does: more at once would be slower each."""

REWRITE_WORKERS = Workers("recallm-rewrite", size=32)
"""Rewriters mostly wait for a network, many at once; one that hangs must not keep verifiers from being asked."""

_asked: ContextVar[tuple[Standalone, ...]] = ContextVar("recallm_rewriters", default=())
"""The rewriters that were asked on the way to the present call."""


def ask(
    workers: Workers,
    function: Callable[..., Any],
    *arguments: object,
    timeout: float,
    breaker: Breaker,
    asynchronous: bool,
) -> Pending:
    """Return what a user's function, sync or async, is going to return.

    Args:
        workers: the threads that may call it.
        function: the function.
        arguments: its arguments.
        timeout: seconds after which the wait for it ends.
        breaker: admits the call, and is told of its end.
        asynchronous: whether the caller can await it; else an async one gets an event loop of its own, in a thread.

    Raises:
        CircuitOpenError: the circuit is open.
        BusyError: every worker is stuck.
    """
    if asynchronous and call_kind(function) == "async":
        breaker.admit()
        return PendingAwaitable(lambda: function(*arguments), timeout, breaker)
    return submit(workers, lambda: _performed(function, *arguments), timeout, breaker)


def rewrite(effect: Rewrite, breaker: Breaker, *, asynchronous: bool, is_same: Callable[[], bool] | None) -> Any:
    """Return the question that a conversation was rewritten into lately, or is going to be; None: it cannot be.

    A rewriter may itself call the function that it rewrites for. That call is not rewritten, or there were no end.

    Args:
        effect: asks for it.
        breaker: as of `ask`.
        asynchronous: as of `ask`.
        is_same: returns whether the conversation is what it was, so that a question may be remembered as its own; None:
            none is.

    Raises:
        CircuitOpenError: the circuit is open.
        BusyError: every worker is stuck.
    """
    rewriter, key = effect.rewriter, effect.key
    known = rewriter.known(key)
    if known is not None or rewriter in _asked.get():
        return known

    def checked(question: object) -> str | Failed | None:
        try:
            text = settled(question)
        except InvalidTypeError as error:
            return Failed(error)
        if text is not None and is_same is not None:
            if not is_same():
                return None
            rewriter.remember(key, text)
        return text

    # What it appends, as a line that tells a model to rewrite them, must not be answered by the function.
    messages = [*effect.messages] if type(effect.messages) is list else effect.messages
    asked = ask(
        REWRITE_WORKERS,
        _noted(rewriter),
        messages,
        timeout=rewriter.timeout,
        breaker=breaker,
        asynchronous=asynchronous,
    )
    return PendingThen(asked, checked)


def _noted(rewriter: Standalone) -> Callable[[Any], Any]:
    """Return what rewrites, sync or async as `rewriter` does, and has the calls that it makes know of it."""

    async def rewrite_async(messages: object) -> Any:
        token = _asked.set((*_asked.get(), rewriter))
        try:
            return await rewriter.rewrite(messages)
        finally:
            _asked.reset(token)

    def rewrite_in_worker(messages: object) -> Any:
        # Each task of a worker has a context of its own, in which what is returned is awaited, too.
        _asked.set((*_asked.get(), rewriter))
        return rewriter.rewrite(messages)

    return rewrite_async if call_kind(rewriter.rewrite) == "async" else rewrite_in_worker


def _performed(function: Callable[..., Any], *arguments: object) -> object:
    result = function(*arguments)
    return asyncio.run(awaited(result)) if isawaitable(result) else result


async def awaited(result: Any) -> Any:
    """Return a result, awaited if it can be."""
    return await result if isawaitable(result) else result
