"""Responses come back as they were, with their types; bytes from elsewhere do no harm."""

# The classes and functions in the tables are there to be stored and read.
# ruff: noqa: D101, D102, D103
# mypy: disable-error-code="empty-body, no-untyped-def, name-defined, type-arg"

from __future__ import annotations

import base64
import decimal
import enum
import inspect
import io
import json
import math
import struct
import subprocess
import sys
import types
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import InitVar, dataclass, field, fields, is_dataclass, make_dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from functools import cached_property, partial, wraps
from typing import Annotated, Any, ClassVar, Generic, Literal, NamedTuple, NewType, TypeAlias, TypedDict, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import TypeAliasType

from recallm.codec.codec import MAX_DEPTH, Codec
from recallm.errors import CorruptPayloadError, RecallmError, UnstorableResponseError

PARIS = ZoneInfo("Europe/Paris")
RAN: list[str] = []


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


class NamedPoint(Point):
    """A named tuple with room for attributes."""


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
class Slotted:
    __slots__ = ("__hidden", "a")
    a: int

    def __post_init__(self) -> None:
        self.__hidden = {self.a}

    def hidden(self) -> set[int]:
        return self.__hidden


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


class OddZone(tzinfo):
    """A zone that only its own class understands."""


class Text(str):
    __slots__ = ()


@dataclass
class FailedError(Exception):
    why: str


@dataclass
class Mapped(dict):
    why: str = ""


@dataclass
class Later:
    def __await__(self):
        yield


def same(left: Any, right: Any) -> bool:
    """Return whether two values are equal and of one type, and so is everything in them."""
    if type(left) is not type(right):
        return False
    match left:
        case enum.Enum():
            return left is right
        case float():
            return left.hex() == right.hex() and math.copysign(1, left) == math.copysign(1, right)
        case complex():
            return same((left.real, left.imag), (right.real, right.imag))
        case Decimal() | timezone():
            return repr(left) == repr(right)
        case datetime() | time():
            return (
                left.replace(tzinfo=None) == right.replace(tzinfo=None)
                and left.fold == right.fold
                and same(left.tzinfo, right.tzinfo)
            )
        case defaultdict():
            return left.default_factory is right.default_factory and same(dict(left), dict(right))
        case dict():
            return same([*left.items()], [*right.items()])
        case list() | tuple():
            held = same(getattr(left, "__dict__", 0), getattr(right, "__dict__", 0))
            return held and len(left) == len(right) and all(map(same, left, right))
        case set() | frozenset():
            return len(left) == len(right) and all(any(same(a, b) for b in right) for a in left)
        case _ if is_dataclass(left):
            return all(same(getattr(left, it.name), getattr(right, it.name)) for it in fields(left))
        case _:
            return bool(left == right)


def there_and_back(value: object, codec: Codec | None = None) -> Any:
    codec = codec or Codec()
    return codec.decode(codec.encode(value))


VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    2**512 - 1,
    2**512,
    -(2**20_000),
    0.1,
    -0.0,
    5e-324,
    math.inf,
    -math.inf,
    math.nan,
    -math.nan,
    complex(-0.0, math.nan),
    "",
    "plain",
    "\ud800",
    "\ud83d\ude00",
    '😀\x00"\\\u2028',
    b"",
    b"\xff\x00",
    bytearray(b"ab"),
    Decimal("-0E-7"),
    Decimal("sNaN123"),
    Decimal("1E+999999"),
    Fraction(-3, 2**600),
    UUID("12345678123456781234567812345678"),
    date.min,
    datetime.max,
    datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=PARIS),
    datetime(2024, 1, 1, 1, 2, 3, 4, tzinfo=UTC),
    datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=-5, microseconds=1), "mine")),
    time(1, 2, 3, 4, fold=1),
    time(tzinfo=timezone(timedelta(minutes=90))),
    timedelta.min,
    timedelta(days=-1, microseconds=1),
    UTC,
    PARIS,
    Colour.RED,
    Colour.ROUGE,
    Colour.PAIR,
    Colour.ODD,
    Level.HIGH,
    Mood.CALM,
    Rights.READ,
    Rights.READ | Rights.WRITE,
    Rights(0),
    Loose(9),
    [],
    (),
    ((),),
    {},
    {"b": 1, "a": [None, {"c": 2.5}]},
    {1: "a", "1": "b", None: "c", (1, b"x"): "d", Level.LOW: "e", 2.5: "f"},
    {"$t": [1]},
    {"$t": (1,)},
    {"$": {"$o": []}, "x": set()},
    {"": ()},
    {Mood.CALM: 1},
    set(),
    {1, "a", (2,)},
    frozenset({frozenset({b"a"}), None}),
    {math.nan, -math.nan, 1.0},
    OrderedDict([("b", 1), ("a", (2,))]),
    defaultdict(list, {"a": [1], 2: []}),
    defaultdict(None, {}),
    Point(1.0, -0.0),
    Pair([1], {2}),
    Answer("yes", [Point(1.0)]),
    Frozen("f"),
    {Frozen("key"): [Frozen("value")]},
    Inherited("a", [], {"b": Answer("c")}),
    Page([Page([1]), (2,)]),
    {"answer": Answer("a"), "rights": Rights.WRITE},
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__}")
def test_a_value_comes_back_equal_and_of_its_type(value: Any) -> None:
    """Every storable kind of value is restored exactly, alone and inside others."""
    assert same(there_and_back(value), value)
    assert same(there_and_back([value, {"k": (value,)}]), [value, {"k": (value,)}])


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


