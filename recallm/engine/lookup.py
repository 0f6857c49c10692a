"""The look-up of one call: this very prompt first, then the most similar one that no guard refuses."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace
from functools import partial
from math import isfinite
from typing import TYPE_CHECKING

from recallm.config import resolve_threshold
from recallm.engine.auditing import audited
from recallm.engine.decision import Decision, answers, decide, is_fresh, is_quick, settle
from recallm.engine.effects import Coalesce, Embed, EmbedTurns, Emit, Judge, LoadModel
from recallm.engine.histories import Vectors, floors, to_embed
from recallm.engine.plan import Flow, Plan, StageError
from recallm.engine.reports import is_refused, own
from recallm.engine.serving import REFUSERS, Tried, Unserved, first_servable, is_stale, may_serve_expired
from recallm.errors import CircuitOpenError, OddVectorError
from recallm.records import (
    Bypass,
    Candidate,
    Coalesced,
    Failure,
    Hit,
    Miss,
    MissReason,
    ModelInfo,
    Nearest,
    Query,
    Recalled,
    Veto,
)
from recallm.storage.base import Beside, Recall, Search

if TYPE_CHECKING:
    from recallm.concurrency.coalescing import Role
    from recallm.keying.keyer import Request
    from recallm.typing import Serve, Vector

CANDIDATES = 16
"""How many candidates a look-up asks for: guards may refuse the first ones."""

CONVERSATIONS = 64
"""The same of a look-up whose history may be similar: many may end alike, with "why?" for instance."""

_LOAD_MODEL = LoadModel()

EXACT_MODEL = ModelInfo("recallm/exact", {})
"""Stands for the model if only the very same prompt matches, so that no other look-up finds what is stored then."""


def look_up(
    plan: Plan,
    request: Request,
    *,
    reuse: bool = True,
    coalesce: bool = False,
    floor: float | None = None,
    serve: Serve = "all",
) -> Flow[Hit | Miss | Bypass]:
    """Find an answer: this very prompt first, then the most similar one that no guard refuses.

    Args:
        plan: how the function is cached.
        request: what the call asks for.
        reuse: False finds nothing, and returns a miss under which a new answer can be stored.
        coalesce: whether a call that finds nothing under its key waits for another call that is computing that answer.
        floor: the cosine, if it is below the threshold, from which on a miss names its nearest candidate.
        serve: what may be served. If it is nothing, a miss of the reason "shadow" tells of the hit that there was.
    """
    query: Query | None = None
    try:
        try:
            model = EXACT_MODEL if plan.threshold == "exact" else (yield _LOAD_MODEL)
            query = request.query(model.model_id)
        except Exception as error:
            raise StageError("model", error) from error
        coalesce = coalesce and serve != "none"
        if serve != "all":
            plan = plan.without_audits()
        if request.unrewritten is not None and (yield from _was_reported(request.unrewritten, model)):
            sought = yield from _own_answer(plan, query, model, reuse=reuse, coalesce=coalesce)
        else:
            sought = yield from _look_up(plan, query, model, reuse=reuse, coalesce=coalesce, floor=floor, serve=serve)
        return _unserved(query, sought) if serve == "none" else sought
    except StageError as failed:
        if isinstance(failed.error, CircuitOpenError):
            return Bypass(failed.stage, str(failed.error))
        yield Emit(Failure(failed.stage, failed.error))
        if query is not None and isinstance(failed.error, OddVectorError):
            return Miss("odd_vector", query, 0, storable=False)
        return Bypass(failed.stage, repr(failed.error))


def _was_reported(unrewritten: Request, model: ModelInfo) -> Flow[bool]:
    """Return whether an answer was reported when the call's last turn was rewritten into other words, maybe."""
    if model is EXACT_MODEL:
        return False
    query = unrewritten.query(model.model_id)
    try:
        return is_refused((yield Recall(query.namespace, query.key)), query)
    except Exception as error:
        raise StageError("storage", error) from error


def find_model(plan: Plan) -> Flow[ModelInfo]:
    """Return the model, loaded; `EXACT_MODEL` if none is needed."""
    if plan.threshold == "exact":
        return EXACT_MODEL
    model: ModelInfo = yield _LOAD_MODEL
    return model


def embed(plan: Plan, text: str, model: ModelInfo) -> Flow[Vector | None]:
    """Return a prompt's vector by this model, or None if it may match exactly only."""
    if plan.threshold == "exact":
        return None
    vector: Vector | None = yield Embed(text, model.model_id)
    return vector


