"""Moments come back with their offset from UTC, and with their zone if it says of itself what it is."""

from __future__ import annotations

import io
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from support.responses import there_and_back

from recallm.codec.codec import Codec
from recallm.errors import CorruptPayloadError, UnstorableResponseError

NOON = datetime(2024, 7, 1, 12)
TOKYO = files("tzdata.zoneinfo.Asia").joinpath("Tokyo").read_bytes()


class Odd(tzinfo):
    """A zone of its own kind."""

    def __init__(self, offset: timedelta | None, name: Any = "odd", *, folds: bool = False) -> None:
        self.offset, self.name, self.folds = offset, name, folds

    def utcoffset(self, when: datetime | None) -> timedelta | None:
        """Return the offset, which may depend on the fold."""
        return self.offset + timedelta(hours=when.fold) if self.offset and self.folds and when else self.offset

    def dst(self, when: datetime | None) -> timedelta | None:
        """Return nothing."""
        return None

    def tzname(self, when: datetime | None) -> str | None:
        """Return the name."""
        return self.name  # type: ignore[no-any-return]  # what is tried


class Broken(Odd):
    """A zone that cannot be read."""

    def utcoffset(self, when: datetime | None) -> timedelta | None:
        """Fail."""
        raise KeyError("secret")


class Regional(ZoneInfo):
    """A zone of a derived class."""


def zones() -> dict[str, Any]:
    """Return zones that do not come back themselves."""
    found: dict[str, Any] = {
        "own": Odd(timedelta(hours=3)),
        "own without a name": Odd(timedelta(hours=-3), None),
        "own of odd name": Odd(timedelta(seconds=1), "x" * 1000),
        "file": ZoneInfo.from_file(io.BytesIO(TOKYO)),
        "file under another key": ZoneInfo.from_file(io.BytesIO(TOKYO), key="Europe/Paris"),
        "file under no key": ZoneInfo.from_file(io.BytesIO(TOKYO), key="../Paris"),
        "uncached": ZoneInfo.no_cache("Europe/Paris"),
        "derived": Regional("Europe/Paris"),
    }
    try:
        from dateutil import tz
    except ImportError:
        return found
    return {**found, "dateutil": tz.gettz("Europe/Paris"), "dateutil's UTC": tz.UTC, "local": tz.tzlocal()}


@pytest.mark.parametrize("zone", zones().values(), ids=zones().keys())
def test_any_zone_keeps_instant_and_offset(zone: Any) -> None:
    """A moment in a zone that only its own class understands comes back in the fixed zone of its offset and name."""
    moment = NOON.replace(tzinfo=zone)

    restored = there_and_back([moment])[0]

    assert restored == moment
    assert restored.utcoffset() == moment.utcoffset()
    assert type(restored.tzinfo) is timezone
    if moment.tzname() and len(moment.tzname() or "") < 100:
        assert restored.tzname() == moment.tzname()


def test_times_of_day_keep_their_offset() -> None:
    """A time of day has an offset if its zone has but one."""
    assert there_and_back(time(1, tzinfo=Odd(timedelta(hours=1)))).utcoffset() == timedelta(hours=1)
    assert there_and_back(time(1, tzinfo=ZoneInfo("Europe/Paris"))) == time(1, tzinfo=ZoneInfo("Europe/Paris"))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (NOON.replace(tzinfo=Odd(None)), r"answer\.tzinfo \(.*Odd, which has no offset"),
        (NOON.replace(tzinfo=Odd(timedelta(hours=1), folds=True)), r"answer\.tzinfo \(.*Odd, in which .* ambiguous"),
        ([NOON.replace(tzinfo=Broken(None))], r"answer\[0\]\.tzinfo \(.*Broken, KeyError while it was read"),
        (time(1, tzinfo=Regional("Europe/Paris")), r"answer\.tzinfo \(.*Regional, which has no offset"),
        (
            {"zone": zones()["file under another key"]},
            r"answer\['zone'\] \(zoneinfo\.ZoneInfo, which is not the system",
        ),
    ],
)
def test_a_moment_that_would_be_another_is_refused(value: Any, message: str) -> None:
    """A zone without an offset, of a moment that is not equal in any other zone, or of a file is refused by name."""
    with pytest.raises(UnstorableResponseError, match=message) as caught:
        Codec().encode(value)
    assert "secret" not in str(caught.value)


def test_the_offset_stays_if_the_rules_of_a_zone_change() -> None:
    """Another process may have another edition of the zones: the instant that was stored counts."""
    payload = b'\x01t{"$H":[2024,7,1,12,0,0,0,0,{"$Z":"Europe/Paris"},%d]}'

    same, other = Codec().decode(payload % 7200), Codec().decode(payload % 3600)

    assert same.tzinfo is ZoneInfo("Europe/Paris")
    assert other == datetime(2024, 7, 1, 11, tzinfo=UTC)
    assert other.utcoffset() == timedelta(hours=1)
    assert Codec().decode(b'\x01t{"$H":[2024,7,1,12,0,0,0,0,{"$Z":"Europe/Paris"}]}') == same


@pytest.mark.parametrize("offset", [b'"x"', b"1e99", b"null", b"90000", b"1,2"])
def test_an_offset_that_is_none_is_corrupt(offset: bytes) -> None:
    """Offsets that are no numbers of seconds, or too large, are never another error."""
    with pytest.raises(CorruptPayloadError):
        Codec().decode(b'\x01t{"$H":[2024,7,1,12,0,0,0,0,{"$Z":"Europe/Paris"},%s]}' % offset)
