"""`semantic_cache`, the front door."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, Unpack, overload

from recallm.config import checked_config
from recallm.keying.signature import function_path
from recallm.wrapping.options import NOT_GIVEN, DecoratorOptions, WrapOptions, chosen, with_options

if TYPE_CHECKING:
    from recallm.cache import CachedFunction

P = ParamSpec("P")
R = TypeVar("R")


@overload
def semantic_cache(fn: Callable[P, R], /) -> CachedFunction[P, R]: ...
@overload
def semantic_cache(**options: Unpack[DecoratorOptions]) -> Callable[[Callable[P, R]], CachedFunction[P, R]]: ...
@with_options(DecoratorOptions)
def semantic_cache(fn: Callable[..., Any] | None = None, **options: Any) -> Any:  # noqa: D417  # the rows are put in
    """Answer calls from the cache if the prompt is similar and everything else is equal.

    Works with and without parentheses, on sync and async functions, methods and callable objects. The
    decorated function takes four more keywords: ``cache_context`` (mapping, merged over the decorator's),
    ``cache_namespace``, ``cache_ttl`` and ``cache_serve`` (``"all"``, ``"exact"`` or ``"none"`` as ``serve``;
    ``"refresh"``: call the function and overwrite the stored answer; ``"off"``: leave the cache out of this call).

    Args:
        fn: the function, if the decorator is used without parentheses.
        {options}

    Raises:
        InvalidTypeError: an option has the wrong type (also a `TypeError`).
        InvalidValueError: an option has a value that is not allowed (also a `ValueError`).
        SignatureMismatchError: an option names no argument of the function, or no name tells which
            carries the prompt (also a `TypeError`).
        UnknownNameError: no such storage is registered (also a `LookupError`).

    >>> from recallm.testing import FakeEmbedder
    >>> @semantic_cache(context={}, embedder=FakeEmbedder(), storage="memory://")
    ... def answer(question: str) -> str:
    ...     return question.upper()
    >>> answer("why?"), answer("why?"), answer.stats().hits
    ('WHY?', 'WHY?', 1)
    """
    settings: DecoratorOptions = chosen(DecoratorOptions, options, "semantic_cache")
    config = checked_config(settings["config"])
    if settings["threshold"] is not NOT_GIVEN:
        config = replace(config, threshold=settings["threshold"])

    def decorate(function: Callable[..., Any]) -> CachedFunction[..., Any]:
        from recallm.cache import SemanticCache  # with wrapt a fifth of the import time; whoever decorates pays it

        path, name, namespace = function_path(function), settings["name"], settings["namespace"]
        cache = SemanticCache(
            settings["storage"],
            config,
            settings["embedder"],
            guards=settings["guards"],
            name=path if name is None else name,
        )
        if namespace is None:
            namespace = config.default_namespace if config.gives_namespace else path
        own = {option: value for option, value in options.items() if option in WrapOptions.__annotations__}
        return cache.wrap(function, **{**own, "namespace": namespace})

    return decorate if fn is None else decorate(fn)
