"""Units: what the names behind numbers mean."""

from __future__ import annotations

from fractions import Fraction

import pytest

from recallm.guards.units import is_unit, units_of
from recallm.guards.word_lists import lines_of


@pytest.mark.parametrize(
    ("name", "capitals_count", "measures"),
    [
        ("hours", True, {"time"}),
        ("HOURS", True, {"time"}),
        ("lb", True, {"mass"}),
        ("pounds", True, {"mass", "currency-gbp"}),
        ("ounce", True, {"mass", "volume"}),
        ("m", True, {"length", "time"}),
        ("m", False, {"length", "time", "million"}),
        ("per_cent", True, {"percent"}),
        ("people", True, set()),
        ("as", True, set()),
    ],
)
def test_what_a_name_measures(name: str, capitals_count: bool, measures: set[str]) -> None:
    """A name may mean several units; capitals decide only if a text has both sizes of letters."""
    assert {unit.measures for unit in units_of(name, capitals_count=capitals_count)} == measures
    assert is_unit(name) is bool(measures)


@pytest.mark.parametrize(("one", "other", "times"), [("week", "day", 7), ("MB", "kB", 1000), ("mile", "foot", 5280)])
def test_units_have_sizes(one: str, other: str, times: int) -> None:
    """The size of a unit says how many of another one it is."""
    sizes = [{unit.size for unit in units_of(name, capitals_count=True)} for name in (one, other)]
    assert sizes[0] == {size * times for size in sizes[1]}


def test_each_line_names_a_measure_a_size_and_names() -> None:
    """Each line of the list says what a unit measures, its size, and at least one name that no other line repeats."""
    rows = [line.split() for line in lines_of("units")]
    assert all(len(row) > 2 and Fraction(row[1]) > 0 for row in rows)
    names = [(measures, name) for measures, _, *each in rows for name in each]
    assert len(names) == len(set(names))
