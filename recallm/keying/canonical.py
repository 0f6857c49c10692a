"""A value's canonical form: bytes that are equal exactly if two values mean the same to a call.

Types stay apart (``1``, ``True``, ``"1"``, ``1.0`` and ``b"1"`` all differ), and the order of mappings
and sets does not count. Every form begins with a tag and states its length or its number of parts,
so no two values share a form. An object counts by its class and by what it holds in attributes and slots. A value
whose state cannot be read in full has no form.
"""

from __future__ import annotations

import sys
from array import array
from collections import OrderedDict, defaultdict, deque
from contextvars import ContextVar
from enum import Enum
from functools import lru_cache, partial
from hashlib import blake2b
from operator import attrgetter, itemgetter, methodcaller
from types import BuiltinFunctionType, FunctionType, GenericAlias, MappingProxyType, MethodType, ModuleType, UnionType
from typing import Any

from recallm.keying.attached import Attached
from recallm.keying.containers import (
    attributes_form,
    mapping_form,
    sequence_form,
    write_mapping,
    writer_of_sequence,
    writer_of_set,
)
from recallm.keying.instances import instance_writer, write_filled, write_live, write_replaced
from recallm.keying.live import is_live
from recallm.keying.objects import BUILTIN_BASES
from recallm.keying.reader import Reader, UnreadableError, encoded, length_prefixed, type_path
from recallm.keying.scalars import SCALARS, TEXT_BASES, TEXTS, Writer, by_parts, by_text
from recallm.keying.stand_ins import Filled, Replaced
from recallm.keying.wrappers import is_wrapt_wrapper


class ValueReader(Reader):
    """Reads values of any type into their canonical forms."""

    __slots__ = ()

    def form(self, value: object) -> bytes:
        """Return the canonical form of `value`.

        Raises:
            UnreadableError: `value`, or something in it, has no canonical form.
        """
        writer = _WRITERS.get(type(value)) or _writer_by_nature(type(value))
        return writer(value, self)


def canonical(value: object) -> bytes:
    """Return the canonical form of a value that holds no classes and functions of one's own.

    Raises:
        UnfingerprintableError: `value`, or something in it, has no canonical form.

    >>> canonical({"a": 1, "b": 2}) == canonical({"b": 2, "a": 1})
    True
    >>> canonical(1) == canonical(True)
    False
    """
    return ValueReader().form(value)


_FUNCTIONS: tuple[type, ...] = (
    FunctionType, MethodType, BuiltinFunctionType, partial, staticmethod, classmethod, property, type(lru_cache(str)),
    type(str.join), type("".join), type(object.__init__), type(object().__str__),
)  # fmt: skip

_BY_NATURE: Attached[Writer] = Attached()
"""The writers of types that are not in the table, as they were found."""


def _writer_by_nature(cls: type) -> Writer:
    # By its type, never by `isinstance`: that asks a proxy what it wraps, and runs its code.
    writer = _BY_NATURE.get(cls)
    if writer is None:
        writer = _BY_NATURE.keep(cls, _find_writer(cls))
    return writer


def _find_writer(cls: type) -> Writer:
    special = _special_writer(cls)
    if special is not None:
        return special
    numpy = sys.modules.get("numpy")
    if numpy is not None and issubclass(cls, (numpy.ndarray, numpy.generic)):
        return _array
    if cls is array or cls is memoryview or cls is bytearray:
        return _buffer
    for base in BUILTIN_BASES:
        if issubclass(cls, base):
            return _struct_sequence if hasattr(cls, "n_sequence_fields") else instance_writer(base)
    for base in TEXT_BASES:
        if issubclass(cls, base):
            return instance_writer(base)
    return instance_writer(None)


def _special_writer(cls: type) -> Writer | None:
    if issubclass(cls, type):
        return lambda value, reader: length_prefixed(b"c", [reader.class_value_form(value, frozenset())])
    if issubclass(cls, Enum):
        return _member
    if issubclass(cls, _FUNCTIONS) or is_wrapt_wrapper(cls):
        return lambda value, reader: length_prefixed(b"F", [reader.function_form(value)])
    if issubclass(cls, GenericAlias) or cls.__module__ in ("typing", "typing_extensions"):
        return _type_expression
    if cls.__module__ == "pydantic_core._pydantic_core":
        return by_text(repr)
    if cls is ContextVar:
        return _context_variable
    if issubclass(cls, ModuleType):
        return lambda value, reader: reader.module_form(value)
    if is_live(cls):
        return write_live
    return None


