"""A flow inside a span: the span covers the look-up, and ends before the function is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from recallm.concurrency.signals import let_through
from recallm.config import resolve_threshold
from recallm.engine.effects import Call, Effect, Emit
from recallm.engine.plan import Flow
from recallm.records import Bypass, Event, Failure, Hit, Miss, ModelInfo
from recallm.telemetry.tracing import LookupSpan
from recallm.typing import Threshold

T = TypeVar("T")


class _Contained:
    """A span that may fail without harm to the call. It ends once, and its trouble is kept."""

    def __init__(self, begin: Callable[[], LookupSpan]) -> None:
        self.troubles: list[Exception] = []
        self._span: LookupSpan | None = self._tried(begin)

    def tell(self, event: Event) -> None:
        """Tell of an event of the look-up."""
        if self._span is not None:
            self._tried(self._span.on_event, event)

    def tell_model(self, model: ModelInfo, threshold: Threshold) -> None:
        """Tell of the model, which has thresholds of its own."""
        if self._span is not None:
            self._tried(self._span.on_model, model.model_id, resolve_threshold(threshold, model.thresholds))

    def end(self, outcome: Hit | Miss | Bypass | None) -> None:
        """End, unless it has ended."""
        span, self._span = self._span, None
        if span is not None:
            self._tried(span.end, outcome)

    def _tried(self, step: Callable[..., Any], *arguments: object) -> Any:
        try:
            return step(*arguments)
        except Exception as error:  # noqa: BLE001  # a span must not decide over the call
            let_through(error)
            self.troubles.append(error)
            return None


def traced(flow: Flow[T], begin: Callable[[], LookupSpan], threshold: Threshold) -> Flow[T]:
    """Run the look-up of a flow inside a span. What the flow does is not changed.

    Args:
        flow: the flow of a call.
        begin: begins the span.
        threshold: that of the function.
    """
    advance: Callable[[Any], Effect] = flow.send
    result: Any = None
    span = _Contained(begin)
    try:
        while True:
            try:
                effect = advance(result)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]  # a flow's return type
            _tell(span, effect)
            while span.troubles:
                yield Emit(Failure("listener", span.troubles.pop()))
            try:
                result = yield effect
                advance = flow.send
            except GeneratorExit:
                raise
            except BaseException as error:  # noqa: BLE001  # it is the flow's
                advance, result = flow.throw, error
            if isinstance(result, ModelInfo):
                span.tell_model(result, threshold)
    finally:
        span.end(None)
        flow.close()


def _tell(span: _Contained, effect: Effect) -> None:
    """Tell a span what a flow is about to do: the look-up ends with its outcome, or where the function is called."""
    match effect:
        case Emit(Hit() | Miss() | Bypass() as outcome):
            span.end(outcome)
        case Emit(event):
            span.tell(event)
        case Call(otherwise):
            span.end(otherwise if isinstance(otherwise, Hit | Miss | Bypass) else None)
