"""From candidates to an answer: the first that can be read and that the user's predicates accept, expired ones too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from recallm.codec.codec import is_slow
from recallm.engine.decision import answers, is_fresh, is_younger, sound, truth
from recallm.engine.effects import Decode, Emit, Verify
from recallm.engine.plan import Flow, Plan
from recallm.errors import BusyError, CircuitOpenError, CorruptPayloadError, UnknownTypeError, contained
from recallm.records import Candidate, Failure, Hit, Miss, MissReason, Query, Recalled, Veto
from recallm.storage.base import Recall

if TYPE_CHECKING:
    from recallm.typing import Verifier

Unserved: TypeAlias = Sequence[tuple[Candidate, MissReason]]
"""The candidates that reached the threshold and that no guard refused, each with why it was not served all the same."""

REFUSERS: Mapping[MissReason, str] = {"refused": "verify", "unwanted": "store_if"}
"""The predicates that may refuse a decoded answer, by the reason of the miss."""


class Tried(NamedTuple):
    """What came of the candidates that may serve.

    Attributes:
        hit: the first one that does; None: none does.
        unserved: those before it, each with why it was not served.
        unknown: the path of a class that kept one from being read; None: there is none.
        gave_up: whether no other candidate should be tried, as a time limit has run out.
    """

    hit: Hit | None = None
    unserved: Unserved = ()
    unknown: str | None = None
    gave_up: bool = False

    def and_then(self, later: Tried) -> Tried:
        """Return what came of these candidates, none of which serves, and of those that were tried after them."""
        unknown = later.unknown if self.unknown is None else self.unknown
        return Tried(later.hit, [*self.unserved, *later.unserved], unknown, later.gave_up)


def first_servable(plan: Plan, query: Query, candidates: Sequence[Candidate], *, exact: bool) -> Flow[Tried]:
    """Return the first candidate that can be decoded and that `store_if` and the verifier accept, and those before it.

    The verifier is not asked about the very prompt's own answer. Once a time limit has run out no further candidate
    is tried: the limit is one for all of them.
    """
    unserved: list[tuple[Candidate, MissReason]] = []
    unknown: str | None = None
    for candidate in candidates:
        try:
            response = yield from decoded(plan, candidate.entry.payload)
            doubt = _unwanted(plan, response)
            if doubt is not None:
                yield Emit(doubt)
                unserved.append((candidate, "unwanted"))
            elif exact or plan.verifier is None or (yield from _verified(plan.verifier, query, candidate, response)):
                return Tried(Hit(candidate, exact, response), unserved, unknown)
            else:
                unserved.append((candidate, "refused"))
        except UnknownTypeError as error:
            unknown = error.path if unknown is None else unknown
            unserved.append((candidate, "unknown_type"))
        except CorruptPayloadError as error:
            yield Emit(Failure("codec", error))
            unserved.append((candidate, "corrupt"))
        except GivenUpError as given_up:
            unserved.append((candidate, given_up.reason))
            return Tried(None, unserved, unknown, gave_up=True)
    return Tried(None, unserved, unknown)


_NO_TIME = (TimeoutError, BusyError, CircuitOpenError)
"""What is raised if a worker has no more time for a call."""


class GivenUpError(Exception):
    """There is no time to ask about more candidates."""

    def __init__(self, reason: MissReason) -> None:
        super().__init__(reason)
        self.reason = reason


def decoded(plan: Plan, payload: bytes) -> Flow[object]:
    """Return an answer.

    Raises:
        CorruptPayloadError: it cannot be read.
        GivenUpError: it is not read in time.
    """
    try:
        if is_slow(payload):
            return (yield Decode(plan.codec, payload))
        return contained(plan.codec.decode, payload)
    except _NO_TIME as error:
        yield Emit(Failure("codec", error))
        raise GivenUpError("corrupt") from error


def _unwanted(plan: Plan, response: object) -> Failure | Veto | None:
    """Return why `store_if` does not want an answer served, or None if it does."""
    try:
        return None if truth(contained(plan.store_if, response)) else Veto("store_if")
    except Exception as error:  # noqa: BLE001  # doubt about an answer is a miss
        return Failure("store_if", error)


def _verified(verifier: Verifier, query: Query, candidate: Candidate, response: object) -> Flow[bool]:
    try:
        agreed = truth((yield Verify(verifier, query.prompt, candidate.entry.prompt, response)))
    except Exception as error:
        if not isinstance(error, CircuitOpenError):
            yield Emit(Failure("verify", error))
        if isinstance(error, _NO_TIME):
            raise GivenUpError("refused") from error
        return False  # doubt about an answer is a miss
    if not agreed:
        yield Emit(Veto("verify"))
    return agreed


def is_stale(plan: Plan, candidate: Candidate) -> bool:
    """Return whether an expired answer may still be served if the function raises."""
    stale_seconds = plan.stale_seconds
    return stale_seconds is not None and not is_fresh(candidate) and is_younger(candidate, stale_seconds)


def may_serve_expired(plan: Plan, candidate: Candidate) -> bool:
    """Return whether an expired answer may be served while the function makes a new one."""
    seconds = plan.revalidate_seconds
    return seconds is not None and not is_fresh(candidate) and is_younger(candidate, seconds)


def still_stored(plan: Plan, miss: Miss) -> Flow[Candidate | None]:
    """Return the expired answer as it is now: the function took its time, in which it may have been removed."""
    if miss.stale is None:
        return None
    query, stale = miss.query, miss.stale.entry
    try:
        recalled: Recalled = yield Recall(query.namespace, stale.key)
        now = recalled.candidate
        if now is None or (now.entry.key, now.entry.prompt) != (stale.key, stale.prompt):
            return None
        return now if sound(now.entry, query) and is_younger(now, plan.stale_seconds or 0.0) else None
    except Exception as failure:  # noqa: BLE001  # doubt about an answer: it is not served
        if not isinstance(failure, CircuitOpenError):
            yield Emit(Failure("storage", failure))
        return None


def is_answered(query: Query) -> Flow[bool]:
    """Return whether a query's own answer is stored now, and has not expired; not if that cannot be told."""
    try:
        recalled: Recalled = yield Recall(query.namespace, query.key)
        now = recalled.candidate
        return now is not None and answers(now, query) and is_fresh(now)
    except Exception as failure:  # noqa: BLE001  # to store the answer is tried all the same
        if not isinstance(failure, CircuitOpenError):
            yield Emit(Failure("storage", failure))
        return False
