"""Every cache of the process at once: what a REPL uses."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from recallm import registry
from recallm.errors import UnknownNameError
from recallm.tally import CacheStats, merge

if TYPE_CHECKING:
    from recallm.cache import SemanticCache


def caches() -> tuple[str, ...]:
    """Return the names of the live caches."""
    return tuple(sorted({cache.name for cache in tuple(registry.caches)}))


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
    """Remove all entries of a namespace from every storage in use; return how many there were."""
    return sum(cache.invalidate_namespace(namespace) for cache in _one_per_storage())


async def ainvalidate_namespace(namespace: str) -> int:
    """Remove all entries of a namespace from every storage in use, without blocking the event loop."""
    return sum([await cache.ainvalidate_namespace(namespace) for cache in _one_per_storage()])


def clear() -> int:
    """Remove all entries of every live cache; return how many there were."""
    return sum(cache.clear() for cache in _chosen(None))


async def aclear() -> int:
    """Remove all entries of every live cache, without blocking the event loop."""
    return sum([await cache.aclear() for cache in _chosen(None)])


def _chosen(name: str | None) -> list[SemanticCache]:
    chosen = [cache for cache in tuple(registry.caches) if name in (None, cache.name)]
    if name is not None and not chosen:
        known = ", ".join(map(repr, caches())) or "none"
        raise UnknownNameError(f"no live cache is named {name!r}; there are: {known}")
    return chosen


def _one_per_storage() -> list[SemanticCache]:
    return list({id(cache.storage): cache for cache in _chosen(None)}.values())
