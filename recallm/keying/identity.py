"""What a function is at each call, so that no function that may answer otherwise shares its answers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from types import BuiltinFunctionType, MethodType, ModuleType
from typing import Any, NamedTuple, TypeAlias

from recallm.keying.bookkeeping import Leave
from recallm.keying.canonical import ValueReader
from recallm.keying.definitions import Definitions
from recallm.keying.ignoring import Ignore
from recallm.keying.lives import Lives
from recallm.keying.reader import (
    MAIN,
    Reader,
    UnreadableError,
    class_module,
    encoded,
    length_prefixed,
    module_path,
    type_path,
)
from recallm.keying.scope import Scope, is_of_library
from recallm.keying.signature import function_path, unwrap_function
from recallm.keying.tokens import Opaque, Tokens
from recallm.keying.watch import Watch
from recallm.keying.wrappers import is_wrapt_wrapper

_SETTLED = 3
"""How often a function is read before it is found out in detail which of its variables change all the time."""

_MAX_READINGS = 8
"""How often a function is read at most until it is known which attributes its methods only keep books in."""


class Identity(NamedTuple):
    """A function as it was when it was read.

    Attributes:
        digest: 20 bytes that differ between functions that may answer differently.
        missing: the first module that it imports when it runs and that nobody has imported yet; None: there is none.
        named: by name, a digest of each variable that it depends on.
    """

    digest: bytes
    missing: str | None
    named: dict[str, bytes]


_Read: TypeAlias = "tuple[Watch, Identity | UnreadableError]"
"""What was read, or why it was not, and what notices when that may have changed."""


class _Live:
    """What was read once, and is read again if anything has changed since."""

    def __init__(self, read: Callable[[], _Read]) -> None:
        self._read = read
        self._known: _Read | None = None

    def __call__(self) -> Identity:
        known = self._known
        if known is None or not known[0].unchanged():
            known = self._known = self._read()
        if isinstance(known[1], UnreadableError):
            raise known[1].with_traceback(None)
        return known[1]


class FunctionIdentity:
    """The identity of one function, as it is at each call.

    Args:
        fn: a function, method, partial, class or callable object.
        ignore: names of closed-over variables and globals, and of what is in them, that do not affect the answer;
            ``"self"`` stands for the object behind a bound method or a callable object.
        tokens: names objects that pass for functions.
        version: stands for the function, whatever it is; None: it is read.

    Attributes:
        function: the function.
        of_library: whether the function is a library's, which the program only uses.
        scope: whose code counts.
    """

    def __init__(self, fn: Callable[..., Any], ignore: Ignore, tokens: Tokens, version: str | None = None) -> None:
        self.function = fn
        self._ignore = ignore
        module, script = _module(fn)
        self._version = version
        self.of_library = script is None and is_of_library(module)
        self.scope = Scope(module, library=version is not None or self.of_library, script=script)
        self._function = _Live(self._read_function)
        self._leave = Leave()
        self._opaque = Opaque(tokens)
        self._readings = 0
        self._token = tokens.of(fn) if _passes_for_a_function(fn) else b""
        self._lives: Lives[_Live] = Lives()

    def __call__(self) -> Identity:
        """Return the function's identity as it is now."""
        return self._function()

    def _read_function(self) -> _Read:
        if self._version is not None:
            return Watch(), Identity(blake2b(b"version " + encoded(self._version), digest_size=20).digest(), None, {})
        self._readings += 1
        path = encoded(function_path(self.function))
        if self._token:
            first = length_prefixed(b"token", [path, self._token])
            return Watch(), Identity(blake2b(first, digest_size=20).digest(), None, {})

        def write(definitions: Definitions) -> bytes:
            return length_prefixed(b"root", [path, definitions.root_form(self.function)])

        read, self._leave = self._define(write, None, Leave(), self._opaque)
        return read

    def _define(
        self, write: Callable[[Definitions], bytes], also: str | None, leave: Leave, opaque: Opaque | None
    ) -> tuple[_Read, Leave]:
        """Read a function or class, again and again until it is known what its methods only keep books in."""
        for _ in range(_MAX_READINGS):
            watch = Watch()
            definitions = Definitions(
                self.scope,
                self._ignore,
                watch,
                also=also,
                leave=leave,
                opaque=opaque,
                detailed=self._readings > _SETTLED,
            )
            try:
                digest = definitions.digest(write(definitions))
            except UnreadableError as error:
                return (watch, error), leave
            found = Leave(
                leave.reached | definitions.reached,
                leave.counted | definitions.conflicts(),
                leave.described or definitions.describes,
            )
            if found == leave:
                break
            leave = found
        return (watch, Identity(digest, next(iter(definitions.missing), None), definitions.named)), leave

    def reader(self) -> Reader:
        """Return a reader for the arguments of one call."""
        self._lives.turn()
        return _ArgumentReader(self)

    def part(self, value: Any, left_out: frozenset[str] = frozenset()) -> bytes:
        """Return the digest of a class or function that is, or lies in, an argument."""
        return self._lives.of(value, left_out, lambda: _Live(partial(self._read_part, value, left_out)))().digest

    def _read_part(self, value: Any, left_out: frozenset[str]) -> _Read:
        def write(definitions: Definitions) -> bytes:
            if isinstance(value, type):
                return definitions.class_value_form(value, left_out)
            return definitions.function_form(value)

        read, _ = self._define(write, value.__module__ if isinstance(value, type) else None, self._leave, None)
        return read