class Iterating:
    def __iter__(self):
        return self

    def __next__(self):
        raise StopIteration


async def coroutine() -> None:
    """Be awaited by no one."""


def self_containing() -> list[object]:
    held: list[object] = []
    held += [held, held]
    return held


def nested(levels: int, wrap: Callable[[object], object], core: object = 1) -> Any:
    value = core
    for _ in range(levels):
        value = wrap(value)
    return value


ordered_with_attributes: Any = OrderedDict(a=1)
ordered_with_attributes.note = 1


odd_zone = OddZone()  # type: ignore[abstract]


def zone_file() -> bytes:
    """Return a zone file of the first version that says UTC."""
    return b"TZif" + bytes(16) + struct.pack(">6L", 0, 0, 0, 0, 1, 4) + struct.pack(">lbb", 0, 0, 0) + b"UTC\0"


UNSTORABLE = {
    "object": object(),
    "str subclass": Text("secret"),
    "bool-like int subclass": type("Int", (int,), {})(1),
    "Counter": Counter("aab"),
    "deque": deque([1]),
    "range": range(3),
    "mappingproxy": types.MappingProxyType({}),
    "namespace": types.SimpleNamespace(a=1),
    "iterator": iter([1]),
    "generator": (x for x in [1]),
    "own iterator": Iterating(),
    "awaitable dataclass": Later(),
    "function": coroutine,
    "lambda": lambda: None,
    "class": Answer,
    "module": sys,
    "open file": io.StringIO("secret"),
    "exception": ValueError("secret"),
    "dataclass exception": FailedError("secret"),
    "dataclass dict": Mapped("secret"),
    "ellipsis": ...,
    "own tzinfo": datetime(2024, 1, 1, tzinfo=odd_zone),
    "zone of a file": ZoneInfo.from_file(io.BytesIO(zone_file())),
    "own factory": defaultdict(lambda: 1),
    "ordered with attributes": ordered_with_attributes,
    "recursive list": self_containing(),
    "deep list": nested(MAX_DEPTH + 5, lambda below: [below]),
    "deep dataclass": nested(MAX_DEPTH + 5, Link),
    "very deep": nested(100_000, lambda below: (below,)),
    "struct sequence": __import__("time").gmtime(0),
}


@pytest.mark.parametrize("wrap", [lambda it: it, lambda it: {"k": [it]}, lambda it: (it,), Answer], ids=range(4))
@pytest.mark.parametrize("value", UNSTORABLE.values(), ids=UNSTORABLE.keys())
def test_what_would_not_come_back_is_refused_without_being_quoted(value: Any, wrap: Any) -> None:
    """A value that cannot be restored exactly is unstorable, wherever it lies; the error shows only its type."""
    with pytest.raises(UnstorableResponseError, match="store_if") as caught:
        Codec().encode(wrap(value))

    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, RecallmError)
    assert "secret" not in str(caught.value)


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


