"""The classes that a function says it may return, however its annotation is written."""

# The classes and functions in the tables are there to be read.
# ruff: noqa: D101, D102, D103
# mypy: disable-error-code="empty-body"

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import date
from enum import Enum
from functools import partial, wraps
from types import NoneType, SimpleNamespace
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, Optional, TypeAlias, TypedDict, TypeVar, Union

import pytest
from pydantic import BaseModel
from support.ids import named
from support.responses import (
    Answer,
    Colour,
    Frozen,
    Inherited,
    Level,
    Mood,
    Page,
    Pair,
    Point,
    Rights,
    Row,
    same,
    there_and_back,
)
from typing_extensions import TypeAliasType

from recallm.codec.annotations import classes_in, return_annotation
from recallm.codec.codec import Codec
from recallm.errors import CorruptPayloadError


class Tint(Enum):
    """An enumeration."""

    RED = "red"


@dataclass
class Leaf:
    """Ends here."""

    colour: Tint


@dataclass
class Tree:
    """Holds itself and others."""

    left: Tree | None
    leaf: Leaf


class LeafAndDate(NamedTuple):
    """A named tuple."""

    one: Leaf
    when: date


class LeafRow(TypedDict):
    """A typed dictionary."""

    leaf: Leaf


class Model(BaseModel):
    """A pydantic model."""

    leaf: Leaf


T = TypeVar("T")
Bounded = TypeVar("Bounded", bound=Leaf)
OneOf = TypeVar("OneOf", Leaf, Tint)
UserId = NewType("UserId", Leaf)


class Box(BaseModel, Generic[T]):
    """A generic model."""

    content: T


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (Leaf, {Leaf, Tint}),
        (Tree, {Tree, Leaf, Tint, NoneType}),
        (LeafAndDate, {LeafAndDate, Leaf, Tint, date}),
        (LeafRow, {LeafRow, Leaf, Tint}),
        (Model, {Model, Leaf, Tint}),
        (Box[Leaf], {Box[Leaf], Leaf, Tint}),
        (list[Leaf], {list, Leaf, Tint}),
        (dict[str, tuple[date, ...]], {dict, str, tuple, date}),
        (Optional[Leaf], {Leaf, Tint, NoneType}),  # noqa: UP045  # an older spelling that users have
        (Annotated[Leaf, "shown"], {Leaf, Tint}),
        (Awaitable[date], {Awaitable, date}),
        (Literal[Tint.RED], {Tint}),
        (Bounded, {Leaf, Tint}),
        (OneOf, {Leaf, Tint}),
        (T, set()),
        (UserId, {Leaf, Tint}),
        (Tint, {Tint}),
        (None, set()),
        (Any, set()),
        ("unresolved", set()),
    ],
    ids=named,
)
def test_every_class_in_an_annotation_is_found_once(annotation: object, expected: set[type]) -> None:
    """Classes are found through unions, generics, aliases and the fields of records, however deep."""
    found = [cls for cls in classes_in(annotation) if cls.__module__ not in ("pydantic.main", "typing", "types")]
    assert len(found) == len(set(found))
    assert expected <= set(found)
    assert not {cls for cls in set(found) - expected if cls.__module__ == __name__}


