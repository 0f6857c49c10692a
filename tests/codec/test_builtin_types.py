"""Built-in types that JSON lacks come back as they were; those that would not are refused."""

# mypy: disable-error-code="type-arg"

from __future__ import annotations

import decimal
import io
import math
import re
import struct
import sys
import types
from collections import Counter, OrderedDict, defaultdict, deque
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from pydantic import TypeAdapter
from support.responses import WRAPPERS, Level, assert_comes_back, assert_corrupt, assert_unstorable

from recallm.codec.builtin_types import TYPES, TYPES_BY_CLASS, TYPES_BY_TAG
from recallm.codec.codec import Codec
from recallm.errors import CorruptPayloadError

PARIS = ZoneInfo("Europe/Paris")

VALUES: list[Any] = [
    2**512,
    -(2**20_000),
    math.nan,
    -math.nan,
    complex(-0.0, math.nan),
    bytearray(b"ab"),
    Decimal("-0E-7"),
    Decimal("sNaN123"),
    Decimal("1E+999999"),
    Fraction(-3, 2**600),
    UUID("12345678123456781234567812345678"),
    date.min,
    datetime.max,
    datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=PARIS),
    datetime(2024, 1, 1, 1, 2, 3, 4, tzinfo=UTC),
    datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=-5, microseconds=1), "mine")),
    time(1, 2, 3, 4, fold=1),
    time(tzinfo=timezone(timedelta(minutes=90))),
    timedelta.min,
    timedelta(days=-1, microseconds=1),
    UTC,
    PARIS,
    (),
    ((),),
    {1: "a", "1": "b", None: "c", (1, b"x"): "d", Level.LOW: "e", 2.5: "f"},
    set(),
    {1, "a", (2,)},
    frozenset({frozenset({b"a"}), None}),
    {math.nan, -math.nan, 1.0},
    OrderedDict([("b", 1), ("a", (2,))]),
    defaultdict(list, {"a": [1], 2: []}),
    defaultdict(None, {}),
    deque([1, (2,)], 3),
    deque(),
    range(1, 10, 3),
    slice(1, None, (2,)),
    re.compile(r"\w+", re.IGNORECASE),
    re.compile(b"[a-z]"),
    PurePosixPath("/a/../b"),
    PureWindowsPath("C:/a b"),
    Path("a/b"),
    IPv4Address("1.2.3.4"),
    IPv6Address("fe80::1%eth0"),
    IPv4Interface("10.0.0.1/8"),
    IPv6Interface("::1/64"),
    IPv4Network("10.0.0.0/8"),
    IPv6Network("2001:db8::/32"),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__}")
def test_a_value_of_a_built_in_type_comes_back_equal_and_of_its_type(value: Any) -> None:
    """Numbers, dates, zones, bytes and containers that JSON lacks are restored exactly, alone and inside others."""
    assert_comes_back(value)


def test_every_type_has_a_tag_of_its_own() -> None:
    """Tags start with a dollar sign, and no two types share one."""
    assert len(TYPES_BY_TAG) == len(TYPES_BY_CLASS) == len(TYPES)
    assert all(tag.startswith("$") for tag in TYPES_BY_TAG)


class OddZone(tzinfo):
    """A zone that only its own class understands."""


class Text(str):
    """A text of its own type."""

    __slots__ = ()


ordered_with_attributes: Any = OrderedDict(a=1)
ordered_with_attributes.note = 1


odd_zone = OddZone()  # type: ignore[abstract]


def zone_file() -> bytes:
    """Return a zone file of the first version that says UTC."""
    return b"TZif" + bytes(16) + struct.pack(">6L", 0, 0, 0, 0, 1, 4) + struct.pack(">lbb", 0, 0, 0) + b"UTC\0"


UNSTORABLE = {
    "Counter": Counter("aab"),
    "mappingproxy": types.MappingProxyType({}),
    "namespace": types.SimpleNamespace(a=1),
    "own tzinfo": datetime(2024, 1, 1, tzinfo=odd_zone),
    "zone of a file": ZoneInfo.from_file(io.BytesIO(zone_file())),
    "own factory": defaultdict(lambda: 1),
    "many digits": 1 << 100_000,
    "many decimals": Decimal("1" * 30_000),
    "long fraction": Fraction(1, 1 << 5000),
    "many keys": set(range(30_000)),
    "keys of one hash": {number * sys.hash_info.modulus for number in range(1, 2000)},
    "long pattern": re.compile("a" * 3000),
    "ordered with attributes": ordered_with_attributes,
    "struct sequence": __import__("time").gmtime(0),
}


@pytest.mark.parametrize("wrap", WRAPPERS, ids=range(4))
@pytest.mark.parametrize("value", UNSTORABLE.values(), ids=UNSTORABLE.keys())
def test_a_near_relative_of_a_built_in_type_is_refused_without_being_quoted(value: Any, wrap: Any) -> None:
    """Subclasses and what else would come back as another type are unstorable; the error shows only their type."""
    assert_unstorable(wrap(value))


CORRUPT = {
    "equal set items": b'\x01t{"$s":[1,1]}',
    "unhashable item": b'\x01t{"$s":[[]]}',
    "equal keys": b'\x01t{"$m":[[1,2],[1,3]]}',
    "one-sided pair": b'\x01t{"$m":[[1]]}',
    "no base64": b'\x01t{"$b":"*"}',
    "short double": b'\x01t{"$f":"00"}',
    "date of floats": b'\x01t{"$D":[1.0,2,3]}',
    "zone that is none": b'\x01t{"$h":[1,2,3,4,0,"Z"]}',
    "zone directory": b'\x01t{"$Z":"Europe"}',
}


@pytest.mark.parametrize("payload", CORRUPT.values(), ids=CORRUPT.keys())
def test_parts_of_which_no_value_can_be_made_are_corrupt(payload: Any) -> None:
    """Parts of another type or number than a tag's values have, and equal parts of a set: never another error."""
    assert_corrupt(payload)


def test_a_decimal_is_checked_in_a_context_without_traps() -> None:
    """A forgiving decimal context of the caller does not turn garbage into NaN."""
    with decimal.localcontext(decimal.Context(traps=[])), pytest.raises(CorruptPayloadError):
        Codec().decode(b'\x01t{"$d":"garbage"}')


def test_a_zone_that_pydantic_parsed_comes_back_as_one() -> None:
    """A moment that pydantic parsed comes back equal, with a zone of pydantic again."""
    moment = TypeAdapter(datetime).validate_json('"2024-01-01T00:00:00+02:30"')
    codec = Codec()
    back = codec.decode(codec.encode(moment))
    assert (back, type(back.tzinfo)) == (moment, type(moment.tzinfo))