def test_a_short_stack_is_no_error_of_its_own() -> None:
    """A call deep in the stack never ends in a RecursionError."""
    value = nested(MAX_DEPTH - 1, Link)
    codec = Codec()
    payload = codec.encode(value)

    def deep(left: int) -> None:
        if left:
            deep(left - 1)
            return
        with pytest.raises(UnstorableResponseError):
            codec.encode(value)
        # Since Python 3.12 what runs in C has a stack of its own, so this may succeed.
        decoded_or_refused(codec, payload)

    used = len(inspect.stack(0))
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(used + 400)
    try:
        deep(200)
    finally:
        sys.setrecursionlimit(limit)


def test_nothing_is_consumed_by_a_refusal() -> None:
    """An iterator that is refused still has all its items."""
    items = iter([1, 2])

    with pytest.raises(UnstorableResponseError, match="list_iterator"):
        Codec().encode({"items": items})

    assert list(items) == [1, 2]


@pytest.mark.parametrize(
    "wrap", [lambda it: [it], lambda it: {"k": it}, lambda it: (it,), Link], ids=["list", "dict", "tuple", "class"]
)
def test_nests_up_to_the_limit_are_stored(wrap: Any) -> None:
    """The depth limit counts levels of the value."""
    value = nested(MAX_DEPTH - 1, wrap)

    encoded = Codec([Link]).encode(value)

    assert Codec([Link]).encode(Codec([Link]).decode(encoded)) == encoded


def test_many_values_are_not_mistaken_for_deep_ones() -> None:
    """Breadth and brackets inside texts do not count as depth."""
    value = [{"text": '[{"\\' * 3, "tags": [(1,)]}] * 1000

    assert there_and_back(value) == value


def test_a_hit_never_aliases_another() -> None:
    """Changing a decoded value changes neither the next one nor the payload."""
    codec = Codec()
    payload = codec.encode({"list": [1], "answer": Answer("a", [Point(1.0)])})
    first = codec.decode(payload)

    first["list"].append(2)
    first["answer"].sources.clear()
    first["answer"].text = "b"

    assert codec.decode(payload) == {"list": [1], "answer": Answer("a", [Point(1.0)])}


@pytest.mark.parametrize("value", [Answer("a"), Point(1.0), Colour.RED, Frozen("f"), [Rights.READ]])
def test_a_class_that_is_not_allowed_is_not_restored(value: Any) -> None:
    """A payload's classes are looked up in the allow-list alone, importable or not."""
    payload = Codec().encode(value)

    with pytest.raises(CorruptPayloadError, match="response_type="):
        Codec().decode(payload)


def test_nothing_is_imported_on_the_word_of_a_payload() -> None:
    """A path in a payload that names an importable class imports nothing."""
    payloads = [
        b'\x01t{"$o":["antigravity.Thing",{}]}',
        b'\x01t{"$e":["antigravity.Thing","x",1]}',
        b'\x01t{"$Z":"../../etc/passwd"}',
        b'\x01t{"$Z":"antigravity"}',
        b'\x01t{"$n":["antigravity",[]]}',
    ]
    for payload in payloads:
        with pytest.raises(CorruptPayloadError):
            Codec().decode(payload)

    assert "antigravity" not in sys.modules


def made(name: str, *names: str) -> type:
    cls = make_dataclass(name, names)
    cls.__module__ = "elsewhere"
    return cls


def test_of_two_classes_with_one_path_the_latest_wins_if_its_fields_match() -> None:
    """A redefined class takes over old payloads that fit it, and refuses the others."""
    first, equal, other = made("C", "x"), made("C", "x"), made("C", "x", "y")
    payload = Codec().encode(first(1))

    assert type(Codec([first, equal]).decode(payload)) is equal
    with pytest.raises(CorruptPayloadError):
        Codec([first, other]).decode(payload)
    with pytest.raises(CorruptPayloadError):
        Codec([first]).decode(Codec().encode(other(1, 2)))


def test_encoding_makes_its_class_the_latest() -> None:
    """What this process stored last decides which class of a path is meant."""
    first, second = made("C", "x"), made("C", "x")
    codec = Codec([first, second])

    assert type(there_and_back(first(1), codec)) is first


def test_a_member_whose_value_has_changed_is_not_restored() -> None:
    """An enum that was redefined does not give old names new meanings."""
    make: Any = enum.Enum
    old, new = (make("E", {"A": value}, module="elsewhere") for value in (1, 2))

    with pytest.raises(CorruptPayloadError):
        Codec([new]).decode(Codec().encode(old.A))


