"""The decision which candidates of a storage may serve. No other module decides it."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from inspect import iscoroutine
from math import inf

from recallm.records import Candidate, Entry, Query
from recallm.typing import Guard


def answers(candidate: Candidate, query: Query) -> bool:
    """Claim that a candidate was stored for this very query."""
    entry = candidate.entry
    return entry.key == query.key and entry.prompt == query.text and candidate.similarity == 1.0 and sound(entry, query)


def sound(entry: Entry, query: Query) -> bool:
    """Claim that an entry is of the query's namespace and partition, and that its seconds and tokens can be summed.

    A storage may be shared, restored from elsewhere, or a user's own: what it returns is not trusted.
    """
    return (
        entry.partition == query.partition
        and entry.namespace == query.namespace
        and 0.0 <= entry.seconds < inf
        and 0 <= entry.tokens < inf
    )


def is_fresh(candidate: Candidate) -> bool:
    """Claim that a candidate may be served without a call of the function; a stale one may if the function raises."""
    fresh_for = candidate.entry.fresh_for
    return fresh_for is None or candidate.age < fresh_for


@dataclass(frozen=True, slots=True)
class Decision:
    """Which candidates may serve.

    Attributes:
        served: the candidates that may serve, best first.
        refusals: the candidates that a guard refused, best first, with the guard's name.
        doubts: the exceptions that guards raised; a guard that raises refuses.
    """

    served: tuple[Candidate, ...]
    refusals: tuple[tuple[Candidate, str], ...] = ()
    doubts: tuple[Exception, ...] = ()


def decide(query: Query, candidates: Sequence[Candidate], threshold: float, guards: Sequence[Guard]) -> Decision:
    """Return which candidates may serve the query, the most similar first.

    The only place that compares with a threshold or asks a guard. A guard that raises refuses; a similarity
    that is not finite reaches no threshold.

    Args:
        query: what the call asks for.
        candidates: the entries that a storage found, in any order; those that are not `sound` are left out.
        threshold: cosine in [0, 1] that a candidate must reach.
        guards: asked in order about each candidate at or above the threshold.
    """
    served: list[Candidate] = []
    refusals: list[tuple[Candidate, str]] = []
    doubts: list[Exception] = []
    ours = [found for found in candidates if sound(found.entry, query)]
    near = [found for found in ours if threshold <= found.similarity < inf]
    for candidate in sorted(near, key=lambda found: -found.similarity):
        refusal = _refusal(query.text, candidate.entry.prompt, guards, doubts)
        if refusal is None:
            served.append(candidate)
        else:
            refusals.append((candidate, refusal))
    return Decision(tuple(served), tuple(refusals), tuple(doubts))


def _refusal(prompt: str, cached_prompt: str, guards: Sequence[Guard], doubts: list[Exception]) -> str | None:
    if prompt == cached_prompt:
        return None
    for guard in guards:
        try:
            allowed = truth(guard(prompt, cached_prompt))
        except Exception as error:  # noqa: BLE001  # doubt about an answer is a miss
            doubts.append(error)
            allowed = False
        if not allowed:
            return guard_name(guard)
    return None


def truth(verdict: object) -> bool:
    """Return the verdict of a guard, of ``store_if`` or of a verifier as a bool.

    Raises:
        TypeError: it has yet to be awaited, which nobody does here; every coroutine would pass for True.
        Exception: whatever its own truth raises.
    """
    if verdict is True or verdict is False:
        return verdict
    if isinstance(verdict, Awaitable):
        if iscoroutine(verdict):
            verdict.close()
        raise TypeError(f"a verdict is a {type(verdict).__name__}, which nothing awaits; return a bool")
    return bool(verdict)


def guard_name(guard: Guard) -> str:
    """Return the name under which a guard's vetoes are counted."""
    return getattr(guard, "__name__", None) or type(guard).__name__
