"""The canonical forms of mappings, sequences and sets, and of what an object holds by name."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

from recallm.keying.reader import Reader, UnreadableError, encoded, length_prefixed
from recallm.keying.scalars import SCALARS, Writer

SMALL = 8
"""A mapping of no more items, all scalars, is read at once: to remember it would take longer than to read it again."""


def mapping_form(items: Iterable[tuple[object, object]], reader: Reader, *, ordered: bool = False) -> bytes:
    """Return the canonical form of a mapping's items, whatever their order unless it is `ordered`."""
    keyed = [(reader.form(key), at, key, item) for at, (key, item) in enumerate(items)]
    if not ordered:
        # Sorted before they are read: in another order, what they share would be met elsewhere first.
        keyed.sort()
    forms: list[bytes] = []
    try:
        for key_form, _, _, item in keyed:
            forms += (key_form, reader.form(item))
    except UnreadableError as error:
        _, _, key, item = keyed[len(forms) >> 1]
        error.trail.append((f"[{key!r}]", type(item)))
        raise
    return length_prefixed(b"o" if ordered else b"{", forms)


def attributes_form(attributes: Mapping[str, object], reader: Reader) -> bytes:
    """Return the canonical form of what an object holds by name."""
    names = sorted(attributes)
    forms: list[bytes] = []
    try:
        for name in names:
            forms += (encoded(name), reader.form(attributes[name]))
    except UnreadableError as error:
        name = names[len(forms) >> 1]
        error.trail.append((f".{name}", type(attributes[name])))
        raise
    return length_prefixed(b".", forms)


def write_mapping(value: Mapping[Any, Any], reader: Reader) -> bytes:
    """Return the canonical form of a plain mapping."""
    if is_small(value):
        if reader.watch is not None:
            reader.watch.mapping(value)
        return small_mapping_form(value, reader)
    return reader.enclosed(value, len(value), _watched_mapping)


def is_small(value: Mapping[Any, Any]) -> bool:
    """Return whether a mapping has few items, all of them scalars."""
    return not value or (len(value) <= SMALL and _KNOWN.issuperset(map(type, chain(value, value.values()))))


_KNOWN = frozenset(SCALARS)


def small_mapping_form(value: Mapping[Any, Any], reader: Reader) -> bytes:
    """Return the canonical form of a mapping that `is_small`."""
    if not value:
        return _EMPTY
    reader.spend(len(value))
    pairs = [(SCALARS[type(key)](key, reader), SCALARS[type(item)](item, reader)) for key, item in value.items()]
    if len(pairs) == 1:
        return length_prefixed(b"{", pairs[0])
    pairs.sort()
    return length_prefixed(b"{", chain.from_iterable(pairs))


_EMPTY = length_prefixed(b"{", ())


def _watched_mapping(value: Mapping[Any, Any], reader: Reader) -> bytes:
    if reader.watch is not None:
        reader.watch.mapping(value)
    return mapping_form(value.items(), reader)


def writer_of_sequence(tag: bytes) -> Writer:
    """Return the writer of lists or tuples."""

    def write(value: Any, reader: Reader) -> bytes:
        if reader.watch is not None and type(value) is list:
            reader.watch.items(value)
        return sequence_form(tag, value, reader)

    def write_quickly(value: Any, reader: Reader) -> bytes:
        if len(value) > SMALL and type(value[0]) is float and set(map(type, value)) == _FLOATS:
            return _floats(tag, value, reader)
        return reader.enclosed(value, len(value), write)

    return write_quickly


_FLOATS = {float}


def _floats(tag: bytes, value: Any, reader: Reader) -> bytes:
    # An embedding, or a million of them: as bytes they are read in a fiftieth of the time.
    reader.spend(len(value) >> 7)
    if reader.watch is not None and type(value) is list:
        reader.watch.items(value)
    return tag + b"f" + array("d", value).tobytes()


def sequence_form(tag: bytes, items: Any, reader: Reader) -> bytes:
    """Return the canonical form of items in their order; `tag` tells what holds them."""
    forms: list[bytes] = []
    try:
        for item in items:
            forms.append(reader.form(item))  # noqa: PERF401  # the error says how many were read
    except UnreadableError as error:
        error.trail.append((f"[{len(forms)}]", type(items[len(forms)])))
        raise
    return length_prefixed(tag, forms)


def writer_of_set(tag: bytes) -> Writer:
    """Return the writer of sets."""

    def write(value: Iterable[object], reader: Reader) -> bytes:
        if reader.watch is not None:
            reader.watch.items(value)
        return length_prefixed(tag, sorted([reader.form(item) for item in value]))

    return lambda value, reader: reader.enclosed(value, len(value), write)
