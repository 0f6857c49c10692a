"""Flows that inspect the cache or remove entries from it, and never call the function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from recallm.concurrency.signals import let_through
from recallm.config import resolve_threshold
from recallm.engine.decision import decide, settle
from recallm.engine.effects import EmbedTurns, Emit, LoadModel
from recallm.engine.flow import question_of, rewritten
from recallm.engine.histories import floors, to_embed
from recallm.engine.lookup import embed, find_model, look_up
from recallm.engine.plan import LOWEST_COSINE, Flow, Plan
from recallm.engine.reports import is_refused, own, refuse
from recallm.errors import CircuitOpenError
from recallm.guards.default import DEFAULT_GUARDS, prepare
from recallm.records import Bypass, Candidate, Compared, Explanation, Failure, Hit, ModelInfo, Query, Recalled, Reported
from recallm.storage.base import Invalidate, Recall, Remove, RemoveTagged, Search, Sizes

if TYPE_CHECKING:
    from recallm.keying.keyer import Request
    from recallm.typing import Guard, Serve, Threshold, Vector


def explain(plan: Plan, request: Request, *, serve: Serve = "all") -> Flow[Explanation]:
    """Explain what a call would get, and why, by the same look-up as the call's. Args as `flow.answer`."""
    plan = plan.without_audits()
    request = yield from rewritten(request)
    sought = yield from look_up(plan, request, floor=LOWEST_COSINE, serve=serve)
    saw_all = sought != Bypass("storage")
    if not saw_all:
        # A call asks for less than all near misses, which the storage may still give.
        sought = yield from look_up(plan, request, serve=serve)
    if isinstance(sought, Bypass):
        return Explanation("bypass", sought.reason, detail=sought.detail)
    model = yield from find_model(plan)
    threshold = resolve_threshold(plan.threshold, model.thresholds)
    if isinstance(sought, Hit):
        found, reason = sought.candidate, "exact" if sought.exact else "similar"
        hit = Explanation("hit", reason, sought.exact, threshold=threshold, namespace=found.entry.namespace)
        if sought.expired:
            hit = replace(hit, detail="expired, and made anew")
        return _with_candidate(hit, found)
    namespace = sought.query.namespace
    detail = 'serve="exact"' if serve == "exact" and sought.reason == "exact_only" else sought.detail
    miss = Explanation("miss", sought.reason, threshold=threshold, namespace=namespace, detail=detail)
    if sought.shadowed is not None:
        miss = replace(miss, exact=sought.shadowed.exact)
    if sought.nearest is None:
        return replace(miss, reason="empty") if sought.reason == "unlike" and saw_all else miss
    return _with_candidate(replace(miss, vetoed_by=sought.nearest.refused_by), sought.nearest.candidate)


def _with_candidate(explanation: Explanation, found: Candidate) -> Explanation:
    return replace(explanation, similarity=found.similarity, cached_prompt=found.entry.prompt, age=found.age)


def forget(plan: Plan, request: Request) -> Flow[int]:
    """Remove every entry that this call would hit, whether its last turn can be rewritten or not; return how many.

    Unlike a look-up this raises: whoever removes an answer must know whether it is gone.
    """
    model = yield from find_model(plan)
    removed = yield from _forget(plan, request.rewritten(None).query(model.model_id), model)
    question = yield from question_of(request)
    if question is not None:
        query = request.rewritten(question).query(model.model_id)
        removed += yield from _forget(plan, query, model)
        # It may have an own answer without being refused, as the conversation is: see `look_up`.
        removed += yield Remove(query.namespace, (own(query).key,))
    return removed


