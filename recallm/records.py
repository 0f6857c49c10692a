"""The frozen records that pass between the parts.

Those that every hit makes are named tuples, which are made in half the time of frozen dataclasses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from recallm.typing import Vector


class Query(NamedTuple):
    """What one call asks for: the prompt may be similar, the partition must be equal.

    Attributes:
        text: the prompt.
        namespace: what is invalidated together.
        partition: digest of everything about the call but the prompt, the embedder's id included.
        key: digest of the partition and the prompt.
    """

    text: str
    namespace: str
    partition: str
    key: str


class Entry(NamedTuple):
    """A stored answer.

    Attributes:
        key: the `Query.key` it answers; a storage holds one entry a key.
        namespace: see `Query`.
        partition: see `Query`.
        prompt: the prompt it was made for.
        vector: the prompt's embedding, or None where the prompt may match exactly only.
        payload: the encoded response.
        seconds: how long the function took.
        tokens: what the function reported as ``usage.total_tokens``.
        lifetime: seconds for which it is served, where it is kept for longer in case the function fails; None:
            for as long as it is kept.
    """

    key: str
    namespace: str
    partition: str
    prompt: str
    vector: Vector | None
    payload: bytes
    seconds: float = 0.0
    tokens: int = 0
    lifetime: float | None = None


class Candidate(NamedTuple):
    """An entry that a storage found, with its similarity to the query and its age in seconds."""

    entry: Entry
    similarity: float
    age: float


class Recalled(NamedTuple):
    """A storage's answer to an exact look-up: the entry, if any, and the namespace's epoch."""

    candidate: Candidate | None
    epoch: int


@dataclass(frozen=True, slots=True)
class Stored:
    """A storage's answer to a put: whether it was kept, and how many entries made room for it."""

    kept: bool
    evicted: int = 0


class Hit(NamedTuple):
    """An answer from the cache."""

    candidate: Candidate
    exact: bool
    response: object


@dataclass(frozen=True, slots=True)
class Miss:
    """No stored answer serves; the epoch and vector are what a new entry is stored under.

    `storable` is False where the embedding was odd: nothing made from it is kept. `spare` is what may be
    served, though it has expired, where the function fails.
    """

    reason: str
    query: Query
    epoch: int
    vector: Vector | None = None
    storable: bool = True
    spare: Candidate | None = None


@dataclass(frozen=True, slots=True)
class Bypass:
    """The cache stood aside. `subject` names the argument that made it, where one did."""

    reason: str
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Trouble or doubt in one stage of the cache, kept from the caller."""

    stage: str
    error: Exception


@dataclass(frozen=True, slots=True)
class Veto:
    """A guard refused a candidate."""

    guard: str


@dataclass(frozen=True, slots=True)
class Embedded:
    """A text went through the model, in `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Compared:
    """A prompt was compared with stored ones; noted only where somebody records it.

    Attributes:
        prompt: the call's prompt.
        cached_prompt: that of the candidate served, else of the most similar one.
        similarity: cosine of the two.
        outcome: what the call got.
        vetoed_by: the guard that refused this candidate, ``"verify"``, or None.
    """

    prompt: str
    cached_prompt: str
    similarity: float
    outcome: Literal["hit", "miss"]
    vetoed_by: str | None = None


@dataclass(frozen=True, slots=True)
class Coalesced:
    """A call waited for another that made its answer; the hit is noted as well."""


@dataclass(frozen=True, slots=True)
class Spared:
    """The function failed, and an answer that had expired was served; the miss is noted as well."""


Event = Hit | Miss | Bypass | Failure | Veto | Stored | Embedded | Compared | Coalesced | Spared
"""What happened to a call, as the ledgers and the metrics see it."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the cache would do with a call, and why.

    Attributes:
        outcome: ``"hit"``, ``"miss"`` or ``"bypass"``.
        reason: in a word or two, why.
        exact: whether this very prompt is stored.
        similarity: cosine of the best candidate, or None where there is none.
        threshold: the cosine asked for, or None where the embedder is not known yet.
        cached_prompt: the prompt of the best candidate, or of the entry that would be served.
        vetoed_by: name of the guard that refused the best candidate, or None.
        namespace: where the call looks, or None for a bypass.
        age: seconds since that entry was stored, or None.
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
