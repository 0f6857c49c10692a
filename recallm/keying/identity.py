"""What a function is: its path, its code and what it closes over, so that no other function shares its answers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from dis import get_instructions
from functools import lru_cache, partial
from hashlib import blake2b
from itertools import chain
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, ref

from recallm.keying.canonical import canonical, length_prefixed, type_path
from recallm.keying.signature import call_method, function_path

MAX_HELD = 1024
"""How many objects that take no weak reference are kept alive, so that their tokens stay their own."""

_LRU_CACHE = type(lru_cache(str))


@dataclass(frozen=True, slots=True)
class Identity:
    """A function's identity.

    Attributes:
        digest: 20 bytes that differ between functions that may answer differently.
        process_local: names of what the function depends on and that has no canonical form. A token that only
            this process knows took its place, so the function shares its answers with no other process.
    """

    digest: bytes
    process_local: tuple[str, ...] = ()


class Identities:
    """Gives every function its identity, and keeps it for as long as the function lives.

    Args:
        new_token: returns random bytes, which take the place of what has no canonical form.
    """

    def __init__(self, new_token: Callable[[], bytes]) -> None:
        self._new_token = new_token
        self._known: WeakKeyDictionary[Any, dict[frozenset[str], Identity]] = WeakKeyDictionary()
        self._tokens: dict[int, tuple[ref[Any], bytes]] = {}
        self._held: OrderedDict[int, tuple[object, bytes]] = OrderedDict()

    def of(self, fn: Callable[..., Any], ignore: Collection[str] = ()) -> Identity:
        """Return the identity of `fn`, as it was when it was first asked for.

        Args:
            fn: a function, method, partial or callable object.
            ignore: names of closed-over variables that do not affect the answer; ``"self"`` stands for
                the object behind a bound method or a callable object.
        """
        if type(fn) is not FunctionType:
            return self.read(fn, ignore)
        by_ignore = self._known.setdefault(fn, {})
        names = frozenset(ignore)
        if names not in by_ignore:
            by_ignore[names] = self.read(fn, ignore)
        return by_ignore[names]

    def reader(self, fn: Callable[..., Any], ignore: Collection[str] = ()) -> Callable[[], Identity]:
        """Return a function that returns the identity of `fn` at each call.

        A closure is fingerprinted at the first call: variables that the function itself rebinds, such as counters, must
        not change it. It is fingerprinted again if code outside rebinds a variable that the function never assigns.

        Args:
            fn: see `of`.
            ignore: see `of`.
        """
        if type(fn) is FunctionType and not fn.__closure__:
            identity = self.of(fn, ignore)
            return lambda: identity
        return _LiveIdentity(self, fn, ignore)

    def read(self, fn: Callable[..., Any], ignore: Collection[str]) -> Identity:
        """Return the identity of `fn` as it is now. Arguments as for `of`."""
        fingerprint = _Fingerprint(ignore, self._token)
        digest = blake2b(fingerprint.of(fn), digest_size=20).digest()
        return Identity(digest, tuple(dict.fromkeys(fingerprint.process_local)))

    def _token(self, value: Any) -> bytes:
        """Return a random token for `value`, the same while it lives; equal objects do not share one."""
        key = id(value)
        known = self._tokens.get(key) or self._held.get(key)
        if known is not None:
            return known[1]
        token = self._new_token()
        try:
            self._tokens[key] = (ref(value, lambda _: self._tokens.pop(key, None)), token)
        except TypeError:
            # Nothing tells when it is gone: it is kept, so that no other takes its place in memory.
            self._held[key] = (value, token)
            if len(self._held) > MAX_HELD:
                self._held.popitem(last=False)
        return token


class _Snapshot(NamedTuple):
    """An identity, and the values that outer variables had when it was read."""

    identity: Identity
    cells: list[CellType]
    values: list[object]


class _LiveIdentity:
    """The identity of one function, read again if code outside it has set a variable. See `Identities.reader`."""

    def __init__(self, identities: Identities, fn: Callable[..., Any], ignore: Collection[str]) -> None:
        self._identities = identities
        self._fn = fn
        self._ignore = ignore
        self._snapshot: _Snapshot | None = None

    def __call__(self) -> Identity:
        snapshot = self._snapshot
        if snapshot is None or not all(map(_is_unchanged, map(_cell_value, snapshot.cells), snapshot.values)):
            cells = list(_cells_set_elsewhere(self._fn, self._ignore, set()))
            values = [_cell_value(cell) for cell in cells]
            snapshot = self._snapshot = _Snapshot(self._identities.read(self._fn, self._ignore), cells, values)
        return snapshot.identity


def _cell_value(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # the variable is not set
        return ...


def _is_unchanged(value: object, before: object) -> bool:
    """Return whether a variable holds the same object, or an equal plain scalar.

    Mutation of the object is not detected.
    """
    return value is before or (type(value) is type(before) and type(value) in _PLAIN and value == before)


_PLAIN = frozenset({str, bytes, int, float, bool})


def _cells_set_elsewhere(fn: object, ignore: Collection[str], seen: set[int]) -> Iterator[CellType]:
    """Yield the cells of a function, and of the functions in them, that none of these functions sets."""
    if not isinstance(fn, FunctionType) or id(fn) in seen:
        return
    seen.add(id(fn))
    own = set(_variables_set(fn.__code__))
    for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
        if name not in ignore and name not in own:
            yield cell
            yield from _cells_set_elsewhere(_cell_value(cell), ignore, seen)


def _variables_set(code: CodeType) -> Iterator[str]:
    for step in get_instructions(code):
        if step.opname in ("STORE_DEREF", "DELETE_DEREF"):
            yield step.argval
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _variables_set(inner)


@dataclass(slots=True)
class _Fingerprint:
    """Bytes that tell one function from others, gathered from all that it consists of.

    Args:
        ignore: see `Identities.of`.
        token: returns the bytes that take the place of a value without a canonical form.

    Attributes:
        process_local: names of the values for which a token stands.
    """

    ignore: Collection[str]
    token: Callable[[Any], bytes]
    process_local: list[str] = field(default_factory=list)

    def of(self, fn: Any, above: tuple[int, ...] = ()) -> bytes:
        """Return bytes that tell `fn` from others; `above` are the ids of the callables in which it was found."""
        if id(fn) in above:
            return b"recursion %d" % above.index(id(fn))
        above = (*above, id(fn))
        if id(getattr(fn, "__wrapped__", None)) in above:
            return b"recursion through a wrapper"
        return self._of_kind(fn, above)

    def _of_kind(self, fn: Any, above: tuple[int, ...]) -> bytes:
        match fn:
            case _ if _is_opaque_wrapper(fn):
                return self._of_wrapper(fn, above)
            case partial():
                return self._of_partial(fn, above)
            case staticmethod() | classmethod():
                return self.of(fn.__func__, above)
            case MethodType():
                parts = [self.of(fn.__func__, above), self.of_value("self", fn.__self__, above)]
                return length_prefixed(b"method", parts)
            case FunctionType():
                return self._of_function(fn, above)
            case BuiltinFunctionType():
                owner = b"" if isinstance(fn.__self__, ModuleType | None) else self.of_value("self", fn.__self__, above)
                return length_prefixed(b"builtin", [_path(fn), owner])
            case type():
                return length_prefixed(b"class", [self.of_value("self", fn, above)])
            case _ if hasattr(fn, "__wrapped__"):
                return self.of(fn.__wrapped__, above)
            case _:
                parts = [self.of(call_method(fn), above), self.of_value("self", fn, above)]
                return length_prefixed(b"object", parts)

    def _of_wrapper(self, fn: Any, above: tuple[int, ...]) -> bytes:
        inner = [self.of(fn.__wrapped__, above)] if hasattr(fn, "__wrapped__") else []
        return length_prefixed(b"wrapper", [self.token_of("self", fn), *inner])

    def _of_partial(self, fn: partial[Any], above: tuple[int, ...]) -> bytes:
        args = [self.of_value(f"argument {place}", arg, above) for place, arg in enumerate(fn.args)]
        named = [(name.encode(), self.of_value(name, arg, above)) for name, arg in sorted(fn.keywords.items())]
        parts = [self.of(fn.func, above), length_prefixed(b"args", args), *chain.from_iterable(named)]
        return length_prefixed(b"partial", parts)

    def _of_function(self, fn: FunctionType, above: tuple[int, ...]) -> bytes:
        kept = chain(_closed_over(fn), _defaults(fn))
        parts = [name.encode() + b"=" + self.of_value(name, value, above) for name, value in kept]
        return length_prefixed(b"function", [_path(fn), _code_bytes(fn.__code__), *parts])

    def of_value(self, name: str, value: object, above: tuple[int, ...]) -> bytes:
        """Return bytes that tell the value of `name` from others."""
        if name in self.ignore:
            return b"ignored"
        if _is_function_like(value):
            return self.of(value, above)
        try:
            return canonical(value)
        except Exception:  # noqa: BLE001  # a value that cannot be read is told from others by what it is
            return self.token_of(name, value)

    def token_of(self, name: str, value: object) -> bytes:
        """Return the token of a value that cannot be read."""
        if name in self.ignore:
            return b"ignored"
        self.process_local.append(name)
        return self.token(value)


def _path(fn: object) -> bytes:
    return function_path(fn).encode("utf-8", "surrogatepass")


def _is_function_like(value: object) -> bool:
    return isinstance(value, FunctionType | MethodType | BuiltinFunctionType | partial) or (
        hasattr(value, "__wrapped__") and callable(value)
    )


def _closed_over(fn: FunctionType) -> Iterator[tuple[str, object]]:
    for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
        value = _cell_value(cell)
        yield name, type_path(value) if name == "__class__" else value


def _defaults(fn: FunctionType) -> Iterator[tuple[str, object]]:
    positional = fn.__code__.co_varnames[: fn.__code__.co_argcount]
    defaults = fn.__defaults__ or ()
    yield from zip(positional[len(positional) - len(defaults) :], defaults, strict=True)
    yield from sorted((fn.__kwdefaults__ or {}).items())


def _is_opaque_wrapper(fn: Any) -> bool:
    """Return whether `fn` is an object around a function, with a state of its own that may change the answers."""
    if fn.__class__ is not type(fn):  # a proxy, which passes for what it wraps
        return True
    plain = isinstance(fn, FunctionType | MethodType | partial | staticmethod | classmethod | _LRU_CACHE)
    return hasattr(fn, "__wrapped__") and not plain


def _code_bytes(code: CodeType) -> bytes:
    constants = [_code_bytes(item) if isinstance(item, CodeType) else canonical(item) for item in code.co_consts]
    names = " ".join((*code.co_names, "/", *code.co_varnames)).encode()
    return length_prefixed(b"code", [code.co_code, code.co_exceptiontable, names, *constants])