def _context_variable(value: Any, reader: Reader) -> bytes:
    """Return the form of what a context variable means to this task, if it was named by code that may look it up."""
    if not reader.lenient:
        return write_live(value, reader)
    if reader.watch is not None:
        reader.watch.state(lambda: [value.get(None)])
    return length_prefixed(b"x", [encoded(value.name), reader.form(value.get(None))])


def _member(value: Any, reader: Reader) -> bytes:
    cls = type(value)
    if reader.watch is not None:
        reader.watch.mapping(vars(value))
    held = {name: item for name, item in vars(value).items() if name not in _MEMBER_NAMES}
    # A bare object tells nothing: the name tells one such member from others.
    meaning = b"" if type(value._value_) is object else reader.form(value._value_)
    parts = [reader.class_form(cls), reader.form(value._name_), meaning]
    return length_prefixed(b"e", [*parts, attributes_form(held, reader)] if held else parts)


_MEMBER_NAMES = {"_name_", "_value_", "__objclass__", "_sort_order_"}


def _type_expression(value: Any, reader: Reader) -> bytes:
    """Return the form of ``list[int]``, ``Literal["a"]``, a type variable or another expression for a type."""
    if not hasattr(value, "__origin__") and not hasattr(value, "__supertype__"):
        name = getattr(value, "__name__", None) or getattr(value, "__forward_arg__", None)
        parts = (name or repr(value), getattr(value, "__bound__", None), getattr(value, "__constraints__", ()))
    elif hasattr(value, "__supertype__"):
        parts = (value.__name__, value.__supertype__, ())
    else:
        parts = (value.__origin__, getattr(value, "__args__", ()), getattr(value, "__metadata__", ()))
    return length_prefixed(b"t", [type_path(type(value)), *(reader.form(part) for part in parts)])


def _struct_sequence(value: Any, reader: Reader) -> bytes:
    reduce: Any = type(value).__reduce__
    _, (visible, hidden) = reduce(value)
    # Neither outlives this: the reader must not know them again by where they were.
    parts = [sequence_form(b"(", visible, reader), mapping_form(hidden.items(), reader)]
    return length_prefixed(b"u", [type_path(type(value)), *parts])


def _buffer(value: Any, reader: Reader) -> bytes:
    view = memoryview(value)
    reader.spend(view.nbytes >> 10)
    if reader.watch is not None:
        reader.watch.content(lambda: blake2b(value).digest())
    kind = repr((type(value).__name__, view.format, view.shape))
    return length_prefixed(b"B", [kind.encode(), view.tobytes()])


def _array(value: Any, reader: Reader) -> bytes:
    numpy = sys.modules["numpy"]
    cls = type(value)
    if cls is not numpy.ndarray and not issubclass(cls, numpy.generic):
        raise UnreadableError(f"a {cls.__qualname__} is more than its array; use a plain numpy array")
    if value.dtype.hasobject:
        raise UnreadableError("a numpy array of objects has no canonical form; use one of numbers")
    reader.spend(value.nbytes >> 10)
    if reader.watch is not None and cls is numpy.ndarray:
        reader.watch.content(lambda: (value.shape, blake2b(value.tobytes()).digest()))
    parts = [type_path(cls), encoded(repr(_dtype(value.dtype))), repr(value.shape).encode(), value.tobytes()]
    return length_prefixed(b"n", parts)


def _dtype(dtype: Any) -> tuple[object, ...]:
    """Return what tells one numpy type from others: extensions share their short descriptions."""
    fields = [(name, _dtype(field[0]), field[1]) for name, field in (dtype.fields or {}).items()]
    base = _dtype(dtype.base) if dtype.shape else ()
    kind = f"{dtype.type.__module__}.{dtype.type.__qualname__}"
    return (kind, dtype.str, dtype.itemsize, fields, dtype.shape, base, repr(dtype) if not fields else "")


_WRITERS: dict[type, Writer] = {
    **SCALARS,
    **TEXTS,
    list: writer_of_sequence(b"["),
    tuple: writer_of_sequence(b"("),
    dict: write_mapping,
    MappingProxyType: write_mapping,
    set: writer_of_set(b"<"),
    frozenset: writer_of_set(b">"),
    UnionType: by_parts(lambda value: value.__args__),
    **{cls: by_parts(lambda value: value.__reduce__()) for cls in (itemgetter, attrgetter, methodcaller)},
    Replaced: write_replaced,
    Filled: write_filled,
    **{cls: instance_writer(cls) for cls in (OrderedDict, defaultdict, deque)},
}
"""The writers of the types that are told by themselves, not by a base."""
