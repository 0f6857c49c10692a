"""What kind of callable a function is, and which of its arguments carries the prompt."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from functools import partial
from inspect import Parameter
from typing import Any, Literal, TypeAlias, get_type_hints

from recallm.binding import Binder
from recallm.errors import InvalidTypeError, InvalidValueError, SignatureMismatchError
from recallm.identity import function_path
from recallm.typing import Mode, Prompt

Shape: TypeAlias = Literal["sync", "async", "generator"]

MODES = ("auto", "sync", "async")
USUAL_NAMES = ("messages", "prompt")


def bare(fn: Any) -> Any:
    """Return the function inside partials, staticmethods and classmethods."""
    while isinstance(fn, partial | staticmethod | classmethod):
        fn = fn.func if isinstance(fn, partial) else fn.__func__
    return fn


def shape_of(fn: Callable[..., Any]) -> Shape:
    """Return whether calls of `fn` return, are awaited, or generate."""
    inner = bare(fn)
    for code in (inner, _call_method(inner)):
        if inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code):
            return "generator"
        if inspect.iscoroutinefunction(code):
            return "async"
    return "sync"


def _call_method(fn: Any) -> Any:
    """Return the ``__call__`` that an object's class defines, or None."""
    return getattr(type(fn), "__call__", None)  # noqa: B004  # it is wanted, not asked for


def chosen_shape(fn: Callable[..., Any], mode: Mode) -> Shape:
    """Return how `fn` is to be called.

    Raises:
        InvalidValueError: `mode` is unknown.
        InvalidTypeError: an async function is to be sync.
    """
    if mode not in MODES:
        raise InvalidValueError(f"mode={mode!r} is unknown; use {', '.join(map(repr, MODES))}")
    shape = shape_of(fn)
    if mode == "sync" and shape == "async":
        raise InvalidTypeError(f"mode='sync' does not fit {function_path(fn)}, which is async; use 'auto' or 'async'")
    return "async" if mode == "async" and shape == "sync" else shape


def checked_prompt(
    fn: Callable[..., Any], binder: Binder, prompt: Prompt | None, ignored: Collection[str] = ()
) -> Prompt:
    """Return which argument carries the prompt.

    Args:
        fn: the function.
        binder: its arguments.
        prompt: what the user said, or None to infer it: ``messages``, else ``prompt``, else the only
            parameter annotated ``str`` (of several, the only one that may be passed by position).
        ignored: names of what does not affect the answer.

    Raises:
        InvalidTypeError: `prompt` is neither a str nor callable.
        SignatureMismatchError: `prompt` is no parameter, or ignored, or it cannot be inferred.
    """
    if callable(prompt):
        return prompt
    found = _named_prompt(fn, binder, prompt)
    if found in ignored:
        raise SignatureMismatchError(
            f"ignore={tuple(ignored)!r} names {found!r}, which carries the prompt; leave it out"
        )
    return found


def _named_prompt(fn: Callable[..., Any], binder: Binder, prompt: str | None) -> str:
    if prompt is not None and not isinstance(prompt, str):
        raise InvalidTypeError(
            f"prompt={prompt!r} is a {type(prompt).__name__}; use an argument's name or a callable of all arguments"
        )
    names = [name for name in binder.parameters if name in binder.names]
    if prompt is not None:
        if prompt in names or binder.takes_any_keyword:
            return prompt
        raise SignatureMismatchError(
            f"prompt={prompt!r} is no parameter of {function_path(fn)}; its parameters are {_listed(names)}"
        )
    return _inferred_prompt(fn, binder, names)


def _inferred_prompt(fn: Callable[..., Any], binder: Binder, names: list[str]) -> str:
    for usual in USUAL_NAMES:
        if usual in names:
            return usual
    texts = _annotated_str(fn, binder)
    by_position = [name for name in texts if binder.parameters[name].kind is not Parameter.KEYWORD_ONLY]
    for candidates in (texts, by_position):
        if len(candidates) == 1:
            return candidates[0]
    if not texts and binder.takes_any_keyword:
        return USUAL_NAMES[0]
    raise SignatureMismatchError(
        f"cannot tell which argument of {function_path(fn)} carries the prompt: candidates are "
        f"{_listed(texts or names)}; pass prompt='<name>', or prompt=lambda kw: ... for one inside another"
    )


def _annotated_str(fn: Callable[..., Any], binder: Binder) -> list[str]:
    inner = bare(fn)
    try:
        hints = get_type_hints(inner if hasattr(inner, "__annotations__") else type(inner).__call__)
    except Exception:  # noqa: BLE001  # annotations may name what only a type checker imports
        hints = {}
    return [
        name
        for name, parameter in binder.parameters.items()
        if name in binder.names and hints.get(name, parameter.annotation) in (str, "str")
    ]


def checked_ignore(fn: Callable[..., Any], binder: Binder, ignore: Collection[str]) -> frozenset[str]:
    """Return the names of what does not affect the answer.

    Raises:
        InvalidTypeError: `ignore` is a str, or holds something else than str.
        SignatureMismatchError: it names neither a parameter nor a closed-over variable.
    """
    named = isinstance(ignore, Collection) and not isinstance(ignore, str)
    if not named or not all(isinstance(name, str) for name in ignore):
        raise InvalidTypeError(f"ignore={ignore!r} is not a sequence of names; use ignore=('timeout',)")
    closed_over = getattr(getattr(bare(fn), "__code__", None), "co_freevars", ())
    known = {*binder.parameters, *closed_over, "self"}
    unknown = sorted(set(ignore) - known)
    if unknown and not binder.takes_any_keyword:
        raise SignatureMismatchError(
            f"ignore={ignore!r} names {_listed(unknown)}, no parameter of {function_path(fn)}; "
            f"its parameters are {_listed(list(binder.parameters))}"
        )
    return frozenset(ignore)


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
