"""Listeners: callables of the user's that are told each event as it happens."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeAlias

from recallm.concurrency.signals import let_through
from recallm.errors import InvalidTypeError, a_kind
from recallm.keying.signature import call_kind, fitting
from recallm.records import Event

Listener: TypeAlias = Callable[[Event, str, float], object]
"""Called with an event, the name of its cache, and the seconds since its call began."""

LISTENERS: dict[object, Listener] = {}
"""The listeners of the process, in the order in which they came. A forked child has those of its parent."""

_telling: ContextVar[bool] = ContextVar("recallm_telling", default=False)
"""Whether a listener is being told something, so that what it makes happen itself is not told."""


def on_event(listener: Listener) -> Callable[[], None]:
    """Have a callable told every event of every cache of this process: hits, misses, failures, all of them.

    Use it for metrics, traces or audits of your own. The listener is called where it happens, in the thread or task of
    the call, after the statistics have counted the event, so it should be quick; the call waits for it. What it raises
    is counted under ``errors["listener"]``, logged once a minute, and never reaches the call. Calls that it makes
    itself, in tasks that it starts too, are counted but not told. A forked process keeps its parent's listeners.

    **Events carry prompts and responses**: those of `recallm.events` are handed over as they are. Pass them through
    `recallm.events.redacted` before you log them or send them anywhere.

    Args:
        listener: called as ``listener(event, cache_name, elapsed_seconds)``; the seconds count from the start of the
            look-up, or are 0.0 for what belongs to no look-up.

    Returns:
        What removes the listener; a second time it does nothing.

    Raises:
        InvalidTypeError: it cannot be called, or is async or a generator function: nobody would await or iterate it.

    >>> seen = []
    >>> remove = on_event(lambda event, cache, seconds: seen.append(type(event).__name__))
    >>> remove()
    """
    if not callable(listener):
        raise InvalidTypeError(
            f"on_event takes a callable of (event, cache_name, elapsed_seconds), not {listener!r}, {a_kind(listener)}"
        )
    if call_kind(listener) != "sync":
        raise InvalidTypeError(
            f"on_event calls its listener in place, and {listener!r} does nothing until it is awaited or iterated; "
            "pass a plain function, which may put the event into a queue that your coroutine reads"
        )
    token = object()
    LISTENERS[token] = fitting(listener, "listener", "event", "cache_name", "elapsed_seconds")

    def remove() -> None:
        LISTENERS.pop(token, None)

    return remove


def tell(event: Event, cache: str, elapsed: float) -> list[Exception]:
    """Tell an event to the listeners, and return what they raised."""
    troubles: list[Exception] = []
    if _telling.get():
        return troubles
    token = _telling.set(True)
    try:
        for listener in (*LISTENERS.values(),):
            try:
                listener(event, cache, elapsed)
            except Exception as error:  # noqa: BLE001  # a listener must not decide over the call
                let_through(error)
                troubles.append(error)
    finally:
        _telling.reset(token)
    return troubles
