"""The registry of the process: named storages, URL schemes, embedders, live caches and metrics.

It has no lock: each change is one operation on a dict, which is whole for every thread, finalizer and signal handler.
Objects that are gone are taken out by ``partial(known.pop, place)``, which is called with their weak reference: what a
signal handler raises in a function of Python would be lost there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias
from weakref import ref

from recallm import checks
from recallm.concurrency.breaker import Breaker
from recallm.concurrency.once import Once
from recallm.config import DEFAULT_MODEL
from recallm.embedders.managed import ManagedEmbedder
from recallm.engine.core import Core
from recallm.engine.drivers import maintain
from recallm.engine.maintenance import sizes
from recallm.errors import InvalidTypeError, InvalidValueError, UnknownNameError, a_kind
from recallm.keying.tokens import Tokens
from recallm.storage.base import StorageBackend
from recallm.storage.memory import ThreadSafeInMemoryStorage
from recallm.telemetry.labels import total
from recallm.telemetry.log import log_circuit_change
from recallm.telemetry.metrics import Metrics
from recallm.telemetry.multiprocess import Circuits, Sizes
from recallm.typing import EmbedderLike

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

StorageSource: TypeAlias = StorageBackend | Callable[[], StorageBackend]
StorageFactory: TypeAlias = Callable[[str], StorageBackend]
"""Makes a storage from a URL."""

SCHEMES: Mapping[str, str] = MappingProxyType(
    {
        "memory": "recallm.storage.memory:from_url",
        "null": "recallm.storage.null:from_url",
        "redis": "recallm.storage.redis.storage:from_url",
        "rediss": "recallm.storage.redis.storage:from_url",
        "sqlite": "recallm.storage.sqlite.storage:from_url",
        "unix": "recallm.storage.redis.storage:from_url",
    }
)
"""The factories of recallm's own storages, imported on use."""

tokens = Tokens(partial(os.urandom, 16))
"""The names of objects that pass for functions."""


class _Registration(Once[StorageBackend]):
    """A storage under a name or URL, or what makes it.

    Whoever takes the name puts another registration in its place, so that a storage whose making ends later is none of
    the name's.

    Args:
        what: its name, for messages.
        source: a storage, or a callable that makes one.
    """

    def __init__(self, what: str, source: StorageSource) -> None:
        self.source = source
        if isinstance(source, StorageBackend):
            super().__init__(what, lambda: source)
            self.made = source
        else:
            super().__init__(what, lambda: _checked_product(source(), what))

    @property
    def opening(self) -> Breaker:
        """The circuit breaker of what makes the storage."""
        known: Breaker | None = vars(self).get("_opening")
        return vars(self).setdefault("_opening", _new_breaker()) if known is None else known


def _new_breaker() -> Breaker:
    return Breaker("storage", clock=time.monotonic, changed=log_circuit_change)


_make_default = partial(ThreadSafeInMemoryStorage, max_entries=50_000)
"""Makes the default storage, which nobody has chosen and so may not grow without end."""


def _fresh_default() -> _Registration:
    return _Registration("storage 'default'", _make_default)


_cores: dict[int, ref[Core]] = {}
_registered: dict[str, _Registration] = {"default": _fresh_default()}
_urls: dict[str, _Registration] = {}
_schemes: dict[str, StorageFactory] = {}
_chosen_embedder: ManagedEmbedder | None = None
_default_embedders: dict[str, Once[ManagedEmbedder]] = {}
_managed: dict[int, ref[ManagedEmbedder]] = {}
_breakers: dict[int, tuple[Breaker, ref[StorageBackend]]] = {}


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
            f"storage_or_factory{_shown(storage_or_factory)} is neither a StorageBackend nor a callable that makes one"
        )
    registration = _Registration(f"storage {name!r}", storage_or_factory)
    if replace:
        _registered[name] = registration
    elif _registered.setdefault(name, registration) is not registration:
        raise InvalidValueError(f"a storage named {name!r} is registered; pass replace=True to take its place")


def unregister_storage(name: str) -> None:
    """Forget a name; ``"default"`` goes back to a fresh in-process storage.

    Raises:
        UnknownNameError: no storage has this name.
    """
    if name == "default":
        _registered[name] = _fresh_default()
    elif _registered.pop(name, None) is None:
        raise _unknown(name)