def report_wrong(plan: Plan, request: Request, *, serve: Serve = "all") -> Flow[bool]:
    """Have neither its present answer nor a similar prompt's be served for a call; return whether one was to be.

    Raises:
        Exception: whatever keeps it from being sure: the storage's own, or the model's.
    """
    model = yield from find_model(plan)
    rewritable = request
    request = yield from rewritten(request)
    sought = yield from look_up(plan.without_audits(), request, serve=serve)
    for query in {each.query(model.model_id) for each in (request, rewritable.rewritten(None))}:
        if plan.threshold == "exact":
            yield Remove(query.namespace, (query.key,))
        else:
            yield from refuse(query)
    if not isinstance(sought, Hit):
        return False
    yield Emit(Reported())
    if not sought.exact:
        cached_prompt = sought.candidate.entry.prompt
        yield Emit(Compared(request.prompt, cached_prompt, sought.candidate.similarity, "hit", same=False))
    return True


def _forget(plan: Plan, query: Query, model: ModelInfo) -> Flow[int]:
    """Remove every entry that a query would hit, and return how many there were."""
    keys = (query.key,) if plan.threshold == "exact" else (yield from _own_keys(query))
    removed: int = yield Remove(query.namespace, keys)
    if query.key not in keys:
        return removed
    vector = yield from embed(plan, query.text, model)
    if vector is None:
        return removed
    while True:
        keys = yield from _similar_keys(plan, query, vector, model)
        gone: int = (yield Remove(query.namespace, keys)) if keys else 0
        removed += gone
        # A look-up judges a few histories only: behind those that are gone now, others may come to be served.
        if query.conversation is None or gone == 0:
            return removed


def _own_keys(query: Query) -> Flow[tuple[str, ...]]:
    """Return the keys under which a query's own answer may be; a refusal under its key stays (see `reports`)."""
    own_key = own(query).key
    try:
        recalled: Recalled = yield Recall(query.namespace, query.key)
        return (own_key,) if is_refused(recalled, query) else (query.key,)
    except Exception as error:  # noqa: BLE001  # the answers must go, though a storage that fails is not asked now
        let_through(error)
        return query.key, own_key


def _similar_keys(plan: Plan, query: Query, vector: Vector, model: ModelInfo) -> Flow[tuple[str, ...]]:
    """Return the keys of the entries, of similar prompts, that may serve a query."""
    threshold = resolve_threshold(plan.threshold, model.thresholds)
    candidates = yield Search(query.namespace, query.partition, vector, threshold, None)
    decision = decide(query, candidates, threshold, plan.guards)
    texts = to_embed(query, decision.undecided)
    vectors = (yield EmbedTurns(texts, model.model_id)) if texts else {}
    settled = settle(query, decision.undecided, vectors, floors(plan.threshold, model.thresholds))
    return tuple(candidate.entry.key for candidate in (*decision.served, *settled.served))


def invalidate(namespaces: Sequence[str]) -> Flow[int]:
    """Remove all entries of these namespaces, and return how many there were. Raises, like `forget`."""
    removed = 0
    for namespace in namespaces:
        removed += yield Invalidate(namespace)
    return removed


def remove_tagged(tag: str) -> Flow[int]:
    """Remove the entries that have a tag, and return how many there were. Raises, like `forget`."""
    removed: int = yield RemoveTagged(tag)
    return removed


def sizes(namespaces: Sequence[str]) -> Flow[Mapping[str, int]]:
    """Count the live entries of each namespace that has any; nothing while the storage is in trouble."""
    try:
        counted: Mapping[str, int] = yield Sizes(namespaces)
        return {str(name): int(size) for name, size in counted.items()}
    except CircuitOpenError:
        return {}
    except Exception as error:  # noqa: BLE001  # statistics must be had while the storage is away
        yield Emit(Failure("storage", error))
        return {}


def load_model(threshold: Threshold, guards: Sequence[Guard]) -> Flow[bool]:
    """Load the model if the threshold needs one, and what the guards read; return whether calls are ready."""
    if threshold == "exact":
        return True
    try:
        if any(guard in DEFAULT_GUARDS for guard in guards):
            prepare()
    except Exception as error:  # noqa: BLE001  # guards that cannot judge refuse
        yield Emit(Failure("guard", error))
    try:
        yield LoadModel()
    except Exception as error:  # noqa: BLE001  # a service must start without its model
        yield Emit(Failure("model", error))
        return False
    return True
