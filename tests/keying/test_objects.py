"""What an object holds, read from where it lies."""

from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import pytest
from keying.making import Tagged, with_attributes
from pydantic import BaseModel, ConfigDict, PrivateAttr
from pydantic.dataclasses import dataclass as pydantic_dataclass

from recallm.keying.objects import (
    BUILTIN_BASES,
    RAW_ITEMS,
    is_pydantic_class,
    layout,
    model_values,
    named_values,
    slot_names,
    state,
    unloaded_columns,
)


class Base:
    """Has slots of its own, a private one among them."""

    __slots__ = ("__secret", "tenant")

    def __init__(self) -> None:
        self.tenant = "acme"
        self.__secret = 7


@dataclass(slots=True)
class Document(Base):
    """A dataclass whose base holds more than its fields."""

    name: str

    def __post_init__(self) -> None:
        super(Document, self).__init__()


class Again(Base):
    """Names a slot of its base again, so that both are there."""

    __slots__ = ("tenant",)

    def __init__(self) -> None:
        super().__init__()
        vars(Base)["tenant"].__set__(self, "base's")


@dataclass
class Note:
    """A dataclass that has a field without a value."""

    text: str
    unset: int = field(init=False)


@pydantic_dataclass
class Checked:
    """A dataclass of pydantic, which is no model."""

    text: str


class Model(BaseModel):
    """A pydantic model that keeps unknown fields, private attributes and a slot."""

    model_config = ConfigDict(extra="allow")
    __slots__ = ("tenant",)
    text: str = "t"
    _seen: int = PrivateAttr(default=1)


class Closed(BaseModel):
    """A pydantic model that keeps nothing beside its fields."""

    text: str = "t"


class Evasive:
    """Hides what it holds from whoever asks by the usual ways."""

    def __init__(self) -> None:
        self.kept = 1

    def __getstate__(self) -> Any:
        return {"made": "up"}

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __dir__(self) -> Any:
        return ["made"]


class Computing:
    """Computes what it shows, which must not happen while it is read."""

    kept: int

    def __init__(self) -> None:
        self.kept = 1

    @property
    def answer(self) -> int:
        """Fail."""
        raise RuntimeError

    @cached_property
    def cached(self) -> int:
        """Return what follows from the rest."""
        return 2


class Disguised:
    """Shows another mapping under ``__dict__`` than the one it has."""

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        return {"made": "up"}


class Single:
    """Names its only slot in a text."""

    __slots__ = "alone"  # noqa: PLC0205  # a text is allowed, and read


