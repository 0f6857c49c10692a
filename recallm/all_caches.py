"""Functions for all caches of the process at once, for a REPL or an admin page."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace

from recallm import checks, registry
from recallm.engine.core import Core
from recallm.engine.drivers import amaintain, maintain
from recallm.engine.maintenance import invalidate
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
    """Begin the statistics anew; entries stay. Args and Raises as `stats`."""
    for core in _chosen(name):
        core.recorder.ledger.reset()


def invalidate_namespace(namespace: str) -> int:
    """Remove all entries of a namespace from every storage in use; return how many there were.

    Raises:
        Exception: the storage's own, or an `ExceptionGroup` if several storages raised; the others are emptied.
    """
    namespaces = [checks.text(namespace, "namespace")]
    return _total([_tried(core, namespaces) for core in registry.one_per_storage(_chosen(None))])


async def ainvalidate_namespace(namespace: str) -> int:
    """Remove all entries of a namespace from every storage in use, without blocking the event loop."""
    namespaces = [checks.text(namespace, "namespace")]
    emptying = [amaintain(invalidate(namespaces), core) for core in registry.one_per_storage(_chosen(None))]
    return _total(await asyncio.gather(*emptying, return_exceptions=True))


def clear() -> int:
    """Remove all entries of every live cache; return how many there were. Raises as `invalidate_namespace`."""
    return _total([_tried(core, core.namespaces) for core in _chosen(None)])


async def aclear() -> int:
    """Remove all entries of every live cache, without blocking the event loop."""
    emptying = [amaintain(invalidate(core.namespaces), core) for core in _chosen(None)]
    return _total(await asyncio.gather(*emptying, return_exceptions=True))


def _tried(core: Core, namespaces: Sequence[str]) -> int | Exception:
    try:
        return maintain(invalidate(namespaces), core)
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


def _chosen(name: str | None) -> list[Core]:
    chosen = [core for core in registry.live_cores() if name in (None, core.name)]
    if name is not None and not chosen:
        known = ", ".join(map(repr, caches())) or "none"
        raise UnknownNameError(f"no live cache is named {name!r}; there are: {known}")
    return chosen
