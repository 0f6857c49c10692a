"""What a cache needs to know of a callable: the function under its wrappers, its kind, its arguments, the prompt's."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from functools import partial
from inspect import Parameter
from types import CodeType
from typing import Any, Literal, TypeAlias, get_type_hints

from recallm.errors import InvalidTypeError, InvalidValueError, SignatureMismatchError
from recallm.keying.wrappers import hands_on_result
from recallm.typing import Mode, Prompt

CallKind: TypeAlias = Literal["sync", "async", "generator"]
"""What a call does: it returns its answer, it is awaited, or it generates."""

MODES = ("auto", "sync", "async")
USUAL_NAMES = ("messages", "prompt")
"""Names of the argument that carries the prompt if nobody says which it is, the likelier first."""
MAX_LAYERS = 1000
"""How many wrappers are looked through: an object may pass for a wrapper of itself, or of anything it is asked for."""

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_BY_KEYWORD = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


def unwrap_function(fn: Any, *, through_wrappers: bool = False) -> Any:
    """Return the callable inside partials, static and class methods.

    Args:
        fn: any callable.
        through_wrappers: also look through everything that has a ``__wrapped__``, such as `functools.wraps` leaves.
    """
    for _ in range(MAX_LAYERS):
        if isinstance(fn, partial):
            fn = fn.func
        elif through_wrappers and hasattr(fn, "__wrapped__"):
            fn = fn.__wrapped__
        elif isinstance(fn, staticmethod | classmethod):
            fn = fn.__func__
        else:
            break
    return fn


def call_method(fn: Any) -> Any:
    """Return what runs if `fn` is called, as its class defines it."""
    return type(fn).__call__


def function_path(fn: Any) -> str:
    """Return ``module.qualname`` of the function at the bottom of partials, wrappers and objects."""
    fn = unwrap_function(fn, through_wrappers=True)
    named = fn if hasattr(fn, "__qualname__") else type(fn)
    return f"{getattr(named, '__module__', None) or 'builtins'}.{named.__qualname__}"


def where_defined(fn: Any) -> tuple[str, int]:
    """Return the file and line of the function at the bottom of partials, wrappers and objects.

    If that one is not written in Python, it is ``("<unknown>", 1)``.
    """
    fn = unwrap_function(fn, through_wrappers=True)
    for holder in (fn, call_method(fn)):
        code = getattr(holder, "__code__", None)
        if isinstance(code, CodeType):
            return code.co_filename, code.co_firstlineno
    return "<unknown>", 1


def call_kind(fn: Any) -> CallKind:
    """Return what the calls of `fn` do.

    What `inspect` takes for a coroutine function or a generator function is one, such as a wrapper that is written as
    one, whatever it wraps. A sync wrapper of an async function is async if its code shows that it hands on what that
    function returns, see `recallm.keying.wrappers.hands_on_result`. Every other one is sync: it may have run the
    function to its end, and its callers do not await.
    """
    layers: list[Any] = []
    while len(layers) < MAX_LAYERS:
        fn = unwrap_function(fn)
        kind = own_call_kind(fn)
        if kind != "sync":
            return kind if all(map(hands_on_result, layers)) else "sync"
        if not hasattr(fn, "__wrapped__"):
            break
        layers.append(fn)
        fn = fn.__wrapped__
    return "sync"


def own_call_kind(fn: Any) -> CallKind:
    """Return what the calls of `fn` do, as its own code says, whatever it wraps."""
    inner = unwrap_function(fn)
    # wrapt's wrappers pass for what they wrap, but what runs is a function of theirs.
    for code in (getattr(inner, "_self_wrapper", None), inner, call_method(inner)):
        if inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code):
            return "generator"
        if inspect.iscoroutinefunction(code):
            return "async"
    return "sync"


def chosen_call_kind(fn: Callable[..., Any], mode: Mode) -> CallKind:
    """Return what the calls of `fn` do once it is cached in a mode.

    Args:
        fn: the function.
        mode: ``"auto"``: as the function is, see `call_kind`; ``"async"``: a sync function is awaited, too;
            ``"sync"``: as the function is, which must not be async.

    Raises:
        InvalidValueError: `mode` is unknown.
        InvalidTypeError: `mode` is ``"sync"`` and the function is async.
    """
    if mode not in MODES:
        raise InvalidValueError(f"mode={mode!r} is unknown; use {_listed(MODES)}")
    if mode == "async":
        own_kind = own_call_kind(fn)
        return "async" if own_kind == "sync" else own_kind
    kind = call_kind(fn)
    if mode == "sync" and kind == "async":
        raise InvalidTypeError(f"mode='sync' does not fit {function_path(fn)}, which is async; use 'auto' or 'async'")
    return kind


class Binder:
    """Binds the arguments of one function's calls, in a third of the time that `inspect.Signature.bind` takes.

    Args:
        fn: the function; one without a readable signature is taken for ``(*args, **kwargs)``.
    """

    __slots__ = (
        "_by_keyword", "_defaults", "_extra_name", "_positional", "_required", "_rest_name", "names", "order",
        "parameters",
    )  # fmt: skip

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.parameters = _parameters(fn)
        kinds = self.parameters.values()
        self._positional = tuple(p.name for p in kinds if p.kind in _POSITIONAL)
        self._by_keyword = frozenset(p.name for p in kinds if p.kind in _BY_KEYWORD)
        self._rest_name = next((p.name for p in kinds if p.kind is Parameter.VAR_POSITIONAL), None)
        self._extra_name = next((p.name for p in kinds if p.kind is Parameter.VAR_KEYWORD), None)
        self.names = frozenset(p.name for p in kinds if p.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD))
        self.order = tuple(p.name for p in kinds if p.kind is not Parameter.VAR_KEYWORD)
        self._defaults = {p.name: p.default for p in kinds if p.default is not Parameter.empty}
        self._required = self.names - self._defaults.keys()

    @property
    def takes_any_keyword(self) -> bool:
        """Whether the function has ``**kwargs``."""
        return self._extra_name is not None

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Return the named arguments and those of ``**kwargs``, or None if the function would refuse the call.

        Args:
            args: the positional arguments, ``self`` included.
            kwargs: the keyword arguments.
        """
        named: dict[str, Any] = dict(zip(self._positional, args, strict=False))
        extra: dict[str, Any] = {}
        bound = len(named)
        if self._rest_name is not None:
            named[self._rest_name] = args[bound:]
        elif len(args) > bound:
            return None
        for name, value in kwargs.items():
            if name in self._by_keyword:
                if name in named:
                    return None
                named[name] = value
            elif self._extra_name is None:
                return None
            else:
                extra[name] = value
        if not named.keys() >= self._required:
            return None
        for name, value in self._defaults.items():
            named.setdefault(name, value)
        return named, extra


