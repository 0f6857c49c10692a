"""The registry of the process: named storages, URL schemes, embedders, live caches and metrics."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary, ref

from recallm import checks
from recallm.concurrency.breaker import Breaker
from recallm.concurrency.forking import ForkSafeLock
from recallm.config import DEFAULT_MODEL
from recallm.embedders.managed import ManagedEmbedder
from recallm.engine.core import Core
from recallm.engine.drivers import maintain
from recallm.engine.maintenance import sizes
from recallm.errors import InvalidTypeError, InvalidValueError, UnknownNameError
from recallm.keying.tokens import Tokens
from recallm.storage.base import StorageBackend
from recallm.storage.memory import ThreadSafeInMemoryStorage
from recallm.telemetry.log import log_circuit_change
from recallm.telemetry.metrics import Metrics, default_registry
from recallm.typing import EmbedderLike

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

StorageSource: TypeAlias = StorageBackend | Callable[[], StorageBackend]
StorageFactory: TypeAlias = Callable[[str], StorageBackend]
"""Makes a storage from a URL."""

SCHEMES: Mapping[str, str] = MappingProxyType(
    {
        "memory": "recallm.storage.memory:from_url",
        "redis": "recallm.storage.redis.storage:from_url",
        "rediss": "recallm.storage.redis.storage:from_url",
        "unix": "recallm.storage.redis.storage:from_url",
    }
)
"""The factories of recallm's own storages, imported on use."""

tokens = Tokens(partial(os.urandom, 16))
"""The names of objects that pass for functions."""

_lock = ForkSafeLock(threading.RLock)
_cores: WeakSet[Core] = WeakSet()
_factories: dict[str, StorageSource] = {"default": ThreadSafeInMemoryStorage}
_instances: dict[str, StorageBackend] = {}
_schemes: dict[str, StorageFactory] = {}
_chosen_embedder: ManagedEmbedder | None = None
_default_embedders: dict[str, ManagedEmbedder] = {}
_managed: WeakValueDictionary[int, ManagedEmbedder] = WeakValueDictionary()
_breakers: dict[int, tuple[Breaker, ref[StorageBackend]]] = {}
_metrics: Metrics | None = None
_metrics_registry: CollectorRegistry | None = None
_metrics_by_registry: WeakKeyDictionary[Any, Metrics] = WeakKeyDictionary()


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
    checks.text(name, "name")
    if "://" in name:
        raise InvalidValueError(f"name={name.partition('://')[0]!r}://… looks like a URL; use a plain name")
    if not isinstance(storage_or_factory, StorageBackend) and not callable(storage_or_factory):
        raise InvalidTypeError(
            f"storage_or_factory={storage_or_factory!r} is neither a StorageBackend nor a callable that makes one"
        )
    with _lock:
        if name in _factories and not replace:
            raise InvalidValueError(f"a storage named {name!r} is registered; pass replace=True to take its place")
        _factories[name] = storage_or_factory
        _instances.pop(name, None)


def unregister_storage(name: str) -> None:
    """Forget a name; ``"default"`` goes back to a fresh in-process storage.

    Raises:
        UnknownNameError: no storage has this name.
    """
    with _lock:
        if name not in _factories:
            raise _unknown(name)
        _instances.pop(name, None)
        del _factories[name]
        if name == "default":
            _factories[name] = ThreadSafeInMemoryStorage


def get_storage(name: str = "default") -> StorageBackend:
    """Return the storage of a name or URL, made now if this is its first use.

    Args:
        name: a registered name, or a URL: ``memory://`` (``?max_entries=1000``), ``redis://…``,
            ``rediss://…`` or ``unix://…``. Equal URLs share one storage.

    Raises:
        UnknownNameError: no such name is registered, or the URL's scheme is not known.
        InvalidTypeError: the factory made something that is not a storage.
    """
    made = _instances.get(name) if isinstance(name, str) else None
    if made is not None:
        return made
    checks.text(name, "name")
    with _lock:
        if name in _instances:
            return _instances[name]
        if "://" in name:
            _instances[name] = _from_url(name)
            return _instances[name]
        if name not in _factories:
            raise _unknown(name)
        source = _factories[name]
        storage = source if isinstance(source, StorageBackend) else source()
        _instances[name] = _checked_product(storage, f"storage {name!r}")
        return _instances[name]


