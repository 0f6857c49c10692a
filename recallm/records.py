"""The frozen records that pass between the rooms.

The records that every hit makes are named tuples, which take half the time of frozen dataclasses to make.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from recallm.typing import Vector


Stage: TypeAlias = Literal[
    "keying",
    "model",
    "storage",
    "embedding",
    "guard",
    "codec",
    "verify",
    "store_if",
    "tags",
    "rewrite",
    "audit",
    "revalidate",
    "metrics",
    "advice",
    "skip_if",
    "price",
    "ttl",
    "listener",
]
"""A part of a call that may fail; failures are counted by it."""

MissReason: TypeAlias = Literal[
    "unlike",
    "vetoed",
    "unwanted",
    "refused",
    "corrupt",
    "unknown_type",
    "exact_only",
    "refresh",
    "odd_vector",
    "changed",
    "audited",
    "reported",
    "shadow",
]
"""Why no stored answer served.

No candidate reached the threshold; guards, ``store_if`` or the verifier refused those that did; none could be read; one
is of a class that this process does not know; the prompt may match exactly only, and does not; the call was to be
answered anew; the embedding was malformed; the arguments, or what the function depends on, changed while the call
waited, so the answer is not stored; one would have served, but none is to be (``serve="none"``), or it is compared with
the function's own (see the option ``audit``); this prompt was served a wrong answer before, and is answered by its own
calls only (see ``wrong()`` of a cached function).
"""

BypassReason: TypeAlias = (
    Stage
    | Literal[
        "stream",
        "awaitable",
        "generator",
        "no_prompt",
        "arguments",
        "unfingerprintable",
        "identity",
        "cancelled",
        "event_loop",
        "inactive",
        "off",
        "skipped",
    ]
)
"""Why the cache stood aside: a stage that failed, or what kept the call from being cached.

``"inactive"``: the caches are switched off; ``"off"``: the call said so; ``"skipped"``: ``skip_if`` said so.
"""


class Turn(NamedTuple):
    """The text of one message of a conversation, in Unicode's composed form, and who wrote it."""

    role: Literal["user", "assistant"]
    text: str


class Query(NamedTuple):
    """The question of one call: a stored answer's prompt may be similar, its partition must be equal.

    Attributes:
        text: the prompt.
        namespace: the name of the group of entries that are invalidated together.
        partition: digest of everything about the call but the prompt, the embedder's id included.
        key: digest of the partition and of what may be similar.
        conversation: the earlier turns and the prompt, as entries keep them, if the history may be similar too (see
            `recallm.keying.conversation`); None: the history, if there is one, counts in the partition.
    """

    text: str
    namespace: str
    partition: str
    key: str
    conversation: str | None = None

    @property
    def prompt(self) -> str:
        """What the entry of this query has as its prompt: all that may be similar."""
        return self.text if self.conversation is None else self.conversation


REFUSAL = b"\x01!"
"""The payload of a refusal, which no codec makes and none reads."""


class Entry(NamedTuple):
    """A stored answer.

    Attributes:
        key: the `Query.key` it answers; a storage holds one entry a key.
        namespace: see `Query`.
        partition: see `Query`.
        prompt: the prompt it was made for, as `Query.prompt` gives it.
        vector: the prompt's embedding, or None if the prompt may match exactly only. A storage may leave it out of the
            entries that it finds.
        payload: the encoded response.
        seconds: how long the function took.
        tokens: the tokens, in and out, that the function's response says it took; 0 if it says nothing.
        fresh_for: seconds for which it is served, if it is kept for longer in case the function fails; None: for as
            long as it is kept.
        tags: names of what the answer rests on, by which it can be removed.
        cost: what the response cost, in the user's currency (see the option ``price``); 0.0 if that is not known.
    """

    key: str
    namespace: str
    partition: str
    prompt: str
    vector: Vector | None
    payload: bytes
    seconds: float = 0.0
    tokens: int = 0
    fresh_for: float | None = None
    tags: tuple[str, ...] = ()
    cost: float = 0.0

    @property
    def is_refusal(self) -> bool:
        """Whether it is no answer, but says that a prompt is answered by its own calls only; see `engine.reports`."""
        return self.payload == REFUSAL


class Candidate(NamedTuple):
    """An entry that a storage found.

    Attributes:
        entry: the entry.
        similarity: its similarity to the query; 1.0 if none was asked.
        age: seconds since it was stored.
        expires_in: seconds until it expires, `math.inf` if it never does; None: not told.
    """

    entry: Entry
    similarity: float
    age: float
    expires_in: float | None = None


class Recalled(NamedTuple):
    """A storage's answer to an exact look-up.

    Attributes:
        candidate: the entry, if there is one.
        epoch: the namespace's epoch (see `StorageBackend`).
        similar: the most similar entries, if they were looked for along with it; None: they were not.
        replacements: a number that changes in an epoch as its entries are replaced; None: the storage does not tell.
    """

    candidate: Candidate | None
    epoch: int
    similar: Sequence[Candidate] | None = None
    replacements: int | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """A storage's answer to a put: whether it was kept, and how many entries made room for it."""

    kept: bool
    evicted: int = 0


class Hit(NamedTuple):
    """An answer from the cache; if it is `expired`, it is served while the function makes a new one."""

    candidate: Candidate
    exact: bool
    response: object
    expired: bool = False


class ModelInfo(NamedTuple):
    """The model that embeds: its id, and its calibrated thresholds by profile."""

    model_id: str
    thresholds: Mapping[str, float]


