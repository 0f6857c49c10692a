"""What an object holds, read from where it lies."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, PrivateAttr
from pydantic.dataclasses import dataclass as pydantic_dataclass

from recallm.keying.objects import (
    dataclass_values,
    has_declared_fields,
    is_pydantic_class,
    is_pydantic_model,
    model_values,
    named_values,
    raw_state,
    slot_names,
    slot_values,
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
    """Hides what it holds from whoever asks by the usual protocol."""

    def __init__(self) -> None:
        self.kept = 1

    def __getstate__(self) -> Any:
        return {"made": "up"}


class Single:
    """Names its only slot in a text."""

    __slots__ = "alone"  # noqa: PLC0205  # a text is allowed, and read


class Text(str):
    """A text that takes attributes."""


class Empty:
    """Holds nothing."""

    __slots__ = ()


def with_attributes(value: Any, **attributes: object) -> Any:
    """Return `value` after setting attributes on it, whatever it thinks of that."""
    for name, attribute in attributes.items():
        object.__setattr__(value, name, attribute)
    return value


@pytest.mark.parametrize(
    ("value", "model", "declared"),
    [
        (Model(), True, True),
        (Closed(), True, True),
        (Note("a"), False, True),
        (Checked("a"), False, True),
        (SimpleNamespace(text="t"), False, False),
        ({"text": "t"}, False, False),
        (None, False, False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_models_and_dataclasses_declare_what_they_hold(value: object, model: bool, declared: bool) -> None:
    """A pydantic dataclass is a dataclass and no model; mappings and plain objects are neither."""
    assert is_pydantic_model(value) is model
    assert is_pydantic_class(type(value)) is model
    assert has_declared_fields(value) is declared


def test_pydantic_is_not_imported_to_ask_for_models() -> None:
    """In a program that has not imported pydantic nothing is a model, and it stays so."""
    program = (
        "import sys; from recallm.keying.objects import is_pydantic_class, is_pydantic_model\n"
        "assert not is_pydantic_model(1) and not is_pydantic_class(int)\n"
        "assert 'pydantic' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_models_of_pydantic_1_are_plain_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models of pydantic 1 lack the validator of version 2, and the places in which its models keep their values."""

    class OldModel:
        pass

    monkeypatch.setitem(sys.modules, "pydantic", SimpleNamespace(BaseModel=OldModel))
    assert not is_pydantic_model(OldModel())
    assert not is_pydantic_class(OldModel)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Document("a"), {"name": "a", "tenant": "acme", "_Base__secret": 7}),
        (with_attributes(Model(), tenant="acme"), {"tenant": "acme"}),
        (with_attributes(Single(), alone=1), {"alone": 1}),
        (Single(), {}),
        (Note("a"), {}),
        (Empty(), {}),
        (1, {}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_slots_are_read_with_those_of_the_bases(value: object, expected: dict[str, Any]) -> None:
    """Private slots go by the names that Python gives them; a slot without a value is left out."""
    found = {name: item for name, item in slot_values(value).items() if not name.startswith("__")}
    assert found == expected
    assert found.keys() <= set(slot_names(type(value)))


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
        (with_attributes(Text("t"), language="fr"), {"language": "fr"}),
        (Document("a"), {"name": "a", "tenant": "acme", "_Base__secret": 7}),
        (with_attributes(type("Both", (Single,), {})(), alone=1, beside=2), {"alone": 1, "beside": 2}),
        (Empty(), {}),
        (object(), {}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_objects_attributes_and_slots_are_read_by_name(value: object, expected: dict[str, Any]) -> None:
    """Attributes and slots are read past the object's own ``__getstate__``; an object that hides both gives nothing."""
    assert named_values(value) == expected


def test_the_raw_state_tells_attributes_from_slots() -> None:
    """Attributes and slots come as a pair, and an object without either holds nothing."""
    assert raw_state(Evasive()) == {"kept": 1}
    assert raw_state(with_attributes(Single(), alone=1)) == (None, {"alone": 1})
    assert raw_state(Empty()) is None


def test_a_dataclass_holds_its_fields_and_what_was_set_beside_them() -> None:
    """Of a dataclass, fields in slots, and attributes that are no fields, are read alike."""
    note = with_attributes(Note("a"), unset=1, beside=2)
    assert dataclass_values(note) == {"text": "a", "unset": 1, "beside": 2}
    assert dataclass_values(Document("a")) == {"name": "a"}


def test_a_field_that_was_never_set_is_an_error_that_names_it() -> None:
    """A dataclass's instance without a value for a field cannot be read in full."""
    with pytest.raises(AttributeError, match="unset"):
        dataclass_values(Note("a"))


def test_a_model_holds_fields_extra_fields_and_private_attributes() -> None:
    """Fields, extra and private ones, which may share names, are kept apart; None: the class rules them out."""
    assert model_values(Model(text="a", more=[1])) == ({"text": "a"}, {"more": [1]}, {"_seen": 1})  # type: ignore[call-arg]
    assert model_values(Closed()) == ({"text": "t"}, None, None)
