"""Observing: what became of the calls that are made inside a block, told to who made them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from recallm.records import Bypass, Candidate, Event, Hit, Miss, ServedStale


@dataclass(frozen=True, slots=True)
class Observed:
    """What became of one call.

    Attributes:
        cache: the name of the cache.
        outcome: ``"hit"``, ``"miss"``, ``"bypass"``, or ``"stale"``: the function raised, and an expired entry was
            served.
        reason: ``"exact"`` or ``"similar"`` of an answer that was served; else why none was, in a word.
        seconds: until the outcome was known: of a hit the look-up, of a miss with the time that the function took.
        similarity: cosine of the prompt and that of the entry served, or that would have been, or of the best candidate
            that was refused; None: there is none.
        age: seconds since that entry was stored, or None.
        cached_prompt: its prompt, or None; if the history may be similar, the whole conversation as JSON.
        vetoed_by: the guard that refused the best candidate, ``"store_if"``, ``"verify"``, or None.
        namespace: where the call looked, or None for a bypass.
        detail: the argument, attribute, class or exception behind the reason, or None.
    """

    cache: str
    outcome: Literal["hit", "miss", "bypass", "stale"]
    reason: str
    seconds: float = field(compare=False)
    similarity: float | None = None
    age: float | None = field(default=None, compare=False)
    cached_prompt: str | None = None
    vetoed_by: str | None = None
    namespace: str | None = None
    detail: str | None = field(default=None, compare=False)


@dataclass(slots=True, eq=False)
class _Block:
    """An `observed` block, and whether it is under way: what outlives it must not fill its list for ever."""

    seen: list[Observed]
    is_open: bool = True


_blocks: ContextVar[tuple[_Block, ...]] = ContextVar("recallm_observed", default=())
"""The blocks around the present call."""


@contextmanager
def observed() -> Iterator[list[Observed]]:
    """Tell what becomes of the calls of cached functions that are made inside a block.

    Use it to show where an answer comes from (a header of a response, a note beside the text), or in tests. Blocks
    may be nested: each is told of the calls inside it. Tasks that are started inside belong to it, and so do threads
    that take the context along, as `asyncio.to_thread` does; a plain `threading.Thread` does not, nor does a call that
    begins after the block has ended.

    Returns:
        A context manager that gives a list, to which each call adds an `Observed` when its outcome is known. The list
        holds prompts of others who asked before.

    >>> with observed() as seen:
    ...     pass
    >>> seen
    []
    """
    block = _Block([])
    token = _blocks.set((*_blocks.get(), block))
    try:
        yield block.seen
    finally:
        block.is_open = False
        with suppress(ValueError):  # ended in another context than it began in, as a fixture may be
            _blocks.reset(token)


Tell: TypeAlias = Callable[[Event, float], None]
"""Is told an event of a call, and the seconds since the call began."""


def noticed(record: Tell, cache: str) -> Tell:
    """Return what records the events of a call that begins now, and tells them to who observes it, if anybody does.

    Args:
        record: records them.
        cache: the name of the call's cache.
    """
    around = _blocks.get()
    if not around:
        return record
    blocks = [block for block in around if block.is_open]
    if not blocks:
        return record
    missed: list[tuple[Miss, Observed]] = []

    def record_and_tell(event: Event, elapsed: float) -> None:
        record(event, elapsed)
        if isinstance(event, ServedStale):
            if missed:
                _correct(blocks, *missed[-1])
            return
        found = _observed(event, cache, elapsed)
        if found is None:
            return
        if isinstance(event, Miss) and event.stale is not None:
            missed.append((event, found))
        for block in blocks:
            block.seen.append(found)

    return record_and_tell


def _observed(event: Event, cache: str, elapsed: float) -> Observed | None:
    match event:
        case Hit(candidate, exact):
            reason = "exact" if exact else "similar"
            return _with_candidate(Observed(cache, "hit", reason, elapsed), candidate)
        case Miss(reason, query, best=best, detail=detail):
            miss = Observed(cache, "miss", reason, elapsed, namespace=query.namespace, detail=detail)
            if best is None:
                return miss
            return _with_candidate(replace(miss, vetoed_by=best.refused_by), best.candidate)
        case Bypass(reason, detail):
            return Observed(cache, "bypass", reason, elapsed, detail=detail)
    return None


def _with_candidate(observed: Observed, found: Candidate) -> Observed:
    entry = found.entry
    return replace(
        observed,
        similarity=found.similarity,
        age=found.age,
        cached_prompt=entry.prompt,
        namespace=entry.namespace,
    )


def _correct(blocks: list[_Block], miss: Miss, told: Observed) -> None:
    """Tell of a miss that an expired entry was served all the same."""
    stale = miss.stale
    if stale is None:
        return
    reason = "exact" if stale.entry.key == miss.query.key else "similar"
    served = _with_candidate(replace(told, outcome="stale", reason=reason, vetoed_by=None), stale)
    for seen in (block.seen for block in blocks):
        for place in reversed(range(len(seen))):
            if seen[place] is told:
                seen[place] = served
                break