def register_scheme(scheme: str, factory: StorageFactory, *, replace: bool = False) -> None:
    """Give URLs of a scheme a storage: ``register_scheme("qdrant", Qdrant.from_url)`` makes ``qdrant://…`` one.

    Args:
        scheme: what stands before ``://``: letters, digits, ``+``, ``-`` and ``.``, a letter first. Upper and lower
            case are the same.
        factory: makes a storage from a URL of this scheme, on the URL's first use; equal URLs share one.
        replace: True to take a scheme that is taken.

    Raises:
        InvalidTypeError: `scheme` is not a str, or `factory` not callable.
        InvalidValueError: the scheme is taken, or is none that a URL can have.
    """
    if not _is_scheme(checks.text(scheme, "scheme")):
        shown = scheme.partition(":")[0]  # the rest of a URL may hold a password
        raise InvalidValueError(f"scheme={shown!r}…; use letters, digits, '+', '-' and '.', a letter first")
    if not callable(factory):
        raise InvalidTypeError(f"factory={factory!r} is a {type(factory).__name__}; use a callable of one URL")
    scheme = scheme.lower()
    with _lock:
        if not replace and (scheme in SCHEMES or scheme in _schemes):
            raise InvalidValueError(f"the scheme {scheme!r} is registered; pass replace=True to take its place")
        _schemes[scheme] = factory
        for url in [name for name in _instances if "://" in name and _scheme_of(name) == scheme]:
            del _instances[url]


def checked_storage_source(storage: object) -> StorageBackend | str:
    """Return a storage, or a name or URL that stands for one; a URL's storage is made now.

    Raises:
        InvalidTypeError: `storage` is something else.
        UnknownNameError: no such name is registered, or the URL's scheme is not known.
    """
    if isinstance(storage, StorageBackend):
        return storage
    if not isinstance(storage, str):
        raise InvalidTypeError(
            f"storage={storage!r} is a {type(storage).__name__}; use a StorageBackend, a registered name or a URL"
        )
    if "://" in storage:
        get_storage(storage)
    elif storage not in _factories:
        raise _unknown(storage)
    return storage


def checked_storage(storage: StorageBackend, *, asynchronous: bool) -> StorageBackend:
    """Return a storage that serves functions of this kind.

    Raises:
        InvalidTypeError: the function is sync and the storage has only an async client.
    """
    if not asynchronous and not storage.serves_sync:
        raise InvalidTypeError(
            f"{storage!r} has only an async client and cannot serve a sync function; "
            "give it a sync_client as well, or decorate an async function"
        )
    return storage


def storage_finder(source: StorageBackend | str) -> Callable[[], StorageBackend]:
    """Return a function that returns the storage in use now, as a name may be registered for another storage later."""
    return partial(get_storage, source) if isinstance(source, str) else lambda: source


def existing_storage(source: StorageBackend | str) -> StorageBackend | None:
    """Return a storage, or the one that a name stands for; None if it is yet to be made."""
    if isinstance(source, StorageBackend):
        return source
    with _lock:
        found = _instances.get(source, _factories.get(source))
    return found if isinstance(found, StorageBackend) else None


def storages() -> Mapping[str, StorageSource]:
    """Return the registered names, each with its storage or, until it is first used, its factory."""
    with _lock:
        return MappingProxyType({name: _instances.get(name, source) for name, source in _factories.items()})


def _unknown(name: str) -> UnknownNameError:
    known = ", ".join(map(repr, sorted(_factories)))
    return UnknownNameError(f"no storage is named {name!r}; registered: {known}; register_storage(name, ...) adds one")


def _scheme_of(url: str) -> str:
    return url.partition("://")[0].lower()


def _is_scheme(text: str) -> bool:
    return text[:1].isalpha() and text.isascii() and all(each.isalnum() or each in "+-." for each in text)


def _from_url(url: str) -> StorageBackend:
    scheme = _scheme_of(url)
    factory = _schemes.get(scheme)
    if factory is None:
        if scheme not in SCHEMES:
            known = ", ".join(f"{each}://" for each in sorted({*SCHEMES, *_schemes}))
            if not _is_scheme(scheme):  # what cannot be a scheme may be a password, and is not quoted
                raise UnknownNameError(f"a storage URL begins with no scheme; use {known}")
            raise UnknownNameError(
                f"storage URL of scheme {scheme!r}; use {known}, or register_scheme({scheme!r}, ...) for your own"
            )
        module, _, name = SCHEMES[scheme].partition(":")
        factory = getattr(import_module(module), name)
    return _checked_product(factory(url), f"scheme {scheme!r}")


def _checked_product(storage: object, source: str) -> StorageBackend:
    if not isinstance(storage, StorageBackend):
        raise InvalidTypeError(f"the factory of {source} made a {type(storage).__name__}, no StorageBackend")
    return storage


