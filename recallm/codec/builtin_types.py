"""Built-in types that JSON lacks: values are taken apart into a text or a list, and made of it again."""

from __future__ import annotations

import ipaddress
import re
import struct
from base64 import b64decode, b64encode
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo

from recallm.codec.bounds import Work, check_decimal, check_digits, check_fraction
from recallm.codec.moments import clock, datetime_of, load_zone, time_of, zone_key, zone_of
from recallm.codec.refusals import Refusal
from recallm.errors import UnknownTypeError

Parts: TypeAlias = list[Any]

_FACTORIES = {"": None} | {cls.__name__: cls for cls in (bool, bytes, dict, float, int, list, set, str, tuple)}


BUILTINS: dict[Any, str] = {
    cls: cls.__name__ for cls in (bool, bytes, dict, float, frozenset, int, list, object, set, str, tuple, type(None))
}
"""The built-in types by which generic classes are parametrised, and their names."""

BUILTINS_BY_NAME: dict[str, Any] = {name: cls for cls, name in BUILTINS.items()}


class TypeCodec(NamedTuple):
    """Takes values of one built-in type apart.

    Attributes:
        cls: the type.
        tag: the key that marks its values in JSON; starts with ``$``.
        parts_type: `str` or `list`: the type of what `to_parts` returns.
        to_parts: returns a value's text, or its parts, which may be any storable values.
        from_parts: returns the value of a text, or of parts that have been decoded already.
        charge: counts the work that `from_parts` takes, before it is done; None: its size bounds it.
    """

    cls: type
    tag: str
    parts_type: type
    to_parts: Callable[[Any], Any]
    from_parts: Callable[[Any], Any]
    charge: Callable[[Work, Any], object] | None = None


def _pairs(value: dict[Any, Any]) -> list[list[Any]]:
    return [[key, item] for key, item in value.items()]


def _ordered_pairs(value: OrderedDict[Any, Any]) -> list[list[Any]]:
    if vars(value):
        raise Refusal(OrderedDict, "which has attributes of its own")
    return _pairs(value)


def _factory_and_pairs(value: defaultdict[Any, Any]) -> Parts:
    for name, factory in _FACTORIES.items():
        if factory is value.default_factory:
            return [name, _pairs(value)]
    raise Refusal(defaultdict, "whose default factory is no built-in type")


def _distinct(make: Callable[[Parts], Any]) -> Callable[[Parts], Any]:
    """Return `make`, which then refuses parts of which some are equal: no set and no mapping has such."""

    def checked(parts: Parts) -> Any:
        made = make(parts)
        if len(made) != len(parts):
            raise ValueError("some parts are equal")
        return made

    return checked


def _typed(make: Callable[..., Any], *types: type) -> Callable[[Parts], Any]:
    """Return `make`, which then refuses parts of other types than these."""

    def checked(parts: Parts) -> Any:
        if tuple(map(type, parts)) != types:
            raise TypeError("the parts have other types")
        return make(*parts)

    return checked


def _decimal(text: str) -> Decimal:
    made = Decimal(check_digits(text))
    if str(made) != text:
        # A context without traps turns any text into NaN.
        raise ValueError("not a decimal number")
    return made


def _defaultdict(factory: str, pairs: Parts) -> defaultdict[Any, Any]:
    return defaultdict(_FACTORIES[factory], _distinct(dict)(pairs))


def _fraction(numerator: int, denominator: int) -> Fraction:
    check_fraction(numerator, denominator)
    made = Fraction(numerator, denominator)
    if made.denominator != denominator:
        raise ValueError("a fraction that is not in its lowest terms")
    return made


def _fraction_parts(value: Fraction) -> Parts:
    check_fraction(value.numerator, value.denominator)
    return [value.numerator, value.denominator]


def _deque(maxlen: int | None, items: Parts) -> deque[Any]:
    if maxlen is not None and len(items) > maxlen:
        raise ValueError("more items than there may be")
    return deque(items, maxlen)


def _pattern(text: str | bytes, flags: int) -> re.Pattern[Any]:
    if flags & re.DEBUG:
        raise ValueError("a pattern that prints")
    made = re.compile(text, flags)
    if made.flags != flags:
        raise ValueError("a pattern has other flags")
    return made


