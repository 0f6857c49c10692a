"""Tracing: what is told when the look-up of a call begins and ends, as spans need both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from recallm.records import Bypass, Event, Hit, Miss


class LookupSpan(Protocol):
    """The look-up of one call. It begins when it is made, and its methods are called in the call's own context."""

    def on_model(self, model_id: str, threshold: float) -> None:
        """Learn the model of the look-up, and the cosine that a candidate must reach."""
        ...

    def on_event(self, event: Event) -> None:
        """Learn of an event that the look-up reports, its outcome aside."""
        ...

    def end(self, outcome: Hit | Miss | Bypass | None) -> None:
        """End with an outcome; None: the call was interrupted. It is called once."""
        ...


Tracer: TypeAlias = Callable[[str, str | None], LookupSpan]
"""Begins a span, given the cache's name and the prompt, or None if the call has none."""

TRACERS: dict[object, Tracer] = {}
"""The tracers of the process, in the order in which they came."""


def trace_lookups(tracer: Tracer) -> Callable[[], None]:
    """Have a tracer begin a span for each look-up from now on; return what removes it."""
    token = object()
    TRACERS[token] = tracer

    def remove() -> None:
        TRACERS.pop(token, None)

    return remove
