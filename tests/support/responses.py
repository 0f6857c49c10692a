"""Responses of many types, and what it means that one comes back as it was."""

# The classes and functions are there to be stored and read.
# ruff: noqa: D101, D102, D103
# mypy: disable-error-code="type-arg"

from __future__ import annotations

import enum
import math
from collections import defaultdict, namedtuple
from collections.abc import Callable
from dataclasses import InitVar, dataclass, field, fields, is_dataclass
from datetime import datetime, time, timezone
from decimal import Decimal
from functools import cached_property
from typing import Any, ClassVar, Generic, NamedTuple, TypedDict, TypeVar

import pytest

from recallm.codec.codec import Codec
from recallm.errors import CorruptPayloadError, RecallmError, UnstorableResponseError

RAN: list[str] = []
"""Gets an item whenever code of one of the classes runs."""


class Colour(enum.Enum):
    RED = "red"
    ROUGE = "red"
    PAIR = (1, "x")
    ODD = object()


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Mood(enum.StrEnum):
    CALM = "calm"


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Loose(enum.IntFlag, boundary=enum.KEEP):
    ONE = 1


class Point(NamedTuple):
    x: float
    y: float = 0.0


Pair = namedtuple("Pair", "left right")


@dataclass
class Answer:
    text: str
    sources: list[Point] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Frozen:
    name: str
    mood: Mood = Mood.CALM


@dataclass
class Worked:
    given: int
    factor: InitVar[int]
    kind: ClassVar[str] = "kind"
    product: int = field(init=False)
    never_set: int = field(init=False)

    def __post_init__(self, factor: int) -> None:
        RAN.append("post_init")
        self.product = self.given * factor
        self._beside = (factor,)

    @cached_property
    def lock(self) -> object:
        return object()


@dataclass
class Inherited(Answer):
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class Link:
    below: object = None


T = TypeVar("T")


@dataclass
class Page(Generic[T]):
    items: list[T]


class Row(TypedDict, total=False):
    answer: Answer
    rights: Rights


ALLOWED = (Answer, Frozen, Page, Pair, Point, Colour, Level, Mood, Rights, Worked)


def path_of(cls: type) -> str:
    """Return the path by which a payload names a class."""
    return f"{cls.__module__}.{cls.__qualname__}"


def same(left: Any, right: Any) -> bool:
    """Return whether two values are equal and of one type, and so is everything in them."""
    if type(left) is not type(right):
        return False
    for types, are_equal in COMPARISONS:
        if isinstance(left, types):
            return are_equal(left, right)
    if is_dataclass(left):
        return all(same(getattr(left, it.name), getattr(right, it.name)) for it in fields(left))
    return bool(left == right)


def same_clock(left: Any, right: Any) -> bool:
    bare = left.replace(tzinfo=None) == right.replace(tzinfo=None)
    return bare and left.fold == right.fold and same(left.tzinfo, right.tzinfo)


def same_items(left: Any, right: Any) -> bool:
    held = same(getattr(left, "__dict__", 0), getattr(right, "__dict__", 0))
    return held and len(left) == len(right) and all(map(same, left, right))


COMPARISONS: list[tuple[Any, Callable[[Any, Any], bool]]] = [
    (enum.Enum, lambda left, right: left is right),
    (float, lambda left, right: left.hex() == right.hex() and math.copysign(1, left) == math.copysign(1, right)),
    (complex, lambda left, right: same((left.real, left.imag), (right.real, right.imag))),
    ((Decimal, timezone), lambda left, right: repr(left) == repr(right)),
    ((datetime, time), same_clock),
    (
        defaultdict,
        lambda left, right: left.default_factory is right.default_factory and same(dict(left), dict(right)),
    ),
    (dict, lambda left, right: same([*left.items()], [*right.items()])),
    ((list, tuple), same_items),
    (
        (set, frozenset),
        lambda left, right: len(left) == len(right) and all(any(same(a, b) for b in right) for a in left),
    ),
]
"""When values of some types are the same; the first row that fits decides."""


def there_and_back(value: object, codec: Codec | None = None) -> Any:
    codec = codec or Codec()
    return codec.decode(codec.encode(value))


def assert_comes_back(value: Any) -> None:
    """Assert that a value is restored exactly, alone and inside others."""
    assert same(there_and_back(value), value)
    assert same(there_and_back([value, {"k": (value,)}]), [value, {"k": (value,)}])


WRAPPERS: list[Callable[[Any], Any]] = [lambda it: it, lambda it: {"k": [it]}, lambda it: (it,), Answer]
"""Puts a value into others."""


def assert_unstorable(value: Any) -> None:
    """Assert that a value is refused by an error that shows its type alone."""
    with pytest.raises(UnstorableResponseError, match="store_if") as caught:
        Codec().encode(value)

    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, RecallmError)
    assert "secret" not in str(caught.value)


def assert_corrupt(payload: bytes) -> None:
    """Assert that a payload is corrupt, though all classes are allowed."""
    with pytest.raises(CorruptPayloadError) as caught:
        Codec(ALLOWED).decode(payload)

    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, RecallmError)
