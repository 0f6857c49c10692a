"""Units of measure: what the names behind a number mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cache
from typing import NamedTuple

from recallm.guards.word_lists import lines_of


class Unit(NamedTuple):
    """What a unit measures, and how many of the kind's own unit it is."""

    measures: str
    size: Fraction


Units = frozenset[Unit]
"""What a name may mean: "pound" is a mass and a currency, "mb" a megabyte and a megabit."""

_NONE: Units = frozenset()


def units_of(name: str, *, capitals_count: bool) -> Units:
    """Return what a name behind a number may mean.

    Args:
        name: the word, or up to three words joined by underlines, as it is written.
        capitals_count: whether the text has capitals and small letters, so that "mW" is not "MW".

    >>> [unit.measures for unit in units_of("Weeks", capitals_count=True)]
    ['time']
    >>> len(units_of("MB", capitals_count=True)), len(units_of("mb", capitals_count=True))
    (1, 3)
    """
    named = _spellings(name)
    exact = named.get(name) if capitals_count else None
    return exact or _NONE.union(*named.values())


def is_unit(name: str) -> bool:
    """Return whether a name may mean a unit, with some capitals."""
    return bool(_spellings(name))


def longest_name(words: Sequence[str]) -> int:
    """Return how many words the longest name of a unit has that begins with the first of these words, 1 if none.

    >>> longest_name(["square"]), longest_name(["hours"]), longest_name([])
    (2, 1, 1)
    """
    return _lengths().get(words[0], 1) if words else 1


@cache
def _lengths() -> Mapping[str, int]:
    """Return, for each first word of a name of several words, the most words that follow it, itself included."""
    found: dict[str, int] = {}
    for name in _names():
        first, *others = name.split("_")
        if others:
            found[first] = max(found.get(first, 1), 1 + len(others))
    return found


def _spellings(name: str) -> Mapping[str, Units]:
    lower = name.lower()
    names = _names()
    return names.get(lower) or (names.get(lower[:-1], {}) if lower.endswith("s") and len(lower) > 2 else {})


@cache
def _names() -> Mapping[str, Mapping[str, Units]]:
    """Return, for each name in lower case, what it means with which capitals."""
    found: dict[str, dict[str, Units]] = {}
    for line in lines_of("units"):
        measures, size, *names = line.split()
        for name in names:
            spellings = found.setdefault(name.lower(), {})
            spellings[name] = spellings.get(name, _NONE) | {Unit(measures, Fraction(size))}
    return found
