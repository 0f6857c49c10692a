"""Responses come back as they were, with their types; bytes from elsewhere do no harm."""

# The classes in the tables are there to be stored.
# ruff: noqa: D101, D103
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import base64
import enum
import inspect
import io
import json
import math
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.responses import (
    ALLOWED,
    RAN,
    WRAPPERS,
    Answer,
    Colour,
    Frozen,
    Level,
    Link,
    Loose,
    Mood,
    Page,
    Pair,
    Point,
    Rights,
    Worked,
    assert_comes_back,
    assert_corrupt,
    assert_unstorable,
    path_of,
    same,
    there_and_back,
)

from recallm.codec.bounds import MAX_DEPTH
from recallm.codec.codec import Codec
from recallm.errors import CorruptPayloadError, UnknownTypeError, UnstorableResponseError

VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    2**512 - 1,
    0.1,
    -0.0,
    5e-324,
    math.inf,
    -math.inf,
    "",
    "plain",
    "\ud800",
    "\ud83d\ude00",
    '😀\x00"\\\u2028',
    b"",
    b"\xff\x00",
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
    {},
    {"b": 1, "a": [None, {"c": 2.5}]},
    {"$t": [1]},
    {"$t": (1,)},
    {"$": {"$o": []}, "x": set()},
    {"": ()},
    {Mood.CALM: 1},
    {"answer": Answer("a"), "rights": Rights.WRITE},
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__}")
def test_a_value_comes_back_equal_and_of_its_type(value: Any) -> None:
    """What JSON holds, bytes, enums, and mappings that look like tags are restored exactly, alone and inside others."""
    assert_comes_back(value)


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


UNSTORABLE = {
    "object": object(),
    "iterator": iter([1]),
    "generator": (x for x in [1]),
    "own iterator": Iterating(),
    "function": coroutine,
    "lambda": lambda: None,
    "class": Answer,
    "module": sys,
    "open file": io.StringIO("secret"),
    "exception": ValueError("secret"),
    "ellipsis": ...,
    "recursive list": self_containing(),
    "deep list": nested(MAX_DEPTH + 5, lambda below: [below]),
    "deep dataclass": nested(MAX_DEPTH + 5, Link),
    "very deep": nested(100_000, lambda below: (below,)),
}


@pytest.mark.parametrize("wrap", WRAPPERS, ids=range(4))
@pytest.mark.parametrize("value", UNSTORABLE.values(), ids=UNSTORABLE.keys())
def test_what_would_not_come_back_is_refused_without_being_quoted(value: Any, wrap: Any) -> None:
    """A value that cannot be restored exactly is unstorable, wherever it lies; the error shows only its type."""
    assert_unstorable(wrap(value))


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
    """Values that lie in each other as deep as the limit are stored, and restored the same."""
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
def test_a_closed_list_allows_no_other_class(value: Any) -> None:
    """With a closed list, a payload's classes are looked up there alone, loaded or not, and no others are stored."""
    payload = Codec().encode(value)

    with pytest.raises(UnknownTypeError, match="response_type="):
        Codec([Link], closed=True).decode(payload)
    with pytest.raises(UnstorableResponseError, match="response_types="):
        Codec([Link], closed=True).encode(value)


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


def test_a_member_whose_value_has_changed_is_not_restored() -> None:
    """An enum that was redefined does not give old names new meanings."""
    make: Any = enum.Enum
    old, new = (make("E", {"A": value}, module="elsewhere") for value in (1, 2))

    with pytest.raises(CorruptPayloadError):
        Codec([new]).decode(Codec().encode(old.A))


TEXTS = st.text(st.characters(codec=None), max_size=8) | st.sampled_from(["$", "$t", "$o", "$e", "\ud800\udc00"])
ZONES = (
    st.none()
    | st.just(ZoneInfo("Europe/Paris"))
    | st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(timezone)
)
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
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.sampled_from(["RED", "text", path_of(Pair)]),
    lambda below: (
        st.lists(below, max_size=9)
        | st.dictionaries(TEXTS, below, max_size=3)
        | st.dictionaries(st.sampled_from([f"${letter}" for letter in "tsSmMnbBifcdquDhHlzZoe?"]), below, max_size=1)
        | st.tuples(st.sampled_from([path_of(cls) for cls in ALLOWED]), below, below).map(
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
    "unknown member": f'\x01t{{"$e":["{path_of(Colour)}","BLUE","red"]}}'.encode(),
    "flag of another name": f'\x01t{{"$e":["{path_of(Rights)}","WRITE",1]}}'.encode(),
    "flag out of range": f'\x01t{{"$e":["{path_of(Rights)}",null,64]}}'.encode(),
}


@pytest.mark.parametrize("payload", CORRUPT.values(), ids=CORRUPT.keys())
def test_a_malformed_payload_is_corrupt(payload: Any) -> None:
    """Malformed bytes, an unknown version or tag, or a member that an enum does not have: never another error."""
    assert_corrupt(payload)


def test_corruption_is_not_quoted() -> None:
    """The error for a corrupt payload neither shows nor carries what was stored."""
    with pytest.raises(CorruptPayloadError) as caught:
        Codec().decode(b'\x01t{"$i":"secret"}')

    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__


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
