"""One call through the cache, as a generator of effects: no I/O, no clock, no await.

A driver performs each effect and sends back its result, or throws the exception that the effect raised. Every operation
that may fail is an effect of these flows, so failing open is written once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

from recallm.codec.codec import is_slow
from recallm.config import resolve_threshold
from recallm.engine.decision import Decision, answers, decide, is_fresh, truth
from recallm.engine.effects import Call, Called, Coalesce, Decode, Effect, Embed, Emit, LoadModel, Verify
from recallm.errors import BusyError, CircuitOpenError, CorruptPayloadError, OddVectorError, UnknownTypeError
from recallm.keying.responses import is_stream, total_tokens
from recallm.records import (
    Bypass,
    Candidate,
    Coalesced,
    Compared,
    Entry,
    Failure,
    Hit,
    Miss,
    MissReason,
    ModelInfo,
    Nearest,
    Query,
    Recalled,
    ServedStale,
    Stage,
    Stored,
    Veto,
)
from recallm.storage.base import Put, Recall, Search
from recallm.typing import Guard, StoreIf, Threshold, Verifier

if TYPE_CHECKING:
    from recallm.codec.codec import Codec
    from recallm.concurrency.coalescing import Role
    from recallm.keying.keyer import Request
    from recallm.typing import Vector

T = TypeVar("T")
Flow: TypeAlias = Generator[Effect, Any, T]
Unserved: TypeAlias = Sequence[tuple[Candidate, MissReason]]
"""The candidates that reached the threshold and that no guard refused, each with why it was not served all the same."""

CANDIDATES = 16
"""How many candidates a look-up asks for: guards may refuse the first ones."""

REFUSERS: Mapping[MissReason, str] = {"refused": "verify", "unwanted": "store_if"}
"""The predicates that may refuse a decoded answer, by the reason of the miss."""

EXACT_MODEL = ModelInfo("recallm/exact", {})
"""Stands for the model if only the very same prompt matches, so that no other look-up finds what is stored then."""

RECORDED_FLOOR = 0.7
"""The cosine from which on a recorded look-up reports its nearest candidate even if it does not serve it."""


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
    """

    threshold: Threshold
    guards: tuple[Guard, ...]
    codec: Codec
    store_if: StoreIf
    verifier: Verifier | None = None
    coalesce: bool = False
    stale_seconds: float | None = None


class Tried(NamedTuple):
    """What came of the candidates that may serve.

    Attributes:
        hit: the first one that does; None: none does.
        unserved: those before it, each with why it was not served.
        unknown: the path of a class that kept one from being read; None: there is none.
    """

    hit: Hit | None = None
    unserved: Unserved = ()
    unknown: str | None = None


class _StageError(Exception):
    """An exception in one stage of a call, counted under the name of the stage."""

    def __init__(self, stage: Stage, error: Exception) -> None:
        super().__init__(stage)
        self.stage = stage
        self.error = error


def answer(plan: Plan, request: Request, *, reuse: bool = True, recorded: bool = False) -> Flow[object]:
    """Answer one call from the cache, or call the function and store its answer.

    Args:
        plan: how the function is cached.
        request: what the call asks for.
        reuse: False calls the function whatever is stored, and overwrites it.
        recorded: whether a recording is under way (see `recallm.record`).
    """
    floor = RECORDED_FLOOR if recorded else None
    sought = yield from look_up(plan, request, reuse=reuse, coalesce=plan.coalesce and reuse, floor=floor)
    if recorded:
        yield from _emit_compared(request.text, sought)
    if isinstance(sought, Hit):
        yield Emit(sought)
        return sought.response
    if isinstance(sought, Bypass):
        return (yield from bypass(sought))
    called: Called | Exception = yield Call(otherwise=sought, allow_stale=sought.stale is not None)
    if isinstance(called, Exception):
        return (yield from _serve_stale(plan, sought, called))
    if not called.as_read:
        # The function answered another question than the one under whose key the answer would be stored.
        sought = replace(sought, reason="changed", storable=False)
    if is_stream(called.response):
        yield Emit(_unkept(called.response))
        return called.response
    yield Emit(sought)
    if sought.storable:
        yield from remember(plan, request, sought, called)
    return called.response


def _unkept(response: object) -> Bypass:
    """Return why a response that is consumed by reading it is not kept."""
    if isinstance(response, Awaitable):
        return Bypass("awaitable", type(response).__qualname__, "pass mode='async' if it is to be awaited")
    return Bypass("stream", type(response).__qualname__, "return the whole answer")


