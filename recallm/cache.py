"""`SemanticCache`, and the `CachedFunction` that it makes of a function."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar, Unpack, overload

from recallm import checks, registry
from recallm.calls import Called, Takes1, awaited_handle, handle
from recallm.codec.codec import Codec
from recallm.config import CacheConfig, checked_config
from recallm.engine.callsite import CallSite, Invocation
from recallm.engine.core import Core
from recallm.engine.drivers import amaintain, awaited, maintain
from recallm.engine.flow import Plan
from recallm.engine.maintenance import invalidate, load_model, sizes
from recallm.errors import InvalidTypeError
from recallm.guards.default import DEFAULT_GUARDS
from recallm.keying.bookkeeping import argument_records
from recallm.keying.identity import FunctionIdentity
from recallm.keying.ignoring import Ignore, ignore_tree, merged
from recallm.keying.keyer import Keyer, fixed_forms
from recallm.keying.scope import calling_line
from recallm.keying.signature import (
    Binder,
    CallKind,
    checked_ignore,
    checked_prompt,
    chosen_call_kind,
    function_path,
    own_call_kind,
    unwrap_function,
    where_defined,
)
from recallm.options import NOT_GIVEN, WrapOptions, chosen, with_options
from recallm.records import Explanation
from recallm.storage.base import StorageBackend
from recallm.telemetry.advice import Advice
from recallm.telemetry.recorder import Recorder
from recallm.telemetry.stats import CacheStats
from recallm.typing import EmbedderLike, Guard

if TYPE_CHECKING:

    class FunctionWrapper:
        """The type of wrapt's wrapper for type checkers, as wrapt's own types do not allow keyword options."""

        def __init__(self, wrapped: Any, wrapper: Any) -> None: ...

    class BoundFunctionWrapper(FunctionWrapper):
        """A wrapper bound to an object."""

        _self_parent: Any
else:
    from wrapt import BoundFunctionWrapper, FunctionWrapper

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")
Unbound = ParamSpec("Unbound")


class SemanticCache:
    """A semantic cache: wraps functions, stores their answers and counts hits, misses and errors.

    Args:
        storage: a storage, a registered name or a URL; None: ``"default"``, shared by the process.
        config: settings; None: `CacheConfig()`.
        embedder: see `recallm.typing.EmbedderLike`; None: the default one, shared by the process.
        guards: asked in order about each candidate at or above the threshold; ``()``: none.
        name: name under which `recallm.stats(name)` reports this cache; None: the default namespace.

    Attributes:
        name: see above.
        config: see above.
        guards: see above.

    Raises:
        InvalidTypeError: an argument has the wrong type.
        UnknownNameError: no such storage is registered.
    """

    def __init__(
        self,
        storage: StorageBackend | str | None = None,
        config: CacheConfig | None = None,
        embedder: EmbedderLike | None = None,
        *,
        guards: Sequence[Guard] = DEFAULT_GUARDS,
        name: str | None = None,
    ) -> None:
        self.config = checked_config(config)
        self.name = str(self.config.default_namespace) if name is None else checks.text(name, "name")
        self.guards = checks.guards(guards)
        self._source = registry.checked_storage_source("default" if storage is None else storage)
        self._core = Core(
            name=self.name,
            config=self.config,
            find_storage=registry.storage_finder(self._source),
            find_breaker=registry.breaker_of,
            find_embedder=registry.embedder_finder(embedder, self.config.embedding_model),
            recorder=Recorder(self.name, metrics=registry.metrics),
        )
        registry.add_core(self._core)

    def __repr__(self) -> str:
        stats = self._core.recorder.ledger.stats
        return f"<SemanticCache {self.name!r}: {stats.hits} hits, {stats.misses} misses>"

    @property
    def storage(self) -> StorageBackend:
        """The storage in use now; a name may be registered for another storage later."""
        return self._core.find_storage()

    @property
    def embedder(self) -> EmbedderLike:
        """The embedder in use now; the default one may change later."""
        return self._core.find_embedder().original

    @with_options(WrapOptions)
    def wrap(self, fn: Callable[P, R], **options: Unpack[WrapOptions]) -> CachedFunction[P, R]:
        """Return `fn` with its answers cached here.

        Args:
            fn: a function, method, partial or callable object, sync or async.
            {options}

        Raises:
            InvalidTypeError: an option has the wrong type, or the storage cannot serve such a function.
            InvalidValueError: an option has a value that is not allowed.
            SignatureMismatchError: an option names no argument of `fn`, or no name tells which carries the prompt.
        """
        if not callable(unwrap_function(fn)):
            raise InvalidTypeError(
                f"{fn!r} is a {type(fn).__name__}; only what can be called can be cached, "
                "and options are passed by keyword: semantic_cache(threshold=...)"
            )
        settings: WrapOptions = chosen(WrapOptions, options, "wrap")
        kind = chosen_call_kind(fn, settings["mode"])
        inner = unwrap_function(fn) if isinstance(fn, staticmethod | classmethod) else fn
        binder = Binder(inner)
        ignore = ignore_tree(checked_ignore(fn, binder, settings["ignore"]))
        variables = {name: rest for name, rest in ignore.items() if name not in binder.names}
        identity = FunctionIdentity(inner, variables, registry.tokens, settings["version"])
        keyer = self._keyer(identity, ignore, kind, settings)
        advice = Advice(function_path(fn), where=calling_line() if identity.of_library else where_defined(fn))
        storage = registry.existing_storage(self._source)
        if storage is not None:
            registry.checked_storage(storage, asynchronous=kind != "sync")
        if isinstance(keyer.namespace, str):
            self._core.remember_namespace(keyer.namespace)
        site = CallSite(self._core, keyer, self._plan(inner, settings), advice, kind)
        made_async = settings["mode"] == "async" and own_call_kind(fn) == "sync"
        return CachedFunction(_awaitable(fn) if made_async else fn, site, self)  # type: ignore[arg-type]

    def _keyer(self, identity: FunctionIdentity, ignore: Ignore, kind: CallKind, settings: WrapOptions) -> Keyer:
        inner = identity.function
        binder = Binder(inner)
        ttl, namespace = settings["ttl"], settings["namespace"]
        return Keyer(
            binder=binder,
            identity=identity,
            reader=identity.reader,
            prompt="" if kind == "generator" else checked_prompt(inner, binder, settings["prompt"], _whole(ignore)),
            context=settings["context"],
            namespace=self.config.default_namespace if namespace is None else namespace,
            ignore=merged(argument_records(inner, binder.names), ignore),
            fixed=fixed_forms(binder.defaults, identity.reader, watched=settings["version"] is None),
            ttl=checks.ttl(self.config.default_ttl if ttl is NOT_GIVEN else ttl),
        )

    def _plan(self, inner: Any, settings: WrapOptions) -> Plan:
        return Plan(
            threshold=self.config.threshold,
            guards=self.guards,
            codec=Codec.for_function(
                inner,
                settings["response_type"],
                settings["response_types"],
                process=registry.tokens.of(Codec).hex(),
            ),
            store_if=settings["store_if"],  # type: ignore[arg-type]  # its check has replaced None
            verifier=settings["verify"],
            coalesce=settings["coalesce"],
            stale_seconds=checks.ttl(settings["stale_if_error"]),
        )

    def stats(self) -> CacheStats:
        """Return the statistics of this cache, with the present sizes of its namespaces."""
        namespace_sizes = maintain(sizes(sorted(self._core.namespaces)), self._core)
        counted = self._core.recorder.ledger.stats
        return replace(counted, namespace_sizes=namespace_sizes, circuits=self._core.circuits)

    def reset_stats(self) -> None:
        """Begin the statistics anew; entries stay."""
        self._core.recorder.ledger.reset()

    def invalidate_namespace(self, namespace: str) -> int:
        """Remove all entries of a namespace, and keep answers being computed now from being stored in it.

        Returns:
            How many entries there were.

        Raises:
            Exception: the storage's own, since whoever removes answers must know whether they are gone.
        """
        return maintain(invalidate([checks.text(namespace, "namespace")]), self._core)

    async def ainvalidate_namespace(self, namespace: str) -> int:
        """Remove all entries of a namespace without blocking the event loop. See `invalidate_namespace`."""
        return await amaintain(invalidate([checks.text(namespace, "namespace")]), self._core)

    def clear(self) -> int:
        """Remove all entries of the namespaces this cache has used; return how many there were."""
        return maintain(invalidate(self._core.namespaces), self._core)

    async def aclear(self) -> int:
        """Remove all entries of the namespaces this cache has used, without blocking the event loop."""
        return await amaintain(invalidate(self._core.namespaces), self._core)

    def warmup(self) -> bool:
        """Load the model now, so that the first call need not wait; return whether it is ready."""
        return maintain(load_model(self.config.threshold), self._core)

    async def async_warmup(self) -> bool:
        """Load the model now without blocking the event loop; return whether it is ready."""
        return await amaintain(load_model(self.config.threshold), self._core)


class CacheInfo(NamedTuple):
    """Hits, misses and sizes, as `functools.lru_cache` reports them."""

    hits: int
    misses: int
    maxsize: int | None
    currsize: int


class _Annotations:
    """The annotations of the function, which Python hides once anyone has asked the class for its own."""

    def __get__(self, instance: Any, owner: type) -> Any:
        return {} if instance is None else instance.__wrapped__.__annotations__

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__wrapped__.__annotations__ = value


class _Handles(Called[P, Unbound, R]):
    """The methods of a cached function, also of one that is bound to an object."""

    if TYPE_CHECKING:

        @property
        def __wrapped__(self) -> Callable[P, R]:
            """The undecorated function. An annotation here would hide the function's own `__annotations__`."""
            raise NotImplementedError

    def __repr__(self) -> str:
        stats = self.cache._core.recorder.ledger.stats
        return f"<{type(self).__name__} {function_path(self.__wrapped__)}: {stats.hits} hits, {stats.misses} misses>"

    def __dir__(self) -> list[str]:
        return sorted({*dir(self.__wrapped__), *HANDLES})

    @property
    def _site(self) -> CallSite:
        raise NotImplementedError

    @property
    def cache(self) -> SemanticCache:
        """The cache behind this function."""
        raise NotImplementedError

    def _invocation(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Invocation:
        raise NotImplementedError

    def stats(self) -> CacheStats:
        """Return the statistics of the cache behind this function."""
        return self.cache.stats()

    @handle
    def explain(self, *args: Any, **kwargs: Any) -> Explanation:
        """Explain what a call with these arguments would get, without calling the function or counting."""
        return self._site.explain(self._invocation(args, kwargs))

    @handle
    def refresh(self, *args: Any, **kwargs: Any) -> R:
        """Call the function and overwrite the stored answer; of an async function, the result is awaited."""
        site = self._site
        perform: Callable[..., Any] = site.acall if site.kind == "async" else site.call
        refreshed: R = perform(self._invocation(args, kwargs), reuse=False)
        return refreshed

    @handle
    def invalidate(self, *args: Any, **kwargs: Any) -> int:
        """Remove the entries that a call with these arguments would hit; return how many there were."""
        return self._site.invalidate(self._invocation(args, kwargs))

    def clear(self) -> int:
        """Remove all entries of this cache's namespaces; return how many there were."""
        return self.cache.clear()

    def warmup(self) -> bool:
        """Load the model now; return whether it is ready."""
        return self.cache.warmup()

    @awaited_handle
    async def arefresh(self, *args: Any, **kwargs: Any) -> Any:
        """Call the async function and overwrite the stored answer."""
        return await self._site.acall(self._invocation(args, kwargs), reuse=False)

    @handle
    async def aexplain(self, *args: Any, **kwargs: Any) -> Explanation:
        """Explain what a call with these arguments would get, without blocking the event loop."""
        return await self._site.aexplain(self._invocation(args, kwargs))

    @handle
    async def ainvalidate(self, *args: Any, **kwargs: Any) -> int:
        """Remove the entries that a call would hit, without blocking the event loop."""
        return await self._site.ainvalidate(self._invocation(args, kwargs))

    async def aclear(self) -> int:
        """Remove all entries of this cache's namespaces, without blocking the event loop."""
        return await self.cache.aclear()

    async def awarmup(self) -> bool:
        """Load the model now, without blocking the event loop."""
        return await self.cache.async_warmup()

    def cache_info(self) -> CacheInfo:
        """Return hits, misses and sizes as `functools.lru_cache` names them."""
        stats = self.stats()
        bound = getattr(self.cache.storage, "max_entries", None)
        return CacheInfo(stats.hits, stats.misses, bound, sum(stats.namespace_sizes.values()))

    def cache_clear(self) -> None:
        """Remove all entries of this cache's namespaces and begin its statistics anew."""
        self.clear()
        self.cache.reset_stats()


HANDLES = tuple(name for name in vars(_Handles) if not name.startswith("_"))


class BoundCachedFunction(_Handles[P, Unbound, R], BoundFunctionWrapper):
    """A cached method, bound to its object or class."""

    __annotations__ = _Annotations()

    @property
    def _site(self) -> CallSite:
        site: CallSite = self._self_parent._self_site
        return site

    @property
    def cache(self) -> SemanticCache:
        """The cache behind this method."""
        cache: SemanticCache = self._self_parent._self_cache
        return cache

    def _invocation(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Invocation:
        owner = getattr(self.__wrapped__, "__self__", None)
        return Invocation(self.__wrapped__, args, kwargs, () if owner is None else (owner,))

    # Copied and pickled as methods are: by their object and name.
    def __reduce_ex__(self, _protocol: Any) -> tuple[Any, ...]:
        method: Any = self.__wrapped__
        return getattr, (method.__self__, method.__name__)

    def __copy__(self) -> BoundCachedFunction[P, Unbound, R]:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        method: Any = self.__wrapped__
        return getattr(deepcopy(method.__self__, memo), method.__name__)


class CachedFunction(_Handles[P, P, R], FunctionWrapper):
    """A function whose answers are cached. Made by `semantic_cache` and `SemanticCache.wrap`."""

    __annotations__ = _Annotations()
    __bound_function_wrapper__ = BoundCachedFunction

    if TYPE_CHECKING:

        @overload
        def __get__(self: Takes1[type[S], Q], instance: None, owner: type[S]) -> BoundCachedFunction[Q, P, R]: ...
        @overload
        def __get__(self, instance: None, owner: type) -> BoundCachedFunction[P, P, R]: ...
        @overload
        def __get__(
            self: Takes1[type[S], Q], instance: S, owner: type | None = None
        ) -> BoundCachedFunction[Q, P, R]: ...
        @overload
        def __get__(self: Takes1[S, Q], instance: S, owner: type | None = None) -> BoundCachedFunction[Q, P, R]: ...
        @overload
        def __get__(self, instance: object, owner: type | None = None) -> BoundCachedFunction[P, P, R]: ...
        def __get__(self, instance: Any, owner: type | None = None) -> Any: ...

    def __init__(self, fn: Callable[P, R], site: CallSite, cache: SemanticCache) -> None:
        super().__init__(fn, _caller(fn, site))
        self._self_site = site
        self._self_cache = cache

    @property
    def _site(self) -> CallSite:
        site: CallSite = self._self_site
        return site

    @property
    def cache(self) -> SemanticCache:
        """The cache behind this function."""
        cache: SemanticCache = self._self_cache
        return cache

    def _invocation(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Invocation:
        return Invocation(self.__wrapped__, args, kwargs)

    def __reduce_ex__(self, _protocol: Any) -> str:
        # Pickled by name, as functions are.
        name = getattr(self.__wrapped__, "__qualname__", None)
        if name is None:
            from pickle import PicklingError

            raise PicklingError(f"{self.__wrapped__!r} has no name to be pickled by; pickle it undecorated")
        return str(name)

    def __copy__(self) -> CachedFunction[P, R]:
        return self

    def __deepcopy__(self, _memo: object) -> CachedFunction[P, R]:
        return self


def _whole(ignore: Ignore) -> list[str]:
    """Return the names of what is ignored as a whole."""
    return [name for name, inner in ignore.items() if not inner]


def _caller(fn: Any, site: CallSite) -> Callable[..., Any]:
    """Return the function that wrapt calls in place of `fn`, chosen once by the kind of its calls."""
    perform: Callable[[Invocation], Any] = {
        "sync": site.call,
        "async": site.acall,
        "generator": site.pass_through,
    }[site.kind]

    def call(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        owner = () if instance is None or wrapped is fn else (instance,)
        return perform(Invocation(wrapped, args, kwargs, owner))

    return call


def _awaitable(fn: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """Return an async function that calls `fn`, and awaits what it returns if that can be awaited."""

    @wraps(fn)
    async def call(*args: Any, **kwargs: Any) -> Any:
        return await awaited(fn(*args, **kwargs))

    return call
