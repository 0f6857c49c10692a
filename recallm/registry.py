"""The process's names: storages, caches, the default embedder, the metrics. The only module-level state."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qsl, urlsplit
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary, ref

from recallm.breaker import Breaker
from recallm.config import DEFAULT_MODEL, checked_text
from recallm.encoding import Encoder, checked_embedder
from recallm.errors import InvalidTypeError, InvalidValueError, UnknownNameError
from recallm.events import told
from recallm.forking import ForkSafeLock
from recallm.identity import Identities
from recallm.metrics import Metrics
from recallm.storage.base import StorageBackend
from recallm.storage.memory import ThreadSafeInMemoryStorage
from recallm.typing import Embedder

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from recallm.cache import SemanticCache
    from recallm.recording import Recording

StorageSource: TypeAlias = StorageBackend | Callable[[], StorageBackend]

identities = Identities()
caches: WeakSet[SemanticCache] = WeakSet()
recordings: tuple[Recording, ...] = ()

_lock = ForkSafeLock(threading.RLock)
_sources: dict[str, StorageSource] = {"default": ThreadSafeInMemoryStorage}
_made: dict[str, StorageBackend] = {}
_chosen_encoder: Encoder | None = None
_default_encoders: dict[str, Encoder] = {}
_encoders: WeakValueDictionary[int, Encoder] = WeakValueDictionary()
_breakers: dict[int, tuple[Breaker, ref[StorageBackend]]] = {}
_metrics: Metrics | None = None
_metrics_registry: CollectorRegistry | None = None


def register_storage(name: str, storage_or_factory: StorageSource, *, replace: bool = False) -> None:
    """Give a storage a name that `semantic_cache(storage=...)` understands.

    Functions decorated with the name use the new storage from their next call on.

    Args:
        name: non-empty, without ``://``.
        storage_or_factory: a storage, or a callable that makes one on first use.
        replace: True to take a name that is taken.

    Raises:
        InvalidTypeError: `name` is not a str, or `storage_or_factory` neither a storage nor callable.
        InvalidValueError: the name is taken, empty or looks like a URL.
    """
    checked_text(name, field="name")
    if "://" in name:
        raise InvalidValueError(f"name={name.partition('://')[0]!r}://… looks like a URL; use a plain name")
    if not isinstance(storage_or_factory, StorageBackend) and not callable(storage_or_factory):
        raise InvalidTypeError(
            f"storage_or_factory={storage_or_factory!r} is neither a StorageBackend nor a callable that makes one"
        )
    with _lock:
        if name in _sources and not replace:
            raise InvalidValueError(f"a storage named {name!r} is registered; pass replace=True to take its place")
        _sources[name] = storage_or_factory
        _made.pop(name, None)


def unregister_storage(name: str) -> None:
    """Forget a name; ``"default"`` goes back to a fresh in-process storage.

    Raises:
        UnknownNameError: no storage has this name.
    """
    with _lock:
        if name not in _sources:
            raise _unknown(name)
        _made.pop(name, None)
        del _sources[name]
        if name == "default":
            _sources[name] = ThreadSafeInMemoryStorage


def get_storage(name: str = "default") -> StorageBackend:
    """Return the storage of a name or URL, made now if this is its first use.

    Args:
        name: a registered name, or a URL: ``memory://`` (``?max_entries=1000``), ``redis://…``,
            ``rediss://…`` or ``unix://…``. Equal URLs share one storage.

    Raises:
        UnknownNameError: no such name is registered, or the URL's scheme is not known.
        InvalidTypeError: the factory made something that is not a storage.
    """
    made = _made.get(name) if isinstance(name, str) else None
    if made is not None:
        return made
    checked_text(name, field="name")
    with _lock:
        if name in _made:
            return _made[name]
        if "://" in name:
            _made[name] = _from_url(name)
            return _made[name]
        if name not in _sources:
            raise _unknown(name)
        source = _sources[name]
        storage = source if isinstance(source, StorageBackend) else source()
        if not isinstance(storage, StorageBackend):
            raise InvalidTypeError(
                f"the factory of storage {name!r} made a {type(storage).__name__}, no StorageBackend"
            )
        _made[name] = storage
        return storage


def known_storage(name: str) -> str:
    """Return `name` where it can be resolved later, without making the storage.

    Raises:
        UnknownNameError: no such name is registered, or the URL's scheme is not known.
    """
    if "://" in name:
        get_storage(name)
    elif name not in _sources:
        raise _unknown(name)
    return name


def resolved(storage: StorageBackend | str) -> StorageBackend | None:
    """Return the storage that a name stands for, or None where it is yet to be made."""
    if isinstance(storage, StorageBackend):
        return storage
    with _lock:
        found = _made.get(storage, _sources.get(storage))
    return found if isinstance(found, StorageBackend) else None


def storages() -> Mapping[str, StorageSource]:
    """Return the registered names and what they stand for."""
    with _lock:
        return MappingProxyType({name: _made.get(name, source) for name, source in _sources.items()})


def _unknown(name: str) -> UnknownNameError:
    known = ", ".join(map(repr, sorted(_sources)))
    return UnknownNameError(f"no storage is named {name!r}; registered: {known}; register_storage(name, ...) adds one")


def _from_url(url: str) -> StorageBackend:
    scheme = urlsplit(url).scheme
    if scheme == "memory":
        return _memory_from_url(url)
    if scheme in ("redis", "rediss", "unix"):
        from recallm.storage.redis import RedisStorage  # the extra's module is imported on use

        storage: StorageBackend = RedisStorage.from_url(url)
        return storage
    raise UnknownNameError(f"storage URL of scheme {scheme!r}; use memory://, redis://, rediss:// or unix://")


def _memory_from_url(url: str) -> StorageBackend:
    options = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    match options:
        case []:
            return ThreadSafeInMemoryStorage()
        case [("max_entries", bound)] if bound.isdecimal():
            return ThreadSafeInMemoryStorage(max_entries=int(bound))
    given = ", ".join(f"{name}={value}" for name, value in options)
    raise InvalidValueError(f"memory:// with {given}; it takes max_entries=<positive int> and nothing else")


def set_default_embedder(embedder: Embedder | None) -> None:
    """Have `embedder` used wherever none is given, from the next call on; None: choose by what is installed.

    Raises:
        InvalidTypeError: it has no ``model_id`` or no ``embed``.
    """
    global _chosen_encoder  # noqa: PLW0603  # the registry is where the process's state lives
    _chosen_encoder = None if embedder is None else encoder_of(checked_embedder(embedder))


def get_default_embedder(model_name: str = DEFAULT_MODEL) -> Embedder:
    """Return the embedder that is used where none is given; this loads no model.

    Args:
        model_name: FastEmbed model to use where neither the extra ``offline`` is installed nor
            ``RECALLM_EMBEDDER`` names another.
    """
    return default_encoder(model_name).embedder


def default_encoder(model_name: str) -> Encoder:
    """Return the encoder of the embedder that is used where none is given."""
    if _chosen_encoder is not None:
        return _chosen_encoder
    encoder = _default_encoders.get(model_name)
    if encoder is not None:
        return encoder
    with _lock:
        if model_name not in _default_encoders:
            from recallm.embedders import installed_default  # a user's own embedder needs none of it

            _default_encoders[model_name] = encoder_of(installed_default(model_name, environ=os.environ))
        return _default_encoders[model_name]


def encoder_of(embedder: Embedder) -> Encoder:
    """Return the encoder of an embedder: one for each, so that its memo and its load are shared."""
    with _lock:
        # An encoder keeps its embedder alive, so the id is not given to another object meanwhile.
        encoder = _encoders.get(id(embedder))
        if encoder is None:
            encoder = _encoders[id(embedder)] = Encoder(embedder)
        return encoder


def breaker_of(storage: StorageBackend) -> Breaker:
    """Return what keeps calls from a storage in trouble: one for each storage, whoever uses it."""
    key = id(storage)
    if key not in _breakers:
        with _lock:
            # By identity: a storage may be a dataclass, which compares by its fields and has no hash.
            alive = ref(storage, lambda _: _breakers.pop(key, None))
            _breakers.setdefault(key, (Breaker("storage", clock=time.monotonic, changed=told), alive))
    return _breakers[key][0]


def use_metrics_registry(registry: CollectorRegistry) -> None:
    """Have recallm's Prometheus metrics live in `registry` from the next event on.

    Args:
        registry: a ``prometheus_client.CollectorRegistry``; the default one is used where none is given.
    """
    global _metrics, _metrics_registry  # the registry is where the process's state lives
    with _lock:
        if registry is not _metrics_registry:
            _metrics, _metrics_registry = None, registry


def metrics() -> Metrics | None:
    """Return the process's metrics, made now if this is their first use."""
    return _metrics if _metrics is not None else _make_metrics()


