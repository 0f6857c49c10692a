"""Effects: the requests that a flow yields, as data. `recallm.engine.drivers` performs them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from recallm.records import Event
from recallm.storage.base import StorageOperation

if TYPE_CHECKING:
    from recallm.codec.codec import Codec
    from recallm.engine.decision import Decision
    from recallm.keying.keyer import Request
    from recallm.keying.standalone import Standalone
    from recallm.records import Candidate
    from recallm.typing import Same, Verifier


@dataclass(frozen=True, slots=True)
class LoadModel:
    """Load the model, unless it is loaded. Result: `recallm.records.ModelInfo`."""


@dataclass(frozen=True, slots=True)
class Embed:
    """Embed a text by a model. Result: its unit vector, or None if it may match exactly only.

    Attributes:
        text: the text.
        model_id: the id of the model; the vector of one that took its place meanwhile is refused.
    """

    text: str
    model_id: str | None = None


@dataclass(frozen=True, slots=True)
class EmbedTurns:
    """Embed several texts, as turns of conversations. Result: by text, its unit vector or None, as of `Embed`.

    Attributes:
        texts: the texts.
        model_id: the id of the model.
    """

    texts: tuple[str, ...]
    model_id: str


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Rewrite the last turn of a conversation into a question of its own. Result: the question, or None.

    Attributes:
        rewriter: rewrites it.
        messages: the conversation.
        key: its digest.
    """

    rewriter: Standalone
    messages: object
    key: bytes


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
class Draw:
    """Draw whether a similar hit is audited. Result: whether it is.

    Attributes:
        key: the key of the call.
        share: of the similar hits that are audited.
    """

    key: str
    share: float


@dataclass(frozen=True, slots=True)
class Compare:
    """Have a stored answer compared with the function's own, some time later. Result: None.

    Attributes:
        same: the user's function that compares them.
        codec: decodes the function's own answer: its caller may change the one that it got.
        prompt: the prompt of the call.
        candidate: the entry of the stored answer.
        cached_response: the stored answer, which nobody else has.
        payload: the function's own answer, encoded.
        max_wrong: the share of similar hits that may be wrong; None: no limit.
    """

    same: Same
    codec: Codec
    prompt: str
    candidate: Candidate
    cached_response: object
    payload: bytes
    max_wrong: float | None


@dataclass(frozen=True, slots=True)
class Revalidate:
    """Have an expired answer replaced by a new one, some time later, unless that is under way. Result: None.

    Attributes:
        request: what the call asks for.
        key: the key of the answer.
    """

    request: Request
    key: str


@dataclass(frozen=True, slots=True)
class ReadAgain:
    """Read the arguments of the call again. Result: whether it still asks for what it asked for."""


@dataclass(frozen=True, slots=True)
class Judge:
    """Ask the guards about prompts so long that an event loop should not wait for it. Result: the decision."""

    decide: Callable[[], Decision]


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
class Raise:
    """Raise an exception of the user's function to the caller, untouched. The flow ends here.

    A generator cannot do it: Python makes another exception of a `StopIteration` that leaves one.
    """

    error: Exception


@dataclass(frozen=True, slots=True)
class Emit:
    """Report an event, to be counted, logged or recorded."""

    event: Event


Handled: TypeAlias = (
    LoadModel
    | Embed
    | EmbedTurns
    | Rewrite
    | Coalesce
    | Verify
    | Decode
    | Judge
    | Draw
    | Compare
    | Revalidate
    | ReadAgain
    | Emit
    | StorageOperation
)
"""What an `EffectHandler` performs; the rest is up to the driver."""

Effect: TypeAlias = Handled | Call | Raise
