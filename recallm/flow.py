"""One call through the cache, as a generator of effects: no I/O, no clock, no await.

A driver performs each effect and sends back its result, or throws what it raised. Everything that may
fail is asked for in here, so failing open is written once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from recallm.config import resolve_threshold
from recallm.decision import Decision, answers, decide, is_fresh
from recallm.effects import (
    Call,
    Called,
    Effect,
    Embed,
    Join,
    Note,
    Prepare,
    Prepared,
    Put,
    Recall,
    Search,
    Verify,
)
from recallm.errors import CircuitOpenError, CorruptPayloadError, OddVectorError
from recallm.records import (
    Bypass,
    Candidate,
    Coalesced,
    Compared,
    Entry,
    Failure,
    Hit,
    Miss,
    Query,
    Recalled,
    Spared,
    Stored,
    Veto,
)
from recallm.typing import Guard, StoreIf, Threshold, Verifier

if TYPE_CHECKING:
    from recallm.codec import Codec
    from recallm.flight import Turn
    from recallm.keying import Request
    from recallm.typing import Vector

T = TypeVar("T")
Flow: TypeAlias = Generator[Effect, Any, T]

CANDIDATES = 16
"""How many candidates a look-up asks for: guards may refuse the first ones."""

WATCHED_FLOOR = 0.7
"""The cosine from which on a look-up that is recorded tells of candidates that it does not serve."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How one function is cached."""

    threshold: Threshold
    guards: tuple[Guard, ...]
    codec: Codec
    store_if: StoreIf | None
    verifier: Verifier | None = None
    coalesce: bool = False
    stale_seconds: float | None = None


def answer(plan: Plan, request: Request, *, reuse: bool = True, watched: bool = False) -> Flow[object]:
    """Answer one call from the cache, or call the function and keep its answer.

    Args:
        plan: how the function is cached.
        request: what the call asks for.
        reuse: False calls the function whatever is stored, and overwrites it.
        watched: True notes what the prompt was compared with.
    """
    sought = yield from look_up(plan, request, reuse=reuse, watched=watched, coalesce=plan.coalesce and reuse)
    if isinstance(sought, Hit):
        yield Note(sought)
        return sought.response
    if isinstance(sought, Bypass):
        return (yield from bypass(sought))
    called: Called | Exception = yield Call(otherwise=sought, spared=sought.spare is not None)
    if isinstance(called, Exception):
        return (yield from _spared(plan, sought, called))
    if is_stream(called.response):
        yield Note(Bypass("stream"))
        return called.response
    yield Note(sought)
    if sought.storable:
        yield from remember(plan, request, sought, called)
    return called.response


def _spared(plan: Plan, miss: Miss, error: Exception) -> Flow[object]:
    """Return the answer that has expired, or raise what the function raised where it cannot be read."""
    yield Note(miss)
    spare = [] if miss.spare is None else [miss.spare]
    hit = yield from _first_sound(plan, miss.query, spare, exact=spare[0].entry.key == miss.query.key)
    if hit is None:
        raise error
    yield Note(Spared())
    return hit.response


def bypass(reason: Bypass | Failure) -> Flow[object]:
    """Call the function without the cache."""
    yield Note(reason)
    if isinstance(reason, Failure):
        yield Note(Bypass(reason.stage))
    called: Called = yield Call()
    return called.response


def look_up(
    plan: Plan, request: Request, *, reuse: bool = True, watched: bool = False, coalesce: bool = False
) -> Flow[Hit | Miss | Bypass]:
    """Find an answer: this very prompt first, then the most similar one that no guard refuses.

    With `coalesce`, a call that finds nothing under its key waits for one that is making that answer.
    """
    stage = "model"
    try:
        prepared: Prepared = yield Prepare()
        query = request.query(prepared.model_id)
        stage = "storage"
        recalled: Recalled = yield Recall(query.namespace, query.key)
        hit = (yield from _exact_hit(plan, query, recalled)) if reuse else None
        if hit is None and coalesce:
            recalled, hit = yield from _in_turn(plan, query, recalled)
        if hit is not None:
            return hit
        stage = "embedding"
        vector: Vector | None = yield Embed(query.text)
        if vector is None or not reuse:
            return Miss("exact_only" if reuse else "refresh", query, recalled.epoch, vector)
        stage = "storage"
        threshold = resolve_threshold(plan.threshold, prepared.thresholds)
        floor = min(threshold, WATCHED_FLOOR) if watched else threshold
        found: Sequence[Candidate] = yield Search(query.namespace, query.partition, vector, floor, CANDIDATES)
        candidates = [candidate for candidate in found if is_fresh(candidate)]
        decision = decide(query, candidates, threshold, plan.guards)
        yield from _note_refusals(decision)
        hit = yield from _first_sound(plan, query, decision.served, exact=False)
        if watched:
            yield from _note_compared(query, candidates, decision, hit)
        if hit is not None:
            return hit
    except OddVectorError as error:
        yield Note(Failure(stage, error))
        return Bypass(stage) if stage == "model" else Miss("odd_vector", query, 0, storable=False)
    except CircuitOpenError:
        return Bypass(stage)
    except Exception as error:  # noqa: BLE001  # trouble with the machinery: the function is called
        yield Note(Failure(stage, error))
        return Bypass(stage)
    unsound = "corrupt" if plan.verifier is None else "refused"
    reason = unsound if decision.served else "vetoed" if decision.refusals else "unlike"
    stale = [candidate for candidate in (recalled.candidate, *found) if candidate and not is_fresh(candidate)]
    spare = next(iter(decide(query, stale, threshold, plan.guards).served), None)
    return Miss(reason, query, recalled.epoch, vector, spare=spare)


