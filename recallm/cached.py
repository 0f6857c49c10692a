"""The decorated function: all that the undecorated one is, and the cache's handles."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from copy import deepcopy
from functools import wraps
from pickle import PicklingError
from typing import TYPE_CHECKING, Any, Concatenate, Generic, NamedTuple, ParamSpec, TypeVar, overload

from recallm.callsite import CallSite, Invocation
from recallm.drivers import awaited
from recallm.records import Explanation
from recallm.typing import Seconds

if TYPE_CHECKING:
    from recallm.cache import SemanticCache
    from recallm.tally import CacheStats

    class FunctionWrapper:
        """What type checkers see of wrapt, whose own types know nothing of keyword options."""

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


class CacheInfo(NamedTuple):
    """What `functools.lru_cache` tells of itself."""

    hits: int
    misses: int
    maxsize: int | None
    currsize: int


class Handles(Generic[P, R]):
    """What a cached function offers besides being called; on bound methods too."""

    if TYPE_CHECKING:

        @property
        def __wrapped__(self) -> Callable[P, R]:
            """The undecorated function. An annotation here would hide the function's own `__annotations__`."""
            raise NotImplementedError

        @overload
        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
        @overload
        def __call__(self, *args: Any, cache_context: Mapping[Any, Any], **kwargs: Any) -> R: ...
        @overload
        def __call__(self, *args: Any, cache_namespace: str, **kwargs: Any) -> R: ...
        @overload
        def __call__(self, *args: Any, cache_ttl: Seconds | None, **kwargs: Any) -> R: ...
        def __call__(self, *args: Any, **kwargs: Any) -> R:
            """Answer a call from the cache, or call the function."""
            raise NotImplementedError

    @property
    def _site(self) -> CallSite:
        raise NotImplementedError

    def _invocation(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Invocation:
        raise NotImplementedError

    @property
    def cache(self) -> SemanticCache:
        """The cache behind this function."""
        return self._site.cache

    def stats(self) -> CacheStats:
        """Return what the cache behind this function has done."""
        return self.cache.stats()

    def explain(self, *args: Any, **kwargs: Any) -> Explanation:
        """Tell what a call with these arguments would get, without calling or counting."""
        return self._site.explain(self._invocation(args, kwargs))

    def refresh(self, *args: Any, **kwargs: Any) -> R:
        """Call the function and overwrite the stored answer; of an async function, the result is awaited."""
        site = self._site
        perform: Callable[..., Any] = site.acall if site.shape == "async" else site.call
        refreshed: R = perform(self._invocation(args, kwargs), reuse=False)
        return refreshed

    def invalidate(self, *args: Any, **kwargs: Any) -> int:
        """Remove the entries that a call with these arguments would hit; return how many there were."""
        return self._site.invalidate(self._invocation(args, kwargs))

    def clear(self) -> int:
        """Remove all entries of this cache's namespaces; return how many there were."""
        return self.cache.clear()

    def warmup(self) -> bool:
        """Load the model now; return whether it is ready."""
        return self.cache.warmup()

    async def arefresh(self, *args: Any, **kwargs: Any) -> Any:
        """Call the async function and overwrite the stored answer."""
        return await self._site.acall(self._invocation(args, kwargs), reuse=False)

    async def aexplain(self, *args: Any, **kwargs: Any) -> Explanation:
        """Tell what a call with these arguments would get, without blocking the event loop."""
        return await self._site.aexplain(self._invocation(args, kwargs))

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


class BoundCachedFunction(Handles[P, R], BoundFunctionWrapper):
    """A cached method, bound to its object or class."""

    if TYPE_CHECKING:

        @overload
        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
        # Type checkers do not tell static and class methods from others here.
        @overload
        def __call__(self, *args: Any, **kwargs: Any) -> R: ...
        def __call__(self, *args: Any, **kwargs: Any) -> R:
            """Answer a call from the cache, or call the method."""
            raise NotImplementedError

    @property
    def _site(self) -> CallSite:
        site: CallSite = self._self_parent._self_site
        return site

    def _invocation(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Invocation:
        owner = getattr(self.__wrapped__, "__self__", None)
        return Invocation(self.__wrapped__, args, kwargs, () if owner is None else (owner,))

    # Copied and pickled as methods are: by their object and name.
    def __reduce_ex__(self, _protocol: Any) -> tuple[Any, ...]:
        method: Any = self.__wrapped__
        return getattr, (method.__self__, method.__name__)

    def __copy__(self) -> BoundCachedFunction[P, R]:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        method: Any = self.__wrapped__
        return getattr(deepcopy(method.__self__, memo), method.__name__)


class CachedFunction(Handles[P, R], FunctionWrapper):
    """A function whose answers are cached. Made by `semantic_cache` and `SemanticCache.wrap`."""

    __bound_function_wrapper__ = BoundCachedFunction

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: None, owner: type) -> BoundCachedFunction[P, R]: ...
        @overload
        def __get__(
            self: CachedFunction[Concatenate[S, Q], R], instance: S, owner: type | None = None
        ) -> BoundCachedFunction[Q, R]: ...
        def __get__(self, instance: Any, owner: type | None = None) -> Any: ...

    def __init__(self, fn: Callable[P, R], site: CallSite) -> None:
        super().__init__(fn, _wrapper_for(fn, site))
        self._self_site = site

    @property
    def _site(self) -> CallSite:
        site: CallSite = self._self_site
        return site

    def _invocation(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Invocation:
        return Invocation(self.__wrapped__, args, kwargs)

    def __reduce_ex__(self, _protocol: Any) -> str:
        # Pickled by name, as functions are.
        name = getattr(self.__wrapped__, "__qualname__", None)
        if name is None:
            raise PicklingError(f"{self.__wrapped__!r} has no name to be pickled by; pickle it undecorated")
        return str(name)

    def __copy__(self) -> CachedFunction[P, R]:
        return self

    def __deepcopy__(self, _memo: object) -> CachedFunction[P, R]:
        return self


def _wrapper_for(fn: Any, site: CallSite) -> Callable[..., Any]:
    """Return what wrapt calls in the function's place, chosen once by its shape."""
    perform: Callable[[Invocation], Any] = {
        "sync": site.call,
        "async": site.acall,
        "generator": site.pass_through,
    }[site.shape]

    def call(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        owner = () if instance is None or wrapped is fn else (instance,)
        return perform(Invocation(wrapped, args, kwargs, owner))

    return call


def awaitable(fn: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """Return an async function that calls `fn`, and awaits what it returns where that can be awaited."""

    @wraps(fn)
    async def call(*args: Any, **kwargs: Any) -> Any:
        return await awaited(fn(*args, **kwargs))

    return call