class _ArgumentReader(ValueReader):
    """Reads the arguments of one call; of classes and functions it remembers what they were when last read."""

    __slots__ = ("_identity", "_read")

    def __init__(self, identity: FunctionIdentity) -> None:
        super().__init__()
        self._identity = identity
        self._read: dict[tuple[int, frozenset[str]], tuple[object, bytes]] = {}

    def is_own(self, module: str) -> bool:
        return self._identity.scope.owns(module)

    def class_form(self, cls: type) -> bytes:
        return type_path(cls) + self._part(cls) if self.is_own(cls.__module__) else type_path(cls)

    def class_value_form(self, cls: type, left_out: frozenset[str]) -> bytes:
        module = sys.modules.get(cls.__module__)
        of_python = cls.__module__.partition(".")[0] in sys.stdlib_module_names
        if of_python and getattr(module, cls.__name__, None) is cls and not self.is_own(cls.__module__):
            return type_path(cls)
        return type_path(cls) + self._part(cls, left_out)

    def function_form(self, fn: Any) -> bytes:
        kind = type(fn)
        if kind is MethodType:
            return length_prefixed(b"method", [self.function_form(fn.__func__), self.form(fn.__self__)])
        if issubclass(kind, partial):
            parts = [self.form(part) for part in (fn.args, fn.keywords)]
            return length_prefixed(b"partial", [self.form(fn.func), *parts])
        if kind is BuiltinFunctionType and not isinstance(fn.__self__, type | ModuleType | None):
            raise UnreadableError("a method of a built-in object is not read")
        return self._part(fn)

    def _part(self, value: Any, left_out: frozenset[str] = frozenset()) -> bytes:
        """Return the digest of a class or function, which is read once however often this call holds it."""
        known = self._read.get((id(value), left_out))
        if known is None:
            known = self._read[id(value), left_out] = value, self._identity.part(value, left_out)
        return known[1]


def _module(fn: Any) -> tuple[str, str | None]:
    """Return the module in which the function at the bottom of wrappers is defined.

    If that is a script which this process does not run, return the path of it, too.
    """
    inner = unwrap_function(fn, through_wrappers=True)
    inner = getattr(inner, "__func__", inner)
    namespace = getattr(inner, "__globals__", None)
    if isinstance(namespace, dict):
        module = str(namespace.get("__name__"))
        here = module not in MAIN or namespace is vars(sys.modules.get(module, sys))
        return module, None if here else module_path(module, namespace)
    cls = inner if isinstance(inner, type) else type(inner)
    path = class_module(cls, cls.__module__, cls.__qualname__)
    return str(cls.__module__), path if cls.__module__ in MAIN and path != module_path(cls.__module__) else None


def _passes_for_a_function(fn: Any) -> bool:
    """Return whether an object only claims to be a function, so that nothing tells what it does."""
    kinds = {kind.__module__.partition(".")[0] for kind in type(fn).__mro__}
    return "unittest" in kinds or "mock" in kinds or (fn.__class__ is not type(fn) and not is_wrapt_wrapper(type(fn)))
