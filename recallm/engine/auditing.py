"""Audits: for some of the similar hits the function is called as well, and its answer compared with the stored one.

Pure, as all flows are: the driver draws which hits are audited, and has a thread compare the answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from recallm.engine.effects import Called, Compare, Draw, Emit
from recallm.engine.plan import Flow, Plan
from recallm.engine.storing import payload_to_compare
from recallm.records import Failure, Hit, Miss, Query

if TYPE_CHECKING:
    from recallm.typing import Vector


def audited(plan: Plan, query: Query, hit: Hit, epoch: int, vector: Vector | None) -> Flow[Hit | Miss]:
    """Return a similar prompt's answer as the hit that it is, or a miss if it is to be compared with the function's.

    An answer that has expired is not compared: it may have been right in its time. If expired ones are served when the
    function raises, so is this one.
    """
    if plan.audit <= 0.0 or hit.exact or hit.expired or not (yield Draw(query.key, plan.audit)):
        return hit
    stale = None if plan.stale_seconds is None else hit.candidate
    return Miss("audited", query, epoch, vector, stale=stale, shadowed=hit)


def is_audited(plan: Plan, miss: Miss) -> Flow[bool]:
    """Return whether the answer that would have served is to be compared; if nothing is served, it is drawn here."""
    hit = miss.shadowed
    if miss.reason != "shadow" or hit is None:
        return miss.reason == "audited"
    return plan.audit > 0.0 and not hit.exact and not hit.expired and (yield Draw(miss.query.key, plan.audit))


def compare(plan: Plan, miss: Miss, called: Called, own: bytes | None) -> Flow[None]:
    """Have the answer that would have been served compared with the function's own, some time later.

    An answer of the function that is not stored says nothing about the other one: it is incomplete, or rests on newer
    facts. If nothing is served, it may not have to be stored again.

    Args:
        plan: how the function is cached.
        miss: the miss that the call was counted as.
        called: what the function did.
        own: the payload of its answer as it was stored; None: it was not.
    """
    hit = miss.shadowed
    if own is None and miss.reason == "shadow":
        own = yield from payload_to_compare(plan, called)
    if hit is None or own is None or plan.same is None:
        return
    prompt, candidate = miss.query.prompt, hit.candidate
    try:
        yield Compare(plan.same, plan.codec, prompt, candidate, hit.response, own, plan.max_wrong)
    except Exception as error:  # noqa: BLE001  # the answer is there, whatever becomes of the audit
        yield Emit(Failure("audit", error))