def _in_this_system(cls: type[PurePath]) -> Callable[[str], PurePath]:
    """Return what makes a path of a class, which another operating system may not have."""

    def made(text: str) -> PurePath:
        try:
            return cls(text)
        except NotImplementedError:
            raise UnknownTypeError(f"pathlib.{cls.__name__}") from None

    return made


def _hash_keys(work: Work, pairs: Parts) -> None:
    work.hash([key for key, _ in pairs])


_PATHS = (PurePosixPath, PureWindowsPath, PosixPath, WindowsPath)
_ADDRESSES = (
    ipaddress.IPv4Address,
    ipaddress.IPv4Interface,
    ipaddress.IPv4Network,
    ipaddress.IPv6Address,
    ipaddress.IPv6Interface,
    ipaddress.IPv6Network,
)

TYPES = (
    TypeCodec(tuple, "$t", list, list, tuple),
    TypeCodec(set, "$s", list, list, _distinct(set), Work.hash),
    TypeCodec(frozenset, "$S", list, list, _distinct(frozenset), Work.hash),
    TypeCodec(dict, "$m", list, _pairs, _distinct(dict), _hash_keys),
    TypeCodec(OrderedDict, "$M", list, _ordered_pairs, _distinct(OrderedDict), _hash_keys),
    TypeCodec(
        defaultdict,
        "$n",
        list,
        _factory_and_pairs,
        _typed(_defaultdict, str, list),
        lambda work, parts: _hash_keys(work, parts[1]),
    ),
    TypeCodec(bytes, "$b", str, lambda value: b64encode(value).decode(), lambda text: b64decode(text, validate=True)),
    TypeCodec(
        bytearray,
        "$B",
        str,
        lambda value: b64encode(value).decode(),
        lambda text: bytearray(b64decode(text, validate=True)),
    ),
    TypeCodec(int, "$i", str, lambda value: check_digits(f"{value:x}"), lambda text: int(check_digits(text), 16)),
    TypeCodec(
        float,
        "$f",
        str,
        lambda value: struct.pack(">d", value).hex(),
        lambda text: struct.unpack(">d", bytes.fromhex(text))[0],
    ),
    TypeCodec(complex, "$c", list, lambda value: [value.real, value.imag], _typed(complex, float, float)),
    TypeCodec(Decimal, "$d", str, check_decimal, _decimal),
    TypeCodec(Fraction, "$q", list, _fraction_parts, _typed(_fraction, int, int)),
    TypeCodec(UUID, "$u", str, lambda value: value.hex, UUID),
    TypeCodec(date, "$D", list, lambda value: [value.year, value.month, value.day], _typed(date, int, int, int)),
    TypeCodec(time, "$h", list, clock, lambda parts: time_of(*parts[:6])),
    TypeCodec(
        datetime,
        "$H",
        list,
        lambda value: [value.year, value.month, value.day, *clock(value)],
        lambda parts: datetime_of(*parts),
    ),
    TypeCodec(
        timedelta,
        "$l",
        list,
        lambda value: [value.days, value.seconds, value.microseconds],
        _typed(timedelta, int, int, int),
    ),
    TypeCodec(timezone, "$z", list, lambda value: list(value.__getinitargs__()), lambda parts: timezone(*parts)),
    TypeCodec(ZoneInfo, "$Z", str, zone_key, zone_of, load_zone),
    TypeCodec(range, "$r", list, lambda value: [value.start, value.stop, value.step], _typed(range, int, int, int)),
    TypeCodec(slice, "$k", list, lambda value: [value.start, value.stop, value.step], lambda parts: slice(*parts)),
    TypeCodec(deque, "$Q", list, lambda value: [value.maxlen, list(value)], lambda parts: _deque(*parts)),
    TypeCodec(
        re.Pattern,
        "$R",
        list,
        lambda value: [value.pattern, value.flags],
        lambda parts: _pattern(*parts),
        lambda work, parts: work.compile(parts[0]),
    ),
    *(TypeCodec(cls, f"${cls.__name__}", str, str, _in_this_system(cls)) for cls in _PATHS),
    *(TypeCodec(cls, f"${cls.__name__}", str, str, cls) for cls in _ADDRESSES),
)
TYPES_BY_CLASS = {codec.cls: codec for codec in TYPES}
TYPES_BY_TAG = {codec.tag: codec for codec in TYPES}