Ident = NewType("Ident", Frozen)
Alias: TypeAlias = "list[Answer]"
Tree = TypeAliasType("Tree", "Frozen | list[Tree]")

Lost = TypeAliasType("Lost", "Nowhere")  # noqa: F821  # that is the point


class Service:
    def ask(self) -> Answer: ...

    @classmethod
    def make(cls) -> Answer: ...

    async def __call__(self) -> Frozen: ...


def plain() -> Answer: ...
async def later() -> Answer: ...
def awaitable() -> Awaitable[Answer]: ...
def coroutine_of() -> Coroutine[Any, Any, Answer]: ...
def streaming() -> AsyncIterator[Answer]: ...
def aliased() -> Alias: ...
def nested_name() -> dict[str, "Answer"]: ...  # noqa: UP037  # quoted twice is what is tried
def lost() -> Lost: ...
def unannotated(): ...
def partly_unknown(it: Nowhere) -> Answer: ...  # noqa: F821  # that is the point
def unknown() -> Nowhere: ...  # noqa: F821  # that is the point


def wrapped_plain() -> Any:
    @wraps(plain)
    def inner(*args, **kw):
        return plain(*args, **kw)

    return inner


SHAPES = {
    "function": (plain, None, Answer("a", [Point(1.0)])),
    "async": (later, None, Answer("a")),
    "awaitable": (awaitable, None, Answer("a")),
    "coroutine": (coroutine_of, None, Answer("a")),
    "stream": (streaming, None, Answer("a")),
    "method": (Service().ask, None, Answer("a")),
    "classmethod": (Service.make, None, Answer("a")),
    "callable object": (Service(), None, Frozen("f")),
    "partial": (partial(partial(plain)), None, Answer("a")),
    "wrapped": (wrapped_plain(), None, Answer("a")),
    "class": (Answer, None, Answer("a")),
    "string alias": (aliased, None, [Answer("a")]),
    "name in a generic": (nested_name, None, {"k": Answer("a")}),
    "unknown parameter": (partly_unknown, None, Answer("a")),
    "field's enum": (plain, Frozen, Frozen("f", Mood.CALM)),
    "optional": (unannotated, Answer | None, Answer("a")),
    "unknown annotation": (unknown, Answer, Answer("a")),
    "list": (unannotated, list[Answer], [Answer("a")]),
    "dict": (unannotated, dict[Level, tuple[Answer, ...]], {Level.LOW: (Answer("a"),)}),
    "annotated": (unannotated, Annotated[Answer, "note"], Answer("a")),
    "literal": (unannotated, Literal[Colour.RED, "x"], Colour.RED),
    "new type": (unannotated, Ident, Frozen("f")),
    "alias": (unannotated, TypeAliasType("Named", Answer), Answer("a")),
    "recursive alias": (unannotated, Tree, Frozen("f")),
    "generic": (unannotated, Page[Answer], Page([Answer("a")])),
    "typed dict": (unannotated, Row, {"answer": Answer("a"), "rights": Rights.READ}),
    "inherited field": (unannotated, Inherited, Inherited("a", [Point(1.0)])),
    "type variable": (unannotated, TypeVar("B", bound=Answer), Answer("a")),
}


@pytest.mark.parametrize(("fn", "response_type", "value"), SHAPES.values(), ids=SHAPES.keys())
def test_another_process_restores_what_the_annotation_names(fn: Any, response_type: Any, value: Any) -> None:
    """The allow-list comes from the return annotation and from response_type, however they name the classes."""
    payload = Codec().encode(value)

    assert same(Codec.for_function(fn, response_type).decode(payload), value)


@pytest.mark.parametrize("fn", [unannotated, unknown, lost, len, print, 3, Colour, lambda: 1], ids=repr)
def test_an_annotation_that_says_nothing_leaves_the_list_to_what_is_stored(fn: Any) -> None:
    """Failing to read an annotation is no error."""
    assert there_and_back(Answer("a"), Codec.for_function(fn)) == Answer("a")


def test_annotation_metadata_is_not_allowed() -> None:
    """Classes beside the type proper, such as those in Annotated, are not responses."""
    codec = Codec.for_function(unannotated, Annotated[Answer, Frozen("x"), Pair])

    with pytest.raises(CorruptPayloadError):
        codec.decode(Codec().encode(Pair(1, 2)))


# -- properties