def _parameters(fn: Callable[..., Any]) -> Mapping[str, Parameter]:
    try:
        return inspect.signature(fn).parameters
    except (TypeError, ValueError):
        return inspect.signature(lambda *args, **kwargs: None).parameters  # only its signature is read


def checked_prompt(
    fn: Callable[..., Any], binder: Binder, prompt: Prompt | None, ignored: Collection[str] = ()
) -> Prompt:
    """Return the name of the argument that carries the prompt, or the callable that makes it of all arguments.

    Args:
        fn: the function.
        binder: binds its arguments.
        prompt: a name or a callable, which is returned; or None to infer the name: ``messages``, else ``prompt``, else
            the only parameter annotated ``str`` (of several, the only one that may be passed by position).
        ignored: names of arguments that do not affect the answer.

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
    inner = unwrap_function(fn)
    try:
        hints = get_type_hints(inner if hasattr(inner, "__annotations__") else call_method(inner))
    except Exception:  # noqa: BLE001  # annotations may name what only a type checker imports
        hints = {}
    return [
        name
        for name, parameter in binder.parameters.items()
        if name in binder.names and hints.get(name, parameter.annotation) in (str, "str")
    ]


def checked_ignore(fn: Callable[..., Any], binder: Binder, ignore: Collection[str]) -> frozenset[str]:
    """Return the names of the arguments and closed-over variables that do not affect the answer.

    Raises:
        InvalidTypeError: `ignore` is a str, or no collection of str.
        SignatureMismatchError: `ignore` names neither a parameter nor a closed-over variable.
    """
    named = isinstance(ignore, Collection) and not isinstance(ignore, str)
    if not named or not all(isinstance(name, str) for name in ignore):
        raise InvalidTypeError(f"ignore={ignore!r} is not a sequence of names; use ignore=('timeout',)")
    closed_over = getattr(getattr(unwrap_function(fn), "__code__", None), "co_freevars", ())
    known = {*binder.parameters, *closed_over, "self"}
    unknown = sorted(set(ignore) - known)
    if unknown and not binder.takes_any_keyword:
        raise SignatureMismatchError(
            f"ignore={ignore!r} names {_listed(unknown)}, no parameter of {function_path(fn)}; "
            f"its parameters are {_listed(list(binder.parameters))}"
        )
    return frozenset(ignore)


def _listed(names: Collection[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
