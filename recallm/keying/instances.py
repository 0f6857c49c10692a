"""The canonical forms of objects: their class, their content if they are containers, and what they hold by name."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from types import MappingProxyType
from typing import Any

from recallm.keying.containers import attributes_form, is_small, mapping_form, sequence_form, small_mapping_form
from recallm.keying.live import address, holds_connection, is_connection, is_live, settings_of
from recallm.keying.objects import (
    BUILTIN_BASES,
    RAW_ITEMS,
    Layout,
    is_mapped_collection,
    layout,
    named_values,
    state,
    unloaded_columns,
)
from recallm.keying.reader import Reader, UnreadableError, length_prefixed, type_path
from recallm.keying.scalars import TEXT_BASES, TEXTS, Writer, part_form
from recallm.keying.stand_ins import IGNORED, Filled, Replaced


def instance_writer(base: type | None) -> Writer:
    """Return the writer of instances of a class that has this built-in base, or none."""

    def write(value: Any, reader: Reader) -> bytes:
        return instance_form(value, base, {}, reader)

    return lambda value, reader: reader.enclosed(value, 1, write)


def instance_form(value: Any, base: type | None, changes: Mapping[Any, Any], reader: Reader) -> bytes:
    """Return the form of an object: its class, its content if it is a container, and what it holds by name.

    Args:
        value: the object.
        base: the built-in whose content it has; None: it has none.
        changes: see `Replaced`.
        reader: reads what is in it.

    Raises:
        UnreadableError: the object holds something in a place that cannot be read.
    """
    cls = type(value)
    where = layout(cls, base)
    if cls is object or not (where.whole or base in TEXT_BASES or cls in _WHOLE):
        return write_live(value, reader)
    attributes = _counted(value, where, changes, reader)
    content = b"" if base is None else _content(base, value, changes, reader)
    if changes:
        attributes = {name: changes.get(name, item) for name, item in attributes.items()}
    return length_prefixed(b"@", [reader.class_form(cls), content, attributes_form(attributes, reader)])


_WHOLE = frozenset(BUILTIN_BASES)
"""What they hold is all read, though some is in places of their own."""


def _counted(value: Any, where: Layout, changes: Mapping[Any, Any], reader: Reader) -> dict[str, Any]:
    """Return by name what an object holds and what counts."""
    attributes = state(value, where)
    books = reader.books(type(value)).uncounted(attributes)
    if reader.watch is not None:
        ignored = ignored_names(changes) | books
        if ignored or where.slots:
            reader.watch.state(lambda: [type(value), *_flat(state(value, where).items(), ignored)])
        elif where.has_attributes:
            reader.watch.attributes(value)
    unloaded = unloaded_columns(attributes)
    if unloaded:
        error = UnreadableError(
            f"{', '.join(unloaded)} of a {type(value).__qualname__} would be read from its database"
        )
        error.trail.append((f".{unloaded[0]}", type(value)))
        raise error
    if unloaded is not None or is_mapped_collection(attributes):
        attributes = {name: item for name, item in attributes.items() if name not in _OF_SQLALCHEMY}
    if books:
        return {name: item for name, item in attributes.items() if name not in books}
    if not (reader.lenient or where.derived) or reader.is_own(type(value).__module__):
        return attributes
    if reader.lenient and holds_connection(attributes):
        attributes = settings_of(attributes)
    return _lasting(attributes, where, reader)


_OF_SQLALCHEMY = frozenset({"_sa_instance_state", "_sa_adapter"})
"""Names under which SQLAlchemy keeps what it knows of an object, or of the items of a relation."""


def ignored_names(changes: Mapping[Any, Any]) -> frozenset[Any]:
    """Return the names of what does not count in a value."""
    return frozenset(name for name, change in changes.items() if change is IGNORED)


def _flat(items: Iterable[tuple[Any, Any]], ignored: frozenset[Any]) -> list[Any]:
    """Return names and what they stand for in one list, for a watch."""
    if not ignored:
        return list(chain.from_iterable(items))
    return [each for item in items if item[0] not in ignored for each in item]


def _lasting(attributes: dict[str, Any], where: Layout, reader: Reader) -> dict[str, Any]:
    """Return what a library's object holds but for what follows from the rest, and what it counts or finds empty."""
    works = reader.lenient and any(is_live(type(item)) for item in attributes.values())
    lasting: dict[str, Any] = {}
    for name, item in attributes.items():
        internal = reader.lenient and name.startswith("_")
        if name in where.derived or (works and internal and type(item) in (int, float, bool)):
            continue
        lasting[name] = Filled(item) if internal and type(item) is defaultdict else item
    return lasting


