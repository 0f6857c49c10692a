"""What happens in a call, as records: what `recallm.on_event` tells its listeners.

Each call ends in one `Hit`, `Miss` or `Bypass`. Before or after it may come, for example, the `Veto` of a guard, a
`Failure` that the caller is spared, or that the answer was `Stored`. `Compared` comes only while `recallm.record`
writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from recallm.records import (
    Audited,
    Bypass,
    Coalesced,
    Compared,
    Embedded,
    Event,
    Failure,
    Hit,
    Miss,
    Nearest,
    Reported,
    Revalidating,
    ServedStale,
    Stored,
    Veto,
)
from recallm.telemetry.listening import Listener

__all__ = [
    "Audited",
    "Bypass",
    "Coalesced",
    "Compared",
    "Embedded",
    "Event",
    "Failure",
    "Hit",
    "Listener",
    "Miss",
    "Reported",
    "Revalidating",
    "ServedStale",
    "Stored",
    "Veto",
    "redacted",
]


def redacted(event: Event) -> Mapping[str, object]:
    """Return what an event tells without the words of anybody: no prompt, no response, no text of an exception.

    Use it to log events, or to send them elsewhere.

    Args:
        event: what a listener was told.

    Returns:
        ``"event"``, the event's name, and names, numbers and truth values, such as ``"reason"``, ``"similarity"`` and
        ``"namespace"``. Namespaces are names that the application chose; leave them out if they are secret.

    >>> dict(redacted(Veto("numbers_agree")))
    {'event': 'Veto', 'guard': 'numbers_agree'}
    """
    return {"event": type(event).__name__, **_fields(event)}


def _fields(event: Event) -> Mapping[str, object]:
    match event:
        case Hit(candidate, exact):
            entry = candidate.entry
            return {
                "exact": exact,
                "similarity": candidate.similarity,
                "age": candidate.age,
                "namespace": entry.namespace,
                "saved_seconds": entry.seconds,
                "saved_tokens": entry.tokens,
                "saved_cost": entry.cost,
            }
        case Miss(reason, query, best=Nearest(candidate, refused_by)):
            known = {"similarity": candidate.similarity, "refused_by": refused_by}
            return {"reason": reason, "namespace": query.namespace, **known}
        case Miss(reason, query):
            return {"reason": reason, "namespace": query.namespace}
        case Bypass(reason):
            return {"reason": reason}
        case Failure(stage, error):
            return {"stage": stage, "error": type(error).__name__}
        case Veto() | Stored() | Embedded() | Audited():
            return asdict(event)
        case Compared():
            return {"similarity": event.similarity, "outcome": event.outcome, "vetoed_by": event.vetoed_by}
    return {}
