"""`semantic_cache`, the front door."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from recallm.cache import UNSET, SemanticCache
from recallm.config import CacheConfig
from recallm.errors import InvalidTypeError
from recallm.guards import DEFAULT_GUARDS
from recallm.identity import function_path
from recallm.storage.base import StorageBackend
from recallm.typing import Context, Embedder, Guard, Namespace, Prompt, Seconds, StoreIf, Threshold, Verifier

if TYPE_CHECKING:
    from recallm.cached import CachedFunction

P = ParamSpec("P")
R = TypeVar("R")


@overload
def semantic_cache(fn: Callable[P, R], /) -> CachedFunction[P, R]: ...
@overload
def semantic_cache(
    *,
    threshold: Threshold = ...,
    context: Context | None = None,
    prompt: Prompt | None = None,
    namespace: Namespace | None = None,
    storage: StorageBackend | str = "default",
    embedder: Embedder | None = None,
    ttl: Seconds | None = ...,
    ignore: Collection[str] = (),
    guards: Sequence[Guard] = DEFAULT_GUARDS,
    store_if: StoreIf | None = None,
    verify: Verifier | None = None,
    config: CacheConfig | None = None,
    name: str | None = None,
    response_type: Any = None,
    coalesce: bool = True,
    stale_if_error: Seconds | None = None,
) -> Callable[[Callable[P, R]], CachedFunction[P, R]]: ...
def semantic_cache(  # noqa: PLR0913  # the options of the public contract
    fn: Callable[..., Any] | None = None,
    *,
    threshold: Threshold = UNSET,
    context: Context | None = None,
    prompt: Prompt | None = None,
    namespace: Namespace | None = None,
    storage: StorageBackend | str = "default",
    embedder: Embedder | None = None,
    ttl: Seconds | None = UNSET,
    ignore: Collection[str] = (),
    guards: Sequence[Guard] = DEFAULT_GUARDS,
    store_if: StoreIf | None = None,
    verify: Verifier | None = None,
    config: CacheConfig | None = None,
    name: str | None = None,
    response_type: Any = None,
    coalesce: bool = True,
    stale_if_error: Seconds | None = None,
) -> Any:
    """Answer calls from the cache where the prompt is similar and everything else is equal.

    Works with and without parentheses, on sync and async functions, methods and callable objects. The
    decorated function takes three more keywords: ``cache_context`` (mapping, merged over the decorator's),
    ``cache_namespace`` and ``cache_ttl``.

    Args:
        fn: the function, where the decorator is used without parentheses.
        threshold: ``"strict"``, ``"balanced"``, ``"loose"`` or a cosine in [0, 1].
        context: what an answer depends on besides the arguments' own values: a mapping, or a callable of
            all arguments by name that returns one; None: every call must pass ``cache_context=``.
        prompt: name of the argument that carries the prompt, or a callable of all arguments that returns
            it (None: not cached); not given: ``messages``, ``prompt`` or the only ``str`` parameter.
        namespace: what is invalidated together: a str, or a callable of all arguments; not given: the
            function's ``module.qualname``.
        storage: a storage, a registered name, or a URL such as ``redis://localhost``.
        embedder: see `recallm.typing.Embedder`; None: the default one, loaded on first use.
        ttl: seconds or timedelta until an answer expires; None: never.
        ignore: names of arguments that do not affect the answer, such as a client or a timeout.
        guards: asked in order whether a candidate may serve; ``()`` turns them off.
        store_if: predicate of the response; None: everything but None is stored.
        verify: asked last about a similar prompt's answer: ``(prompt, cached_prompt, response) -> bool``,
            sync or async, within ``verify_timeout_seconds``; what it refuses is a miss.
        config: a `CacheConfig` that supplies what is not given here.
        name: name under which `recallm.stats(name)` reports; not given: ``module.qualname``.
        response_type: type of the responses, where the return annotation does not tell.
        coalesce: whether calls that want the same answer at the same time wait for one to make it.
        stale_if_error: seconds or timedelta for which an answer that has expired is served where the function
            raises an `Exception`; None: what it raises reaches the caller.

    Raises:
        InvalidTypeError: an option has the wrong type (also a `TypeError`).
        InvalidValueError: an option has a value that is not allowed (also a `ValueError`).
        SignatureMismatchError: an option names no argument of the function, or the prompt cannot be
            inferred (also a `TypeError`).
        UnknownNameError: no such storage is registered (also a `LookupError`).

    >>> from recallm.testing import FakeEmbedder
    >>> @semantic_cache(context={}, embedder=FakeEmbedder(), storage="memory://")
    ... def answer(question: str) -> str:
    ...     return question.upper()
    >>> answer("why?"), answer("why?"), answer.stats().hits
    ('WHY?', 'WHY?', 1)
    """
    settings = CacheConfig() if config is None else config
    if not isinstance(settings, CacheConfig):
        raise InvalidTypeError(f"config={config!r} is a {type(config).__name__}; use a CacheConfig")
    if threshold is not UNSET:
        settings = replace(settings, threshold=threshold)

    def decorate(function: Callable[..., Any]) -> CachedFunction[..., Any]:
        path = function_path(function)
        chosen = settings.default_namespace
        own = path if chosen == CacheConfig().default_namespace else chosen
        cache = SemanticCache(storage, settings, embedder, guards=guards, name=path if name is None else name)
        return cache.wrap(
            function,
            context=context,
            prompt=prompt,
            namespace=own if namespace is None else namespace,
            ignore=ignore,
            ttl=ttl,
            store_if=store_if,
            verify=verify,
            response_type=response_type,
            coalesce=coalesce,
            stale_if_error=stale_if_error,
        )

    return decorate if fn is None else decorate(fn)