def _make_metrics() -> Metrics | None:
    global _metrics  # noqa: PLW0603  # the registry is where the process's state lives
    with _lock:
        if _metrics is None:
            from prometheus_client import REGISTRY

            registry = _metrics_registry if _metrics_registry is not None else REGISTRY
            known = _known_metrics.get(registry)
            _metrics = known if known is not None else Metrics(registry, _entries, _circuits)
            _known_metrics[registry] = _metrics
        return _metrics


def _entries() -> Mapping[str, int]:
    return entries_by_namespace(live_caches())


def _circuits() -> Mapping[str, Iterable[str]]:
    return {cache.name: cache.circuits for cache in live_caches()}


_known_metrics: WeakKeyDictionary[Any, Metrics] = WeakKeyDictionary()


def add_cache(cache: SemanticCache) -> None:
    """Count a cache among those of the process, for as long as it lives."""
    with _lock:
        caches.add(cache)


def live_caches() -> tuple[SemanticCache, ...]:
    """Return the caches of the process."""
    with _lock:
        return tuple(caches)


def one_per_storage(chosen: Iterable[SemanticCache]) -> Mapping[SemanticCache, frozenset[str]]:
    """Return one cache of each storage, and the namespaces that all caches of this storage have used."""
    by_storage: dict[int, tuple[SemanticCache, set[str]]] = {}
    for cache in chosen:
        try:
            place = id(cache.storage)
        except Exception:  # noqa: BLE001  # its name is no longer registered, or its factory fails: it shares with none
            place = id(cache)
        by_storage.setdefault(place, (cache, set()))[1].update(cache.namespaces)
    return {cache: frozenset(namespaces) for cache, namespaces in by_storage.values()}


def entries_by_namespace(chosen: Iterable[SemanticCache]) -> Mapping[str, int]:
    """Return the live entries of each namespace, those of a storage shared by several caches once."""
    total: dict[str, int] = {}
    for cache, namespaces in one_per_storage(chosen).items():
        for namespace, size in cache.namespace_sizes(sorted(namespaces)).items():
            total[namespace] = total.get(namespace, 0) + size
    return total
