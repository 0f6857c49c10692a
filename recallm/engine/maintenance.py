"""Flows that inspect the cache or remove entries from it, and never call the function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from recallm.config import resolve_threshold
from recallm.engine.decision import decide
from recallm.engine.effects import Emit, LoadModel
from recallm.engine.flow import Flow, Plan, embed, find_model, look_up
from recallm.errors import CircuitOpenError
from recallm.records import Bypass, Candidate, Explanation, Failure, Hit
from recallm.storage.base import Invalidate, Remove, Search, Sizes

if TYPE_CHECKING:
    from recallm.keying.keyer import Request
    from recallm.typing import Threshold

LOWEST_COSINE = -1.0
"""A threshold that every candidate reaches."""


def explain(plan: Plan, request: Request) -> Flow[Explanation]:
    """Explain what a call would get, and why, by the same look-up as the call's."""
    sought = yield from look_up(plan, request, floor=LOWEST_COSINE)
    saw_all = sought != Bypass("storage")
    if not saw_all:
        # A call asks for less than all near misses, which the storage may still give.
        sought = yield from look_up(plan, request)
    if isinstance(sought, Bypass):
        return Explanation("bypass", sought.reason, detail=sought.detail)
    model = yield from find_model(plan)
    threshold = resolve_threshold(plan.threshold, model.thresholds)
    if isinstance(sought, Hit):
        found, reason = sought.candidate, "exact" if sought.exact else "similar"
        hit = Explanation("hit", reason, sought.exact, threshold=threshold, namespace=found.entry.namespace)
        return _with_candidate(hit, found)
    namespace = sought.query.namespace
    miss = Explanation("miss", sought.reason, threshold=threshold, namespace=namespace, detail=sought.detail)
    if sought.nearest is None:
        return replace(miss, reason="empty") if sought.reason == "unlike" and saw_all else miss
    return _with_candidate(replace(miss, vetoed_by=sought.nearest.refused_by), sought.nearest.candidate)


def _with_candidate(explanation: Explanation, found: Candidate) -> Explanation:
    return replace(explanation, similarity=found.similarity, cached_prompt=found.entry.prompt, age=found.age)


def forget(plan: Plan, request: Request) -> Flow[int]:
    """Remove every entry that this call would hit, and return how many there were.

    Unlike a look-up this raises: whoever removes an answer must know whether it is gone.
    """
    model = yield from find_model(plan)
    query = request.query(model.model_id)
    removed: int = yield Remove(query.namespace, (query.key,))
    vector = yield from embed(plan, query.text)
    if vector is None:
        return removed
    threshold = resolve_threshold(plan.threshold, model.thresholds)
    candidates = yield Search(query.namespace, query.partition, vector, threshold, None)
    served = decide(query, candidates, threshold, plan.guards).served
    similar: int = 0
    if served:
        similar = yield Remove(query.namespace, tuple(candidate.entry.key for candidate in served))
    return removed + similar


def invalidate(namespaces: Sequence[str]) -> Flow[int]:
    """Remove all entries of these namespaces, and return how many there were. Raises, like `forget`."""
    removed = 0
    for namespace in namespaces:
        removed += yield Invalidate(namespace)
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


def load_model(threshold: Threshold) -> Flow[bool]:
    """Load the model if the threshold needs one, and return whether calls are ready."""
    if threshold == "exact":
        return True
    try:
        yield LoadModel()
    except Exception as error:  # noqa: BLE001  # a service must start without its model
        yield Emit(Failure("model", error))
        return False
    return True
