"""How one function is cached, and what the flows of its calls are."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from recallm.engine.effects import Effect
from recallm.records import Stage
from recallm.typing import Guard, Same, Serve, StoreIf, Tags, Threshold, Verifier

if TYPE_CHECKING:
    from recallm.codec.codec import Codec

LOWEST_COSINE = -1.0
"""A threshold that every candidate reaches."""

T = TypeVar("T")
Flow: TypeAlias = Generator[Effect, Any, T]


@dataclass(frozen=True, slots=True)
class Plan:
    """How one function is cached.

    Attributes:
        threshold: a profile, the cosine that a candidate must reach, or ``"exact"``: nothing is embedded.
        guards: asked in order about each candidate at or above the threshold.
        codec: turns responses into bytes and back.
        store_if: predicate of the responses that are stored; a stored one that it refuses now is not served.
        verifier: asked last about a similar prompt's answer; None: there is none.
        coalesce: whether calls that want the same answer at the same time wait for one to compute it.
        stale_seconds: how long after its expiry an answer may be served if the function raises; None: not at all.
        revalidate_seconds: how long after its expiry an answer is served while the function makes a new one; None: not
            at all.
        audit: the share of similar hits for which the function is called as well, to compare the answers.
        same: compares them.
        max_wrong: the share of similar hits that may be wrong: once audits prove more, none is served; None: no limit.
        tags: what its answers rest on; None: they have no tags.
        serve: what may be served: all answers, those of the very same prompt, or none.
        price: what a million tokens cost, in and out, or what returns the cost of a response; None: not known.
        ttl_jitter: the share by which an answer's time to live is shortened at the most.
    """

    threshold: Threshold
    guards: tuple[Guard, ...]
    codec: Codec
    store_if: StoreIf
    verifier: Verifier | None = None
    coalesce: bool = False
    stale_seconds: float | None = None
    revalidate_seconds: float | None = None
    audit: float = 0.0
    same: Same | None = None
    max_wrong: float | None = None
    tags: Tags | None = None
    serve: Serve = "all"
    price: tuple[float, float] | Callable[[Any], float] | None = None
    ttl_jitter: float = 0.0

    def without_audits(self) -> Plan:
        """Return this plan for a look-up whose hits are none to be audited."""
        return replace(self, audit=0.0) if self.audit else self

    @property
    def expired_seconds(self) -> float | None:
        """For how long after its expiry an answer is kept; None: an answer is removed when it expires."""
        for_what = [each for each in (self.stale_seconds, self.revalidate_seconds) if each is not None]
        return max(for_what, default=None)


class StageError(Exception):
    """An exception in one stage of a call, counted under the name of the stage."""

    def __init__(self, stage: Stage, error: Exception) -> None:
        super().__init__(stage)
        self.stage = stage
        self.error = error
