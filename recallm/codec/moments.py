"""Dates, times and zones, taken apart and put together again.

A moment comes back with its offset from UTC. So does its zone if it is a `timezone`, pydantic's, or a `ZoneInfo` of the
system; any other, such as dateutil's, pytz's and those of a file, comes back as the `timezone` of that offset and name.
"""

from __future__ import annotations

import re
import sys
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from recallm.codec.bounds import Work
from recallm.codec.refusals import Refusal
from recallm.concurrency.signals import let_through

# A zone's key is a path: only these cannot lead out of the directory of zones.
_ZONE_KEY = re.compile(r"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*")
_LONGEST_NAME = 100


def zone_key(zone: ZoneInfo) -> str:
    """Return the key of a zone of the system."""
    if not _is_of_system(zone):
        raise Refusal(ZoneInfo, "which is not the system's zone of its key")
    return zone.key


def zone_of(key: str) -> ZoneInfo:
    """Return the system's zone of a key."""
    if _ZONE_KEY.fullmatch(key) is None:
        raise ValueError("not the key of a time zone")
    return ZoneInfo(key)


def load_zone(work: Work, key: str) -> None:
    """Load a zone, once for each payload: Python forgets those that nobody holds."""
    if key not in work.held:
        work.held[key] = zone_of(key)


def clock(value: datetime | time) -> list[Any]:
    """Return hour, minute, second, microsecond, fold and zone, and the offset in seconds if the zone has rules."""
    return [value.hour, value.minute, value.second, value.microsecond, value.fold, *_zone(value)]


def time_of(hour: int, minute: int, second: int, microsecond: int, fold: int, zone: tzinfo | int | None) -> time:
    """Return the time of a clock's parts."""
    if isinstance(zone, int):
        made = _pydantic_zone()
        zone = timezone(timedelta(seconds=zone)) if made is None else made(zone)
    elif zone is not None and type(zone) not in (timezone, ZoneInfo):
        raise TypeError("not a time zone")
    return time(hour, minute, second, microsecond, zone, fold=fold)


def datetime_of(year: int, month: int, day: int, *parts: Any) -> datetime:
    """Return the moment of a date's and a clock's parts; its offset stays, whatever the zone's rules are here."""
    made = datetime.combine(date(year, month, day), time_of(*parts[:6]))
    if len(parts) == 6:
        return made
    (seconds,) = parts[6:]
    offset = timedelta(seconds=seconds)
    return made if made.utcoffset() == offset else made.replace(tzinfo=timezone(offset))


def _zone(value: datetime | time) -> list[Any]:
    zone: Any = value.tzinfo
    if zone is None or type(zone) is timezone:
        return [zone]
    if type(zone) is _pydantic_zone():
        return [int(zone.utcoffset(None).total_seconds())]
    try:
        offset = value.utcoffset()
        if type(zone) is ZoneInfo and _is_of_system(zone):
            return [zone] if offset is None else [zone, int(offset.total_seconds())]
        return [_fixed(value, offset)]
    except Exception as error:  # noqa: BLE001  # zones are anybody's code
        let_through(error)
        why = f"{type(error).__name__} while it was read" if not isinstance(error, _InconstantError) else str(error)
        raise Refusal(type(zone), why).within(".tzinfo") from None


class _InconstantError(Exception):
    """A zone says no more than its own class understands."""


def _fixed(value: Any, offset: timedelta | None) -> timezone:
    if offset is None:
        raise _InconstantError("which has no offset at that time")
    name = value.tzname()
    if type(name) is not str or len(name) > _LONGEST_NAME:
        name = None
    fixed = UTC if not offset and name in (None, "UTC") else timezone(offset, *([] if name is None else [name]))
    if value.replace(tzinfo=fixed) != value:
        raise _InconstantError("in which that time is ambiguous")
    return fixed


def _is_of_system(zone: ZoneInfo) -> bool:
    if zone.key is None or _ZONE_KEY.fullmatch(zone.key) is None:
        return False
    try:
        return ZoneInfo(zone.key) is zone
    except Exception as error:  # noqa: BLE001  # not found, or a file that is none
        let_through(error)
        return False


def _pydantic_zone() -> Any:
    """Return the type of the zones that pydantic parses, or None if nobody has imported pydantic."""
    return getattr(sys.modules.get("pydantic_core"), "TzInfo", None)