def set_default_embedder(embedder: EmbedderLike | None) -> None:
    """Use `embedder` wherever none is given, from the next call on; None: choose one by the installed extras.

    Raises:
        InvalidTypeError: it has no ``model_id`` or no ``embed``.
    """
    global _chosen_embedder  # noqa: PLW0603  # the registry is where the process's state lives
    _chosen_embedder = None if embedder is None else managed(checks.embedder(embedder))


def get_default_embedder(model_name: str = DEFAULT_MODEL) -> EmbedderLike:
    """Return the embedder that is used wherever none is given; this loads no model.

    Args:
        model_name: FastEmbed model to use if neither the extra ``offline`` is installed nor
            ``RECALLM_EMBEDDER`` names another.
    """
    return default_embedder(model_name).original


def default_embedder(model_name: str = DEFAULT_MODEL) -> ManagedEmbedder:
    """Return the managed embedder that is used wherever none is given. Args as `get_default_embedder`."""
    if _chosen_embedder is not None:
        return _chosen_embedder
    known = _default_embedders.get(model_name)
    if known is not None:
        return known
    with _lock:
        if model_name not in _default_embedders:
            from recallm.embedders.fastembed import installed_default  # a user's own embedder needs none of it

            _default_embedders[model_name] = managed(installed_default(model_name, environ=os.environ))
        return _default_embedders[model_name]


def managed(embedder: EmbedderLike) -> ManagedEmbedder:
    """Return the `ManagedEmbedder` of an embedder: one for each, so that all share its memo and its load."""
    with _lock:
        # It keeps its embedder alive, so the id is not given to another object meanwhile.
        known = _managed.get(id(embedder))
        if known is None:
            known = _managed[id(embedder)] = ManagedEmbedder(embedder)
        return known


def embedder_finder(embedder: EmbedderLike | None, model_name: str) -> Callable[[], ManagedEmbedder]:
    """Return a function that returns the embedder in use now: the one given, else the default one, which may change.

    Raises:
        InvalidTypeError: `embedder` has no ``model_id`` or no ``embed``.
    """
    if embedder is None:
        return partial(default_embedder, model_name)
    own = managed(checks.embedder(embedder))
    return lambda: own


def breaker_of(storage: StorageBackend) -> Breaker:
    """Return the circuit breaker of a storage: one for each storage, shared by all caches that use it."""
    key = id(storage)
    if key not in _breakers:
        with _lock:
            # By identity: a storage may be a dataclass, which compares by its fields and has no hash.
            alive = ref(storage, lambda _: _breakers.pop(key, None))
            _breakers.setdefault(key, (Breaker("storage", clock=time.monotonic, changed=log_circuit_change), alive))
    return _breakers[key][0]


def use_metrics_registry(registry: CollectorRegistry) -> None:
    """Put recallm's Prometheus metrics into `registry` from the next event on.

    Args:
        registry: a ``prometheus_client.CollectorRegistry``; the default one is used if none is given.
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
            registry = default_registry() if _metrics_registry is None else _metrics_registry
            known = _metrics_by_registry.get(registry)
            _metrics = Metrics(registry, _sizes, _circuits) if known is None else known
            _metrics_by_registry[registry] = _metrics
        return _metrics


def _sizes() -> Mapping[str, int]:
    return entries_by_namespace(live_cores())


def _circuits() -> Mapping[str, Iterable[str]]:
    return {core.name: core.circuits for core in live_cores()}


def add_core(core: Core) -> None:
    """Add a cache to those of the process, for as long as it lives."""
    with _lock:
        _cores.add(core)


def live_cores() -> tuple[Core, ...]:
    """Return the caches of the process."""
    with _lock:
        return tuple(_cores)


def one_per_storage(cores: Iterable[Core]) -> Mapping[Core, frozenset[str]]:
    """Return one cache of each storage, and the namespaces that all caches of this storage have used."""
    by_storage: dict[int, tuple[Core, set[str]]] = {}
    for core in cores:
        try:
            place = id(core.find_storage())
        except Exception:  # noqa: BLE001  # its name is no longer registered, or its factory fails: it shares with nobody
            place = id(core)
        by_storage.setdefault(place, (core, set()))[1].update(core.namespaces)
    return {core: frozenset(namespaces) for core, namespaces in by_storage.values()}


def entries_by_namespace(cores: Iterable[Core]) -> Mapping[str, int]:
    """Return the live entries of each namespace, those of a storage shared by several caches once."""
    total: dict[str, int] = {}
    for core, namespaces in one_per_storage(cores).items():
        for namespace, size in maintain(sizes(sorted(namespaces)), core).items():
            total[namespace] = total.get(namespace, 0) + size
    return total
