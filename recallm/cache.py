"""`SemanticCache`, and the `CachedFunction` that it makes of a function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeAlias, TypeVar, Unpack, overload

from recallm import checks, registry
from recallm.calls import Called, Takes1, awaited_handle, handle
from recallm.config import CacheConfig, checked_config
from recallm.engine.asking import awaited
from recallm.engine.callsite import CallSite, Invocation
from recallm.engine.core import Core
from recallm.engine.drivers import amaintain, maintain
from recallm.engine.maintenance import invalidate, load_model, remove_tagged, sizes
from recallm.engine.sending import (
    Parts,
    Sendable,
    arrive,
    asking,
    goes_by_name,
    home,
    made,
    received,
    received_parts,
    same,
    sendable_parts,
    sent,
    unmade,
)
from recallm.engine.stand_in import Annotations, awaitable, caller
from recallm.engine.switches import is_active
from recallm.errors import InvalidTypeError, a_kind
from recallm.guards.default import DEFAULT_GUARDS
from recallm.keying.reader import Elsewhere, module_path
from recallm.keying.signature import function_path, own_call_kind, unwrap_function
from recallm.records import Explanation
from recallm.storage.base import StorageBackend
from recallm.telemetry.recorder import Recorder
from recallm.telemetry.stats import CacheStats
from recallm.typing import EmbedderLike, Guard
from recallm.wrapping.call_site import call_site
from recallm.wrapping.options import WrapOptions, checked_guards, chosen, with_options

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
MadeOf: TypeAlias = tuple[Callable[..., Any], WrapOptions]
"""The function that is cached, and the options that were given."""


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
        InvalidValueError: the threshold is "guarded", and the default guards are not all among the guards.
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
        self.guards = checked_guards(guards, self.config.threshold)
        self._begin(registry.checked_storage_source("default" if storage is None else storage), embedder)

    def _begin(self, source: StorageBackend | str, embedder: EmbedderLike | None) -> None:
        self._source = source
        self._embedder = embedder
        self._core = Core(
            name=self.name,
            config=self.config,
            find_storage=registry.storage_finder(source),
            existing_storage=registry.existing_storage_finder(source),
            find_opening=registry.opening_finder(source),
            find_breaker=registry.breaker_of,
            find_embedder=registry.embedder_finder(embedder, self.config.embedding_model),
            recorder=Recorder(self.name, metrics=registry.metrics),
        )
        registry.add_core(self._core)

    def __reduce_ex__(self, _protocol: Any) -> tuple[Any, ...]:
        parts = sendable_parts(self.name, self._source, self._embedder, registry.tokens, asking())
        return received, (sent(self, registry.tokens), made, type(self), (self.name, self.config, self.guards, parts))

    def _arrive(self, name: str, config: CacheConfig, guards: tuple[Guard, ...], parts: Parts) -> None:
        self.name, self.config, self.guards = name, config, guards
        # Not checked: a name that nobody has registered here keeps calls from being cached, not from being made.
        self._begin(*received_parts(parts))

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
                f"{fn!r} is {a_kind(fn)}; only what can be called can be cached, "
                "and options are passed by keyword: semantic_cache(threshold=...)"
            )
        settings: WrapOptions = chosen(WrapOptions, options, "wrap")
        site = call_site(fn, settings, self._core, self.guards, self._source)
        made_async = settings["mode"] == "async" and own_call_kind(fn) == "sync"
        return CachedFunction(awaitable(fn) if made_async else fn, site, self, (fn, options))  # type: ignore[arg-type]

    def stats(self) -> CacheStats:
        """Return the statistics of this cache, with the present sizes of its namespaces."""
        namespace_sizes = maintain(sizes(sorted(self._core.namespaces)), self._core)
        counted = self._core.recorder.ledger.stats
        return replace(counted, namespace_sizes=namespace_sizes, circuits=self._core.circuits)

    def reset_stats(self) -> None:
        """Begin the statistics anew; entries stay. What ``max_wrong`` has stopped goes on."""
        self._core.reset_stats()

    def invalidate_namespace(self, namespace: str) -> int:
        """Remove all entries of a namespace, and keep answers being computed now from being stored in it.

        Returns:
            How many entries there were.

        Raises:
            Exception: the storage's own, since whoever removes answers must know whether they are gone.
        """
        return maintain(invalidate([checks.text(namespace, "namespace", of_call=True)]), self._core)

    async def ainvalidate_namespace(self, namespace: str) -> int:
        """Remove all entries of a namespace without blocking the event loop. See `invalidate_namespace`."""
        return await amaintain(invalidate([checks.text(namespace, "namespace", of_call=True)]), self._core)

    def invalidate_tag(self, tag: str) -> int:
        """Remove all entries of this cache's storage that have a tag, whichever namespace they are in.

        Answers being computed now are not stored if they are to have the tag.

        Returns:
            How many entries there were.

        Raises:
            Exception: the storage's own, since whoever removes answers must know whether they are gone.
        """
        return maintain(remove_tagged(checks.text(tag, "tag", of_call=True)), self._core)

    async def ainvalidate_tag(self, tag: str) -> int:
        """Remove all entries that have a tag without blocking the event loop. See `invalidate_tag`."""
        return await amaintain(remove_tagged(checks.text(tag, "tag", of_call=True)), self._core)

    def clear(self) -> int:
        """Remove all entries of the namespaces this cache has used; return how many there were."""
        return maintain(invalidate(self._core.namespaces_to_clear()), self._core)

    async def aclear(self) -> int:
        """Remove all entries of the namespaces this cache has used, without blocking the event loop."""
        return await amaintain(invalidate(self._core.namespaces_to_clear()), self._core)

    def warmup(self) -> bool:
        """Load the model and the guards' lists now, so that no call waits for them; return whether it is ready."""
        return maintain(load_model(self.config.threshold, self.guards), self._core)

    async def async_warmup(self) -> bool:
        """Load the model now without blocking the event loop; return whether it is ready."""
        return await amaintain(load_model(self.config.threshold, self.guards), self._core)


