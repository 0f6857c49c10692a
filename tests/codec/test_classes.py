"""Instances of dataclasses, named tuples and pydantic models come back as they were, and none of their code runs."""

# The classes and functions in the tables are there to be stored and read.
# ruff: noqa: D101, D102, D103
# mypy: disable-error-code="empty-body, call-arg, no-untyped-def, prop-decorator, type-arg"

from __future__ import annotations

from dataclasses import dataclass, make_dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import pytest
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    RootModel,
    Secret,
    computed_field,
    create_model,
    field_validator,
)
from pydantic.dataclasses import dataclass as pydantic_dataclass
from support.responses import (
    RAN,
    WRAPPERS,
    Answer,
    Frozen,
    Inherited,
    Page,
    Pair,
    Point,
    Worked,
    assert_comes_back,
    assert_corrupt,
    assert_unstorable,
    path_of,
    there_and_back,
)

from recallm.codec.codec import Codec
from recallm.errors import CorruptPayloadError, UnknownTypeError, UnstorableResponseError

T = TypeVar("T")

VALUES: list[Any] = [
    Point(1.0, -0.0),
    Pair([1], {2}),
    Answer("yes", [Point(1.0)]),
    Frozen("f"),
    {Frozen("key"): [Frozen("value")]},
    Inherited("a", [], {"b": Answer("c")}),
    Page([Page([1]), (2,)]),
    Page[int]([1]),
    Page[Page[list[int]]]([Page[list[int]]([[1]])]),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__}")
def test_an_instance_comes_back_equal_and_of_its_type(value: Any) -> None:
    """Dataclasses and named tuples are restored exactly, alone and inside others."""
    assert_comes_back(value)


def test_a_dataclass_comes_back_as_it_was_without_its_code_running_again() -> None:
    """What an instance held is restored: fields made in __post_init__, unset ones, attributes beside them."""
    value = Worked(2, 3)
    value.product = 7
    assert value.lock
    RAN.clear()

    restored = there_and_back(value)

    assert type(restored) is Worked
    assert (restored.given, restored.product, restored._beside) == (2, 7, (3,))
    assert not hasattr(restored, "never_set")
    assert "lock" not in vars(restored)
    assert RAN == []


class Pages(NamedTuple, Generic[T]):
    item: T


class OpenPages(Pages[T]):
    """A generic named tuple with room for attributes."""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Page[int]([1]), Page[int]),
        (Page[dict[str, Page[Answer]]]([]), Page[dict[str, Page[Answer]]]),
        (Page[Literal["a"]]([]), None),
        (Page[Any]([]), None),
        (OpenPages[int](1), None),
    ],
)
def test_the_type_arguments_of_a_generic_class_are_kept(value: Any, expected: Any) -> None:
    """In another process too; what is no class is left out, as it does not make two values differ."""
    restored = Codec([Page, OpenPages, Answer]).decode(Codec().encode(value))
    assert restored == value
    assert getattr(restored, "__orig_class__", None) == expected


class NamedPoint(Point):
    """A named tuple with room for attributes."""


@dataclass
class Slotted:
    __slots__ = ("__hidden", "a")
    a: int

    def __post_init__(self) -> None:
        self.__hidden = {self.a}

    def hidden(self) -> set[int]:
        return self.__hidden


def test_slots_and_tuple_attributes_are_restored() -> None:
    """Private slots and the attributes of a named tuple's subclass are part of the value."""
    point: Any = NamedPoint(1.0, 2.0)
    point.unit = {"mm"}

    assert there_and_back(Slotted(5)).hidden() == {5}
    assert there_and_back(point).unit == {"mm"}
    assert type(there_and_back(point)) is NamedPoint


def test_a_value_set_past_a_property_is_restored_without_the_property() -> None:
    """A setter is code of the class, which restoring an instance does not run."""

    @dataclass
    class Guarded:
        size: int

        def __post_init__(self):
            RAN.append("post_init")

    def set_size(self, size):
        RAN.append("setter")
        self._size = size

    Guarded.size = property(  # type: ignore[assignment]
        lambda self: self._size, set_size
    )
    value = Guarded(4)
    RAN.clear()

    restored = there_and_back(value)

    assert restored.size == 4
    assert RAN == []


@dataclass
class FailedError(Exception):
    why: str


@dataclass
class Mapped(dict):
    why: str = ""


@dataclass
class AwaitableAnswer:
    def __await__(self):
        yield


UNSTORABLE = {
    "awaitable dataclass": AwaitableAnswer(),
    "dataclass exception": FailedError("secret"),
    "dataclass dict": Mapped("secret"),
}


@pytest.mark.parametrize("wrap", WRAPPERS, ids=range(4))
@pytest.mark.parametrize("value", UNSTORABLE.values(), ids=UNSTORABLE.keys())
def test_an_instance_that_would_not_come_back_is_refused_without_being_quoted(value: Any, wrap: Any) -> None:
    """Dataclasses that are exceptions, mappings or awaitables too are unstorable; the error shows only their type."""
    assert_unstorable(wrap(value))


