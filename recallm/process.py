"""Every cache of the process at once: what a REPL uses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from recallm import registry
from recallm.errors import UnknownNameError
from recallm.tally import CacheStats, merge

if TYPE_CHECKING:
    from recallm.cache import SemanticCache


def caches() -> tuple[str, ...]:
    """Return the names of the live caches."""
    return tuple(sorted({cache.name for cache in registry.live_caches()}))


def stats(name: str | None = None) -> CacheStats:
    """Return what the caches of this process have done.

    Args:
        name: only those of this name; None: all.

    Raises:
        UnknownNameError: no live cache has this name.
    """
    chosen = _chosen(name)
    total = merge(replace(cache.recorder.ledger.stats, circuits=cache.circuits) for cache in chosen)
    return replace(total, namespace_sizes=registry.entries_by_namespace(chosen))


def reset_stats(name: str | None = None) -> None:
    """Begin the statistics anew; entries stay. Args and Raises as `stats`."""
    for cache in _chosen(name):
        cache.reset_stats()


def invalidate_namespace(namespace: str) -> int:
    """Remove all entries of a namespace from every storage in use; return how many there were.

    Raises:
        Exception: what a storage raised, or an `ExceptionGroup` where several did; the others are emptied.
    """
    return _total([_tried(cache.invalidate_namespace, namespace) for cache in _one_per_storage()])


async def ainvalidate_namespace(namespace: str) -> int:
    """Remove all entries of a namespace from every storage in use, without blocking the event loop."""
    emptying = [cache.ainvalidate_namespace(namespace) for cache in _one_per_storage()]
    return _total(await asyncio.gather(*emptying, return_exceptions=True))


def clear() -> int:
    """Remove all entries of every live cache; return how many there were. Raises as `invalidate_namespace`."""
    return _total([_tried(cache.clear) for cache in _chosen(None)])


async def aclear() -> int:
    """Remove all entries of every live cache, without blocking the event loop."""
    return _total(await asyncio.gather(*(cache.aclear() for cache in _chosen(None)), return_exceptions=True))


def _tried(empty: Callable[..., int], *args: str) -> int | Exception:
    try:
        return empty(*args)
    except Exception as error:  # noqa: BLE001  # raised when the other storages are emptied
        return error


def _total(outcomes: Iterable[int | BaseException]) -> int:
    removed, errors = 0, []
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            errors.append(outcome)
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            removed += outcome
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ExceptionGroup("several storages could not be emptied", errors)
    return removed


def _chosen(name: str | None) -> list[SemanticCache]:
    chosen = [cache for cache in registry.live_caches() if name in (None, cache.name)]
    if name is not None and not chosen:
        known = ", ".join(map(repr, caches())) or "none"
        raise UnknownNameError(f"no live cache is named {name!r}; there are: {known}")
    return chosen


def _one_per_storage() -> Iterable[SemanticCache]:
    return registry.one_per_storage(_chosen(None))
