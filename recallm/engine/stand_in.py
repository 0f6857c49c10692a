"""What stands in for a function that is cached: what is called in its place, and its annotations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from recallm.engine.asking import awaited
from recallm.engine.callsite import CallSite, Invocation
from recallm.engine.switches import is_active
from recallm.keying.keyer import CALL_OPTIONS
from recallm.keying.signature import own_call_kind


class Annotations:
    """The annotations of the function, which Python hides once anyone has asked the class for its own."""

    def __get__(self, instance: Any, owner: type) -> Any:
        return {} if instance is None else instance.__wrapped__.__annotations__

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__wrapped__.__annotations__ = value


def caller(fn: Any, site: CallSite) -> Callable[..., Any]:
    """Return the function that wrapt calls in place of `fn`, chosen once by the kind of its calls."""
    perform: Callable[[Invocation], Any] = {
        "sync": site.call,
        "async": site.acall,
        "generator": site.pass_through,
    }[site.kind]

    own, has_none = site.keyer.own, CALL_OPTIONS.isdisjoint
    awaits = site.kind == "async" and own_call_kind(fn) != "async"

    def call(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not is_active():
            # Most of what is left is wrapt's; each function called here would add a tenth of a microsecond.
            if not has_none(kwargs):
                kwargs = own(kwargs)
            return _awaited(wrapped, args, kwargs) if awaits else wrapped(*args, **kwargs)
        owner = () if instance is None or wrapped is fn else (instance,)
        return perform(Invocation(wrapped, args, kwargs, owner))

    return call


async def _awaited(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return await awaited(function(*args, **kwargs))


def awaitable(fn: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """Return an async function that calls `fn`, and awaits what it returns if that can be awaited."""

    @wraps(fn)
    async def call(*args: Any, **kwargs: Any) -> Any:
        return await awaited(fn(*args, **kwargs))

    return call
