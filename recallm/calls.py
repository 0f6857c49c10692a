"""How type checkers see the calls of a cached function: its own parameters, and the four keywords of the cache.

`ParamSpec` allows no keyword between ``*args: P.args`` and ``**kwargs: P.kwargs``, but parameters before them, whose
names checkers accept as keywords. So the cache's keywords stand before the function's own parameters. An overload for
each number of arguments by position takes those in front of them, and ``_no_more``, which no argument fits, keeps
further ones from being taken for the cache's.

mypy solves what `Concatenate` puts in front of a `ParamSpec` in a protocol only (`Takes1`), and there loses the type
variables of generic functions. Overloads for what it lost (`Lost`, `GenericForMypy`) follow; pyright needs neither.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Never, ParamSpec, Protocol, TypeAlias, TypeVar, overload

from recallm.typing import CallServe, Duration

MYPY = False  # mypy takes this name for True

P = ParamSpec("P")
Q = ParamSpec("Q")
Unbound = ParamSpec("Unbound")
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")
A_contra = TypeVar("A_contra", contravariant=True)
B_contra = TypeVar("B_contra", contravariant=True)
C_contra = TypeVar("C_contra", contravariant=True)


class Takes1(Protocol[A_contra, P]):
    """Has a function that takes an argument by position."""

    @property
    def _function(self) -> Callable[Concatenate[A_contra, P], object]: ...


class Takes2(Protocol[A_contra, B_contra, P]):
    """Has a function that takes two arguments by position."""

    @property
    def _function(self) -> Callable[Concatenate[A_contra, B_contra, P], object]: ...


class Takes3(Protocol[A_contra, B_contra, C_contra, P]):
    """Has a function that takes three arguments by position."""

    @property
    def _function(self) -> Callable[Concatenate[A_contra, B_contra, C_contra, P], object]: ...


class Returns(Protocol[R_co]):
    """Has a function that returns `R_co`, and is seen by mypy."""

    @property
    def _function(self) -> Callable[..., R_co]: ...
    @property
    def _seen_by_mypy(self) -> bool: ...


class Lost:
    """Stands for parameters that mypy has lost, as only those fit a list of types that nothing takes."""


Returned: TypeAlias = Returns[Never] | Returns[None] | Returns[Iterable[Never]]
Awaited: TypeAlias = Returns[Awaitable[Never]] | Returns[Awaitable[None]] | Returns[Awaitable[Iterable[Never]]]
LostParameters: TypeAlias = "Called[[Lost, Lost, Lost, Lost], ..., object]"
GenericForMypy: TypeAlias = "Returned | Awaited | LostParameters"
"""What has a generic function: only of such a one mypy takes the result for `Never`. It lets their calls pass."""


class Called(Generic[P, Unbound, R_co]):
    """What is called with the parameters `P`, which for a method are those of `Unbound` without its object."""

    if TYPE_CHECKING:

        @property
        def _function(self) -> Callable[P, R_co]: ...

        if MYPY:

            @property
            def _seen_by_mypy(self) -> bool: ...
        else:

            @property
            def _seen_by_mypy(self) -> None: ...

        @overload
        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
        @overload
        def __call__(
            self,
            _no_more: Never = ...,
            cache_context: Mapping[Any, Any] = ...,
            cache_namespace: str = ...,
            cache_ttl: Duration | None = ...,
            cache_serve: CallServe = ...,
            *args: P.args,
            **kwargs: P.kwargs,
        ) -> R_co: ...
        @overload
        def __call__(
            self: Takes1[A_contra, Q],
            _1: A_contra,
            /,
            _no_more: Never = ...,
            cache_context: Mapping[Any, Any] = ...,
            cache_namespace: str = ...,
            cache_ttl: Duration | None = ...,
            cache_serve: CallServe = ...,
            *args: Q.args,
            **kwargs: Q.kwargs,
        ) -> R_co: ...
        @overload
        def __call__(
            self: Takes2[A_contra, B_contra, Q],
            _1: A_contra,
            _2: B_contra,
            /,
            _no_more: Never = ...,
            cache_context: Mapping[Any, Any] = ...,
            cache_namespace: str = ...,
            cache_ttl: Duration | None = ...,
            cache_serve: CallServe = ...,
            *args: Q.args,
            **kwargs: Q.kwargs,
        ) -> R_co: ...
        @overload
        def __call__(
            self: Takes3[A_contra, B_contra, C_contra, Q],
            _1: A_contra,
            _2: B_contra,
            _3: C_contra,
            /,
            _no_more: Never = ...,
            cache_context: Mapping[Any, Any] = ...,
            cache_namespace: str = ...,
            cache_ttl: Duration | None = ...,
            cache_serve: CallServe = ...,
            *args: Q.args,
            **kwargs: Q.kwargs,
        ) -> R_co: ...
        @overload
        def __call__(
            self,
            _1: Any,
            _2: Any,
            _3: Any,
            _4: Any,
            /,
            *args: Any,
            cache_context: Mapping[Any, Any] = ...,
            cache_namespace: str = ...,
            cache_ttl: Duration | None = ...,
            cache_serve: CallServe = ...,
            **kwargs: Any,
        ) -> R_co: ...
        @overload
        def __call__(
            self: Called[[Lost, Lost, Lost, Lost], Concatenate[Any, Q], object], *args: Q.args, **kwargs: Q.kwargs
        ) -> R_co: ...
        @overload
        def __call__(
            self: Called[[Lost, Lost, Lost, Lost], Concatenate[Any, Q], object],
            _no_more: Never = ...,
            cache_context: Mapping[Any, Any] = ...,
            cache_namespace: str = ...,
            cache_ttl: Duration | None = ...,
            cache_serve: CallServe = ...,
            *args: Q.args,
            **kwargs: Q.kwargs,
        ) -> R_co: ...
        @overload
        def __call__(
            self: GenericForMypy,
            _1: Any,
            /,
            *args: Any,
            cache_context: Mapping[Any, Any],
            cache_namespace: str = ...,
            cache_ttl: Duration | None = ...,
            cache_serve: CallServe = ...,
            **kwargs: Any,
        ) -> Any: ...
        @overload
        def __call__(
            self: GenericForMypy,
            _1: Any,
            /,
            *args: Any,
            cache_context: Mapping[Any, Any] = ...,
            cache_namespace: str,
            cache_ttl: Duration | None = ...,
            cache_serve: CallServe = ...,
            **kwargs: Any,
        ) -> Any: ...
        @overload
        def __call__(
            self: GenericForMypy,
            _1: Any,
            /,
            *args: Any,
            cache_context: Mapping[Any, Any] = ...,
            cache_namespace: str = ...,
            cache_ttl: Duration | None,
            cache_serve: CallServe = ...,
            **kwargs: Any,
        ) -> Any: ...
        @overload
        def __call__(
            self: GenericForMypy,
            _1: Any,
            /,
            *args: Any,
            cache_context: Mapping[Any, Any] = ...,
            cache_namespace: str = ...,
            cache_ttl: Duration | None = ...,
            cache_serve: CallServe,
            **kwargs: Any,
        ) -> Any: ...
        def __call__(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[misc]  # it does accept them
            """Answer a call from the cache, or call the function."""


class Handle(Generic[R_co]):
    """A method that takes what the cached function takes, and returns `R_co`."""

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: None, owner: type) -> Callable[..., R_co]: ...
        @overload
        def __get__(self, instance: Called[P, Unbound, object], owner: type) -> Called[P, Unbound, R_co]: ...
        def __get__(self, instance: Any, owner: type) -> Any: ...


class AwaitedHandle:
    """A method that takes what the cached function takes, and whose result is awaited for the function's answer."""

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: None, owner: type) -> Callable[..., Coroutine[Any, Any, Any]]: ...
        @overload
        def __get__(
            self, instance: Called[P, Unbound, Awaitable[S]], owner: type
        ) -> Called[P, Unbound, Coroutine[Any, Any, S]]: ...
        @overload
        def __get__(
            self, instance: Called[P, Unbound, Awaitable[S] | S], owner: type
        ) -> Called[P, Unbound, Coroutine[Any, Any, S]]: ...
        def __get__(self, instance: Any, owner: type) -> Any: ...


def handle(method: Callable[..., R_co]) -> Handle[R_co]:
    """Let type checkers know that a method takes what the cached function takes; it stays as it is."""
    return method  # type: ignore[return-value]


def awaited_handle(method: Callable[..., Coroutine[Any, Any, Any]]) -> AwaitedHandle:
    """Do as `handle` does, for a method whose result is awaited for the function's answer."""
    return method  # type: ignore[return-value]
