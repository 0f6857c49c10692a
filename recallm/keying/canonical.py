"""A value's canonical form: bytes that are equal exactly if two values mean the same to a call.

Types stay apart (``1``, ``True``, ``"1"``, ``1.0`` and ``b"1"`` all differ), and the order of mappings
and sets does not count. Every form begins with a tag and states its length or its number of parts,
so no two values share a form. A value whose state cannot be read in full has no form.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from itertools import chain
from pathlib import PurePath
from struct import pack
from types import FunctionType, MappingProxyType, SimpleNamespace
from typing import Any, TypeAlias
from uuid import UUID

from recallm.errors import UnfingerprintableError
from recallm.keying.objects import dataclass_values, is_pydantic_model, model_values, raw_state, slot_values

Writer: TypeAlias = Callable[[Any, int], bytes]

MAX_DEPTH = 100
"""How many values may lie inside each other: more of them could exhaust the stack."""

_CLASS_DEPTH = 20
"""How many levels a class counts for: classes hold many values, and may hold each other."""


class PromptPlaceholder:
    """Stands where the prompt was taken out of an argument."""


PROMPT_PLACEHOLDER = PromptPlaceholder()


def canonical(value: object, depth: int = 0) -> bytes:
    """Return the canonical form of `value`.

    Args:
        value: anything; containers, dataclasses, named tuples, enums, pydantic models, numpy arrays,
            classes and the scalar types of the standard library have a form.
        depth: how many values this one lies in.

    Raises:
        UnfingerprintableError: `value`, or something in it, has no canonical form.

    >>> canonical({"a": 1, "b": 2}) == canonical({"b": 2, "a": 1})
    True
    >>> canonical(1) == canonical(True)
    False
    """
    writer = _WRITERS.get(type(value))
    if writer is None:
        writer = _writer_by_nature(value)
    return writer(value, depth)


def length_prefixed(tag: bytes, parts: Iterable[bytes]) -> bytes:
    """Return `parts` under `tag`, preceded by their number and their lengths."""
    parts = tuple(parts)
    lengths = pack(f"<{len(parts) + 1}Q", len(parts), *map(len, parts))
    return b"".join((tag, b":", lengths, *parts))


def canonical_mapping(value: Mapping[Any, Any], depth: int = 0) -> bytes:
    """Return the canonical form of a plain mapping, whatever the order of its items."""
    if depth > MAX_DEPTH:
        raise UnfingerprintableError(f"values nested deeper than {MAX_DEPTH} levels have no canonical form")
    below = depth + 1
    items = sorted([(canonical(key, below), canonical(item, below)) for key, item in value.items()])
    return length_prefixed(b"{", chain.from_iterable(items))


def _text(value: str, _depth: int) -> bytes:
    return b"s" + value.encode("utf-8", "surrogatepass")


def _sequence(tag: bytes) -> Writer:
    def write(value: Iterable[object], depth: int) -> bytes:
        if depth > MAX_DEPTH:
            raise UnfingerprintableError(f"values nested deeper than {MAX_DEPTH} levels have no canonical form")
        return length_prefixed(tag, [canonical(item, depth + 1) for item in value])

    return write


def _set(tag: bytes) -> Writer:
    def write(value: Iterable[object], depth: int) -> bytes:
        return length_prefixed(tag, sorted(canonical(item, depth + 1) for item in value))

    return write


def _by_text(read: Callable[[Any], str]) -> Writer:
    def write(value: object, _depth: int) -> bytes:
        return length_prefixed(b"v", [type_path(type(value)), read(value).encode("utf-8", "surrogatepass")])

    return write


def _moment(value: datetime | time, _depth: int) -> bytes:
    # Two zones with one offset today part ways at the next change of the clocks.
    zone = repr(value.tzinfo)
    parts = (value.isoformat(), zone, str(value.fold))
    return length_prefixed(b"v", [type_path(type(value)), *(part.encode() for part in parts)])


_WRITERS: dict[type, Writer] = {
    type(None): lambda value, depth: b"N",
    bool: lambda value, depth: b"T" if value else b"F",
    int: lambda value, depth: b"i%x" % value if value >= 0 else b"i-%x" % -value,
    float: lambda value, depth: b"f" + value.hex().encode(),
    complex: _by_text(lambda value: f"{value.real.hex()} {value.imag.hex()}"),
    str: _text,
    bytes: lambda value, depth: b"b" + value,
    bytearray: lambda value, depth: b"B" + bytes(value),
    list: _sequence(b"["),
    tuple: _sequence(b"("),
    dict: canonical_mapping,
    MappingProxyType: canonical_mapping,
    set: _set(b"<"),
    frozenset: _set(b">"),
    Decimal: _by_text(str),
    Fraction: _by_text(str),
    UUID: _by_text(str),
    date: _by_text(date.isoformat),
    datetime: _moment,
    time: _moment,
    timedelta: _by_text(repr),
    SimpleNamespace: lambda value, depth: _typed(value, vars(value), depth),
    type(Ellipsis): lambda value, depth: b".",
    PromptPlaceholder: lambda value, depth: b"?",
}


def type_path(kind: type) -> bytes:
    """Return the dotted path of a class as bytes."""
    return f"{kind.__module__}.{kind.__qualname__}".encode("utf-8", "surrogatepass")


def _typed(value: object, state: object, depth: int) -> bytes:
    return length_prefixed(b"@", [type_path(type(value)), canonical(state, depth + 1)])


def _writer_by_nature(value: object) -> Writer:
    """Return the writer for a value whose exact type is not in the table."""
    if isinstance(value, type):
        return _class
    if isinstance(value, Enum):
        return lambda value, depth: length_prefixed(b"e", [type_path(type(value)), canonical(value.value, depth + 1)])
    for base, writer in _BUILTIN_BASES:
        if isinstance(value, base):
            return _subclass_of(writer)
    if is_dataclass(value):
        return _dataclass
    if isinstance(value, PurePath):
        return _by_text(str)
    if is_pydantic_model(value):
        return _pydantic_model
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray | numpy.generic):
        return _numpy
    raise UnfingerprintableError(
        f"a {type(value).__module__}.{type(value).__qualname__} has no canonical form; "
        "numbers, texts, dates, containers, dataclasses, enums and pydantic models have one"
    )


_BUILTIN_BASES: tuple[tuple[type, Writer], ...] = tuple(
    (base, _WRITERS[base]) for base in (int, float, str, bytes, list, tuple, dict, set, frozenset)
)


def _subclass_of(writer: Writer) -> Writer:
    """Return a writer for a subclass of a built-in: its content under its own type, and its attributes."""

    def write(value: Any, depth: int) -> bytes:
        parts = [type_path(type(value)), writer(value, depth + 1), canonical(raw_state(value), depth + 1)]
        return length_prefixed(b"u", parts)

    return write


def _dataclass(value: Any, depth: int) -> bytes:
    return _typed(value, dataclass_values(value) | slot_values(value), depth)


def _pydantic_model(value: Any, depth: int) -> bytes:
    # Pydantic keeps what `model_values` returns in slots of its own.
    slots = {name: item for name, item in slot_values(value).items() if not name.startswith("__")}
    state = model_values(value)
    return _typed(value, (*state, slots) if slots else tuple(state), depth)


def _numpy(value: Any, _depth: int) -> bytes:
    if type(value) is not sys.modules["numpy"].ndarray and not isinstance(value, sys.modules["numpy"].generic):
        raise UnfingerprintableError(f"a {type(value).__qualname__} is more than its array; use a plain numpy array")
    if value.dtype.hasobject:
        raise UnfingerprintableError("a numpy array of objects has no canonical form; use one of numbers")
    parts = (repr(type(value)), value.dtype.descr, value.shape)
    return length_prefixed(b"n", [repr(parts).encode(), value.tobytes()])


def _class(value: Any, depth: int) -> bytes:
    """Return a class's path with its schema or with what it defines, so that a redefined class is another."""
    if "<locals>" in value.__qualname__ and not hasattr(value, "model_json_schema"):
        raise UnfingerprintableError(f"the local class {value.__qualname__} has no canonical form; move it to a module")
    if hasattr(value, "model_json_schema"):
        return length_prefixed(b"c", [type_path(value), canonical(value.model_json_schema())])
    if depth > MAX_DEPTH:
        raise UnfingerprintableError(f"the class {value.__qualname__} holds itself, and has no canonical form")
    return length_prefixed(b"c", [part for kind in value.__mro__ for part in _defined(kind, depth + _CLASS_DEPTH)])


def _defined(kind: type, depth: int) -> Iterator[bytes]:
    """Yield a class's path, and what it defines if a program may have defined it in more than one way."""
    yield type_path(kind)
    home = sys.modules.get(kind.__module__)
    if kind.__module__.partition(".")[0] in sys.stdlib_module_names and getattr(home, kind.__name__, None) is kind:
        return
    for name, item in sorted(vars(kind).items()):
        if name in _INCIDENTAL:
            continue
        yield name.encode("utf-8", "surrogatepass")
        if name == "__annotations__":
            yield repr(item).encode("utf-8", "surrogatepass")
        elif isinstance(item, FunctionType):
            yield item.__code__.co_code
        else:
            try:
                yield canonical(item, depth)
            except UnfingerprintableError:
                yield type_path(type(item))


_INCIDENTAL = frozenset(
    """
    __module__ __qualname__ __dict__ __weakref__ __firstlineno__ __static_attributes__ __abstractmethods__ _abc_impl
    __annotations_cache__ __annotate_func__ __hash__
    """.split()
)
"""Names in a class that say nothing of what it does."""