def _content(base: type, value: Any, changes: Mapping[Any, Any], reader: Reader) -> bytes:
    """Return the form of the content of a container or scalar, whatever a subclass makes of it."""
    if None in changes:
        return reader.form(changes[None])
    items = RAW_ITEMS.get(base)
    if items is None:
        return _scalar_content(base, value, reader)
    if reader.watch is not None and base is not tuple:
        ignored = ignored_names(changes) if issubclass(base, dict) else frozenset()
        reader.watch.state(lambda: _raw(base, value, ignored))
    held: list[Any] = list(items(value))
    if issubclass(base, dict):
        return _mapping_content(base, value, [(key, changes.get(key, item)) for key, item in held], reader)
    if issubclass(base, (set, frozenset)):
        return length_prefixed(b"<", sorted([reader.form(item) for item in held]))
    content = sequence_form(b"[", [changes.get(at, item) for at, item in enumerate(held)], reader)
    return length_prefixed(b"q", [content, reader.form(value.maxlen)]) if base is deque else content


def _mapping_content(base: type, value: Any, items: list[tuple[Any, Any]], reader: Reader) -> bytes:
    content = mapping_form(items, reader, ordered=base is OrderedDict)
    if base is not defaultdict:
        return content
    return length_prefixed(b"d", [part_form(".default_factory", value.default_factory, reader), content])


def _raw(base: type, value: Any, ignored: frozenset[Any]) -> list[Any]:
    items = RAW_ITEMS[base](value)
    return _flat(items, ignored) if issubclass(base, dict) else list(items)


_PLAIN: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__index__,
    float: float.__float__,
    complex: complex.__pos__,
    bytes: lambda value: bytes.join(b"", [value, b""]),
    bytearray: lambda value: bytes(memoryview(value)),
}
"""What makes a plain value of an instance of a subclass, whatever the subclass makes of it."""


def _scalar_content(base: type, value: Any, reader: Reader) -> bytes:
    plain = _PLAIN.get(base)
    return TEXTS[base](value, reader) if plain is None else reader.form(plain(value))


def write_replaced(value: Replaced, reader: Reader) -> bytes:
    """Return the form of a value in which others stand for some of what it holds."""
    held, changes = value
    cls = type(held)
    if issubclass(cls, type):
        return length_prefixed(b"c", [reader.class_value_form(held, ignored_names(changes))])
    if cls is dict or cls is MappingProxyType:
        return _replaced_mapping(held, changes, reader)
    if cls is list or cls is tuple:
        if reader.watch is not None and cls is list:
            reader.watch.items(held)
        items = list(held)
        for at, change in changes.items():
            items[at] = change
        return sequence_form(b"R[" if cls is list else b"R(", items, reader)
    base = next((each for each in (*BUILTIN_BASES, *TEXT_BASES) if issubclass(cls, each)), None)
    return instance_form(held, base, changes, reader)


def write_filled(value: Filled, reader: Reader) -> bytes:
    """Return the form of a `defaultdict` without its empty containers."""
    held = value.value
    if reader.watch is not None:
        reader.watch.state(lambda: _raw(defaultdict, held, frozenset()))
    filled = []
    for key, item in list(held.items()):
        if type(item) in (list, dict, set, deque) and type(item) is held.default_factory and not item:
            # It may be filled in place.
            reader.form(item)
        else:
            filled.append((key, item))
    return _mapping_content(defaultdict, held, filled, reader)


def _replaced_mapping(held: Mapping[Any, Any], changes: Mapping[Any, Any], reader: Reader) -> bytes:
    if reader.watch is not None:
        ignored = ignored_names(changes)
        reader.watch.state(lambda: _flat(held.items(), ignored))
    merged = {**held, **changes}
    if is_small(merged):
        return b"R" + small_mapping_form(merged, reader)
    return b"R" + mapping_form(merged.items(), reader)


def write_live(value: Any, reader: Reader) -> bytes:
    """Return the form of what cannot be read, or is live: its class, and of a connection the server it goes to."""
    cls = type(value)
    if not reader.lenient:
        raise UnreadableError(f"a {type_path(cls).decode()} cannot be read", cls)
    if not is_live(cls):
        return length_prefixed(b"~", [type_path(cls), reader.opaque_form(value)])
    if is_connection(cls) and reader.is_own(cls.__module__):
        return reader.enclosed(value, 1, lambda value, reader: instance_form(value, None, {}, reader))
    known = address(named_values(value)) if is_connection(cls) else ()
    return length_prefixed(b"~", [type_path(cls), attributes_form(dict(known), reader)])
