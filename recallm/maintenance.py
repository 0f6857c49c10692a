"""Flows that look into the cache or take out of it, and never call the function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from recallm.config import resolve_threshold
from recallm.decision import decide
from recallm.effects import Embed, Prepare, Prepared, Remove, Search
from recallm.flow import CANDIDATES, Flow, Plan, look_up
from recallm.records import Bypass, Candidate, Explanation, Hit, Miss

if TYPE_CHECKING:
    from recallm.keying import Request
    from recallm.typing import Vector


def explain(plan: Plan, request: Request) -> Flow[Explanation]:
    """Tell what a call would get: the very look-up of a call, and why it ended as it did."""
    sought = yield from look_up(plan, request)
    if isinstance(sought, Bypass):
        return Explanation("bypass", sought.reason)
    prepared: Prepared = yield Prepare()
    threshold = resolve_threshold(plan.threshold, prepared.thresholds)
    if isinstance(sought, Hit):
        found, reason = sought.candidate, "exact" if sought.exact else "similar"
        hit = Explanation("hit", reason, sought.exact, threshold=threshold, namespace=found.entry.namespace)
        return _with_candidate(hit, found)
    miss = Explanation("miss", sought.reason, threshold=threshold, namespace=sought.query.namespace)
    if sought.vector is None:
        return miss
    try:
        candidates: Sequence[Candidate] = yield Search(
            sought.query.namespace, sought.query.partition, sought.vector, -1.0, CANDIDATES
        )
    except Exception:  # noqa: BLE001  # the look-up's own result stands without the near misses
        return miss
    return _with_nearest(miss, plan, sought, candidates)


def _with_nearest(miss: Explanation, plan: Plan, sought: Miss, candidates: Sequence[Candidate]) -> Explanation:
    """Return a miss with the entry that came nearest, and the guard that refused it."""
    ours = [found for found in candidates if found.entry.partition == sought.query.partition]
    if not ours:
        return replace(miss, reason="empty") if sought.reason == "unlike" else miss
    refusals = decide(sought.query, ours, miss.threshold or 0.0, plan.guards).refusals
    if refusals:
        refused, guard = refusals[0]
        return _with_candidate(replace(miss, vetoed_by=guard), refused)
    return _with_candidate(miss, max(ours, key=lambda found: found.similarity))


def _with_candidate(known: Explanation, found: Candidate) -> Explanation:
    return replace(known, similarity=found.similarity, cached_prompt=found.entry.prompt, age=found.age)


def forget(plan: Plan, request: Request) -> Flow[int]:
    """Remove every entry that this call would hit, and return how many there were.

    Unlike a look-up this raises: whoever removes an answer must know whether it is gone.
    """
    prepared: Prepared = yield Prepare()
    query = request.query(prepared.model_id)
    removed: int = yield Remove(query.namespace, (query.key,))
    vector: Vector | None = yield Embed(query.text)
    if vector is None:
        return removed
    threshold = resolve_threshold(plan.threshold, prepared.thresholds)
    candidates = yield Search(query.namespace, query.partition, vector, threshold, None)
    served = decide(query, candidates, threshold, plan.guards).served
    similar: int = 0
    if served:
        similar = yield Remove(query.namespace, tuple(candidate.entry.key for candidate in served))
    return removed + similar