class Empty:
    """Holds nothing."""

    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "is_model"),
    [
        (Model(), True),
        (Closed(), True),
        (Note("a"), False),
        (Checked("a"), False),
        (SimpleNamespace(text="t"), False),
        ({"text": "t"}, False),
        (None, False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_pydantic_dataclass_is_no_model(value: object, is_model: bool) -> None:
    """Only models of pydantic are; its dataclasses, mappings and plain objects are not."""
    assert is_pydantic_class(type(value)) is is_model


def test_pydantic_is_not_imported_to_ask_for_models() -> None:
    """In a program that has not imported pydantic nothing is a model, and it stays so."""
    program = (
        "import sys; from recallm.keying.objects import is_pydantic_class\n"
        "assert not is_pydantic_class(int)\n"
        "assert 'pydantic' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_models_of_pydantic_1_are_plain_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models of pydantic 1 lack the validator of version 2, and the places in which its models keep their values."""

    class OldModel:
        pass

    monkeypatch.setitem(sys.modules, "pydantic", SimpleNamespace(BaseModel=OldModel))
    assert not is_pydantic_class(OldModel)


@pytest.mark.parametrize(
    ("cls", "names"),
    [
        (Base, {"_Base__secret", "tenant"}),
        (Document, {"name", "_Base__secret", "tenant"}),
        (Model, {"tenant"}),
        (Single, {"alone"}),
        (Note, set()),
        (int, set()),
    ],
)
def test_a_class_names_its_slots(cls: type, names: set[str]) -> None:
    """Slots that Python and pydantic keep for themselves are not among them."""
    assert set(slot_names(cls)) == names


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (SimpleNamespace(role="user"), {"role": "user"}),
        (Evasive(), {"kept": 1}),
        (Computing(), {"kept": 1}),
        (Note("a"), {"text": "a"}),
        (with_attributes(Note("a"), unset=1, beside=2), {"text": "a", "unset": 1, "beside": 2}),
        (with_attributes(Tagged("t"), language="fr"), {"language": "fr"}),
        (with_attributes(OrderedDict(a=1), language="fr"), {"language": "fr"}),
        (with_attributes(type("Sub", (OrderedDict,), {})(), language="fr"), {"language": "fr"}),
        (Document("a"), {"name": "a", "tenant": "acme", "_Base__secret": 7}),
        (Again(), {"tenant": "acme", "tenant of Base": "base's", "_Base__secret": 7}),
        (with_attributes(type("Both", (Single,), {})(), alone=1, beside=2), {"alone": 1, "beside": 2}),
        (Single(), {}),
        (Empty(), {}),
        (Disguised(), {}),
        (object(), {}),
        (1, {}),
        (iter([]), {}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_objects_attributes_and_slots_are_read_by_name(value: object, expected: dict[str, Any]) -> None:
    """What lies in attributes and slots, those of bases too, is read past whatever the object says of itself."""
    assert named_values(value) == expected


@pytest.mark.parametrize(
    ("cls", "whole"),
    [
        *((Base, True), (Document, True), (Again, True), (Evasive, True), (Computing, True), (Note, True)),
        *((Single, True), (Empty, True), (Tagged, True), (SimpleNamespace, True), (Model, True), (Closed, True)),
        *((Disguised, False), (type(iter([])), False), (Exception, False), (type(sys.stdout), False)),
        *((type("Sub", (Exception,), {}), False), (type("Weak", (), {"__slots__": ("__weakref__",)}), True)),
    ],
)  # fmt: skip
def test_a_class_whose_objects_hide_what_they_hold_is_recognised(cls: type, whole: bool) -> None:
    """Nothing of an object lies elsewhere than in attributes and slots, unless compiled code keeps it there."""
    assert layout(cls).whole is whole


def test_a_layout_names_the_built_in_whose_content_is_there() -> None:
    """The more special of the built-in bases counts, and a base that is named counts instead."""
    expected = {OrderedDict: OrderedDict, defaultdict: defaultdict, deque: deque, bool: int, Tagged: str, Note: None}
    assert {cls: layout(cls).base for cls in expected} == expected
    assert layout(Document, Base).base is Base
    assert [name for name, _ in layout(Document, Base).slots] == ["name"]


def test_cached_properties_are_told_from_what_an_object_is_given() -> None:
    """The names of what follows from the rest are known, in subclasses too; what was cached is among the attributes."""
    value = type("Sub", (Computing,), {})()
    assert value.cached == 2
    where = layout(type(value))
    assert where.derived == {"cached"}
    assert state(value, where) == {"kept": 1, "cached": 2}


@pytest.mark.parametrize("base", sorted(RAW_ITEMS, key=str))
def test_the_content_of_a_container_is_read_past_its_overrides(base: Any) -> None:
    """Whatever a subclass makes of its items, those of the built-in are read."""
    hiding = {name: lambda *_: iter(()) for name in ("__iter__", "items", "keys", "values")}
    cls = type("Sub", (base,), hiding)
    value = cls(None, {"a": 1}) if base is defaultdict else cls({"a": 1}) if issubclass(base, dict) else cls("a")
    assert list(RAW_ITEMS[base](value)) == ([("a", 1)] if issubclass(base, dict) else ["a"])
    assert base in BUILTIN_BASES


def test_a_model_holds_fields_extra_fields_and_private_attributes() -> None:
    """Fields, extra and private ones, which may share names, are kept apart; None: the class rules them out."""
    assert model_values(Model(text="a", more=[1])) == ({"text": "a"}, {"more": [1]}, {"_seen": 1})  # type: ignore[call-arg]
    assert model_values(Closed()) == ({"text": "t"}, None, None)


@pytest.mark.parametrize(
    ("held", "key", "expected"),
    [
        ({"id": 1}, ("row",), ["author", "title"]),
        ({"id": 1, "title": "t", "author": None}, ("row",), []),
        ({"id": 1}, None, []),
    ],
    ids=["expired", "loaded", "new"],
)
def test_what_a_mapped_object_would_fetch_is_known(held: dict[str, Any], key: Any, expected: list[str]) -> None:
    """Of an object that has a row in a database, the columns and relations that are not there would be fetched."""
    tracked = SimpleNamespace(manager={"id": 0, "title": 0, "author": 0}, key=key)
    assert unloaded_columns({"_sa_instance_state": tracked, **held}) == expected


def test_objects_that_no_database_knows_have_nothing_to_fetch() -> None:
    """Without the state that SQLAlchemy keeps, or with another library's of that name, an object is not mapped."""
    assert unloaded_columns({"id": 1}) is None
    assert unloaded_columns({"_sa_instance_state": 1}) is None
