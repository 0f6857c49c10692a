"""Values that hold no others: each differs from all that mean something else."""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from datetime import time as clock
from decimal import Decimal
from fractions import Fraction
from itertools import combinations
from pathlib import Path, PosixPath, PurePosixPath, PureWindowsPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keying.making import form, with_attributes

from recallm.keying.canonical import canonical
from recallm.keying.reader import UnreadableError
from recallm.keying.scalars import TEXT_BASES
from recallm.keying.stand_ins import IGNORED, PROMPT_PLACEHOLDER, PromptPlaceholder

SCALARS: list[object] = [
    None, ..., NotImplemented, PROMPT_PLACEHOLDER, PromptPlaceholder(2), IGNORED, True, False, 0, 1, -1, 10, 16,
    "", "1", "N", "T", "i1", "True", "None", "?", "-", ".", " 1", "1 ", "é", "e\u0301", "\ud800", b"", b"1", b"i1",
    bytearray(b"1"), 0.0, -0.0, 1.0, float("inf"), float("-inf"), float("nan"), 0.1 + 0.2, 0.3, 1j,
    complex(0.0, -0.0), complex(-0.0, 0.0), 10**400, -(10**400), "a" * 5000, "a" * 5001, b"a" * 5000,
]  # fmt: skip

OF_THE_STANDARD_LIBRARY: list[object] = [
    Decimal("1"), Decimal("1.0"), Decimal("-0"), Decimal("0"), Decimal("NaN"), Decimal("sNaN"), Fraction(1),
    Fraction(1, 2), UUID(int=1), UUID(int=2), str(UUID(int=1)), date(2024, 1, 1), datetime(2024, 1, 1),
    datetime(2024, 1, 1, microsecond=1), datetime(2024, 1, 1, fold=1), datetime(2024, 1, 1, tzinfo=UTC),
    datetime(2024, 1, 1, tzinfo=timezone(timedelta(0), "Z")), datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=1))),
    datetime(2024, 1, 1, tzinfo=ZoneInfo("Europe/Paris")), datetime(2024, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")),
    datetime(2024, 1, 1, tzinfo=ZoneInfo("Europe/Paris"), fold=1), "2024-01-01", "2024-01-01T00:00:00",
    clock(0), clock(0, fold=1), clock(0, tzinfo=UTC), timedelta(0), timedelta(days=1), timedelta(hours=1),
    UTC, timezone(timedelta(0), "Z"), timezone(timedelta(hours=1)), ZoneInfo("Europe/Paris"), ZoneInfo("Europe/Berlin"),
    PurePosixPath("a/b"), PureWindowsPath("a/b"), PureWindowsPath("A/b"), PosixPath("a/b"), PosixPath("a"), "a/b",
    ipaddress.ip_address("1.1.1.1"), ipaddress.ip_address("1.1.1.2"), ipaddress.ip_interface("1.1.1.1/32"),
    ipaddress.ip_interface("1.1.1.1/8"), ipaddress.ip_network("1.1.1.1/32"), ipaddress.ip_address("::1"),
    ipaddress.ip_address("fe80::1"), ipaddress.ip_address("fe80::1%eth0"), "1.1.1.1",
    re.compile("a"), re.compile("b"), re.compile("a", re.IGNORECASE), re.compile(b"a"), "a",
    range(3), range(4), range(0), range(0, 6, 2), range(3, 0, -1), [0, 1, 2], (0, 1, 2),
    slice(3), slice(0, 3), slice(0, 3, 1), slice("a"), slice(None), slice([1], None, None),
]  # fmt: skip


@pytest.mark.parametrize("several", [SCALARS, OF_THE_STANDARD_LIBRARY], ids=["plain", "standard library"])
def test_different_scalars_never_share_a_form(several: list[object]) -> None:
    """Values that differ in type or content have different forms, alone and nested."""
    for one, other in combinations(several, 2):
        assert canonical(one) != canonical(other), (one, other)
        assert canonical({"k": [one]}) != canonical({"k": [other]}), (one, other)


numbers = st.integers() | st.floats(allow_nan=False) | st.booleans() | st.complex_numbers(allow_nan=False)
others = st.text() | st.binary() | st.decimals(allow_nan=False) | st.fractions() | st.datetimes() | st.timedeltas()


@given(numbers | others | st.uuids() | st.dates() | st.times() | st.ip_addresses(), st.data())
def test_scalars_share_a_form_exactly_if_type_and_text_agree(one: object, data: Any) -> None:
    """Whatever two values are, they share a form if and only if their types and their texts agree."""
    other = data.draw(numbers | others | st.just(one))
    same = (type(one), repr(one)) == (type(other), repr(other))
    assert (canonical(one) == canonical(other)) == same