class Nearest(NamedTuple):
    """The most similar candidate that was not served, and who refused it: a guard, a predicate's option, or None."""

    candidate: Candidate
    refused_by: str | None


@dataclass(frozen=True, slots=True)
class Miss:
    """No stored answer serves.

    Attributes:
        reason: why; see `MissReason`.
        query: the query that found nothing.
        epoch: the namespace's epoch, under which a new answer is stored.
        vector: the prompt's embedding, stored with a new answer; None if it may match exactly only.
        storable: False if the embedding was malformed, so no answer is stored.
        stale: an expired entry to serve if the function raises (see ``stale_if_error``).
        nearest: the candidate that came nearest, if the look-up saw any.
        detail: the path of the class that this process does not know; empty: it is no path; None: there is none.
        unread: the payload of such a class that is stored for this very prompt.
        shadowed: what would have been served if something were to be, or if the function were not to be called as well.
    """

    reason: MissReason
    query: Query
    epoch: int
    vector: Vector | None = field(default=None, compare=False)  # arrays have no truth to compare by
    storable: bool = True
    stale: Candidate | None = None
    nearest: Nearest | None = None
    detail: str | None = field(default=None, compare=False)
    unread: bytes | None = field(default=None, compare=False, repr=False)
    shadowed: Hit | None = field(default=None, compare=False, repr=False)

    @property
    def best(self) -> Nearest | None:
        """The candidate that would have been served, or else the one that came nearest."""
        return self.nearest if self.shadowed is None else Nearest(self.shadowed.candidate, None)


@dataclass(frozen=True, slots=True)
class Bypass:
    """The cache stood aside.

    Attributes:
        reason: why; see `BypassReason`.
        detail: the argument, attribute or exception behind it, if one is.
        remedy: what the function's author can do; empty: nothing.
    """

    reason: BypassReason
    detail: str | None = field(default=None, compare=False)
    remedy: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Failure:
    """An error in one stage of the cache, kept from the caller."""

    stage: Stage
    error: Exception


@dataclass(frozen=True, slots=True)
class Veto:
    """A guard refused a candidate, or ``"store_if"`` or ``"verify"`` its answer."""

    guard: str


@dataclass(frozen=True, slots=True)
class Embedded:
    """A text went through the model, in `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Compared:
    """A prompt was compared with stored ones; reported only while somebody records it.

    Attributes:
        prompt: the call's prompt.
        cached_prompt: the prompt of the candidate served, else of the most similar one.
        similarity: cosine of the two prompts' embeddings.
        outcome: what the call got.
        vetoed_by: the guard that refused this candidate, ``"store_if"``, ``"verify"``, or None.
        same: whether the candidate's answer is right for the prompt, if an audit or the user has told; None: not known.
    """

    prompt: str
    cached_prompt: str
    similarity: float
    outcome: Literal["hit", "miss"]
    vetoed_by: str | None = None
    same: bool | None = None


@dataclass(frozen=True, slots=True)
class Audited:
    """A similar prompt's answer was compared with the function's own.

    Attributes:
        similarity: cosine of the two prompts' embeddings.
        same: whether it would have been right.
    """

    similarity: float
    same: bool


@dataclass(frozen=True, slots=True)
class Reported:
    """The user has told that an answer which was served is wrong."""


@dataclass(frozen=True, slots=True)
class Coalesced:
    """A call waited for another that made its answer; the hit is recorded too."""


@dataclass(frozen=True, slots=True)
class ServedStale:
    """The function raised and an expired entry was served; the miss is recorded too."""


@dataclass(frozen=True, slots=True)
class Revalidating:
    """An expired answer was served while the function makes a new one; the hit is recorded too."""


Event = (
    Hit
    | Miss
    | Bypass
    | Failure
    | Veto
    | Stored
    | Embedded
    | Compared
    | Audited
    | Reported
    | Coalesced
    | ServedStale
    | Revalidating
)
"""An event of a call, as statistics and metrics count it."""

OUTCOMES = (Hit, Miss, Bypass)
"""The types of events of which each call has one."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the cache would do with a call, and why.

    Attributes:
        outcome: ``"hit"``, ``"miss"`` or ``"bypass"``.
        reason: in a word or two, why.
        exact: whether this very prompt is stored.
        similarity: cosine of the best candidate, or None if there is none.
        threshold: the cosine asked for, or None if the embedder is not known yet.
        cached_prompt: the prompt of the best candidate, or of the entry that would be served; if the history may be
            similar, the whole conversation as JSON.
        vetoed_by: name of the guard that refused the best candidate, ``"history"``, ``"store_if"``, ``"verify"``, or
            None.
        namespace: where the call looks, or None for a bypass.
        age: seconds since the entry of `cached_prompt` was stored, or None.
        detail: the argument, attribute, class or exception behind the reason, or None.
        differs: what keeps the call from the nearest of those that this process answered lately, such as
            ``("context['user']", "model")``; empty: only the prompt, or there was no such call.
    """

    outcome: Literal["hit", "miss", "bypass"]
    reason: str
    exact: bool = False
    similarity: float | None = None
    threshold: float | None = None
    cached_prompt: str | None = None
    vetoed_by: str | None = None
    namespace: str | None = None
    age: float | None = None
    detail: str | None = field(default=None, compare=False)
    differs: tuple[str, ...] = field(default=(), compare=False)