@pytest.mark.parametrize(
    ("value", "module", "expected"),
    [
        (Optional[Leaf], __name__, {Leaf, Tint, NoneType}),  # noqa: UP045  # an older spelling that users have
        ("Leaf", __name__, {Leaf, Tint}),
        ("Nowhere", __name__, set()),
        (Leaf, "gone", set()),
    ],
)
def test_a_type_alias_is_looked_into(
    value: Any, module: str, expected: set[type], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A type alias is followed; one that names what is not there, or whose module is gone, is unknown."""
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__, SimpleNamespace(Leaf=Leaf, Tint=Tint)))
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
    """The return annotation of any kind of callable is found; one that names what is not there is unknown."""
    assert return_annotation(fn) == expected


Ident = NewType("Ident", Frozen)
Alias: TypeAlias = "list[Answer]"
AnswerTree = TypeAliasType("AnswerTree", "Frozen | list[AnswerTree]")

Lost = TypeAliasType("Lost", "Nowhere")  # type: ignore[name-defined]  # noqa: F821  # that is the point


class Service:
    def ask(self) -> Answer: ...

    @classmethod
    def make(cls) -> Answer: ...

    async def __call__(self) -> Frozen: ...


def answering() -> Answer: ...
async def answering_later() -> Answer: ...
def answering_awaitable() -> Awaitable[Answer]: ...
def answering_coroutine() -> Coroutine[Any, Any, Answer]: ...
def answering_stream() -> AsyncIterator[Answer]: ...
def answering_alias() -> Alias: ...
def answering_nested_name() -> dict[str, "Answer"]: ...  # noqa: UP037  # quoted twice is what is tried
def answering_lost_alias() -> Lost: ...
def unannotated(): ...  # type: ignore[no-untyped-def]  # that is the point
def answering_all_but_known(it: Nowhere) -> Answer: ...  # type: ignore[name-defined]  # noqa: F821  # that is the point
def answering_unknown() -> Nowhere: ...  # type: ignore[name-defined]  # noqa: F821  # that is the point


def wrapped_answering() -> Any:
    @wraps(answering)
    def inner(*args: Any, **kw: Any) -> Any:
        return answering(*args, **kw)

    return inner


ANNOTATED = {
    "function": (answering, None, Answer("a", [Point(1.0)])),
    "async": (answering_later, None, Answer("a")),
    "awaitable": (answering_awaitable, None, Answer("a")),
    "coroutine": (answering_coroutine, None, Answer("a")),
    "stream": (answering_stream, None, Answer("a")),
    "method": (Service().ask, None, Answer("a")),
    "classmethod": (Service.make, None, Answer("a")),
    "callable object": (Service(), None, Frozen("f")),
    "partial": (partial(partial(answering)), None, Answer("a")),
    "wrapped": (wrapped_answering(), None, Answer("a")),
    "class": (Answer, None, Answer("a")),
    "string alias": (answering_alias, None, [Answer("a")]),
    "name in a generic": (answering_nested_name, None, {"k": Answer("a")}),
    "unknown parameter": (answering_all_but_known, None, Answer("a")),
    "field's enum": (answering, Frozen, Frozen("f", Mood.CALM)),
    "optional": (unannotated, Answer | None, Answer("a")),
    "unknown annotation": (answering_unknown, Answer, Answer("a")),
    "list": (unannotated, list[Answer], [Answer("a")]),
    "dict": (unannotated, dict[Level, tuple[Answer, ...]], {Level.LOW: (Answer("a"),)}),
    "annotated": (unannotated, Annotated[Answer, "note"], Answer("a")),
    "literal": (unannotated, Literal[Colour.RED, "x"], Colour.RED),
    "new type": (unannotated, Ident, Frozen("f")),
    "alias": (unannotated, TypeAliasType("Named", Answer), Answer("a")),
    "recursive alias": (unannotated, AnswerTree, Frozen("f")),
    "generic": (unannotated, Page[Answer], Page([Answer("a")])),
    "typed dict": (unannotated, Row, {"answer": Answer("a"), "rights": Rights.READ}),
    "inherited field": (unannotated, Inherited, Inherited("a", [Point(1.0)])),
    "type variable": (unannotated, TypeVar("B", bound=Answer), Answer("a")),
}


@pytest.mark.parametrize(("fn", "response_type", "value"), ANNOTATED.values(), ids=ANNOTATED.keys())
def test_another_process_restores_what_the_annotation_names(fn: Any, response_type: Any, value: Any) -> None:
    """The allow-list comes from the return annotation and from response_type, however they name the classes."""
    payload = Codec().encode(value)

    assert same(Codec.for_function(fn, response_type).decode(payload), value)


@pytest.mark.parametrize(
    "fn", [unannotated, answering_unknown, answering_lost_alias, len, print, 3, Colour, lambda: 1], ids=named
)
def test_an_annotation_that_says_nothing_leaves_the_list_to_what_is_stored(fn: Any) -> None:
    """If an annotation is missing or unknown, what a codec has encoded is decoded all the same."""
    assert there_and_back(Answer("a"), Codec.for_function(fn)) == Answer("a")


def test_annotation_metadata_is_not_allowed() -> None:
    """Classes beside the type proper, such as those in Annotated, are not among the responses of a closed list."""
    codec = Codec.for_function(unannotated, None, [Annotated[Answer, Frozen("x"), Pair]])

    with pytest.raises(CorruptPayloadError):
        codec.decode(Codec().encode(Pair(1, 2)))
