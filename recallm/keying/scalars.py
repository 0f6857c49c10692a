"""The canonical forms of values that hold no others: texts, numbers, dates, paths, patterns."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from functools import partial
from itertools import chain
from operator import attrgetter, itemgetter, methodcaller
from pathlib import PosixPath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any, TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo

from recallm.concurrency.signals import let_through
from recallm.keying.reader import Reader, UnreadableError, encoded, length_prefixed, type_path
from recallm.keying.stand_ins import Ignored, PromptPlaceholder

Writer: TypeAlias = Callable[[Any, Reader], bytes]

_LONG_TEXT = 4096


def _text(value: str, reader: Reader) -> bytes:
    if len(value) > _LONG_TEXT:
        reader.spend(len(value) >> 10)
    try:
        return b"s" + value.encode()
    except UnicodeEncodeError:
        return b"s" + encoded(value)


def _bytes(tag: bytes) -> Writer:
    def write(value: Any, reader: Reader) -> bytes:
        if len(value) > _LONG_TEXT:
            reader.spend(len(value) >> 10)
        return tag + bytes(value)

    return write


def by_text(read: Callable[[Any], str]) -> Writer:
    """Return the writer of a type whose values are told apart by a text."""
    return lambda value, reader: length_prefixed(b"v", [type_path(type(value)), encoded(read(value))])


def by_parts(read: Callable[[Any], tuple[object, ...]]) -> Writer:
    """Return the writer of a type whose values are told apart by several parts."""

    def write(value: object, reader: Reader) -> bytes:
        return length_prefixed(b"p", [type_path(type(value)), *(reader.form(part) for part in read(value))])

    return write


def _moment(value: datetime | time, reader: Reader) -> bytes:
    # Two zones with one offset today part ways at the next change of the clocks.
    zone = part_form(".tzinfo", value.tzinfo, reader)
    text = datetime.isoformat(value) if isinstance(value, datetime) else time.isoformat(value)
    return length_prefixed(b"v", [type_path(type(value)), encoded(text), zone, b"%d" % value.fold])


def _zone(value: ZoneInfo, _reader: Reader) -> bytes:
    try:
        ZoneInfo.__reduce__(value)
    except Exception as error:
        let_through(error)
        # It may have been given the key of another zone.
        raise UnreadableError("a ZoneInfo made from a file has no canonical form") from error
    return length_prefixed(b"v", [type_path(type(value)), encoded(value.key)])


def _bound(value: Any) -> tuple[object, ...]:
    """Return what a getter or caller of the module `operator` was made of."""
    made, parts = value.__reduce__()
    if not isinstance(made, partial):
        return parts  # type: ignore[no-any-return]  # it is a tuple
    named = sorted(made.keywords.items())
    return (len(parts), *made.args, *parts, *chain.from_iterable(named))


def _placeholder(value: PromptPlaceholder, _reader: Reader) -> bytes:
    return b"?%d" % value.lines if value.lines else b"?"


def part_form(step: str, value: object, reader: Reader) -> bytes:
    """Return the form of what lies in another value, and if it has none, say in the error where it lies."""
    try:
        return reader.form(value)
    except UnreadableError as error:
        error.trail.append((step, type(value)))
        raise


SCALARS: dict[type, Writer] = {
    type(None): lambda value, reader: b"N",
    bool: lambda value, reader: b"T" if value else b"F",
    int: lambda value, reader: b"i%x" % value if value >= 0 else b"i-%x" % -value,
    float: lambda value, reader: b"f" + value.hex().encode(),
    str: _text,
    bytes: _bytes(b"b"),
    PromptPlaceholder: _placeholder,
}
"""The commonest of them, with the prompt's placeholder."""

TEXT_BASES: tuple[type, ...] = (
    *(PosixPath, WindowsPath, PurePosixPath, PureWindowsPath, Decimal, Fraction, UUID, datetime, date, time, timedelta),
    *(ipaddress.IPv4Interface, ipaddress.IPv6Interface, ipaddress.IPv4Address, ipaddress.IPv6Address),
    *(ipaddress.IPv4Network, ipaddress.IPv6Network, ZoneInfo),
)
"""The types of the standard library whose subclasses are read by a text, and their attributes."""

TEXTS: dict[type, Writer] = {
    **{cls: by_text(cls.__str__) for cls in TEXT_BASES},  # type: ignore[arg-type]  # it takes the value
    complex: by_text(lambda value: f"{value.real.hex()} {value.imag.hex()}"),
    date: by_text(date.isoformat),
    datetime: _moment,
    time: _moment,
    timedelta: by_text(timedelta.__repr__),
    timezone: by_text(timezone.__repr__),
    ZoneInfo: _zone,
    range: by_parts(lambda value: (value.start, value.stop, value.step)),
    slice: by_parts(lambda value: (value.start, value.stop, value.step)),
    **dict.fromkeys((itemgetter, attrgetter, methodcaller), by_parts(_bound)),
    re.Pattern: by_parts(lambda value: (value.pattern, value.flags)),
    type(Ellipsis): lambda value, reader: b".",
    type(NotImplemented): lambda value, reader: b"!",
    Ignored: lambda value, reader: b"-",
}
"""The others, which are written under the paths of their types."""