def get_storage(name: str = "default") -> StorageBackend:
    """Return the storage of a name or URL, made now if this is its first use.

    What makes it runs in this thread, or this thread waits for another one that runs it.

    Args:
        name: a registered name, or a URL: ``memory://`` (``?max_entries=1000``), ``sqlite:///answers.db``,
            ``redis://…``, ``rediss://…`` or ``unix://…``. Equal URLs share one storage.

    Raises:
        UnknownNameError: no such name is registered, or the URL's scheme is not known.
        InvalidTypeError: the factory made something that is not a storage.
        InvalidValueError: the factory asks for the storage that it is to make.
        Exception: whatever the factory raises; the next caller asks it again.
    """
    known = _known(name) if isinstance(name, str) else None
    if known is not None and known.made is not None:
        return known.made
    checks.text(name, "name")
    while True:
        registration = _registration(name)
        storage = registration.get()
        if _known(name) is registration:
            return storage


def _known(name: str) -> _Registration | None:
    return (_urls if "://" in name else _registered).get(name)


def _registration(name: str) -> _Registration:
    known = _known(name)
    if known is not None:
        return known
    if "://" not in name:
        raise _unknown(name)
    _url_factory(name)
    return _urls.setdefault(name, _Registration(f"scheme {_scheme_of(name)!r}", lambda: _url_factory(name)(name)))


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
        raise InvalidTypeError(f"factory={factory!r} is {a_kind(factory)}; use a callable of one URL")
    scheme = scheme.lower()
    if replace:
        _schemes[scheme] = factory
    elif scheme in SCHEMES or _schemes.setdefault(scheme, factory) is not factory:
        raise InvalidValueError(f"the scheme {scheme!r} is registered; pass replace=True to take its place")
    for url in [url for url in list(_urls) if _scheme_of(url) == scheme]:
        _urls.pop(url, None)


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
            f"storage{_shown(storage)} is {a_kind(storage)}; use a StorageBackend, a registered name or a URL"
        )
    if "://" in storage:
        get_storage(storage)
    elif storage not in _registered:
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


def existing_storage_finder(source: StorageBackend | str) -> Callable[[], StorageBackend | None]:
    """Return a function that returns the storage in use now, or None if it is yet to be made; it never waits.

    The function raises `UnknownNameError` if the name is no longer registered.
    """
    if not isinstance(source, str):
        return lambda: source
    if "://" in source:
        return partial(existing_storage, source)

    def existing() -> StorageBackend | None:
        registration = _registered.get(source)
        if registration is None:
            raise _unknown(source)
        # This one takes no time to make.
        return registration.get() if registration.source is _make_default else registration.made

    return existing


def opening_finder(source: StorageBackend | str) -> Callable[[], Breaker]:
    """Return a function that returns the circuit breaker of what makes the storage in use now."""
    return partial(breaker_of, source) if isinstance(source, StorageBackend) else lambda: _registration(source).opening


def existing_storage(source: StorageBackend | str) -> StorageBackend | None:
    """Return a storage, or the one that a name stands for; None if it is yet to be made."""
    if isinstance(source, StorageBackend):
        return source
    registration = _known(source)
    return None if registration is None else registration.made


def storages() -> Mapping[str, StorageSource]:
    """Return the registered names, each with its storage or, until it is first used, its factory."""
    known = list(_registered.items())
    return MappingProxyType({name: each.source if each.made is None else each.made for name, each in known})


def _shown(storage: object) -> str:
    """Return what was given for a storage, unless it may be a URL with a password."""
    return "" if isinstance(storage, str | bytes) else f"={storage!r}"


def _unknown(name: str) -> UnknownNameError:
    known = ", ".join(map(repr, sorted(_registered)))
    shown = f"{name.partition(':')[0]}:…" if ":" in name else name  # the rest of what is nearly a URL may be a password
    return UnknownNameError(f"no storage is named {shown!r}; registered: {known}; register_storage(name, ...) adds one")


def _scheme_of(url: str) -> str:
    return url.partition("://")[0].lower()


def _is_scheme(text: str) -> bool:
    return text[:1].isalpha() and text.isascii() and all(each.isalnum() or each in "+-." for each in text)


def _url_factory(url: str) -> StorageFactory:
    scheme = _scheme_of(url)
    factory = _schemes.get(scheme)
    if factory is None:
        if scheme not in SCHEMES:
            known = ", ".join(f"{each}://" for each in sorted({*SCHEMES, *_schemes}))
            if not _is_scheme(scheme):  # what cannot be a scheme may be a password, and is not quoted
                raise UnknownNameError(f"a storage URL begins with no scheme; use {known}")
            raise UnknownNameError(
                f"no storage has URLs of scheme {scheme!r}; use {known}, or register_scheme({scheme!r}, ...)"
            )
        module, _, name = SCHEMES[scheme].partition(":")
        imported: StorageFactory = getattr(import_module(module), name)
        return imported
    return factory


