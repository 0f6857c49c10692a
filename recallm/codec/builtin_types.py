"""Built-in types that JSON lacks: values are taken apart into a text or a list, and made of it again."""

from __future__ import annotations

import re
import struct
import sys
from base64 import b64decode, b64encode
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo

from recallm.errors import UnstorableResponseError

Parts: TypeAlias = list[Any]

# A zone's key is a path: only these cannot lead out of the directory of zones.
_ZONE_KEY = re.compile(r"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*")
_FACTORIES = {"": None} | {cls.__name__: cls for cls in (bool, bytes, dict, float, int, list, set, str, tuple)}


class TypeCodec(NamedTuple):
    """Takes values of one built-in type apart.

    Attributes:
        cls: the type.
        tag: the key that marks its values in JSON; starts with ``$``.
        parts_type: `str` or `list`: the type of what `to_parts` returns.
        to_parts: returns a value's text, or its parts, which may be any storable values.
        from_parts: returns the value of a text, or of parts that have been decoded already.
    """

    cls: type
    tag: str
    parts_type: type
    to_parts: Callable[[Any], Any]
    from_parts: Callable[[Any], Any]


def unstorable(cls: type, why: str = "") -> UnstorableResponseError:
    """Return the error for a value of a type that cannot be stored; it does not quote the value."""
    return UnstorableResponseError(
        f"a {cls!r}{why} cannot be stored; texts, bytes, numbers, dates, UUIDs, enums, lists, tuples, dicts, sets, "
        "named tuples, dataclasses and pydantic models of these can; return one of those, or leave such responses "
        "out with store_if="
    )


def _pairs(value: dict[Any, Any]) -> list[list[Any]]:
    return [[key, item] for key, item in value.items()]


def _ordered_pairs(value: OrderedDict[Any, Any]) -> list[list[Any]]:
    if vars(value):
        raise unstorable(OrderedDict, " with attributes of its own")
    return _pairs(value)


def _factory_and_pairs(value: defaultdict[Any, Any]) -> Parts:
    for name, factory in _FACTORIES.items():
        if factory is value.default_factory:
            return [name, _pairs(value)]
    raise unstorable(defaultdict, " with a default factory that is no built-in type")


def _zone_key(zone: ZoneInfo) -> str:
    if zone.key is None:
        raise unstorable(ZoneInfo, " without a key")
    return zone.key


def _zone(key: str) -> ZoneInfo:
    if _ZONE_KEY.fullmatch(key) is None:
        raise ValueError("not the key of a time zone")
    return ZoneInfo(key)


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
    made = Decimal(text)
    if str(made) != text:
        # A context without traps turns any text into NaN.
        raise ValueError("not a decimal number")
    return made


def _defaultdict(factory: str, pairs: Parts) -> defaultdict[Any, Any]:
    return defaultdict(_FACTORIES[factory], _distinct(dict)(pairs))


def _clock(value: datetime | time) -> Parts:
    zone: Any = value.tzinfo
    if type(zone) is _pydantic_zone():
        zone = int(zone.utcoffset(None).total_seconds())
    return [value.hour, value.minute, value.second, value.microsecond, value.fold, zone]


def _pydantic_zone() -> Any:
    """Return the type of the zones that pydantic parses, or None if nobody has imported pydantic."""
    return getattr(sys.modules.get("pydantic_core"), "TzInfo", None)


def _time(hour: int, minute: int, second: int, microsecond: int, fold: int, zone: tzinfo | int | None) -> time:
    if isinstance(zone, int):
        made = _pydantic_zone()
        zone = timezone(timedelta(seconds=zone)) if made is None else made(zone)
    elif zone is not None and type(zone) not in (timezone, ZoneInfo):
        raise TypeError("not a time zone")
    return time(hour, minute, second, microsecond, zone, fold=fold)


def _datetime(year: int, month: int, day: int, *clock: Any) -> datetime:
    return datetime.combine(date(year, month, day), _time(*clock))


TYPES = (
    TypeCodec(tuple, "$t", list, list, tuple),
    TypeCodec(set, "$s", list, list, _distinct(set)),
    TypeCodec(frozenset, "$S", list, list, _distinct(frozenset)),
    TypeCodec(dict, "$m", list, _pairs, _distinct(dict)),
    TypeCodec(OrderedDict, "$M", list, _ordered_pairs, _distinct(OrderedDict)),
    TypeCodec(defaultdict, "$n", list, _factory_and_pairs, _typed(_defaultdict, str, list)),
    TypeCodec(bytes, "$b", str, lambda value: b64encode(value).decode(), lambda text: b64decode(text, validate=True)),
    TypeCodec(
        bytearray,
        "$B",
        str,
        lambda value: b64encode(value).decode(),
        lambda text: bytearray(b64decode(text, validate=True)),
    ),
    TypeCodec(int, "$i", str, lambda value: f"{value:x}", lambda text: int(text, 16)),
    TypeCodec(
        float,
        "$f",
        str,
        lambda value: struct.pack(">d", value).hex(),
        lambda text: struct.unpack(">d", bytes.fromhex(text))[0],
    ),
    TypeCodec(complex, "$c", list, lambda value: [value.real, value.imag], _typed(complex, float, float)),
    TypeCodec(Decimal, "$d", str, str, _decimal),
    TypeCodec(Fraction, "$q", list, lambda value: [value.numerator, value.denominator], _typed(Fraction, int, int)),
    TypeCodec(UUID, "$u", str, lambda value: value.hex, UUID),
    TypeCodec(date, "$D", list, lambda value: [value.year, value.month, value.day], _typed(date, int, int, int)),
    TypeCodec(time, "$h", list, _clock, lambda parts: _time(*parts)),
    TypeCodec(
        datetime,
        "$H",
        list,
        lambda value: [value.year, value.month, value.day, *_clock(value)],
        lambda parts: _datetime(*parts),
    ),
    TypeCodec(
        timedelta,
        "$l",
        list,
        lambda value: [value.days, value.seconds, value.microseconds],
        _typed(timedelta, int, int, int),
    ),
    TypeCodec(timezone, "$z", list, lambda value: list(value.__getinitargs__()), lambda parts: timezone(*parts)),
    TypeCodec(ZoneInfo, "$Z", str, _zone_key, _zone),
)
TYPES_BY_CLASS = {codec.cls: codec for codec in TYPES}
TYPES_BY_TAG = {codec.tag: codec for codec in TYPES}
