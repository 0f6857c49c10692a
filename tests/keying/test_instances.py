"""Objects: their class, their content if they are containers, and all that they hold by name."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, make_dataclass
from functools import cached_property
from itertools import combinations
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keying.making import Bag, Plain, Point, Record, Slotted, Tagged, atoms, form, with_attributes
from pydantic import BaseModel, ConfigDict, PrivateAttr, RootModel, computed_field, create_model
from pydantic.dataclasses import dataclass as pydantic_dataclass

from recallm.keying.canonical import canonical
from recallm.keying.reader import UnreadableError


class SlottedText(str):
    """A text with a slot."""

    __slots__ = ("language",)


class Tenanted:
    """A base with slots, one of which has a private name."""

    __slots__ = ("__secret", "tenant")

    def keep(self, secret: object) -> Tenanted:
        """Keep a secret."""
        self.__secret = secret
        return self


@dataclass(slots=True)
class Document(Tenanted):
    """A dataclass whose base holds more than its fields."""

    name: str


class Described(Slotted):
    """A subclass that holds more than the fields of its base."""

    __slots__ = ("tenant",)


@dataclass(init=False)
class Noted(dict[str, object]):
    """A dataclass that is a mapping too."""

    note: str = ""


@dataclass(eq=False)
class Untold:
    """A dataclass with a field that neither its comparison nor its repr shows."""

    shown: int
    hidden: int = field(default=0, compare=False, repr=False, kw_only=True)


@pydantic_dataclass
class Checked:
    """A dataclass of pydantic."""

    x: int


class Open(BaseModel):
    """A pydantic model that keeps unknown fields."""

    model_config = ConfigDict(extra="allow")
    x: object = 1
    _hidden: object = PrivateAttr(default=None)


class Closed(BaseModel):
    """Another pydantic model."""

    x: object = 1


class SlottedModel(BaseModel):
    """A model with a slot."""

    __slots__ = ("tenant",)
    name: str = "a"


OBJECTS: list[object] = [
    Point(1, 2), Point(2, 1), Slotted(1, 2), with_attributes(Point(1, 2), z=3), with_attributes(Point(1, 2), z=4),
    Plain(), Plain(x=1), Plain(x=1, y=2), Plain(y=1), SimpleNamespace(), SimpleNamespace(x=1), SimpleNamespace(x=2),
    Noted(), Noted(x=1), with_attributes(Noted(x=1), note="n"), Untold(1), Untold(1, hidden=2), Checked(1), Checked(2),
    Tagged("1"), with_attributes(Tagged("1"), language="fr"), with_attributes(Tagged("1"), language="en"), "1",
    SlottedText("1"), with_attributes(SlottedText("1"), language="fr"), Bag([1]), with_attributes(Bag([1]), note="a"),
    with_attributes(Record({1: 2}), note="a"), with_attributes(Record({1: 2}), note="b"), Record({1: 2}), {1: 2},
    make_dataclass("Point", [("x", int)])(1),
]  # fmt: skip

MODELS: list[object] = [
    Open(), Open(x=1), Open(x="1"), Open.model_validate({"x": 1, "z": 2}), Open.model_validate({"x": 1, "z": 3}),
    with_attributes(Open(), _hidden=2), with_attributes(Open(), _hidden=3), Closed(), Closed(x=2), Closed(x=Closed()),
    create_model("Open", x=(int, 1))(), SlottedModel(), with_attributes(SlottedModel(), tenant="ada"), {"x": 1},
    RootModel[int](1), RootModel[int](2), RootModel[str]("1"), Open.model_construct(x=2),
    Open.model_construct(_fields_set=set(), x=2),
]  # fmt: skip


@pytest.mark.parametrize("several", [OBJECTS, MODELS], ids=["objects", "models"])
def test_different_objects_never_share_a_form(several: list[object]) -> None:
    """Objects differ by class, content, fields, extra and private fields, fields set, attributes and slots."""
    for one, other in combinations(several, 2):
        assert form(one) != form(other), (one, other)
        assert form({"k": [one]}) != form({"k": [other]}), (one, other)


@pytest.mark.parametrize(
    "make",
    [lambda: Document("a"), lambda: Described(1), SlottedModel, lambda: SlottedText("a"), Record],
    ids="dataclass subclass model text mapping".split(),
)
def test_what_is_held_in_slots_counts(make: Callable[[], Any]) -> None:
    """A value in a slot counts, in slots of bases and subclasses too, which are no fields."""
    names: dict[Any, str] = {SlottedText: "language", Record: "note"}
    name = names.get(type(make()), "tenant")
    ada, bob, nobody = (make() for _ in range(3))
    object.__setattr__(ada, name, "ada")
    object.__setattr__(bob, name, "bob")
    assert len({form(ada), form(bob), form(nobody)}) == 3


def test_private_slots_of_bases_count() -> None:
    """A slot with a private name, which only the base's methods see, counts in a subclass."""
    assert form(Document("a").keep(1)) == form(Document("a").keep(1))
    assert len({form(Document("a").keep(1)), form(Document("a").keep(2)), form(Document("a"))}) == 3


