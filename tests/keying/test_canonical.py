"""Canonical forms: equal exactly when two values mean the same to a call."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, UserDict, namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from fractions import Fraction
from itertools import combinations
from pathlib import PurePosixPath, PureWindowsPath
from types import MappingProxyType, SimpleNamespace
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, PrivateAttr, create_model

from recallm.errors import UnfingerprintableError
from recallm.keying.canonical import MAX_DEPTH, PROMPT_PLACEHOLDER, canonical, length_prefixed


class Colour(Enum):
    """An enum."""

    RED = 1
    BLUE = 2


class Level(IntEnum):
    """An enum of ints."""

    LOW = 1


class Word(StrEnum):
    """An enum of texts."""

    ONE = "1"


@dataclass
class Point:
    """A dataclass."""

    x: object
    y: object = 0


@dataclass(frozen=True, slots=True)
class Slotted:
    """A dataclass without a ``__dict__``."""

    x: object
    y: object = 0


@dataclass(init=False)
class Record(dict[str, object]):
    """A dataclass that is a mapping too."""

    note: str = ""


Pair = namedtuple("Pair", "x y")


class Noted(Pair):
    """A named tuple that takes attributes."""


class Tagged(str):
    """A text that takes attributes."""


class SlottedText(str):
    """A text with a slot."""

    __slots__ = ("language",)


class SlottedList(list[object]):
    """A list with a slot."""

    __slots__ = ("note",)


class Open(BaseModel):
    """A pydantic model that keeps unknown fields."""

    model_config = ConfigDict(extra="allow")
    x: object = 1
    _hidden: object = PrivateAttr(default=None)


class Closed(BaseModel):
    """Another pydantic model."""

    x: object = 1


class Unreadable:
    """An object whose state nobody can read."""


def with_attributes(value: Any, **attributes: object) -> Any:
    """Return `value` after setting attributes on it."""
    for name, attribute in attributes.items():
        setattr(value, name, attribute)
    return value


SCALARS: list[object] = [
    None, ..., PROMPT_PLACEHOLDER, True, False, 0, 1, -1, 10, 16,
    "", "1", "N", "T", "i1", "True", "None", "?", " 1", "1 ", "é",
    "e\u0301",
    "\ud800", b"", b"1", b"i1", bytearray(b"1"), 0.0, -0.0, 1.0, float("inf"), float("-inf"), float("nan"), 0.1 + 0.2,
    0.3,
    1j, complex(0.0, -0.0), Decimal("1"), Decimal("1.0"), Decimal("NaN"), Fraction(1), Fraction(1, 2), 10**400,
    date(2024, 1, 1), datetime(2024, 1, 1), datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, fold=1),
    datetime(2024, 1, 1, tzinfo=timezone(timedelta(0), "Z")), datetime(2024, 1, 1, tzinfo=ZoneInfo("Europe/Paris")),
    datetime(2024, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")), time(0), time(0, fold=1), time(0, tzinfo=UTC), timedelta(0),
    timedelta(days=1), timedelta(hours=1), UUID(int=1), PurePosixPath("a/b"), PureWindowsPath("a/b"), "a/b",
]  # fmt: skip

CONTAINERS: list[object] = [
    [], (), {}, set(), frozenset(), [1], (1,), {1}, frozenset({1}), {1: None}, {"1": None}, {True: None}, {1.0: None},
    {None: 1}, ["1"], [True], [1.0], [[1]], [[], 1], [1, []], [[1, []]], [1, 2], [2, 1], [12], ["1", "2"], ["12"],
    ["1:2"], ["i1", "i2"], [b"12"], {"a": {"b": 1}}, {"a": {}, "b": 1}, {"a": "b"}, {"b": "a"}, {"a": 1, "b": 2},
    {"a": 2, "b": 1}, {("a", 1)}, {"a"}, {"a", "b"}, {"ab"}, {"x": 1}, {"x": None}, {"x": 1, "y": None},
    {"x": 1, "y": 0}, OrderedDict(x=1), Counter(x=1), (1, 2), Pair(1, 2), Noted(1, 2),
    with_attributes(Noted(1, 2), z=3), Point(1, 2), Point(2, 1), Slotted(1, 2), with_attributes(Point(1, 2), z=3),
    SimpleNamespace(x=1, y=2), Record(), Record(x=1), with_attributes(Record(x=1), note="n"), Colour.RED, Colour.BLUE,
    Level.LOW, Word.ONE, Tagged("1"), with_attributes(Tagged("1"), language="fr"),
    with_attributes(SlottedText("1"), language="fr"), with_attributes(SlottedText("1"), language="en"),
    with_attributes(SlottedList([1]), note="a"), with_attributes(SlottedList([1]), note="b"), Open(), Closed(),
    Open(x="1"),
    Open.model_validate({"x": 1, "z": 2}), with_attributes(Open(), _hidden=2), create_model("Open", x=(int, 1))(),
]  # fmt: skip

CLASSES_AND_ARRAYS: list[object] = [
    int, str, Point, Slotted, Colour, Open, Closed, "builtins.int", create_model("Closed", __module__=__name__,
    x=(int, 1)),
    create_model("Closed", __module__=__name__, x=(str, "1")), np.int64(1), np.int32(1), np.float64(1), np.str_("1"),
    np.zeros(4), np.zeros(4, dtype=np.float32), np.zeros((2, 2)), np.zeros((4, 1)), np.zeros(4, dtype=">f8"),
    np.ones(4),
    np.zeros(4, dtype=[("a", "f8")]), np.zeros(4, dtype=[("b", "f8")]), [0.0] * 4,
]  # fmt: skip


@pytest.mark.parametrize("values", [SCALARS, CONTAINERS, CLASSES_AND_ARRAYS], ids=["scalars", "containers", "classes"])
def test_different_values_never_share_a_form(values: list[object]) -> None:
    """Values that differ in type, content, attributes or nesting have different forms, alone and nested."""
    for one, other in combinations(values, 2):
        assert canonical(one) != canonical(other), (one, other)
        assert canonical({"k": [one]}) != canonical({"k": [other]}), (one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1}),
        ({0, 8, 16}, {16, 8, 0}),
        (frozenset([0, 8, 16]), frozenset([16, 8, 0])),
        ({frozenset({1, 2}), 3}, {3, frozenset({2, 1})}),
        (MappingProxyType({"a": 1, "b": 2}), {"b": 2, "a": 1}),
        (OrderedDict(a=1, b=2), OrderedDict(b=2, a=1)),
        (Point(1), Point(1, 0)),
        (Open(x=1), Open()),
        (SimpleNamespace(a=1, b=2), SimpleNamespace(b=2, a=1)),
        (np.arange(6).reshape(2, 3)[:, ::2], np.array([[0, 2], [3, 5]])),
        (float("nan"), -float("nan")),
    ],
)
def test_order_and_spelling_do_not_count(one: object, other: object) -> None:
    """What means the same has the same form, however it was written down."""
    assert canonical(one) == canonical(other)


scalars = st.sampled_from([None, True, False, 0, 1, -1, "", "0", "1", "a", b"", b"1", 0.0, 1.0, -0.0]) | st.text(
    max_size=3
)
hashables = st.recursive(scalars, lambda inner: st.tuples(inner) | st.frozensets(inner, max_size=2), max_leaves=3)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.sets(hashables, max_size=3)
        | st.frozensets(hashables, max_size=3)
        | st.dictionaries(hashables, inner, max_size=3)
        | st.builds(Point, inner, inner)
    ),
    max_leaves=8,
)


def reference(value: object) -> str:
    """Return a text that differs between values of the strategy that differ in type or content."""
    match value:
        case dict():
            inside = sorted(f"{reference(key)}={reference(item)}" for key, item in value.items())
        case set() | frozenset():
            inside = sorted(map(reference, value))
        case list() | tuple():
            inside = list(map(reference, value))
        case Point():
            inside = [reference(value.x), reference(value.y)]
        case _:
            inside = [repr(value)]
    return f"{type(value).__name__}{inside!r}"


@given(values, values)
def test_forms_are_equal_exactly_when_the_values_are(one: object, other: object) -> None:
    """Two forms are equal if and only if types and contents are equal throughout."""
    assert (canonical(one) == canonical(other)) == (reference(one) == reference(other))


@given(st.dictionaries(hashables, values, max_size=5), st.randoms())
def test_the_order_of_a_mapping_never_counts(mapping: dict[object, object], random: Any) -> None:
    """A mapping filled in any order has one form."""
    items = list(mapping.items())
    random.shuffle(items)
    assert canonical(dict(items)) == canonical(mapping)


@given(st.lists(st.binary(max_size=4), max_size=4), st.lists(st.binary(max_size=4), max_size=4))
def test_length_prefixes_keep_parts_apart(one: list[bytes], other: list[bytes]) -> None:
    """Two lists of parts are joined into the same bytes only if they are equal: no part runs into the next."""
    assert (length_prefixed(b"t", one) == length_prefixed(b"t", other)) == (one == other)


def cyclic() -> list[object]:
    """Return a list that holds itself."""
    value: list[object] = []
    value.append(value)
    return value


def nested(levels: int, wrap: Callable[[object], object] = lambda below: [below]) -> object:
    """Return an empty list inside `levels` others, or inside what `wrap` makes."""
    value: object = []
    for _ in range(levels):
        value = wrap(value)
    return value


def generated() -> Iterator[int]:
    """Yield nothing much."""
    yield 1


@pytest.mark.parametrize(
    "value",
    [
        Unreadable(), object(), lambda: 1, threading.Lock(), generated(), cyclic(), nested(MAX_DEPTH + 1),
        nested(MAX_DEPTH + 1, lambda below: {"k": below}),
        memoryview(b"1"),
        range(3), iter([]), threading, Point(Unreadable()), UserDict(a=1), np.array([object()]), Closed(x=Unreadable()),
        type("Local", (), {"__qualname__": "f.<locals>.Local"}), with_attributes(Tagged("1"), client=Unreadable()),
        Pair(1, Unreadable()), {Unreadable(): 1}, {1: Unreadable()},
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_cannot_be_read_in_full_has_no_form(value: object) -> None:
    """A value with hidden state, alone or inside another, is refused rather than left out."""
    with pytest.raises(UnfingerprintableError):
        canonical(value)
    with pytest.raises(UnfingerprintableError):
        canonical([{"k": (value,)}])


def test_values_may_nest_deeply() -> None:
    """Nesting up to the limit has a form, and each level counts."""
    assert canonical(nested(MAX_DEPTH - 1)) != canonical(nested(MAX_DEPTH - 2))


def in_module(source: str) -> Any:
    """Return the class ``S`` that a cell of a notebook defines."""
    namespace: dict[str, Any] = {"__name__": "notebook"}
    exec(source, namespace)  # noqa: S102  # the sources are the tables below
    return namespace["S"]


CLASSES = [
    "class S: prompt = 'pirate'",
    "class S: prompt = 'judge'",
    "class S:\n  'Another text for the model.'",
    "class S:\n  price: int",
    "class S:\n  name: str",
    "class S:\n  def system(self): return 1 + len('a')",
    "class S:\n  def system(self): return 'b'",
    "class S(dict): pass",
    "import enum\nS = enum.Enum('S', 'RED BLUE')",
    "import enum\nS = enum.Enum('S', 'CAT DOG')",
    "import collections\nS = collections.namedtuple('S', 'a b')",
    "import collections\nS = collections.namedtuple('S', 'c d')",
    "import typing\nS = typing.TypedDict('S', {'a': int})",
    "import typing\nS = typing.TypedDict('S', {'b': int})",
    "import dataclasses\nS = dataclasses.make_dataclass('S', [('a', int)])",
    "import dataclasses\nS = dataclasses.make_dataclass('S', [('b', int)])",
]


def test_a_class_that_is_defined_otherwise_is_another() -> None:
    """Two classes of one name differ by what they define, as after a notebook's cell was changed and run again."""
    forms = [canonical(in_module(source)) for source in CLASSES]
    assert len(set(forms)) == len(CLASSES)
    assert forms == [canonical(in_module(source)) for source in CLASSES]
    holding_itself = in_module("class S: pass\nS.own = S")
    assert canonical(holding_itself) == canonical(holding_itself)


