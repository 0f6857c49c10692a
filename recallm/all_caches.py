"""Functions for all caches of the process at once, for a REPL or an admin page."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from recallm import checks, registry
from recallm.engine.core import Core
from recallm.engine.drivers import amaintain, maintain
from recallm.engine.maintenance import invalidate, remove_tagged
from recallm.engine.plan import Flow
from recallm.engine.similar_entries import similar_entries
from recallm.errors import UnknownNameError
from recallm.telemetry.stats import CacheStats, merge

if TYPE_CHECKING:
    from recallm.embedders.managed import ManagedEmbedder
    from recallm.storage.base import StorageBackend
    from recallm.typing import Profile


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


def forget(*, similar_to: str, threshold: Profile | float = "balanced", namespace: str | None = None) -> int:
    """Remove the entries whose prompts are similar to a text, whoever asked and whatever else their calls held.

    Every entry is read for it, so it takes time with their number. Guards are not asked. Entries that another model
    than a cache's own has made stay. Answers being computed now are not stored where something was removed.

    Args:
        similar_to: the text.
        threshold: a profile or a cosine in [0, 1].
        namespace: only there; None: in the namespaces of every live cache.

    Returns:
        How many entries there were.

    Raises:
        InvalidTypeError: an argument has the wrong type.
        InvalidValueError: the threshold is not allowed, or the model cannot represent the text.
        NotImplementedError: a storage cannot list its entries.
        Exception: the storage's or the embedder's own, or an `ExceptionGroup` of several; the others have forgotten.

    >>> from recallm import semantic_cache
    >>> from recallm.testing import FakeEmbedder
    >>> @semantic_cache(context={}, storage="memory://forget", namespace="help", embedder=FakeEmbedder())
    ... def answer(question: str, user: str) -> str:
    ...     return "30 days"
    >>> answer("when are refunds paid", "ada"), answer("when are refunds paid", "bob")
    ('30 days', '30 days')
    >>> forget(similar_to="when are refunds paid", namespace="help")
    2
    """
    text = checks.visible_text(similar_to, "similar_to", use="use a text that says what to forget")
    least = checks.profile_or_cosine(threshold, "threshold")
    names = None if namespace is None else [checks.text(namespace, "namespace", of_call=True)]
    places: dict[tuple[int, int], tuple[StorageBackend, ManagedEmbedder, dict[str, None]]] = {}
    outcomes: list[int | Exception] = []
    for core in _chosen(None):
        if core.config.threshold == "exact":
            continue
        try:
            storage, embedder = core.find_storage(), core.find_embedder()
        except Exception as error:  # noqa: BLE001  # raised when the other storages have forgotten
            outcomes.append(error)
            continue
        place = places.setdefault((id(storage), id(embedder)), (storage, embedder, {}))
        place[2].update(dict.fromkeys(core.namespaces_to_clear() if names is None else names))
    outcomes += [_forgotten(storage, found, text, embedder, least) for storage, embedder, found in places.values()]
    return _total(outcomes)


def _forgotten(
    storage: StorageBackend, namespaces: Iterable[str], text: str, embedder: ManagedEmbedder, threshold: Profile | float
) -> int | Exception:
    removed = 0
    try:
        for name in namespaces:
            keys = [each.entry.key for each in similar_entries(storage.entries(name), text, embedder, threshold).found]
            removed += storage.remove(name, keys) if keys else 0
    except Exception as error:  # noqa: BLE001  # raised when the other storages have forgotten
        return error
    return removed


async def aforget(*, similar_to: str, threshold: Profile | float = "balanced", namespace: str | None = None) -> int:
    """Remove the entries whose prompts are similar to a text, without blocking the event loop. See `forget`."""
    return await asyncio.to_thread(forget, similar_to=similar_to, threshold=threshold, namespace=namespace)


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