TEXTS = st.text(st.characters(codec=None), max_size=8) | st.sampled_from(["$", "$t", "$o", "$e", "\ud800\udc00"])
ZONES = st.none() | st.just(PARIS) | st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(timezone)
HASHABLES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**511, 2**512, -(2**600)])
    | st.floats()
    | st.complex_numbers()
    | TEXTS
    | st.binary(max_size=8)
    | st.decimals(allow_nan=False)
    | st.fractions()
    | st.uuids()
    | st.dates()
    | st.datetimes(timezones=ZONES, allow_imaginary=True)
    | st.times()
    | st.timedeltas()
    | st.sampled_from([*Colour, *Level, *Mood, *Rights, Rights(0), Rights(3)])
)
KEYS = HASHABLES | st.tuples(HASHABLES, HASHABLES) | st.frozensets(HASHABLES, max_size=3) | st.builds(Point, HASHABLES)
SCALARS = KEYS | st.decimals()
RESPONSES = st.recursive(
    SCALARS | st.binary(max_size=5).map(bytearray),
    lambda below: (
        st.lists(below, max_size=4)
        | st.lists(below, max_size=3).map(tuple)
        | st.dictionaries(TEXTS, below, max_size=4)
        | st.dictionaries(KEYS, below, max_size=3)
        | st.dictionaries(KEYS, below, max_size=3).map(OrderedDict)
        | st.sets(KEYS, max_size=3)
        | st.builds(Answer, below, below)
        | st.builds(Frozen, below, below)
        | st.builds(Page, below)
        | st.builds(Pair, below, below)
    ),
    max_leaves=12,
)
ALLOWED = (Answer, Frozen, Page, Pair, Point, Colour, Level, Mood, Rights, Worked)


@given(RESPONSES)
def test_decode_inverts_encode(value: Any) -> None:
    """Whatever the nest, a value comes back equal, with every type and order in it."""
    payload = Codec().encode(value)

    assert same(Codec(ALLOWED).decode(payload), value)


def decoded_or_refused(codec: Codec, payload: bytes) -> None:
    try:
        codec.decode(payload)
    except CorruptPayloadError:
        return


@given(st.binary() | st.tuples(st.sampled_from([b"\x01s", b"\x01b", b"\x01j", b"\x01t"]), st.binary()).map(b"".join))
def test_any_bytes_are_a_response_or_corrupt(payload: Any) -> None:
    """Bytes from elsewhere raise nothing but CorruptPayloadError."""
    decoded_or_refused(Codec(ALLOWED), payload)


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | TEXTS
    | st.sampled_from(["RED", "text", f"{__name__}.Pair"]),
    lambda below: (
        st.lists(below, max_size=9)
        | st.dictionaries(TEXTS, below, max_size=3)
        | st.dictionaries(st.sampled_from([f"${letter}" for letter in "tsSmMnbBifcdquDhHlzZoe?"]), below, max_size=1)
        | st.tuples(st.sampled_from([f"{__name__}.{cls.__name__}" for cls in ALLOWED]), below, below).map(
            lambda parts: {"$o": list(parts)}
        )
    ),
)


@given(JUNK)
def test_well_formed_json_with_any_tags_is_a_response_or_corrupt(junk: Any) -> None:
    """Tags with parts of any type or number raise nothing but CorruptPayloadError."""
    decoded_or_refused(Codec(ALLOWED), b"\x01t" + json.dumps(junk).encode())