def _exact_hit(plan: Plan, query: Query, recalled: Recalled) -> Flow[Hit | None]:
    candidate = recalled.candidate
    if candidate is None or not answers(candidate, query) or not is_fresh(candidate):
        return None
    return (yield from _first_sound(plan, query, [candidate], exact=True))


def _in_turn(plan: Plan, query: Query, recalled: Recalled) -> Flow[tuple[Recalled, Hit | None]]:
    """Wait while another call makes this very answer, and look for it again."""
    while True:
        try:
            turn: Turn = yield Join(query.key)
        except TimeoutError:
            turn = "alone"
        if recalled.candidate is not None and turn != "waited":
            return recalled, None
        # The one who leads looks as well: the one before may have ended since the first look.
        recalled = yield Recall(query.namespace, query.key)
        hit = yield from _exact_hit(plan, query, recalled)
        if hit is not None and turn == "waited":
            yield Note(Coalesced())
        if hit is not None or turn != "waited":
            return recalled, hit


def _note_refusals(decision: Decision) -> Flow[None]:
    for _, guard in decision.refusals:
        yield Note(Veto(guard))
    for error in decision.doubts:
        yield Note(Failure("guard", error))


def _note_compared(query: Query, candidates: Sequence[Candidate], decision: Decision, hit: Hit | None) -> Flow[None]:
    if hit is not None:
        served = hit.candidate
        yield Note(Compared(query.text, served.entry.prompt, served.similarity, "hit"))
        return
    ours = [found for found in candidates if found.entry.partition == query.partition and isfinite(found.similarity)]
    if ours:
        best = max(ours, key=lambda found: found.similarity)
        vetoes = [guard for refused, guard in decision.refusals if refused is best]
        # Whatever the guards let through and was not served, the verifier refused, or could not be read.
        vetoes += ["verify" for passed in decision.served if passed is best]
        yield Note(Compared(query.text, best.entry.prompt, best.similarity, "miss", next(iter(vetoes), None)))


def _first_sound(plan: Plan, query: Query, candidates: Sequence[Candidate], *, exact: bool) -> Flow[Hit | None]:
    """Return the first candidate whose payload can be read, and to which the verifier agrees."""
    for candidate in candidates:
        try:
            response = plan.codec.decode(candidate.entry.payload)
        except CorruptPayloadError as error:
            yield Note(Failure("codec", error))
            continue
        if exact or (yield from _verified(plan, query, candidate, response)):
            return Hit(candidate, exact, response)
    return None


def _verified(plan: Plan, query: Query, candidate: Candidate, response: object) -> Flow[bool]:
    if plan.verifier is None:
        return True
    try:
        agreed = bool((yield Verify(plan.verifier, query.text, candidate.entry.prompt, response)))
    except Exception as error:  # noqa: BLE001  # doubt about an answer is a miss
        yield Note(Failure("verify", error))
        return False
    if not agreed:
        yield Note(Veto("verify"))
    return agreed


def remember(plan: Plan, request: Request, miss: Miss, called: Called) -> Flow[None]:
    """Keep the function's answer, unless the user or the codec declines it."""
    stage = "store_if"
    try:
        keep = called.response is not None if plan.store_if is None else plan.store_if(called.response)
        if not keep:
            return
        stage = "codec"
        query = miss.query
        entry = Entry(
            key=query.key,
            namespace=query.namespace,
            partition=query.partition,
            prompt=query.text,
            vector=miss.vector,
            payload=plan.codec.encode(called.response),
            seconds=called.seconds,
            tokens=total_tokens(called.response),
            lifetime=None if plan.stale_seconds is None else request.ttl,
        )
        stage = "storage"
        kept_for = None if request.ttl is None else request.ttl + (plan.stale_seconds or 0.0)
        stored: Stored = yield Put(entry, miss.epoch, kept_for)
        if not isinstance(stored, Stored) or not isinstance(stored.evicted, int):
            raise TypeError(f"a storage's put returned a {type(stored).__name__}; it must return a Stored")
    except CircuitOpenError:
        return
    except Exception as error:  # noqa: BLE001  # the caller has the answer; that it is not kept is counted
        yield Note(Failure(stage, error))
    else:
        yield Note(stored)


def is_stream(response: object) -> bool:
    """Return whether a response is consumed by reading it, so that keeping it would take it from the caller."""
    return isinstance(response, Iterator | AsyncIterator | Awaitable) or hasattr(type(response), "__aiter__")


def total_tokens(response: object) -> int:
    """Return the ``usage.total_tokens`` that a response carries, as attributes or items, or 0."""
    found: object = response
    try:
        for name in ("usage", "total_tokens"):
            found = found.get(name) if isinstance(found, Mapping) else getattr(found, name, None)
    except Exception:  # noqa: BLE001  # a response's own property failed: it reports no tokens
        return 0
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else 0