def nothing(*_arguments: Any) -> Any:
    """Stand for a method of a subclass that hides what is there."""
    return iter(())


HIDING: dict[str, Any] = {
    **dict.fromkeys(("__iter__", "items", "keys", "values", "__getitem__"), nothing),
    **dict.fromkeys(("__len__", "__hash__", "__int__", "__index__"), lambda self: 0),
    **dict.fromkeys(("__str__", "__repr__", "hex"), lambda self: ""),
    **dict.fromkeys(("__eq__", "__bool__", "__contains__"), lambda self, *_: True),
    "__bytes__": lambda self: b"",
    "__float__": lambda self: 0.0,
    "__complex__": lambda self: 0j,
    "__getstate__": lambda self: None,
    "__reduce_ex__": lambda self, _version: (int, ()),
    "encode": lambda self: b"",
    "real": property(nothing),
    "imag": property(nothing),
    "__getattr__": nothing,
}

BUILT_IN: list[tuple[Any, Any, Any]] = [
    *((int, 1, 2), (int, 10**30, -1), (float, 1.0, -0.0), (complex, 1j, 2j), (complex, complex(0, -0.0), 0j)),
    *((str, "1", "2"), (bytes, b"1", b"2"), (bytearray, b"1", b"2"), (list, [1], [2]), (tuple, (1,), (2,))),
    *((set, {1}, {2}), (frozenset, {1}, {2}), (dict, {1: 1}, {1: 2}), (OrderedDict, {1: 1}, {1: 2})),
    *((deque, [1], [2]), (dict, {1: 1, 2: 2}, {1: 1}), (OrderedDict, {1: 1, 2: 2}, {2: 2, 1: 1})),
]  # fmt: skip


@pytest.mark.parametrize(("base", "one", "other"), BUILT_IN, ids=lambda value: getattr(value, "__name__", ""))
def test_subclasses_of_built_ins_are_read_past_their_overrides(base: Any, one: Any, other: Any) -> None:
    """Whatever a subclass makes of its content, the content of the built-in counts, with class and attributes."""
    cls = type("Sub", (base,), HIDING)
    made = [base(one), cls(one), cls(other), with_attributes(cls(one), note=1), with_attributes(cls(one), note=2)]
    assert len({form(each) for each in made}) == len(made)
    assert form(cls(one)) == form(made[1])


def test_what_a_defaultdict_makes_of_missing_keys_counts() -> None:
    """The factory is no item, and is read: a function by its code, a type by its name."""

    def listed() -> list[str]:
        return ["a"]

    def mapped() -> list[str]:
        return ["b"]

    class Sub(defaultdict[str, Any]):
        """Has no items of its own making."""

    factories: list[Any] = [None, list, dict, listed, mapped]
    made = [kind(factory, a=1) for kind in (defaultdict, Sub) for factory in factories]
    assert len({form(each) for each in made}) == len(made)


class Computing:
    """Computes what it shows, and fails if asked."""

    def __init__(self, a: int) -> None:
        self.a = a

    @property
    def answer(self) -> int:
        """Fail."""
        raise RuntimeError

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __reduce_ex__(self, _version: Any) -> Any:
        raise RuntimeError

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    def __hash__(self) -> int:
        raise RuntimeError


class ComputingModel(BaseModel):
    """Computes a field, and fails if asked."""

    a: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def answer(self) -> int:
        """Fail."""
        raise RuntimeError


@pytest.mark.parametrize("cls", [Computing, ComputingModel])
def test_no_code_of_an_object_runs(cls: Any) -> None:
    """Neither properties nor comparisons nor serialisers of an object run while it is read."""
    assert form(cls(a=1)) == form(cls(a=1)) != form(cls(a=2))


class Caching(BaseModel):
    """Keeps what follows from its fields."""

    a: int

    @cached_property
    def answer(self) -> int:
        """Return what follows."""
        return self.a + 1


def test_what_a_library_object_has_computed_of_itself_does_not_count() -> None:
    """An object whose cached property was asked for is the one that it was."""
    asked, unasked = Caching(a=1), Caching(a=1)
    assert asked.answer == 2
    assert canonical(asked) == canonical(unasked) != canonical(Caching(a=2))


@given(st.dictionaries(st.sampled_from("abc"), atoms), st.dictionaries(st.sampled_from("abc"), atoms), st.data())
def test_objects_of_generated_classes_share_a_form_only_if_they_hold_the_same(
    one: dict[str, Any], other: dict[str, Any], data: Any
) -> None:
    """Whichever of the names are slots, of a base or of the class itself, what is held under each counts."""
    places = {name: data.draw(st.sampled_from(["base", "own", "attribute"])) for name in "abc"}
    base = type("Base", (), {"__slots__": [name for name in places if places[name] == "base"]})
    cls: Any = type("Own", (base,), {"__slots__": [*(name for name in places if places[name] == "own"), "__dict__"]})
    mine, theirs, again = (with_attributes(cls(), **held) for held in (one, other, dict([*one.items()][::-1])))
    told = [sorted(f"{name} {type(item).__name__} {item!r}" for name, item in held.items()) for held in (one, other)]
    assert form(mine) == form(again)
    assert (form(mine) == form(theirs)) == (told[0] == told[1])


