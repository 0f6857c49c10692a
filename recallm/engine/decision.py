"""The decision which candidates of a storage may serve. No other module decides it."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from inspect import iscoroutine
from math import inf
from operator import is_
from sys import getsizeof

from recallm.concurrency.memo import Memo
from recallm.engine.histories import HISTORY, Floors, Vectors, conversations
from recallm.errors import a_kind, contained
from recallm.guards.default import DEFAULT_GUARDS
from recallm.records import Candidate, Entry, Query
from recallm.typing import Guard


def answers(candidate: Candidate, query: Query) -> bool:
    """Claim that a candidate was stored for this very query, and is an answer."""
    entry = candidate.entry
    return (
        entry.key == query.key
        and entry.prompt == query.prompt
        and candidate.similarity == 1.0
        and not entry.is_refusal
        and sound(entry, query)
    )


def sound(entry: Entry, query: Query) -> bool:
    """Claim that an entry is of the query's namespace and partition, and that what it took can be summed.

    A storage may be shared, restored from elsewhere, or a user's own: what it returns is not trusted.
    """
    return (
        entry.partition == query.partition
        and entry.namespace == query.namespace
        and 0.0 <= entry.seconds < inf
        and 0 <= entry.tokens < inf
        and 0.0 <= entry.cost < inf
    )


def is_fresh(candidate: Candidate) -> bool:
    """Claim that a candidate may be served without a call of the function; a stale one may if the function raises."""
    fresh_for = candidate.entry.fresh_for
    return fresh_for is None or candidate.age < fresh_for


def is_younger(candidate: Candidate, stale_seconds: float) -> bool:
    """Claim that a candidate's time has not run out, or not for as long as this."""
    fresh_for = candidate.entry.fresh_for
    return fresh_for is None or candidate.age < fresh_for + stale_seconds


@dataclass(frozen=True, slots=True)
class Decision:
    """Which candidates may serve.

    Attributes:
        served: the candidates that may serve, best first.
        refusals: the candidates that a guard refused, best first, with the guard's name.
        doubts: the exceptions that guards raised; a guard that raises refuses.
        unjudged: the candidates that no guard was asked about, as enough better ones may serve, best first.
        undecided: the candidates that may serve if their history is similar enough, best first; see `settle`.
    """

    served: tuple[Candidate, ...]
    refusals: tuple[tuple[Candidate, str], ...] = ()
    doubts: tuple[Exception, ...] = ()
    unjudged: tuple[Candidate, ...] = ()
    undecided: tuple[Candidate, ...] = ()


def decide(
    query: Query,
    candidates: Sequence[Candidate],
    threshold: float,
    guards: Sequence[Guard],
    *,
    enough: int | None = None,
) -> Decision:
    """Return which candidates may serve the query, the most similar first.

    The only place that compares with a threshold or asks a guard. A guard that raises refuses; a similarity
    that is not finite reaches no threshold.

    Args:
        query: what the call asks for.
        candidates: the entries that a storage found, in any order; those that are not `sound` are left out.
        threshold: cosine in [0, 1] that a candidate must reach.
        guards: asked in order about each candidate at or above the threshold.
        enough: how many candidates that may serve are sought, as guards take time; None: all of them.
    """
    served: list[Candidate] = []
    refusals: list[tuple[Candidate, str]] = []
    doubts: list[Exception] = []
    ours = [found for found in candidates if sound(found.entry, query)]
    near = [found for found in ours if threshold <= found.similarity < inf]
    if query.conversation is not None:
        return _decide_on_conversations(query, near, guards)
    left = deque(sorted(near, key=lambda found: -found.similarity))
    while left and len(served) != enough:
        candidate = left.popleft()
        refusal = _refusal(query.text, candidate.entry.prompt, guards, doubts)
        if refusal is None:
            served.append(candidate)
        else:
            refusals.append((candidate, refusal))
    return Decision(tuple(served), tuple(refusals), tuple(doubts), unjudged=tuple(left))


QUICK_CHARS = 6000
"""How many characters of prompts guards may be asked about while an event loop stands still: for a few milliseconds."""


def is_quick(query: Query, candidates: Sequence[Candidate]) -> bool:
    """Return whether guards take little time for these candidates, as few are long."""
    prompts = [query.prompt, *(found.entry.prompt for found in candidates)]
    return sum(len(prompt) for prompt in prompts if isinstance(prompt, str)) <= QUICK_CHARS


def settle(query: Query, undecided: Sequence[Candidate], vectors: Vectors, least: Floors) -> Decision:
    """Return which candidates may serve by how similar their histories are, best first.

    Args:
        query: what the call asks for.
        undecided: those of `decide`.
        vectors: of `recallm.engine.histories.to_embed`; whoever lacks one is refused.
        least: the cosines that the turns must reach.
    """
    judged = [(each.candidate, each.is_similar(vectors, least)) for each in conversations(query, undecided)]
    return Decision(
        served=tuple(candidate for candidate, is_similar in judged if is_similar),
        refusals=tuple((candidate, HISTORY) for candidate, is_similar in judged if not is_similar),
    )


def _decide_on_conversations(query: Query, near: Sequence[Candidate], guards: Sequence[Guard]) -> Decision:
    """Return which candidates may serve a call whose history may be similar: those of the same history first."""
    doubts: list[Exception] = []

    def refuse(prompt: str, cached_prompt: str) -> str | None:
        return _refusal(prompt, cached_prompt, guards, doubts)

    judged = [(each, each.refusal(refuse)) for each in conversations(query, near)]
    accepted = [each for each, by in judged if by is None]
    return Decision(
        served=tuple(each.candidate for each in accepted if each.has_same_history),
        refusals=tuple((each.candidate, by) for each, by in judged if by is not None),
        doubts=tuple(doubts),
        undecided=tuple(each.candidate for each in accepted if not each.has_same_history),
    )


def _refusal(prompt: str, cached_prompt: str, guards: Sequence[Guard], doubts: list[Exception]) -> str | None:
    if prompt == cached_prompt:
        return None
    # A storage may return anything as a prompt, also what has no hash.
    by_default = type(cached_prompt) is str and _begin_with_defaults(guards)
    known = by_default and _LET_THROUGH.get((prompt, cached_prompt), False)
    for guard in guards[len(DEFAULT_GUARDS) :] if known else guards:
        try:
            allowed = truth(contained(guard, prompt, cached_prompt))
        except Exception as error:  # noqa: BLE001  # doubt about an answer is a miss
            doubts.append(error)
            allowed = False
        if not allowed:
            return guard_name(guard)
    if by_default and not known:
        size_bytes = _PAIR_BYTES + getsizeof(prompt) + getsizeof(cached_prompt)
        _LET_THROUGH.put((prompt, cached_prompt), value=True, size_bytes=size_bytes)
    return None


def _begin_with_defaults(guards: Sequence[Guard]) -> bool:
    return guards is DEFAULT_GUARDS or (len(guards) >= len(DEFAULT_GUARDS) and all(map(is_, guards, DEFAULT_GUARDS)))


_LET_THROUGH: Memo[tuple[str, str], bool] = Memo(limit_bytes=2**20)
"""The pairs of prompts that all default guards let through lately: what they say of a pair never changes."""

_PAIR_BYTES = 250
"""What such a pair takes besides its texts: tuples, and its place in a table."""


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
        raise TypeError(f"a verdict is {a_kind(verdict)}, which nothing awaits; return a bool")
    return contained(bool, verdict)


def guard_name(guard: Guard) -> str:
    """Return the name under which a guard's vetoes are counted."""
    return getattr(guard, "__name__", None) or type(guard).__name__
