"""A small evaluator of PromQL over scraped expositions: as much of it as the dashboard's queries use.

It differs from Prometheus in one respect: `rate` and `increase` do not extrapolate to the ends of the range.

>>> scrapes = [(0.0, 'a_total{b="x"} 0'), (60.0, 'a_total{b="x"} 30')]
>>> evaluate("sum(rate(a_total[1m]))", Series.of(scrapes), at=60.0)
{(): 0.5}
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias

from prometheus_client.parser import text_string_to_metric_families

Labels: TypeAlias = tuple[tuple[str, str], ...]
Vector: TypeAlias = dict[Labels, float]
Points: TypeAlias = tuple[list[float], list[float]]
"""Times and values."""

LOOK_BACK_SECONDS = 300.0
"""How old the latest sample of an instant may be, as in Prometheus."""

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?)(?P<unit>[smhd]\b)?|(?P<name>[a-zA-Z_:][\w:]*)|(?P<text>\"(?:[^\"\\]|\\.)*\")"
    r"|(?P<sign>=~|!~|!=|[-+*/(){}\[\],=^]))"
)


@dataclass
class Series:
    """Samples of metrics over time, as a Prometheus server keeps them."""

    samples: dict[str, dict[Labels, Points]] = field(default_factory=dict)

    @classmethod
    def of(cls, scrapes: Iterable[tuple[float, str]]) -> Series:
        """Return the series of expositions, each with the time of its scrape, in their order."""
        made = cls()
        for time, text in scrapes:
            made.add(time, text)
        return made

    def add(self, time: float, exposition: str) -> None:
        """Add a scrape."""
        for family in text_string_to_metric_families(exposition):
            for sample in family.samples:
                labels = tuple(sorted(sample.labels.items()))
                times, values = self.samples.setdefault(sample.name, {}).setdefault(labels, ([], []))
                times.append(time)
                values.append(sample.value)


@dataclass(frozen=True)
class Range:
    """A range of samples of each series that a selector finds."""

    found: Mapping[Labels, Points]
    seconds: float


Value: TypeAlias = float | Vector | Range


class _Parser:
    """Reads a query by recursive descent and computes it on the way."""

    def __init__(self, query: str, series: Series, at: float) -> None:
        self.series, self.at, self.query = series, at, query
        self.tokens: list[tuple[str, str, str]] = []
        place = 0
        while query[place:].strip():
            match = TOKEN.match(query, place)
            if match is None:
                raise ValueError(f"cannot read {query[place:]!r} in {query!r}")
            kind = str(match.lastgroup if match.lastgroup != "unit" else "number")
            self.tokens.append((kind, match[kind], match["unit"] or ""))
            place = match.end()
        self.place = 0

    def peek(self, ahead: int = 0) -> str:
        place = self.place + ahead
        return self.tokens[place][1] if place < len(self.tokens) else ""

    def take(self, expected: str | None = None) -> str:
        found = self.peek()
        if not found or (expected is not None and found != expected):
            raise ValueError(f"{expected or 'more'} expected, not {found!r}, in {self.query!r}")
        self.place += 1
        return found

    def whole(self) -> Value:
        value = self.either()
        if self.peek():
            raise ValueError(f"{self.peek()!r} is left over in {self.query!r}")
        return value

    def either(self) -> Value:
        value = self.sum()
        while self.peek() == "or":
            self.take()
            other = self.sum()
            assert isinstance(value, dict)
            assert isinstance(other, dict)
            value = {**other, **value}
        return value

    def sum(self) -> Value:
        value = self.product()
        while (sign := self.peek()) in ("+", "-"):
            self.take()
            value = _binary(sign, value, self.product())
        return value

    def product(self) -> Value:
        value = self.power()
        while (sign := self.peek()) in ("*", "/"):
            self.take()
            value = _binary(sign, value, self.power())
        return value

    def power(self) -> Value:
        value = self.atom()
        if self.peek() == "^":
            self.take()
            return _binary("^", value, self.power())
        return value

    def atom(self) -> Value:
        kind, text, _ = self.tokens[self.place]
        if kind == "number":
            self.take()
            return float(text)
        if text == "(":
            self.take()
            value = self.either()
            self.take(")")
            return value
        if text in AGGREGATIONS:
            return self.aggregation()
        if self.peek(1) == "(":
            return self.call()
        return self.selector()

    def aggregation(self) -> Value:
        aggregate = AGGREGATIONS[self.take()]
        by = self.by() if self.peek() == "by" else None
        self.take("(")
        vector = self.either()
        self.take(")")
        by = self.by() if self.peek() == "by" else by
        assert isinstance(vector, dict)
        groups: dict[Labels, list[float]] = {}
        for labels, value in vector.items():
            groups.setdefault(tuple(each for each in labels if each[0] in (by or ())), []).append(value)
        return {labels: aggregate(values) for labels, values in groups.items()}

    def by(self) -> list[str]:
        self.take("by")
        self.take("(")
        names = [self.take()]
        while self.peek() == ",":
            self.take()
            names.append(self.take())
        self.take(")")
        return names

    def call(self) -> Value:
        name = self.take()
        self.take("(")
        arguments = [self.either()]
        while self.peek() == ",":
            self.take()
            arguments.append(self.either())
        self.take(")")
        return FUNCTIONS[name](*arguments)

    def selector(self) -> Value:
        name = self.take()
        tests: list[tuple[str, str, str]] = []
        if self.peek() == "{":
            self.take()
            while self.peek() != "}":
                tests.append((self.take(), self.take(), self.take()[1:-1]))
                if self.peek() == ",":
                    self.take()
            self.take("}")
        found = {
            labels: points
            for labels, points in self.series.samples.get(name, {}).items()
            if all(MATCHES[sign](dict(labels).get(label, ""), text) for label, sign, text in tests)
        }
        if self.peek() != "[":
            return {
                labels: value for labels, points in found.items() if (value := _latest(points, self.at)) is not None
            }
        self.take("[")
        _, number, unit = self.tokens[self.place]
        self.take()
        self.take("]")
        seconds = float(number) * UNITS[unit]
        return Range({labels: _within(points, self.at - seconds, self.at) for labels, points in found.items()}, seconds)


def _latest(points: Points, at: float) -> float | None:
    times, values = points
    place = bisect_right(times, at) - 1
    return values[place] if place >= 0 and times[place] > at - LOOK_BACK_SECONDS else None


def _within(points: Points, after: float, until: float) -> Points:
    times, values = points
    span = slice(bisect_left(times, after), bisect_right(times, until))
    return times[span], values[span]


def _increase(ranged: Value) -> Vector:
    assert isinstance(ranged, Range)
    # A counter that begins again from nothing was reset.
    return {
        labels: sum(now - before if now >= before else now for before, now in pairwise(values))
        for labels, (_, values) in ranged.found.items()
        if len(values) > 1
    }


def _rate(ranged: Value) -> Vector:
    assert isinstance(ranged, Range)
    return {
        labels: added / (ranged.found[labels][0][-1] - ranged.found[labels][0][0])
        for labels, added in _increase(ranged).items()
    }


def _quantile(share: Value, buckets: Value) -> Vector:
    assert isinstance(share, float)
    assert isinstance(buckets, dict)
    groups: dict[Labels, list[tuple[float, float]]] = {}
    for labels, count in buckets.items():
        bound = float(dict(labels)["le"])
        groups.setdefault(tuple(each for each in labels if each[0] != "le"), []).append((bound, count))
    return {labels: _quantile_of(share, sorted(rows)) for labels, rows in groups.items()}


def _quantile_of(share: float, rows: list[tuple[float, float]]) -> float:
    total = rows[-1][1]
    if not total:
        return math.nan
    rank = share * total
    place = next(place for place, (_, count) in enumerate(rows) if count >= rank)
    if place == len(rows) - 1:
        return rows[-2][0]
    low, below = rows[place - 1] if place else (0.0, 0.0)
    high, up_to = rows[place]
    return low + (high - low) * (rank - below) / (up_to - below)


def _binary(sign: str, one: Value, other: Value) -> Value:
    compute = OPERATORS[sign]
    if isinstance(one, float) and isinstance(other, float):
        return compute(one, other)
    if isinstance(one, dict) and isinstance(other, float):
        return {labels: compute(value, other) for labels, value in one.items()}
    if isinstance(one, float) and isinstance(other, dict):
        return {labels: compute(one, value) for labels, value in other.items()}
    assert isinstance(one, dict)
    assert isinstance(other, dict)
    return {labels: compute(value, other[labels]) for labels, value in one.items() if labels in other}


def _divided(one: float, other: float) -> float:
    if other:
        return one / other
    return math.nan if not one else math.copysign(math.inf, one)


def _of_each(compute: Callable[..., float]) -> Callable[..., Value]:
    def function(vector: Value, *others: Value) -> Value:
        assert isinstance(vector, dict)
        return {labels: compute(value, *others) for labels, value in vector.items()}

    return function


OPERATORS: Mapping[str, Callable[[float, float], float]] = {
    "+": lambda one, other: one + other,
    "-": lambda one, other: one - other,
    "*": lambda one, other: one * other,
    "/": _divided,
    "^": lambda one, other: one**other,
}
MATCHES: Mapping[str, Callable[[str, str], bool]] = {
    "=": lambda found, wanted: found == wanted,
    "!=": lambda found, wanted: found != wanted,
    "=~": lambda found, wanted: re.fullmatch(wanted, found) is not None,
    "!~": lambda found, wanted: re.fullmatch(wanted, found) is None,
}
AGGREGATIONS: Mapping[str, Callable[[list[float]], float]] = {"sum": sum, "max": max}
FUNCTIONS: Mapping[str, Callable[..., Value]] = {
    "rate": _rate,
    "increase": _increase,
    "histogram_quantile": _quantile,
    "sqrt": _of_each(lambda value: math.sqrt(value) if value >= 0 else math.nan),
    "clamp_min": _of_each(max),
    "vector": lambda scalar: {(): scalar},
}


def evaluate(query: str, series: Series, at: float, **variables: str) -> Vector:
    """Return what a query gives at an instant.

    Args:
        query: the query.
        series: what was scraped.
        at: the time.
        variables: what stands in the place of each ``$name``.
    """
    for name, value in sorted(variables.items(), reverse=True):
        query = query.replace(f"${name}", value)
    found = _Parser(query, series, at).whole()
    if isinstance(found, float):
        return {(): found}
    assert isinstance(found, dict), f"{query!r} gives a range, of which no panel is made"
    return found


def metrics_in(query: str) -> dict[str, set[str]]:
    """Return the names of the metrics in a query, each with the labels that its selector names."""
    found: dict[str, set[str]] = {}
    for name, matchers in re.findall(r"\b(recallm_\w+)(?:\{([^}]*)\})?", query):
        found.setdefault(name, set()).update(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
    return found


def labels_kept(query: str) -> set[str]:
    """Return the labels by which a query aggregates."""
    return {name.strip() for names in re.findall(r"\bby\s*\(([^)]*)\)", query) for name in names.split(",")}