SUBCLASSED: list[tuple[type, tuple[Any, ...], tuple[Any, ...]]] = [
    (type(Path()), ("a",), ("b",)),
    (PurePosixPath, ("a",), ("b",)),
    (PureWindowsPath, ("a",), ("b",)),
    (Decimal, ("1",), ("2",)),
    (Fraction, (1, 2), (1, 3)),
    (UUID, (f"{1:032}",), (f"{2:032}",)),
    (datetime, (2024, 1, 1), (2024, 1, 2)),
    (date, (2024, 1, 1), (2024, 1, 2)),
    (clock, (1,), (2,)),
    (timedelta, (1,), (2,)),
    (ipaddress.IPv4Address, ("1.1.1.1",), ("1.1.1.2",)),
    (ipaddress.IPv6Address, ("::1",), ("::2",)),
    (ipaddress.IPv4Network, ("1.1.1.1",), ("1.1.1.2",)),
    (ipaddress.IPv6Network, ("::1",), ("::2",)),
    (ipaddress.IPv4Interface, ("1.1.1.1/8",), ("1.1.1.1/9",)),
    (ipaddress.IPv6Interface, ("::1",), ("::2",)),
    (ZoneInfo, ("Europe/Paris",), ("Europe/Berlin",)),
]


def test_every_type_whose_subclasses_are_read_by_a_text_is_tried() -> None:
    """The table below leaves out no such type, but for paths of another operating system."""
    assert {base for base, _, _ in SUBCLASSED} >= {base for base in TEXT_BASES if "Path" not in base.__name__}


def says_the_same(*_arguments: object) -> str:
    """Stand for a method of a subclass that hides what differs."""
    return "the same"


@pytest.mark.parametrize(("base", "one", "other"), SUBCLASSED, ids=lambda value: getattr(value, "__name__", ""))
@pytest.mark.parametrize("slots", [(), ("note",)], ids=["attribute", "slot"])
def test_subclasses_count_by_their_text_and_all_they_hold(
    base: type, one: tuple[Any, ...], other: tuple[Any, ...], slots: tuple[str, ...]
) -> None:
    """A subclass is told from its base, by what the base reads past its overrides, and by attributes and slots."""
    hiding = dict.fromkeys(("__str__", "__repr__", "isoformat"), says_the_same)
    cls: Any = type("Sub", (base,), {**hiding, **({"__slots__": slots} if slots else {})})
    made: list[Any] = [base(*one), cls(*one), cls(*other)]
    made += [with_attributes(cls(*one), note=note) for note in ("a", "b")]
    if base is ZoneInfo:
        made = made[:3]  # one object stands for all zones of a key
    assert len({form(each) for each in made}) == len(made)
    assert form(cls(*one)) == form(made[1]) or base is ZoneInfo


class Shifting(tzinfo):
    """A time zone of one's own."""

    def __init__(self, hours: int) -> None:
        self.hours = hours

    def utcoffset(self, _moment: datetime | None) -> timedelta:
        """Return the same offset for all zones."""
        return timedelta(0)

    def dst(self, _moment: datetime | None) -> None:
        """Return nothing for all zones."""

    def tzname(self, _moment: datetime | None) -> str:
        """Return the same name for all zones."""
        return "shifting"


def test_a_moment_counts_with_its_time_zone() -> None:
    """Zones of one's own count by what they hold, though their offsets agree."""
    moments = [datetime(2024, 1, 1, tzinfo=Shifting(hours)) for hours in (1, 2, 1)]
    forms = [form(each) for each in moments]
    assert forms[0] == forms[2] != forms[1]


def test_a_time_zone_without_a_key_has_no_form(tmp_path: Path) -> None:
    """A zone that was read from a file, and may be any, is refused, with the way to it."""
    # The smallest file of a zone: a header, and one type of time.
    header = b"TZif" + bytes(16) + b"".join(count.to_bytes(4, "big") for count in (0, 0, 0, 0, 1, 4))
    path = tmp_path / "zone"
    path.write_bytes(header + bytes(6) + b"UTC\0")
    with path.open("rb") as file:
        nameless = ZoneInfo.from_file(file)
    with pytest.raises(UnreadableError, match="has no canonical form") as caught:
        canonical([datetime(2024, 1, 1, tzinfo=nameless)])
    assert caught.value.trail == [(".tzinfo", ZoneInfo), ("[0]", datetime)]


MOMENT = (2024, 1, 1, 0, 0, 0, 0, 1, 0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: time.struct_time(MOMENT),
        lambda: time.struct_time((*MOMENT, "CET", 3600)),
        lambda: time.struct_time((*MOMENT, "EST", 3600)),
        lambda: time.struct_time((*MOMENT, "CET", 7200)),
        lambda: time.struct_time((2025, *MOMENT[1:])),
        lambda: MOMENT,
        lambda: (*MOMENT, "CET", 3600),
    ],
)
def test_the_hidden_fields_of_a_struct_count(make: Callable[[], Any]) -> None:
    """Of a ``struct_time`` the zone and its offset count, which are not among its items."""
    zones = [("CET", 3600), ("EST", 3600), ("CET", 7200)]
    known: list[Any] = [time.struct_time(MOMENT), *(time.struct_time((*MOMENT, *zone)) for zone in zones)]
    known += [time.struct_time((2025, *MOMENT[1:])), MOMENT, (*MOMENT, "CET", 3600)]
    assert [form(make()) == form(each) for each in known].count(True) == 1
    assert form(known) == form([*known])
    assert form([known[0], known[4]]) != form([known[0], known[0]])