@given(RESPONSES, st.data())
def test_flipped_bits_do_no_harm(value: Any, data: Any) -> None:
    """A payload changed in any bit is another response or corrupt, and none of its classes' code runs."""
    codec = Codec(ALLOWED)
    payload = bytearray(codec.encode([value, Worked(1, 2)]))
    RAN.clear()
    bit = data.draw(st.integers(0, len(payload) * 8 - 1))
    payload[bit // 8] ^= 1 << bit % 8

    decoded_or_refused(codec, bytes(payload))

    assert RAN == []


CORRUPT = {
    "empty": b"",
    "version only": b"\x01",
    "later version": b"\x02sx",
    "unknown kind": b"\x01?x",
    "pickle": b"\x80\x04N.",
    "no UTF-8": b"\x01s\xff",
    "no JSON": b"\x01j{",
    "trailing": b"\x01j1 2",
    "UTF-16": b"\x01j" + "1".encode("utf-16"),
    "endless digits": b"\x01j" + b"9" * 10_000,
    "deep list": b"\x01j" + b"[" * 5_000 + b"]" * 5_000,
    "unclosed": b"\x01j" + b"[" * 1_000_000,
    "deep object": b"\x01t" + b'{"a":' * 900 + b"1" + b"}" * 900,
    "unclosed texts": b"\x01t" + b'[["\\"' * 20_000,
    "unknown tag": b'\x01t{"$?":1}',
    "equal set items": b'\x01t{"$s":[1,1]}',
    "unhashable item": b'\x01t{"$s":[[]]}',
    "equal keys": b'\x01t{"$m":[[1,2],[1,3]]}',
    "one-sided pair": b'\x01t{"$m":[[1]]}',
    "no base64": b'\x01t{"$b":"*"}',
    "short double": b'\x01t{"$f":"00"}',
    "date of floats": b'\x01t{"$D":[1.0,2,3]}',
    "zone that is none": b'\x01t{"$h":[1,2,3,4,0,"Z"]}',
    "zone directory": b'\x01t{"$Z":"Europe"}',
    "no fields": f'\x01t{{"$o":["{__name__}.Point",{{}}]}}'.encode(),
    "fields of another type": f'\x01t{{"$o":["{__name__}.Point","xy"]}}'.encode(),
    "field too many": f'\x01t{{"$o":["{__name__}.Point",{{"x":1,"y":2,"z":3}}]}}'.encode(),
    "unknown rest": f'\x01t{{"$o":["{__name__}.Point",{{"x":1,"y":2}},{{"code":3}}]}}'.encode(),
    "attribute of slots": f'\x01t{{"$o":["{__name__}.Point",{{"x":1,"y":2}},{{"attributes":{{"z":3}}}}]}}'.encode(),
    "attribute without a name": (
        f'\x01t{{"$o":["{__name__}.Answer",{{"text":1,"sources":2}},{{"attributes":{{"$m":[[1,2]]}}}}]}}'.encode()
    ),
    "unknown member": f'\x01t{{"$e":["{__name__}.Colour","BLUE","red"]}}'.encode(),
    "flag of another name": f'\x01t{{"$e":["{__name__}.Rights","WRITE",1]}}'.encode(),
    "flag out of range": f'\x01t{{"$e":["{__name__}.Rights",null,64]}}'.encode(),
}


@pytest.mark.parametrize("payload", CORRUPT.values(), ids=CORRUPT.keys())
def test_a_malformed_payload_is_corrupt(payload: Any) -> None:
    """Malformed bytes, an unknown version or fields that do not fit are corrupt, never another error."""
    with pytest.raises(CorruptPayloadError) as caught:
        Codec(ALLOWED).decode(payload)

    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, RecallmError)


def test_corruption_is_not_quoted() -> None:
    """The error neither shows nor carries what was stored."""
    with pytest.raises(CorruptPayloadError) as caught:
        Codec().decode(b'\x01t{"$i":"secret"}')

    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_decimal_is_checked_in_a_context_without_traps() -> None:
    """A forgiving decimal context of the caller does not turn garbage into NaN."""
    with decimal.localcontext(decimal.Context(traps=[])), pytest.raises(CorruptPayloadError):
        Codec().decode(b'\x01t{"$d":"garbage"}')


@pytest.mark.parametrize(
    ("value", "payload"),
    [
        ("Zoë", b"\x01sZo\xc3\xab"),
        (b"\x00", b"\x01b\x00"),
        ({"a": [1, 2.5, None, "$t"]}, b'\x01j{"a":[1,2.5,null,"$t"]}'),
        ([b"a"], b'\x01t[{"$b":"' + base64.b64encode(b"a") + b'"}]'),
    ],
)
def test_the_stored_form_stays_what_it_is(value: Any, payload: Any) -> None:
    """Payloads outlive a release: their form changes only with the version byte."""
    assert Codec().encode(value) == payload
    assert Codec().decode(payload) == value


def test_pydantic_is_not_imported() -> None:
    """Storing dataclasses and reading annotations leaves pydantic where it is."""
    program = (
        "import sys, dataclasses; from recallm.codec.codec import Codec\n"
        "D = dataclasses.make_dataclass('D', ['x'])\n"
        "c = Codec.for_function(D); assert c.decode(c.encode(D(1))) == D(1)\n"
        "assert 'pydantic' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
