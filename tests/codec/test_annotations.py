"""The classes a function says it may return, however its annotation is written."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date
from enum import Enum
from functools import partial, wraps
from types import NoneType, SimpleNamespace
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, Optional, TypedDict, TypeVar, Union

import pytest
from pydantic import BaseModel

from recallm.codec.annotations import classes_in, return_annotation


class Colour(Enum):
    """An enumeration."""

    RED = "red"


@dataclass
class Leaf:
    """Ends here."""

    colour: Colour


@dataclass
class Tree:
    """Holds itself and others."""

    left: Tree | None
    leaf: Leaf


class Pair(NamedTuple):
    """A named tuple."""

    one: Leaf
    when: date


class Row(TypedDict):
    """A typed dictionary."""

    leaf: Leaf


class Model(BaseModel):
    """A pydantic model."""

    leaf: Leaf


T = TypeVar("T")
Bounded = TypeVar("Bounded", bound=Leaf)
OneOf = TypeVar("OneOf", Leaf, Colour)
UserId = NewType("UserId", Leaf)


class Box(BaseModel, Generic[T]):
    """A generic model."""

    content: T


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (Leaf, {Leaf, Colour}),
        (Tree, {Tree, Leaf, Colour, NoneType}),
        (Pair, {Pair, Leaf, Colour, date}),
        (Row, {Row, Leaf, Colour}),
        (Model, {Model, Leaf, Colour}),
        (Box[Leaf], {Box[Leaf], Leaf, Colour}),
        (list[Leaf], {list, Leaf, Colour}),
        (dict[str, tuple[date, ...]], {dict, str, tuple, date}),
        (Optional[Leaf], {Leaf, Colour, NoneType}),  # noqa: UP045  # an older spelling that users have
        (Annotated[Leaf, "shown"], {Leaf, Colour}),
        (Awaitable[date], {Awaitable, date}),
        (Literal[Colour.RED], {Colour}),
        (Bounded, {Leaf, Colour}),
        (OneOf, {Leaf, Colour}),
        (T, set()),
        (UserId, {Leaf, Colour}),
        (Colour, {Colour}),
        (None, set()),
        (Any, set()),
        ("unresolved", set()),
    ],
    ids=str,
)
def test_every_class_in_an_annotation_is_found_once(annotation: object, expected: set[type]) -> None:
    """Through unions, generics, aliases and the fields of records, however deep."""
    found = [cls for cls in classes_in(annotation) if cls.__module__ not in ("pydantic.main", "typing", "types")]
    assert len(found) == len(set(found))
    assert expected <= set(found)
    assert not {cls for cls in set(found) - expected if cls.__module__ == __name__}


@pytest.mark.parametrize(
    ("value", "module", "expected"),
    [
        (Optional[Leaf], __name__, {Leaf, Colour, NoneType}),  # noqa: UP045  # an older spelling that users have
        ("Leaf", __name__, {Leaf, Colour}),
        ("Nowhere", __name__, set()),
        (Leaf, "gone", set()),
    ],
)
def test_a_type_alias_is_looked_into(
    value: Any, module: str, expected: set[type], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that names what is not there, or whose module is gone, is unknown."""
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__, SimpleNamespace(Leaf=Leaf, Colour=Colour)))
    alias = type("TypeAliasType", (), {"__value__": value, "__module__": module})()
    assert set(classes_in(alias)) - {Union} == expected


def plain(question: str) -> Leaf:
    """A function."""
    raise NotImplementedError


async def later(question: str) -> Leaf:
    """A coroutine function."""
    raise NotImplementedError


def lost(question: Nowhere) -> list[int]:  # type: ignore[name-defined]  # noqa: F821  # what is tested
    """A function with a parameter of an unknown type."""
    raise NotImplementedError


def unknown(question: str) -> Nowhere:  # type: ignore[name-defined]  # noqa: F821  # what is tested
    """A function with a result of an unknown type."""
    raise NotImplementedError


def eager(question: str) -> str:
    """A function whose annotation is a class already."""
    raise NotImplementedError


eager.__annotations__["return"] = Leaf


def wrapping(fn: Callable[..., Any]) -> Any:
    """Wrap a function as decorators do."""

    @wraps(fn)
    def call(*args: Any) -> str:
        raise NotImplementedError

    return call


class Client:
    """Has methods, and can be called."""

    def ask(self) -> Leaf:
        """A method."""
        raise NotImplementedError

    @staticmethod
    def ask_static() -> Leaf:
        """A static method."""
        raise NotImplementedError

    def __call__(self) -> Leaf:
        """A callable object."""
        raise NotImplementedError


@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        (plain, Leaf),
        (later, Leaf),
        (lost, list[int]),
        (unknown, None),
        (partial(partial(plain), "q"), Leaf),
        (wrapping(plain), Leaf),
        (wrapping(partial(plain)), Leaf),
        (wrapping(Client()), Leaf),
        (wrapping(Client), Client),
        (staticmethod(partial(plain)), Leaf),
        (Client().ask, Leaf),
        (Client.ask_static, Leaf),
        (Client(), Leaf),
        (Client, Client),
        (eager, Leaf),
        (len, None),
        (lambda question: question, None),
    ],
)
def test_what_a_callable_says_it_returns(fn: Callable[..., object], expected: object) -> None:
    """Whatever kind of callable it is; parameters play no part, and what cannot be found is unknown."""
    assert return_annotation(fn) == expected