def bypass(reason: Bypass | Failure) -> Flow[object]:
    """Call the function without the cache."""
    yield Emit(reason)
    if isinstance(reason, Failure):
        yield Emit(Bypass(reason.stage))
    called: Called = yield Call()
    return called.response


def look_up(
    plan: Plan, request: Request, *, reuse: bool = True, coalesce: bool = False, floor: float | None = None
) -> Flow[Hit | Miss | Bypass]:
    """Find an answer: this very prompt first, then the most similar one that no guard refuses.

    Args:
        plan: how the function is cached.
        request: what the call asks for.
        reuse: False finds nothing, and returns a miss under which a new answer can be stored.
        coalesce: whether a call that finds nothing under its key waits for another call that is computing that answer.
        floor: the cosine, if it is below the threshold, from which on a miss names its nearest candidate.
    """
    query: Query | None = None
    try:
        try:
            model = yield from find_model(plan)
            query = request.query(model.model_id)
        except Exception as error:
            raise _StageError("model", error) from error
        return (yield from _look_up(plan, query, model, reuse=reuse, coalesce=coalesce, floor=floor))
    except _StageError as failed:
        if isinstance(failed.error, CircuitOpenError):
            return Bypass(failed.stage, str(failed.error))
        yield Emit(Failure(failed.stage, failed.error))
        if query is not None and isinstance(failed.error, OddVectorError):
            return Miss("odd_vector", query, 0, storable=False)
        return Bypass(failed.stage, repr(failed.error))


def find_model(plan: Plan) -> Flow[ModelInfo]:
    """Return the model, loaded; `EXACT_MODEL` if none is needed."""
    if plan.threshold == "exact":
        return EXACT_MODEL
    model: ModelInfo = yield LoadModel()
    return model


def embed(plan: Plan, text: str) -> Flow[Vector | None]:
    """Return a prompt's vector, or None if it may match exactly only."""
    if plan.threshold == "exact":
        return None
    vector: Vector | None = yield Embed(text)
    return vector


def _look_up(
    plan: Plan, query: Query, model: ModelInfo, *, reuse: bool, coalesce: bool, floor: float | None
) -> Flow[Hit | Miss]:
    try:
        recalled: Recalled = yield Recall(query.namespace, query.key)
        tried = (yield from _exact_hit(plan, query, recalled)) if reuse else Tried()
        if tried.hit is None and coalesce:
            recalled, tried = yield from _await_role(plan, query, recalled, tried)
        if tried.hit is not None:
            return tried.hit
        epoch = recalled.epoch
    except Exception as error:
        raise _StageError("storage", error) from error
    try:
        vector = yield from embed(plan, query.text)
    except Exception as error:
        raise _StageError("embedding", error) from error
    if not reuse:
        return Miss("refresh", query, epoch, vector)
    if vector is None:
        return _unread(_exact_miss(query, recalled, tried.unserved), tried, recalled)
    try:
        sought = yield from _search(plan, query, recalled, tried.unserved, vector, model, floor)
    except Exception as error:
        raise _StageError("storage", error) from error
    return _unread(sought, tried, recalled) if isinstance(sought, Miss) else sought


def _unread(miss: Miss, tried: Tried, recalled: Recalled) -> Miss:
    """Return the miss of a prompt whose own answer is stored, but of a class that this process does not know."""
    if tried.unknown is None or recalled.candidate is None:
        return miss
    return replace(miss, reason="unknown_type", detail=tried.unknown, unread=recalled.candidate.entry.payload)


