"""Flows run by hand, without a storage, a model or a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from recallm.engine.effects import Effect, Raise
from recallm.engine.plan import Flow


class InTurn:
    """Replies to effects of one type, one after the other."""

    def __init__(self, replies: list[Any]) -> None:
        self.replies = list(replies)


class AsResult:
    """An exception that is sent into the flow as a result, and not thrown."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def drive(flow: Flow[Any], reply: Callable[[Effect], Any]) -> tuple[Any, list[Effect]]:
    """Run a flow: each effect gets its reply, which is thrown into the flow if it is an exception.

    Returns:
        What the flow returns, and the effects that it asked for.
    """
    effects: list[Effect] = []
    advance, value = flow.send, None
    while True:
        try:
            effect = advance(value)
        except StopIteration as end:
            return end.value, effects
        effects.append(effect)
        if isinstance(effect, Raise):
            raise effect.error
        value = reply(effect)
        advance = flow.throw if isinstance(value, BaseException) else flow.send
        if isinstance(value, AsResult):
            value = value.error


def by_type(replies: Mapping[type, Any]) -> Callable[[Effect], Any]:
    """Return what replies to an effect by its type; those of an `InTurn` are used up."""

    def reply(effect: Effect) -> Any:
        value = replies[type(effect)]
        return value.replies.pop(0) if isinstance(value, InTurn) else value

    return reply