def test_a_value_that_cannot_be_read_is_refused() -> None:
    """An error of the value's own class while it is read makes it unstorable; it is not quoted."""

    class Moody(Frozen):
        __slots__ = ("other",)

        @property
        def name(self) -> str:
            raise KeyError("secret")

    with pytest.raises(UnstorableResponseError, match="KeyError") as caught:
        Codec().encode(Moody.__new__(Moody))

    assert "secret" not in str(caught.value)


def class_elsewhere(name: str, *names: str) -> type:
    cls = make_dataclass(name, names)
    cls.__module__ = "elsewhere"
    return cls


def test_of_two_classes_with_one_path_neither_is_restored() -> None:
    """Two classes that lie nowhere and share a path cannot be told apart: neither is stored, nor made of a payload."""
    first, second = class_elsewhere("C", "x"), class_elsewhere("C", "x")
    codec = Codec()
    payload = codec.encode(first(1))

    with pytest.raises(UnstorableResponseError, match="two classes"):
        codec.encode(second(1))
    with pytest.raises(UnstorableResponseError, match="two classes"):
        codec.encode(first(1))
    with pytest.raises(UnknownTypeError):
        codec.decode(payload)
    with pytest.raises(UnknownTypeError):
        Codec([first, second]).decode(payload)


def test_a_class_of_other_fields_refuses_the_payload() -> None:
    """A redefined class refuses payloads that do not fit it."""
    first, other = class_elsewhere("C", "x"), class_elsewhere("C", "x", "y")

    with pytest.raises(CorruptPayloadError):
        Codec([first]).decode(Codec().encode(other(1, 2)))


CORRUPT = {
    "no fields": f'\x01t{{"$o":["{path_of(Point)}",{{}}]}}'.encode(),
    "fields of another type": f'\x01t{{"$o":["{path_of(Point)}","xy"]}}'.encode(),
    "field too many": f'\x01t{{"$o":["{path_of(Point)}",{{"x":1,"y":2,"z":3}}]}}'.encode(),
    "unknown rest": f'\x01t{{"$o":["{path_of(Point)}",{{"x":1,"y":2}},{{"code":3}}]}}'.encode(),
    "attribute of slots": f'\x01t{{"$o":["{path_of(Point)}",{{"x":1,"y":2}},{{"attributes":{{"z":3}}}}]}}'.encode(),
    "generic of a value": f'\x01t{{"$o":["{path_of(Page)}",{{"items":[]}},{{"generic":[1]}}]}}'.encode(),
    "generic of many": f'\x01t{{"$o":["{path_of(Page)}",{{"items":[]}},{{"generic":["int","int"]}}]}}'.encode(),
    "no generic": f'\x01t{{"$o":["{path_of(Page)}",{{"items":[]}},{{"generic":[["int","int"]]}}]}}'.encode(),
    "form set past it": (
        f'\x01t{{"$o":["{path_of(Page)}",{{"items":[]}},{{"attributes":{{"__orig_class__":1}}}}]}}'.encode()
    ),
    "attribute without a name": (
        f'\x01t{{"$o":["{path_of(Answer)}",{{"text":1,"sources":2}},{{"attributes":{{"$m":[[1,2]]}}}}]}}'.encode()
    ),
}


@pytest.mark.parametrize("payload", CORRUPT.values(), ids=CORRUPT.keys())
def test_parts_that_do_not_fit_the_class_are_corrupt(payload: Any) -> None:
    """Fields, attributes and other parts that a class does not have: never another error."""
    assert_corrupt(payload)


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


MODELS = {
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


@pytest.mark.parametrize("value", MODELS.values(), ids=MODELS.keys())
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
    """Changing a restored model changes no other that is restored of the same payload."""
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

    with pytest.raises(UnstorableResponseError, match=r"answer\._seen \(builtins\.object\)"):
        Codec().encode(value)


def test_a_field_of_a_type_that_is_not_storable_is_refused() -> None:
    """A model with a field of a type that hides what it holds is unstorable, and the error names the field."""
    with pytest.raises(UnstorableResponseError, match=r"answer\.item\[1\] \(pydantic\.types\.Secret\)"):
        Codec().encode(Box(item=[1, Secret(b"hush")]))


def completion() -> Completion: ...
def boxed() -> Box[Message] | None: ...


@pytest.mark.parametrize(
    ("fn", "value"),
    [(completion, MODELS["nested"]), (completion, Completion(id="1", choices=[], later=Later(at=Decimal(1)))),
     (boxed, MODELS["generic"]), (boxed, Message(role="a"))],
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
    """A payload with extras, private attributes or set fields that the model does not have is corrupt."""
    payload = f'\x01t{{"$o":["{path_of(Message)}",{{"role":"a","content":null}},{rest}]}}'

    with pytest.raises(CorruptPayloadError):
        Codec([Message]).decode(payload.encode())