class CacheInfo(NamedTuple):
    """Hits, misses and sizes, as `functools.lru_cache` reports them."""

    hits: int
    misses: int
    maxsize: int | None
    currsize: int


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
        site, invocation = self._site, self._invocation(args, kwargs)
        if not is_active():
            return site.straight(invocation)  # type: ignore[no-any-return]  # what the function returns
        perform: Callable[..., Any] = site.acall if site.kind == "async" else site.call
        refreshed: R = perform(invocation, reuse=False)
        return refreshed

    @handle
    def invalidate(self, *args: Any, **kwargs: Any) -> int:
        """Remove the entries that a call with these arguments would hit; return how many there were."""
        return self._site.invalidate(self._invocation(args, kwargs))

    @handle
    def wrong(self, *args: Any, **kwargs: Any) -> bool:
        """Answer this call's prompt by its own calls only, as it was served a wrong answer; return whether it was."""
        return self._site.wrong(self._invocation(args, kwargs))

    def clear(self) -> int:
        """Remove all entries of this cache's namespaces; return how many there were."""
        return self.cache.clear()

    def warmup(self) -> bool:
        """Load the model now; return whether it is ready."""
        return self.cache.warmup()

    @awaited_handle
    async def arefresh(self, *args: Any, **kwargs: Any) -> Any:
        """Call the async function and overwrite the stored answer."""
        site, invocation = self._site, self._invocation(args, kwargs)
        return await (site.acall(invocation, reuse=False) if is_active() else awaited(site.straight(invocation)))

    @handle
    async def aexplain(self, *args: Any, **kwargs: Any) -> Explanation:
        """Explain what a call with these arguments would get, without blocking the event loop."""
        return await self._site.aexplain(self._invocation(args, kwargs))

    @handle
    async def ainvalidate(self, *args: Any, **kwargs: Any) -> int:
        """Remove the entries that a call would hit, without blocking the event loop."""
        return await self._site.ainvalidate(self._invocation(args, kwargs))

    @handle
    async def awrong(self, *args: Any, **kwargs: Any) -> bool:
        """Answer this call's prompt by its own calls only, see `wrong`, without blocking the event loop."""
        return await self._site.awrong(self._invocation(args, kwargs))

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


class BoundCachedFunction(Sendable, _Handles[P, Unbound, R], BoundFunctionWrapper):
    """A cached method, bound to its object or class."""

    __annotations__ = Annotations()

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

    # Copied and pickled as methods are: by their object, or their class, and name.
    def __reduce_ex__(self, _protocol: Any) -> tuple[Any, ...]:
        method: Any = self.__wrapped__
        owner = getattr(method, "__self__", None)
        owner = home(method) if owner is None else owner
        return (same, (self._self_parent,)) if owner is None else (getattr, (owner, method.__name__))

    def __copy__(self) -> BoundCachedFunction[P, Unbound, R]:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        method: Any = self.__wrapped__
        owner = getattr(method, "__self__", None)
        return self if owner is None else getattr(deepcopy(owner, memo), method.__name__)


class CachedFunction(Sendable, _Handles[P, P, R], FunctionWrapper):
    """A function whose answers are cached. Made by `semantic_cache` and `SemanticCache.wrap`."""

    __annotations__ = Annotations()
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

    def __init__(self, fn: Callable[P, R], site: CallSite, cache: SemanticCache, made_of: MadeOf) -> None:
        call = caller(fn, site)
        FunctionWrapper.__init__(self, fn, call)
        self._self_call = call
        self._self_site = site
        self._self_cache = cache
        self._self_made_of = made_of

    if not TYPE_CHECKING:

        def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
            """Answer a call, without looking for an object that it is bound to as wrapt does."""
            return self._self_call(self.__wrapped__, None, args, kwargs)

    def _arrive(self, made_of: MadeOf, cache: SemanticCache, script: str) -> None:
        Elsewhere.add(script)
        fn, options = made_of
        twin = cache.wrap(fn, **options)
        self.__init__(twin.__wrapped__, twin._site, cache, made_of)  # type: ignore[misc]  # it is not made yet

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

    def __reduce_ex__(self, _protocol: Any) -> str | tuple[Any, ...]:
        # Pickled as functions are: by name, unless cloudpickle finds that the receiver could not go by it.
        if not goes_by_name(self, asking()):
            return unmade, (type(self),), (self._self_made_of, self.cache, module_path("__main__")), None, None, arrive
        name = getattr(self.__wrapped__, "__qualname__", None)
        if name is None:
            from pickle import PicklingError

            raise PicklingError(f"{self.__wrapped__!r} has no name to be pickled by; pickle it undecorated")
        return str(name)

    def __copy__(self) -> CachedFunction[P, R]:
        return self

    def __deepcopy__(self, _memo: object) -> CachedFunction[P, R]:
        return self