def _look_up(
    plan: Plan, query: Query, model: ModelInfo, *, reuse: bool, coalesce: bool, floor: float | None, serve: Serve
) -> Flow[Hit | Miss]:
    try:
        is_sought = reuse and serve != "exact"
        beside = partial(_beside, plan, query, model, floor) if is_sought else None
        recall = Recall(query.namespace, query.key, beside)
        recalled: Recalled = yield recall
        tried = (yield from _exact_hit(plan, query, recalled)) if reuse else Tried()
        if tried.hit is None and coalesce and not is_refused(recalled, query):
            recalled, tried = yield from _await_role(plan, query, recall, recalled, tried)
            coalesce = False
        if tried.hit is not None:
            return tried.hit
        refused, epoch = is_refused(recalled, query), recalled.epoch
    except Exception as error:
        raise StageError("storage", error) from error
    if refused:
        return (yield from _own_answer(plan, query, model, reuse=reuse, coalesce=coalesce))
    try:
        vector = yield from embed(plan, query.text, model)
    except Exception as error:
        raise StageError("embedding", error) from error
    if not reuse:
        return Miss("refresh", query, epoch, vector)
    try:
        if vector is None or not is_sought:
            miss = replace(_exact_miss(plan, query, recalled, tried.unserved), vector=vector)
            return _unread(miss, tried, recalled)
        sought = yield from _search(plan, query, recalled, tried.unserved, vector, model, floor)
        return _unread(sought, tried, recalled) if isinstance(sought, Miss) else sought
    except Exception as error:
        raise StageError("storage", error) from error


def _own_answer(plan: Plan, query: Query, model: ModelInfo, *, reuse: bool, coalesce: bool) -> Flow[Hit | Miss]:
    """Look up a prompt that is answered by its own calls only, as a similar prompt's answer was wrong for it."""
    own_query = own(query)
    found = yield from _look_up(plan, own_query, model, reuse=reuse, coalesce=coalesce, floor=None, serve="exact")
    return replace(found, reason="reported") if isinstance(found, Miss) and found.reason == "exact_only" else found


def _unserved(query: Query, sought: Hit | Miss) -> Miss:
    """Return the miss of a call that must not be served: nothing is stored for it if something is there to serve."""
    if isinstance(sought, Miss):
        return replace(sought, stale=None)
    return Miss("shadow", query, 0, storable=False, nearest=Nearest(sought.candidate, None), shadowed=sought)


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
    found = tuple((yield from _similar(query, recalled, vector, _least(threshold, floor))))
    fresh = [candidate for candidate in found if is_fresh(candidate)]
    known = {candidate.entry.key for candidate, _ in unserved}
    decision = yield from _decided(plan, query, fresh, threshold, enough=1)
    tried = yield from _try_served(plan, query, decision, known)
    if decision.unjudged and tried.hit is None and not tried.gave_up:
        rest = yield from _decided(plan, query, decision.unjudged, threshold)
        tried = tried.and_then((yield from _try_served(plan, query, rest, known)))
        decision = replace(decision, refusals=decision.refusals + rest.refusals)
    if tried.hit is None and decision.undecided:
        decision, tried = yield from _with_other_histories(plan, query, decision, tried, model)
    if tried.hit is not None:
        return (yield from audited(plan, query, tried.hit, recalled.epoch, vector))
    unserved = [*unserved, *tried.unserved]
    expired = [candidate for candidate in (recalled.candidate, *found) if candidate and not is_fresh(candidate)]
    if_it_raises = yield from _decided(plan, query, expired, threshold)
    of_others = [candidate for candidate in if_it_raises.served if candidate.entry.key != query.key]
    served_expired = yield from _expired(plan, query, of_others, exact=False)
    if served_expired.hit is not None:
        return served_expired.hit
    stale = next((candidate for candidate in if_it_raises.served if is_stale(plan, candidate)), None)
    refused = [(candidate, REFUSERS[why]) for candidate, why in unserved if why in REFUSERS]
    nearest = _nearest(query, fresh or found, [*decision.refusals, *if_it_raises.refusals, *refused])
    why = _why(decision, unserved)
    return Miss(why, query, recalled.epoch, vector, stale=stale, nearest=nearest, detail=tried.unknown)


def _decided(
    plan: Plan, query: Query, candidates: Sequence[Candidate], threshold: float, *, enough: int | None = None
) -> Flow[Decision]:
    """Return which candidates may serve; none of them if it takes too long to ask the guards."""
    if not plan.guards or is_quick(query, candidates):
        return decide(query, candidates, threshold, plan.guards, enough=enough)
    try:
        decision: Decision = yield Judge(partial(decide, query, candidates, threshold, plan.guards, enough=enough))
    except Exception as error:  # noqa: BLE001  # doubt about an answer is a miss
        return Decision((), doubts=(error,))
    return decision


