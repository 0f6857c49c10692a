"""Functions for all caches of the process at once, for a REPL or an admin page."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import TypeAlias

from recallm import checks, registry
from recallm.engine.core import Core
from recallm.engine.drivers import amaintain, maintain
from recallm.engine.maintenance import invalidate, remove_tagged
from recallm.engine.plan import Flow
from recallm.errors import UnknownNameError
from recallm.telemetry.stats import CacheStats, merge


def caches() -> tuple[str, ...]:
    """Return the names of the live caches."""
    return tuple(sorted({core.name for core in registry.live_cores()}))


def stats(name: str | None = None) -> CacheStats:
    """Return the statistics of the caches of this process, added up.

    Args:
        name: only those of this name; None: all.

    Raises:
        UnknownNameError: no live cache has this name.
    """
    cores = _chosen(name)
    total = merge(replace(core.recorder.ledger.stats, circuits=core.circuits) for core in cores)
    return replace(total, namespace_sizes=registry.entries_by_namespace(cores))


def reset_stats(name: str | None = None) -> None:
    """Begin the statistics anew; entries stay. What ``max_wrong`` stopped goes on. Args and Raises as `stats`."""
    for core in _chosen(name):
        core.reset_stats()


def invalidate_namespace(namespace: str) -> int:
    """Remove all entries of a namespace from every storage in use; return how many there were.

    Raises:
        Exception: the storage's own, or an `ExceptionGroup` if several storages raised; the others are emptied.
    """
    return _total(_tried(core, flow) for core, flow in _of_namespace(namespace))


async def ainvalidate_namespace(namespace: str) -> int:
    """Remove all entries of a namespace from every storage in use, without blocking the event loop."""
    return await _atotal(_of_namespace(namespace))


def invalidate_tag(tag: str) -> int:
    """Remove all entries that have a tag from every storage in use that keeps tags; return how many there were.

    Give answers tags by the option ``tags``. Those being computed now are not stored if they are to have this one.
    Raises as `invalidate_namespace`.

    >>> from recallm import semantic_cache
    >>> @semantic_cache(context={}, threshold="exact", storage="memory://", tags=lambda kw, answer: f"doc:{kw['doc']}")
    ... def summarise(prompt: str, *, doc: int) -> str:
    ...     return f"{prompt} {doc}"
    >>> summarise("Summary of", doc=42)
    'Summary of 42'
    >>> invalidate_tag("doc:42")
    1
    """
    return _total(_tried(core, flow) for core, flow in _of_tag(tag))


async def ainvalidate_tag(tag: str) -> int:
    """Remove all entries that have a tag, without blocking the event loop. See `invalidate_tag`."""
    return await _atotal(_of_tag(tag))


def clear() -> int:
    """Remove all entries of every live cache; return how many there were. Raises as `invalidate_namespace`."""
    return _total(_tried(core, flow) for core, flow in _of_everything())


async def aclear() -> int:
    """Remove all entries of every live cache, without blocking the event loop."""
    return await _atotal(_of_everything())


Removal: TypeAlias = tuple[Core, Flow[int]]
"""A flow that removes entries from a cache's storage."""


def _of_namespace(namespace: str) -> list[Removal]:
    names = [checks.text(namespace, "namespace", of_call=True)]
    return [(core, invalidate(names)) for core in registry.one_per_storage(_chosen(None))]


def _of_tag(tag: str) -> list[Removal]:
    name = checks.text(tag, "tag", of_call=True)
    return [(core, remove_tagged(name)) for core in registry.one_per_storage(_chosen(None)) if _may_keep_tags(core)]


def _may_keep_tags(core: Core) -> bool:
    storage = core.existing_storage()
    return storage is None or storage.keeps_tags


def _of_everything() -> list[Removal]:
    return [(core, invalidate(core.namespaces_to_clear())) for core in _chosen(None)]


def _tried(core: Core, flow: Flow[int]) -> int | Exception:
    try:
        return maintain(flow, core)
    except Exception as error:  # noqa: BLE001  # raised when the other storages are emptied
        return error


async def _atotal(removals: Iterable[Removal]) -> int:
    emptying = [amaintain(flow, core) for core, flow in removals]
    return _total(await asyncio.gather(*emptying, return_exceptions=True))


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


def _chosen(name: str | None) -> list[Core]:
    chosen = [core for core in registry.live_cores() if name in (None, core.name)]
    if name is not None and not chosen:
        known = ", ".join(map(repr, caches())) or "none"
        raise UnknownNameError(f"no live cache is named {name!r}; there are: {known}")
    return chosen