def _search(
    plan: Plan,
    query: Query,
    recalled: Recalled,
    unserved: Unserved,
    vector: Vector,
    model: ModelInfo,
    floor: float | None,
) -> Flow[Hit | Miss]:
    """Return the most similar answer that may serve as a hit, or a miss with the reason why none may.

    What the exact look-up found and could not serve, `unserved`, is not asked about again.
    """
    threshold = resolve_threshold(plan.threshold, model.thresholds)
    least = threshold if floor is None else min(threshold, floor)
    found: Sequence[Candidate] = yield Search(query.namespace, query.partition, vector, least, CANDIDATES)
    fresh = [candidate for candidate in found if is_fresh(candidate)]
    decision = decide(query, fresh, threshold, plan.guards)
    yield from _emit_refusals(decision)
    known = {candidate.entry.key for candidate, _ in unserved}
    others = [candidate for candidate in decision.served if candidate.entry.key not in known]
    tried = yield from _first_servable(plan, query, others, exact=False)
    if tried.hit is not None:
        return tried.hit
    unserved = [*unserved, *tried.unserved]
    expired = [candidate for candidate in (recalled.candidate, *found) if candidate and not is_fresh(candidate)]
    if_it_raises = decide(query, expired, threshold, plan.guards)
    stale = next(iter(if_it_raises.served), None)
    refused = [(candidate, REFUSERS[why]) for candidate, why in unserved if why in REFUSERS]
    nearest = _nearest(query, fresh or found, [*decision.refusals, *if_it_raises.refusals, *refused])
    why = _why(decision, unserved)
    return Miss(why, query, recalled.epoch, vector, stale=stale, nearest=nearest, detail=tried.unknown)


def _exact_hit(plan: Plan, query: Query, recalled: Recalled) -> Flow[Tried]:
    candidate = recalled.candidate
    if candidate is None or not answers(candidate, query) or not is_fresh(candidate):
        return Tried()
    return (yield from _first_servable(plan, query, [candidate], exact=True))


def _exact_miss(query: Query, recalled: Recalled, unserved: Unserved) -> Miss:
    """Return the miss of a prompt that may match exactly only; its own answer may have expired."""
    if unserved:
        candidate, why = unserved[0]
        return Miss(why, query, recalled.epoch, nearest=Nearest(candidate, REFUSERS.get(why)))
    found = recalled.candidate
    if found is None or is_fresh(found) or not answers(found, query):
        return Miss("exact_only", query, recalled.epoch)
    return Miss("exact_only", query, recalled.epoch, stale=found, nearest=Nearest(found, None))


def _await_role(plan: Plan, query: Query, recalled: Recalled, tried: Tried) -> Flow[tuple[Recalled, Tried]]:
    """Wait while another call computes this answer, and look for it again."""
    while True:
        try:
            role: Role = yield Coalesce(query.key)
        except TimeoutError:
            role = "alone"
        if recalled.candidate is not None and role != "waited":
            return recalled, tried
        # A new leader looks again too: the leader before it may have ended since the first look.
        recalled = yield Recall(query.namespace, query.key)
        tried = yield from _exact_hit(plan, query, recalled)
        if tried.hit is not None and role == "waited":
            yield Emit(Coalesced())
        if tried.hit is not None or role != "waited":
            return recalled, tried


def _first_servable(plan: Plan, query: Query, candidates: Sequence[Candidate], *, exact: bool) -> Flow[Tried]:
    """Return the first candidate that can be decoded and that `store_if` and the verifier accept, and those before it.

    The verifier is not asked about the very prompt's own answer.
    """
    unserved: list[tuple[Candidate, MissReason]] = []
    unknown: str | None = None
    for candidate in candidates:
        try:
            response = yield from _decoded(plan, candidate.entry.payload)
        except UnknownTypeError as error:
            unknown = error.path if unknown is None else unknown
            unserved.append((candidate, "unknown_type"))
            continue
        except (CorruptPayloadError, TimeoutError, BusyError) as error:
            yield Emit(Failure("codec", error))
            unserved.append((candidate, "corrupt"))
            continue
        if not (yield from _wanted(plan, response)):
            unserved.append((candidate, "unwanted"))
        elif exact or (yield from _verified(plan, query, candidate, response)):
            return Tried(Hit(candidate, exact, response), unserved, unknown)
        else:
            unserved.append((candidate, "refused"))
    return Tried(None, unserved, unknown)


def _decoded(plan: Plan, payload: bytes) -> Flow[object]:
    if is_slow(payload):
        return (yield Decode(plan.codec, payload))
    return plan.codec.decode(payload)


def _wanted(plan: Plan, response: object) -> Flow[bool]:
    try:
        wanted = truth(plan.store_if(response))
    except Exception as error:  # noqa: BLE001  # doubt about an answer is a miss
        yield Emit(Failure("store_if", error))
        return False
    if not wanted:
        yield Emit(Veto("store_if"))
    return wanted