class Tenanted:
    """A base with a slot."""

    __slots__ = ("tenant",)


@dataclass(slots=True)
class Document(Tenanted):
    """A dataclass whose base holds more than its fields."""

    name: str


class Described(Slotted):
    """A subclass that holds more than the fields of its base."""

    __slots__ = ("tenant",)


class SlottedModel(BaseModel):
    """A model with a slot."""

    __slots__ = ("tenant",)
    name: str = "a"


@pytest.mark.parametrize("make", [lambda: Document("a"), lambda: Described(1), SlottedModel], ids=str)
def test_what_is_held_in_slots_counts(make: Any) -> None:
    """A value in a slot counts, in slots of bases and subclasses too, which are no fields."""
    ada, bob, nobody = make(), make(), make()
    object.__setattr__(ada, "tenant", "ada")
    object.__setattr__(bob, "tenant", "bob")
    assert len({canonical(ada), canonical(bob), canonical(nobody)}) == 3


@pytest.mark.parametrize("array", [np.ma.array([1, 2], mask=[False, True]), np.array([1]).view(np.recarray)], ids=str)
def test_arrays_that_are_more_than_their_numbers_have_no_form(array: Any) -> None:
    """An array with a mask or named fields is refused: these are not among its numbers."""
    with pytest.raises(UnfingerprintableError, match="use a plain numpy array"):
        canonical(array)
