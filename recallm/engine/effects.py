"""Effects: the requests that a flow yields, as data. `recallm.engine.drivers` performs them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from recallm.records import Event
from recallm.storage.base import StorageOperation

if TYPE_CHECKING:
    from recallm.codec.codec import Codec
    from recallm.typing import Verifier


@dataclass(frozen=True, slots=True)
class LoadModel:
    """Load the model, unless it is loaded. Result: `recallm.records.ModelInfo`."""


@dataclass(frozen=True, slots=True)
class Embed:
    """Embed a text. Result: its unit vector, or None if it may match exactly only."""

    text: str


@dataclass(frozen=True, slots=True)
class Coalesce:
    """Join the calls that want the same answer. Result: this call's `recallm.concurrency.coalescing.Role`.

    A `TimeoutError` is thrown into the flow if the call that computes the answer takes too long.
    """

    key: str


@dataclass(frozen=True, slots=True)
class Verify:
    """Ask the user's verifier whether a decoded answer serves the prompt. Result: its verdict."""

    verifier: Verifier
    prompt: str
    cached_prompt: str
    response: object


@dataclass(frozen=True, slots=True)
class Decode:
    """Decode an answer that is so large that an event loop should not wait for it. Result: the answer."""

    codec: Codec
    payload: bytes


@dataclass(frozen=True, slots=True)
class Call:
    """Call the user's function. Result: `Called`.

    An exception of the function goes straight to the caller, unless `allow_stale` keeps it in the flow.

    Attributes:
        otherwise: the event to emit if the function raises and the exception goes to the caller; None: no event.
        allow_stale: whether an `Exception` of the function is sent into the flow as the result instead, so that the
            flow may serve a stale entry.
    """

    otherwise: Event | None = None
    allow_stale: bool = False


@dataclass(frozen=True, slots=True)
class Called:
    """What the function did.

    Attributes:
        response: what it returned.
        seconds: how long it took.
        as_read: whether the call, read again right before, still asked for what it had been looked up for.
    """

    response: object
    seconds: float
    as_read: bool = True


@dataclass(frozen=True, slots=True)
class Emit:
    """Report an event, to be counted, logged or recorded."""

    event: Event


Effect: TypeAlias = LoadModel | Embed | Coalesce | Verify | Decode | Call | Emit | StorageOperation