def _verified(plan: Plan, query: Query, candidate: Candidate, response: object) -> Flow[bool]:
    if plan.verifier is None:
        return True
    try:
        agreed = truth((yield Verify(plan.verifier, query.text, candidate.entry.prompt, response)))
    except Exception as error:  # noqa: BLE001  # doubt about an answer is a miss
        yield Emit(Failure("verify", error))
        return False
    if not agreed:
        yield Emit(Veto("verify"))
    return agreed


def _why(decision: Decision, unserved: Unserved) -> MissReason:
    """Return the reason of a miss, which is that of the best candidate."""
    if unserved:
        return unserved[0][1]
    return "vetoed" if decision.refusals else "unlike"


def _nearest(
    query: Query, candidates: Sequence[Candidate], refusals: Sequence[tuple[Candidate, str]]
) -> Nearest | None:
    """Return the most similar candidate of a miss, and who refused it."""
    ours = [found for found in candidates if found.entry.partition == query.partition and isfinite(found.similarity)]
    if not ours:
        return None
    best = max(ours, key=lambda found: found.similarity)
    return Nearest(best, next((by for refused, by in refusals if refused.entry.key == best.entry.key), None))


def _emit_refusals(decision: Decision) -> Flow[None]:
    for _, guard in decision.refusals:
        yield Emit(Veto(guard))
    for error in decision.doubts:
        yield Emit(Failure("guard", error))


def _emit_compared(prompt: str, sought: Hit | Miss | Bypass) -> Flow[None]:
    """Report what a prompt was compared with: the candidate served, else the nearest one that was fresh."""
    match sought:
        case Hit(candidate, exact=False):
            yield Emit(Compared(prompt, candidate.entry.prompt, candidate.similarity, "hit"))
        case Miss(nearest=Nearest(candidate, refused_by)) if is_fresh(candidate):
            yield Emit(Compared(prompt, candidate.entry.prompt, candidate.similarity, "miss", refused_by))


def _serve_stale(plan: Plan, miss: Miss, error: Exception) -> Flow[object]:
    """Return the expired answer, or raise the function's `error` if that answer cannot be decoded."""
    yield Emit(miss)
    hit = None
    if miss.stale is not None:
        exact = miss.stale.entry.key == miss.query.key
        hit = (yield from _first_servable(plan, miss.query, [miss.stale], exact=exact)).hit
    if hit is None:
        raise error
    yield Emit(ServedStale())
    return hit.response


def remember(plan: Plan, request: Request, miss: Miss, called: Called) -> Flow[None]:
    """Store the function's answer, unless the user or the codec declines it."""
    try:
        entry = _entry_to_store(plan, request, miss, called)
        if entry is not None and not (yield from _is_for_others(plan, miss)):
            yield Emit((yield from _put(plan, request, entry, miss.epoch)))
    except _StageError as failed:
        if not isinstance(failed.error, CircuitOpenError):
            yield Emit(Failure(failed.stage, failed.error))


def _is_for_others(plan: Plan, miss: Miss) -> Flow[bool]:
    """Return whether the key holds an answer that only other processes can read, even now that a new one is known."""
    if miss.unread is None:
        return False
    try:
        yield from _decoded(plan, miss.unread)
    except UnknownTypeError as error:
        return not error.of_process
    except (CorruptPayloadError, TimeoutError, BusyError):
        return False
    return False


def _entry_to_store(plan: Plan, request: Request, miss: Miss, called: Called) -> Entry | None:
    try:
        keep = truth(plan.store_if(called.response))
    except Exception as error:
        raise _StageError("store_if", error) from error
    if not keep:
        return None
    query = miss.query
    try:
        return Entry(
            key=query.key,
            namespace=query.namespace,
            partition=query.partition,
            prompt=query.text,
            vector=miss.vector,
            payload=plan.codec.encode(called.response),
            seconds=called.seconds,
            tokens=total_tokens(called.response),
            fresh_for=None if plan.stale_seconds is None else request.ttl,
        )
    except Exception as error:
        raise _StageError("codec", error) from error


def _put(plan: Plan, request: Request, entry: Entry, epoch: int) -> Flow[Stored]:
    kept_for = None if request.ttl is None else request.ttl + (plan.stale_seconds or 0.0)
    try:
        stored: Stored = yield Put(entry, epoch, kept_for)
        if not isinstance(stored, Stored) or not isinstance(stored.evicted, int):
            raise TypeError(f"a storage's put returned a {type(stored).__name__}; it must return a Stored")
    except Exception as error:
        raise _StageError("storage", error) from error
    return stored
