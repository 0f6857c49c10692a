"""What a cache needs to know of a callable: the function under its wrappers, its kind, its arguments, the prompt's."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from inspect import Parameter
from operator import attrgetter
from types import CodeType, FunctionType
from typing import Any, Literal, TypeAlias

from recallm import checks
from recallm.errors import InvalidTypeError, InvalidValueError, SignatureMismatchError
from recallm.keying.reader import class_module, module_path
from recallm.keying.wrappers import hands_on_result
from recallm.typing import Mode, Prompt

CallKind: TypeAlias = Literal["sync", "async", "generator"]
"""What a call does: it returns its answer, it is awaited, or it generates."""

MODES = ("auto", "sync", "async")
MESSAGES = "messages"
USUAL_NAMES = frozenset(
    "prompt question query input contents text message user_input user_prompt user_message instruction".split()
)
"""Names of an argument that carries the prompt, if nobody says which it is and there is no `MESSAGES`."""
MAX_LAYERS = 1000
"""How many wrappers are looked through: an object may pass for a wrapper of itself, or of anything it is asked for."""

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_OWNERS = ("self", "cls")
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
    if issubclass(type(named), type):
        return f"{class_module(named, named.__module__, named.__qualname__)}.{named.__qualname__}"
    module = module_path(getattr(named, "__module__", None), getattr(fn, "__globals__", None))
    return f"{module}.{named.__qualname__}"


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
        "_by_keyword", "_code", "_extra_name", "_fn", "_function", "_positional", "_required", "_rest_name",
        "_successor", "defaults", "names", "order", "parameters",
    )  # fmt: skip

    def __init__(self, fn: Callable[..., Any]) -> None:
        self._fn = fn
        inner = unwrap_function(fn, through_wrappers=True)
        inner = getattr(inner, "__func__", inner)
        self._function: Any = inner if isinstance(inner, FunctionType) else None
        self._code: tuple[Any, ...] = _READ_WRITTEN(inner) if self._function is not None else ()
        self._successor: Binder | None = None
        self.parameters = _parameters(fn)
        kinds = self.parameters.values()
        self._positional = tuple(p.name for p in kinds if p.kind in _POSITIONAL)
        self._by_keyword = frozenset(p.name for p in kinds if p.kind in _BY_KEYWORD)
        self._rest_name = next((p.name for p in kinds if p.kind is Parameter.VAR_POSITIONAL), None)
        self._extra_name = next((p.name for p in kinds if p.kind is Parameter.VAR_KEYWORD), None)
        self.names = frozenset(p.name for p in kinds if p.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD))
        self.order = tuple(p.name for p in kinds if p.kind is not Parameter.VAR_KEYWORD)
        self.defaults = {p.name: p.default for p in kinds if p.default is not Parameter.empty}
        self._required = self.names - self.defaults.keys()

    @property
    def takes_any_keyword(self) -> bool:
        """Whether the function has ``**kwargs``."""
        return self._extra_name is not None

    def current(self) -> Binder:
        """Return what binds the function's arguments now: another one if its code was replaced in place."""
        fn, successor = self._function, self._successor
        if fn is None:
            return self
        code, defaults, named_defaults = self._code
        if fn.__code__ is code and fn.__defaults__ is defaults and fn.__kwdefaults__ is named_defaults:
            return self
        if successor is None or successor.current() is not successor:
            successor = self._successor = Binder(self._fn)
        return successor

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
        for name, value in self.defaults.items():
            named.setdefault(name, value)
        return named, extra

    def why_not(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        """Return why the function would refuse a call, in words of Python's."""
        try:
            inspect.signature(self._fn).bind(*args, **kwargs)
        except (TypeError, ValueError) as error:
            return str(error)
        return "its arguments do not bind"


_READ_WRITTEN = attrgetter("__code__", "__defaults__", "__kwdefaults__")
"""Reads what a function's parameters and their defaults follow from."""


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
        prompt: a name or a callable, which is returned; or None to go by the arguments' names, never by their types:
            ``messages``, else the only one of `USUAL_NAMES`, else the only argument (``self`` and ``cls`` aside).
        ignored: names of arguments that do not affect the answer, and so carry no prompt; if none of the usual names
            is left because of them, no other argument takes their place.

    Raises:
        InvalidTypeError: `prompt` is neither a str nor a callable of all arguments, or async.
        SignatureMismatchError: `prompt` is no parameter, or ignored, or no name tells which it is.
    """
    if prompt is None:
        return _inferred_prompt(fn, binder, ignored)
    if not isinstance(prompt, str):
        use = "use an argument's name or a callable of all arguments"
        derive = checks.sync_callable(checks.required_callable(prompt, "prompt", use=use), "prompt", use=use)
        return fitting(derive, "prompt", "kw")  # type: ignore[no-any-return]  # a callable prompt, as it was given
    if prompt not in binder.names and not binder.takes_any_keyword:
        raise SignatureMismatchError(
            f"prompt={prompt!r} is no parameter of {function_path(fn)}; its parameters are {_listed(_named(binder))}"
        )
    if prompt in ignored:
        raise _ignored_prompt([prompt], ignored)
    return prompt


def fitting(value: Any, field: str, *names: str) -> Any:
    """Return an option's value; if it is a callable, one that can be called as it will be.

    Args:
        value: the value.
        field: the option's name.
        names: what it will be called with, by position; ``kw`` stands for all arguments by name.

    Raises:
        InvalidTypeError: it takes something else.
    """
    try:
        signature = inspect.signature(value, follow_wrapped=False) if callable(value) else None
    except (TypeError, ValueError):  # some callables that are not written in Python do not tell
        signature = None
    try:
        if signature is not None:
            signature.bind(*names)
    except TypeError:
        wanted = f"({', '.join(names)})"
        about = "; kw holds all arguments by name, as in kw['question']" if "kw" in names else ""
        raise InvalidTypeError(
            f"{field}={value!r} takes {signature}, and is called with {wanted}; use one that takes {wanted}{about}"
        ) from None
    return value


def _named(binder: Binder) -> list[str]:
    return [name for name in binder.parameters if name in binder.names]


def _inferred_prompt(fn: Callable[..., Any], binder: Binder, ignored: Collection[str]) -> str:
    names = [name for name in _named(binder) if name not in ignored and name not in _OWNERS]
    usual = [name for name in names if name in USUAL_NAMES]
    prompts_ignored = [name for name in _named(binder) if name in ignored and name in (MESSAGES, *USUAL_NAMES)]
    if MESSAGES in names:
        return MESSAGES
    if prompts_ignored and not usual:
        raise _ignored_prompt(prompts_ignored, ignored)
    if binder.takes_any_keyword and not usual:
        # A call may bring the prompt under its name.
        return MESSAGES
    candidates = usual or names
    if len(candidates) == 1:
        return candidates[0]
    remedies = " or ".join(f"prompt={name!r}" for name in usual or ["<name>"])
    raise SignatureMismatchError(
        f"no name tells which argument of {function_path(fn)} carries the prompt: candidates are "
        f"{_listed(candidates)}; pass {remedies}, or prompt=lambda kw: ... for one inside another"
    )


def _ignored_prompt(names: list[str], ignored: Collection[str]) -> SignatureMismatchError:
    return SignatureMismatchError(
        f"ignore={tuple(ignored)!r} names {_listed(names)}, which carries the prompt; leave it out"
    )


def checked_ignore(fn: Callable[..., Any], binder: Binder, ignore: Collection[str]) -> frozenset[str]:
    """Return the names of what does not affect the answer.

    Args:
        fn: the function.
        binder: binds its arguments.
        ignore: names of arguments, closed-over variables and globals, or dotted names of what is in them.

    Raises:
        InvalidTypeError: `ignore` is a str, or no collection of str.
        SignatureMismatchError: `ignore` names nothing that the function has.
    """
    named = isinstance(ignore, Collection) and not isinstance(ignore, str)
    if not named or not all(isinstance(name, str) for name in ignore):
        raise InvalidTypeError(f"ignore={ignore!r} is not a sequence of names; use ignore=('timeout',)")
    inner = unwrap_function(fn, through_wrappers=True)
    inner = getattr(inner, "__func__", inner)
    code = getattr(inner, "__code__", None)
    known = {*binder.parameters, *_names_in(code), *getattr(inner, "__globals__", ()), "self"}
    unknown = sorted(name for name in set(ignore) if name.partition(".")[0] not in known)
    if unknown and not binder.takes_any_keyword:
        raise SignatureMismatchError(
            f"ignore={ignore!r} names {_listed(unknown)}, no parameter of {function_path(fn)}; "
            f"its parameters are {_listed(list(binder.parameters))}"
        )
    return frozenset(ignore)


def _names_in(code: CodeType | None) -> Iterator[str]:
    """Yield the names of the globals and closed-over variables that code names, and that of inner functions."""
    if code is None:
        return
    yield from (*code.co_freevars, *code.co_names)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names_in(inner)


def _listed(names: Collection[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