class HidingError(Exception):
    """Holds its arguments where only compiled code finds them."""


@pytest.mark.parametrize(
    "value",
    [object(), HidingError("a"), ValueError("a"), type("Sub", (HidingError,), {"__slots__": ("note",)})("a")],
    ids=lambda value: type(value).__name__,
)
def test_an_object_that_hides_what_it_holds_is_refused(value: object) -> None:
    """Where compiled code may keep more than attributes and slots show, nothing is taken for the whole."""
    with pytest.raises(UnreadableError, match="cannot be read") as caught:
        form([value])
    assert caught.value.live is type(value)


def test_attrs_classes_count_by_all_they_hold() -> None:
    """Objects of attrs, with slots or without, count by their fields and by what was set beside them."""
    attrs = pytest.importorskip("attrs")
    slotted, plain = (attrs.make_class("Made", {"x": attrs.field(eq=False)}, slots=slots) for slots in (True, False))
    made = [slotted(1), slotted(2), plain(3), with_attributes(plain(3), beside=1)]
    assert len({form(each) for each in made}) == len(made)
    assert form(slotted(1)) == form(made[0])


def test_structs_of_msgspec_count_by_all_they_hold() -> None:
    """Objects of msgspec count by their fields, those of bases too, and by attributes where they take some."""
    msgspec = pytest.importorskip("msgspec")
    base = msgspec.defstruct("Base", [("x", Any)])
    sub = msgspec.defstruct("Sub", [("y", Any, None)], bases=(base,))
    open_ = msgspec.defstruct("Open", [("x", Any)], dict=True, weakref=True)
    made = [base(1), base(2), base("1"), sub(1), sub(1, 2), sub(2), open_(1), open_(1)]
    made[-1].beside = 2
    assert len({form(each) for each in made}) == len(made)
    assert form(sub(1, 2)) == form(made[4])


@pytest.fixture
def database() -> Iterator[Any]:
    """Yield a database with an author and a work, the classes that map them, and the statements that it is sent."""
    sqlalchemy, orm = pytest.importorskip("sqlalchemy"), pytest.importorskip("sqlalchemy.orm")
    base = orm.declarative_base()
    name, number = sqlalchemy.Column(sqlalchemy.String), sqlalchemy.Integer
    author = {"id": sqlalchemy.Column(number, primary_key=True), "name": name, "works": orm.relationship("Work")}
    key = sqlalchemy.Column(number, sqlalchemy.ForeignKey("author.id"))
    work = {"id": sqlalchemy.Column(number, primary_key=True), "author_id": key}
    mapped = [
        type(cls, (base,), {"__tablename__": cls.lower(), **held}) for cls, held in [("Author", author), ("Work", work)]
    ]
    engine, sent = sqlalchemy.create_engine("sqlite://"), []
    base.metadata.create_all(engine)
    sqlalchemy.event.listen(engine, "before_cursor_execute", lambda *arguments: sent.append(arguments[2]))
    with orm.Session(engine) as session:
        session.add(mapped[0](name="ada", works=[mapped[1]()]))
        session.commit()
    yield SimpleNamespace(orm=orm, engine=engine, author=mapped[0], sent=sent)
    engine.dispose()


def test_what_a_mapped_object_would_fetch_refuses_it(database: Any) -> None:
    """A row that is expired, or has a relation that is not loaded, is refused, and nothing is fetched."""
    with database.orm.Session(database.engine) as session:
        row = session.get(database.author, 1)
        held = dict.fromkeys(("unloaded", "expired"), "")
        for kind in held:
            if kind == "expired":
                session.expire(row)
            database.sent.clear()
            with pytest.raises(UnreadableError, match="would be read from its database") as caught:
                form({"row": row})
            assert database.sent == []
            held[kind] = caught.value.trail[0][0]
        assert held == {"unloaded": ".works", "expired": ".id"}


def test_a_mapped_object_that_is_loaded_counts_by_what_it_holds(database: Any) -> None:
    """A row with its relations, or one that no database knows yet, is read; neither session nor history counts."""
    loaded = []
    for _ in range(2):
        with database.orm.Session(database.engine) as session:
            options = [database.orm.selectinload(database.author.works)]
            loaded.append(session.get(database.author, 1, options=options))
            database.sent.clear()
            assert form(loaded[-1]) == form(loaded[0])
            assert database.sent == []
    before = form(loaded[0])
    loaded[0].works.pop()
    assert form(loaded[0]) != before
    assert form(database.author(name="ada")) == form(database.author(name="ada"))
    assert form(database.author(name="ada")) != form(database.author(name="bob"))
