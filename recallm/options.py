"""The options of a cached function, checked when it is decorated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recallm.config import checked_text
from recallm.errors import InvalidTypeError
from recallm.typing import Guard, Namespace


def checked_guards(guards: object) -> tuple[Guard, ...]:
    """Return guards where each can be called.

    Raises:
        InvalidTypeError: it is something else.
    """
    if isinstance(guards, Sequence) and not isinstance(guards, str) and all(callable(guard) for guard in guards):
        return tuple(guards)
    raise InvalidTypeError(f"guards={guards!r}; use a sequence of callables (prompt, cached_prompt) -> bool")


def checked_flag(option: object, field: str) -> bool:
    """Return an option that is True or False.

    Raises:
        InvalidTypeError: it is something else.
    """
    if isinstance(option, bool):
        return option
    raise InvalidTypeError(f"{field}={option!r} is a {type(option).__name__}; use True or False")


def checked_response_type(response_type: object) -> object:
    """Return what may stand for a type; data cannot.

    Raises:
        InvalidTypeError: it is something else.
    """
    if isinstance(response_type, str | bytes | int | float | Mapping | Sequence):
        raise InvalidTypeError(
            f"response_type={response_type!r} is a {type(response_type).__name__}; use a class or a type expression"
        )
    return response_type


def checked_context(context: object) -> Any:
    """Return a context that is a mapping, or may give one.

    Raises:
        InvalidTypeError: it is something else.
    """
    if context is None or callable(context) or isinstance(context, Mapping):
        return context
    raise InvalidTypeError(
        f"context={context!r} is a {type(context).__name__}; use a mapping, or a callable of all arguments "
        "that returns one"
    )


def checked_namespace(namespace: object) -> Namespace:
    """Return a namespace, or what may give one.

    Raises:
        InvalidTypeError: it is something else.
    """
    return namespace if callable(namespace) else checked_text(namespace, field="namespace")


def checked_callable(option: Any, field: str) -> Any:
    """Return an option that can be called, or None.

    Raises:
        InvalidTypeError: it is something else.
    """
    if option is None or callable(option):
        return option
    raise InvalidTypeError(f"{field}={option!r} is a {type(option).__name__}; use a callable that returns a bool")
