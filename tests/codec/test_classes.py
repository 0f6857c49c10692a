"""Pydantic models come back as they were, unvalidated, with what was set and what was private."""

# The classes and functions in the tables are there to be stored and read.
# ruff: noqa: D101, D102, D103
# mypy: disable-error-code="empty-body, call-arg, prop-decorator"

from __future__ import annotations

from decimal import Decimal
from functools import cached_property
from typing import Any, Generic, TypeVar

import pytest

from recallm.codec.codec import Codec
from recallm.errors import CorruptPayloadError, UnstorableResponseError

pydantic = pytest.importorskip("pydantic", minversion="2")

from pydantic import (  # noqa: E402  # after the skip
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    RootModel,
    SecretStr,
    computed_field,
    create_model,
    field_validator,
)
from pydantic.dataclasses import dataclass as pydantic_dataclass  # noqa: E402  # after the skip

T = TypeVar("T")
RAN: list[str] = []


class Message(BaseModel):
    role: str
    content: str | None = None


class Completion(BaseModel):
    id: str
    choices: list[Message]
    later: Later | None = None


class Later(BaseModel):
    at: Decimal


class Open(BaseModel):
    model_config = ConfigDict(extra="allow", protected_namespaces=())
    known: int


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    size: int = Field(validation_alias=AliasChoices("s", "Size"), serialization_alias="SIZE")

    @field_validator("size")
    @classmethod
    def _check(cls, size: int) -> int:
        RAN.append("validator")
        return size


class Private(BaseModel):
    name: str
    _seen: set[int] = PrivateAttr(default_factory=set)
    _late: int

    def model_post_init(self, _context: object) -> None:
        RAN.append("post_init")


class Box(BaseModel, Generic[T]):
    item: T


class Names(RootModel[list[str]]):
    pass


class Computed(BaseModel):
    base: int

    @computed_field
    @cached_property
    def twice(self) -> int:
        return self.base * 2


class Child(Message):
    tags: frozenset[str] = frozenset()


@pydantic_dataclass
class Checked:
    size: int
    inner: Message


def private() -> Private:
    value = Private(name="n")
    value._seen.add(3)
    return value


def read_computed() -> Computed:
    value = Computed(base=2)
    assert value.twice == 4
    return value


VALUES = {
    "nested": Completion(id="1", choices=[Message(role="a", content="x"), Message(role="b")]),
    "explicit default": Message(role="a", content=None),
    "default left out": Message(role="a"),
    "extra": Open(known=1, other=(1, 2), nested=Message(role="a")),
    "extra like a tag": Open(known=1, **{"$t": [1]}),
    "no extra": Open(known=1),
    "aliased": Strict(Size=3),
    "private": private(),
    "generic": Box[Message](item=Message(role="a")),
    "generic of generic": Box[Box[int]](item=Box[int](item=1)),
    "unparametrised": Box(item=b"x"),
    "root": Names(["a", "b"]),
    "subclass in a field": Completion(id="1", choices=[Child(role="a", tags=frozenset("a"))]),
    "computed": read_computed(),
    "unvalidated": Message.model_construct(role=(1, 2)),
    "field unset": Message.model_construct(content="only"),
    "pydantic dataclass": Checked(1, Message(role="a")),
    "many": [(Message(role="a"),), {"k": Names([])}],
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_a_model_comes_back_equal_and_of_its_type(value: Any) -> None:
    """Fields, extras, private attributes and the set of fields that were set are restored; no code runs."""
    codec = Codec()
    payload = codec.encode(value)
    RAN.clear()

    restored = codec.decode(payload)

    assert type(restored) is type(value)
    assert restored == value
    assert RAN == []
    if isinstance(value, BaseModel):
        assert restored.model_fields_set == value.model_fields_set
        assert restored.__pydantic_extra__ == value.__pydantic_extra__
        assert restored.__pydantic_private__ == value.__pydantic_private__
        assert restored.model_copy() == value.model_copy()
    if isinstance(value, BaseModel) and value.__dict__.keys() >= type(value).model_fields.keys():
        assert restored.model_dump(warnings=False) == value.model_dump(warnings=False)
        assert repr(restored) == repr(value)


def test_a_restored_model_can_be_changed_without_harm() -> None:
    """Two restored models share nothing."""
    codec = Codec()
    payload = codec.encode(private())
    first = codec.decode(payload)

    first._seen.clear()
    first.name = "other"

    assert codec.decode(payload) == private()


def test_private_attributes_that_cannot_be_stored_make_the_model_unstorable() -> None:
    """A model that holds a live object is not cut down to what can be stored."""
    value: Any = private()
    value._seen = object()

    with pytest.raises(UnstorableResponseError, match="<class 'object'>"):
        Codec().encode(value)


def test_a_field_of_a_type_that_is_not_storable_is_refused() -> None:
    """Pydantic's own value types are not on the list."""
    with pytest.raises(UnstorableResponseError, match="SecretStr"):
        Codec().encode(Box(item=SecretStr("hush")))


def completion() -> Completion: ...
def boxed() -> Box[Message] | None: ...


@pytest.mark.parametrize(
    ("fn", "value"),
    [(completion, VALUES["nested"]), (completion, Completion(id="1", choices=[], later=Later(at=Decimal(1)))),
     (boxed, VALUES["generic"]), (boxed, Message(role="a"))],
)  # fmt: skip
def test_another_process_restores_the_annotated_model(fn: Any, value: Any) -> None:
    """A return annotation allows the model, the models in its fields, and a generic's argument."""
    assert Codec.for_function(fn).decode(Codec().encode(value)) == value


@pytest.mark.parametrize(
    "other",
    [
        create_model("M", a=(int, ...)),
        create_model("M", a=(int, ...), b=(int, 1), c=(int, 1)),
        create_model("M", b=(int, ...)),
    ],
)
def test_a_model_whose_fields_have_changed_is_corrupt(other: Any) -> None:
    """A payload is not forced into a class of other fields."""
    model: Any = create_model("M", a=(int, ...), b=(int, 1))
    model.__module__ = other.__module__ = "elsewhere"

    with pytest.raises(CorruptPayloadError):
        Codec([other]).decode(Codec().encode(model(a=1)))


@pytest.mark.parametrize(
    "rest",
    ['{"extra":{"x":1}}', '{"private":{"_x":1}}', '{"set":[1]}', '{"set":1}', '{"private":[]}', '{"else":1}'],
)
def test_parts_that_the_model_does_not_have_are_corrupt(rest: Any) -> None:
    """Extras, private attributes and set fields must fit the class."""
    payload = f'\x01t{{"$o":["{__name__}.Message",{{"role":"a","content":null}},{rest}]}}'

    with pytest.raises(CorruptPayloadError):
        Codec([Message]).decode(payload.encode())