def _beside(plan: Plan, query: Query, model: ModelInfo, floor: float | None) -> Beside | None:
    """Return what is looked for if the very prompt is not there, so that a storage may look for both at once."""
    if plan.threshold == "exact":
        return None
    least = _least(resolve_threshold(plan.threshold, model.thresholds), floor)
    return Beside(query.text, model.model_id, query.partition, least, _limit(query))


def _similar(query: Query, recalled: Recalled, vector: Vector, least: float) -> Flow[Sequence[Candidate]]:
    """Return the entries that may be similar enough, as they came with the exact look-up or by a search."""
    if recalled.similar is not None:
        return recalled.similar
    found: Sequence[Candidate] = yield Search(query.namespace, query.partition, vector, least, _limit(query))
    return found


def _least(threshold: float, floor: float | None) -> float:
    """Return the cosine that a candidate must reach to be looked at."""
    return threshold if floor is None else min(threshold, floor)


def _try_served(plan: Plan, query: Query, decision: Decision, known: Set[str]) -> Flow[Tried]:
    """Report who was refused, and try the others, but for those whose keys are known to be of no use."""
    if decision.refusals or decision.doubts:
        yield from _emit_refusals(decision)
    others = [candidate for candidate in decision.served if candidate.entry.key not in known]
    return (yield from first_servable(plan, query, others, exact=False))


def _limit(query: Query) -> int:
    """Return how many candidates are asked for."""
    return CANDIDATES if query.conversation is None else CONVERSATIONS


def _with_other_histories(
    plan: Plan, query: Query, decision: Decision, tried: Tried, model: ModelInfo
) -> Flow[tuple[Decision, Tried]]:
    """Try the candidates with another history too. In trouble with the embedder, only an equal one serves."""
    vectors: Vectors = {}
    try:
        texts = to_embed(query, decision.undecided)
        vectors = (yield EmbedTurns(texts, model.model_id)) if texts else {}
    except Exception as error:  # noqa: BLE001  # the call goes on with what is known
        if not isinstance(error, CircuitOpenError):
            yield Emit(Failure("embedding", error))
    settled = settle(query, decision.undecided, vectors, floors(plan.threshold, model.thresholds))
    yield from _emit_refusals(settled)
    more = yield from first_servable(plan, query, settled.served, exact=False)
    together = replace(decision, refusals=(*decision.refusals, *settled.refusals))
    return together, tried.and_then(more)


def _exact_hit(plan: Plan, query: Query, recalled: Recalled) -> Flow[Tried]:
    candidate = recalled.candidate
    if candidate is None or not answers(candidate, query):
        return first_servable(plan, query, (), exact=True)
    serve = first_servable if is_fresh(candidate) else _expired
    return serve(plan, query, [candidate], exact=True)


def _expired(plan: Plan, query: Query, candidates: Sequence[Candidate], *, exact: bool) -> Flow[Tried]:
    """Return the first expired answer that may be served while the function makes a new one, if one may."""
    served = [candidate for candidate in candidates if may_serve_expired(plan, candidate)]
    if not served:
        return Tried()
    tried = yield from first_servable(plan, query, served, exact=exact)
    return tried if tried.hit is None else tried._replace(hit=tried.hit._replace(expired=True))


def _exact_miss(plan: Plan, query: Query, recalled: Recalled, unserved: Unserved) -> Miss:
    """Return the miss of a prompt that may match exactly only; its own answer may have expired."""
    if unserved:
        candidate, why = unserved[0]
        return Miss(why, query, recalled.epoch, nearest=Nearest(candidate, REFUSERS.get(why)))
    found = recalled.candidate
    if found is None or is_fresh(found) or not answers(found, query):
        return Miss("exact_only", query, recalled.epoch)
    stale = found if is_stale(plan, found) else None
    return Miss("exact_only", query, recalled.epoch, stale=stale, nearest=Nearest(found, None))


def _await_role(
    plan: Plan, query: Query, recall: Recall, recalled: Recalled, tried: Tried
) -> Flow[tuple[Recalled, Tried]]:
    """Wait while another call computes this answer, and look for it again."""
    while True:
        try:
            role: Role = yield Coalesce(query.key)
        except TimeoutError:
            role = "alone"
        has_waited = role in ("stored", "waited")
        if role == "first" or (recalled.candidate is not None and not has_waited):
            return recalled, tried
        # A new leader looks again too: the leader before it may have ended since the first look.
        recalled = yield recall
        tried = yield from _exact_hit(plan, query, recalled)
        if tried.hit is not None and has_waited:
            yield Emit(Coalesced())
        if tried.hit is not None or role != "waited":
            return recalled, tried


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