def _checked_product(storage: object, source: str) -> StorageBackend:
    if not isinstance(storage, StorageBackend):
        raise InvalidTypeError(f"the factory of {source} made {a_kind(storage)}, no StorageBackend")
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
        model_name: FastEmbed model to use if none of the extras ``offline`` and ``offline-multilingual`` is installed,
            and ``RECALLM_EMBEDDER`` names no other.
    """
    return default_embedder(model_name).original


def default_embedder(model_name: str = DEFAULT_MODEL) -> ManagedEmbedder:
    """Return the managed embedder that is used wherever none is given. Args as `get_default_embedder`."""
    if _chosen_embedder is not None:
        return _chosen_embedder
    known = _default_embedders.get(model_name)
    if known is None:
        made = Once(f"the default embedder {model_name!r}", partial(_installed_embedder, model_name))
        known = _default_embedders.setdefault(model_name, made)
    return known.get() if known.made is None else known.made


def _installed_embedder(model_name: str) -> ManagedEmbedder:
    from recallm.embedders.chosen import installed_default  # a user's own embedder needs none of it

    return managed(installed_default(model_name, environ=os.environ))


def managed(embedder: EmbedderLike) -> ManagedEmbedder:
    """Return the `ManagedEmbedder` of an embedder: one for each, so that all share its memo and its load."""
    # It keeps its embedder alive, so the id is not given to another object meanwhile.
    place = id(embedder)
    while True:
        alive = _managed.get(place)
        known = None if alive is None else alive()
        if known is not None:
            return known
        if alive is not None:
            _managed.pop(place, None)
        made = ManagedEmbedder(embedder)
        _managed.setdefault(place, ref(made, partial(_managed.pop, place)))


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
    # By identity: a storage may be a dataclass, which compares by its fields and has no hash.
    place = id(storage)
    known = _breakers.get(place)
    if known is None:
        alive = ref(storage, partial(_breakers.pop, place))
        known = _breakers.setdefault(place, (_new_breaker(), alive))
    return known[0]


def use_metrics_registry(registry: CollectorRegistry) -> None:
    """Put recallm's Prometheus metrics into `registry` from the next event on.

    Args:
        registry: a ``prometheus_client.CollectorRegistry``; the default one is used if none is given.
    """
    global _metrics  # noqa: PLW0603  # the registry is where the process's state lives
    # Kept with the registry, which may so be collected with its metrics.
    _metrics = vars(registry).setdefault(f"_recallm_{id(_sizes)}", Metrics(registry, _sizes, _circuits))


def metrics() -> Metrics:
    """Return the process's metrics."""
    return _metrics


def _sizes() -> Sizes:
    for core, namespaces in one_per_storage(live_cores()).items():
        yield maintain(sizes(sorted(namespaces)), core), _is_shared(core)


def _is_shared(core: Core) -> bool:
    """Return whether other processes may see a cache's entries: those of a storage that waits for something."""
    try:
        storage = core.existing_storage()
    except UnknownNameError:
        return False
    return storage is not None and storage.blocking


def _circuits() -> Circuits:
    found: dict[str, dict[str, str]] = {}
    for core in live_cores():
        found.setdefault(core.name, {}).update(core.circuits)
    return found


_metrics = Metrics(None, _sizes, _circuits)


def add_core(core: Core) -> None:
    """Add a cache to those of the process, for as long as it lives."""
    place = id(core)
    _cores[place] = ref(core, partial(_cores.pop, place))


def live_cores() -> tuple[Core, ...]:
    """Return the caches of the process."""
    return tuple(core for alive in list(_cores.values()) if (core := alive()) is not None)


def one_per_storage(cores: Iterable[Core]) -> Mapping[Core, frozenset[str]]:
    """Return one cache of each storage, and the namespaces that all caches of this storage have used."""
    by_storage: dict[int, tuple[Core, set[str]]] = {}
    for core in cores:
        try:
            storage = core.existing_storage()
            place = id(core.opening if storage is None else storage)
        except UnknownNameError:  # its name is no longer registered: it shares with nobody
            place = id(core)
        by_storage.setdefault(place, (core, set()))[1].update(core.namespaces)
    return {core: frozenset(namespaces) for core, namespaces in by_storage.values()}


def entries_by_namespace(cores: Iterable[Core]) -> Mapping[str, int]:
    """Return the live entries of each namespace, those of a storage shared by several caches once."""
    return total(maintain(sizes(sorted(namespaces)), core) for core, namespaces in one_per_storage(cores).items())
