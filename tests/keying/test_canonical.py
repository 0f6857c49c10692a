"""Canonical forms: equal exactly when two values mean the same to a call."""

from __future__ import annotations

import collections.abc
import json
import os
import pickle
import subprocess
import sys
import typing
from array import array
from collections import Counter, OrderedDict
from copy import deepcopy
from enum import Enum, Flag, IntEnum, StrEnum
from itertools import combinations
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, NewType, Optional, ParamSpec, TypeVar, Union

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keying.making import (
    Plain,
    Point,
    Record,
    Slotted,
    argument_reader,
    form,
    hashables,
    keys,
    reference,
    values,
    with_attributes,
)
from support.examples import examples

from recallm.errors import UnfingerprintableError
from recallm.keying.canonical import canonical

ROOT = Path(__file__).parents[2]


class Colour(Enum):
    """An enum."""

    RED = 1
    BLUE = 2
    CRIMSON = 1


class Level(IntEnum):
    """An enum of ints."""

    LOW = 1


class Word(StrEnum):
    """An enum of texts."""

    ONE = "1"


class Access(Flag):
    """An enum whose members are combined."""

    READ = 1
    WRITE = 2


class Tier(Enum):
    """An enum whose members hold more than their values."""

    FREE = 1

    def __init__(self, _number: int) -> None:
        self.model = "small"


NAMED: list[Any] = [
    *(Colour.RED, Colour.BLUE, Level.LOW, Word.ONE, Access.READ, Access.READ | Access.WRITE, Access(0), Tier.FREE),
    *(Colour, Level, Point, Slotted, int, str, "builtins.int", 1, "1", "RED", len, print, sorted, dict.fromkeys),
]


def test_members_classes_and_functions_are_values_of_their_own() -> None:
    """A member of an enum is told by its class, name and value, a class or function by what it is."""
    for one, other in combinations(NAMED, 2):
        assert form(one) != form(other), (one, other)
        assert form([one]) != form([other]), (one, other)


def test_a_member_counts_with_its_attributes_and_its_other_names_do_not() -> None:
    """What an enum's member holds beside its value counts; an alias is the member that it names."""
    before = form(Tier.FREE)
    Tier.FREE.model = "large"
    try:
        assert form(Tier.FREE) != before
    finally:
        Tier.FREE.model = "small"
    assert form(Tier.FREE) == before
    assert form(Colour.CRIMSON) == form(Colour.RED)


T = TypeVar("T")
Bound = TypeVar("Bound", bound=int)
OfTwo = TypeVar("OfTwo", int, str)
P = ParamSpec("P")
UserId = NewType("UserId", int)
DocId = NewType("DocId", int)
Reference: Any = NewType("UserId", str)  # type: ignore[misc]  # another type of the same name

TYPES: list[Any] = [
    *(list[int], list[str], typing.List[int], list, dict[str, int], dict[str, str], tuple[int], tuple[int, ...]),  # noqa: UP006
    *(int | None, int | str, int | str | None, Union[int, bytes], Literal["a"], Literal["b"], Literal[1]),  # noqa: UP007
    *(Literal[True], Annotated[int, 1], Annotated[int, 2], Annotated[str, 1], T, Bound, OfTwo, P, UserId, DocId),
    *(Reference, Any, typing.Callable[[int], str], collections.abc.Callable[[int], str], type[int], list[T], int),  # type: ignore[valid-type]
    *(collections.abc.Callable[[str], str], collections.abc.Mapping[str, int], typing.ForwardRef("a"), list["int"]),
    *(typing.ClassVar[int], typing.Final[int], typing.Required[int], typing.NoReturn, list[list[int]]),
]  # fmt: skip


def test_expressions_for_types_differ_by_what_they_say() -> None:
    """``list[int]``, unions, literals, annotations, type variables and new types have forms of their own."""
    assert len({form(each) for each in TYPES}) == len(TYPES)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (list[int], list[int]),
        (Optional[int], Union[int, None]),  # noqa: UP007, UP045
        (Literal["a"], Literal["a"]),
        (NewType("UserId", int), UserId),
        (TypeVar("T"), T),
    ],
    ids=str,
)
def test_equal_expressions_for_types_share_a_form(one: Any, other: Any) -> None:
    """An expression that is written again, as in another process, has the form that it had."""
    assert form(one) == form(other)


BUFFERS = [
    *(array("i", [1]), array("d", [1]), array("b", [1]), array("i", [2]), array("i", [1, 1]), b"\1", bytearray(b"\1")),
    *(memoryview(b"\1"), memoryview(b"abcd"), memoryview(b"abcd").cast("H"), memoryview(b"abcd").cast("B", (2, 2))),
    *(memoryview(b"abcd")[::2], memoryview(b"ac\0"), [1], (1,)),
]

ARRAYS = [
    *(np.int64(1), np.int32(1), np.float64(1), np.str_("1"), np.bytes_(b"1"), np.bool_(True), np.datetime64(1, "s")),
    *(np.datetime64(1, "D"), np.timedelta64(1, "s"), np.array(1), np.array([1]), np.array([[1]]), np.array(1.0)),
    *(np.zeros(4), np.zeros(4, np.float32), np.zeros((2, 2)), np.zeros((4, 1)), np.zeros(4, ">f8"), np.ones(4)),
    *(np.zeros((0, 3)), np.zeros((3, 0)), np.zeros(0), np.zeros(4, "c8"), np.array(["a"]), np.array(["a"], "U2")),
    *(np.zeros(4, [("a", "f8")]), np.zeros(4, [("b", "f8")]), np.zeros(4, [("a", "f4"), ("b", "f4")])),
    *(np.zeros(4, [("a", "f8", (1,))]), np.zeros(4, [("a", [("b", "f8")])]), np.zeros(4, "V8"), [0.0] * 4),
    *(np.zeros(4, {"names": ["a"], "formats": ["f4"], "offsets": [4], "itemsize": 8}), 1, 1.0, "1", True),
]  # fmt: skip


@pytest.mark.parametrize("several", [BUFFERS, ARRAYS], ids=["buffers", "arrays"])
def test_arrays_differ_by_kind_shape_and_content(several: list[Any]) -> None:
    """Arrays and views count by their type, element type, byte order, shape and elements."""
    assert len({canonical(each) for each in several}) == len(several)


def test_arrays_are_read_in_their_order_and_not_in_that_of_memory() -> None:
    """A view, a transposed array and a plain one of the same elements share a form."""
    assert canonical(np.arange(6).reshape(2, 3)[:, ::2]) == canonical(np.array([[0, 2], [3, 5]]))
    assert canonical(np.asfortranarray(np.arange(6).reshape(2, 3))) == canonical(np.arange(6).reshape(2, 3))
    assert canonical(memoryview(b"abcd")[::2]) == canonical(memoryview(b"ac"))


def test_element_types_of_extensions_stay_apart() -> None:
    """Types that an extension adds share sizes and short names, and still differ, in structured arrays too."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    names = "float8_e4m3fn float8_e5m2 float8_e4m3b11fnuz int4 uint4 bfloat16".split()
    plain = [np.zeros(2, getattr(ml_dtypes, name)) for name in names]
    structured = [np.zeros(2, [("a", getattr(ml_dtypes, name))]) for name in names]
    forms = {canonical(each) for each in [*plain, *structured, np.zeros(2, "f2"), np.zeros(2, "i1"), np.zeros(2, "V1")]}
    assert len(forms) == 2 * len(names) + 3


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (np.array([object()]), "use one of numbers"),
        (np.zeros(1, [("a", "O")]), "use one of numbers"),
        (np.ma.array([1, 2], mask=[False, True]), "use a plain numpy array"),
        (np.array([1]).view(np.recarray), "use a plain numpy array"),
        (np.ma.masked, "use a plain numpy array"),
        (np.random.default_rng(1), "cannot be read"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_arrays_that_are_more_than_their_numbers_have_no_form(value: Any, told: str) -> None:
    """An array of objects, with a mask or with named fields is refused: more than its bytes counts."""
    with pytest.raises(UnfingerprintableError, match=told):
        form([value])


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="numpy 1 has no texts of any length")
def test_arrays_of_texts_of_any_length_have_no_form() -> None:
    """The bytes of an array of numpy's own texts say where they lie, not what they are."""
    with pytest.raises(UnfingerprintableError, match="use one of numbers"):
        form(np.array(["a"], dtype=np.dtypes.StringDType()))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1}),
        (Counter(a=1, b=2), Counter(b=2, a=1)),
        ({0, 8, 16}, {16, 8, 0}),
        (frozenset([0, 8, 16]), frozenset([16, 8, 0])),
        ({frozenset({1, 2}), 3}, {3, frozenset({2, 1})}),
        (MappingProxyType({"a": 1, "b": 2}), {"b": 2, "a": 1}),
        (Point(1), Point(1, 0)),
        (Plain(a=1, b=2), Plain(b=2, a=1)),
        (float("nan"), -float("nan")),
    ],
)
def test_order_and_spelling_do_not_count(one: object, other: object) -> None:
    """What means the same has the same form, however it was written down."""
    assert form(one) == form(other)


@given(values, values)
@examples(3)
def test_forms_are_equal_exactly_when_the_values_are(one: object, other: object) -> None:
    """Two forms are equal if and only if types, contents and attributes are equal throughout."""
    assert (form(one) == form(other)) == (reference(one) == reference(other))


@given(st.lists(values, min_size=2, max_size=4))
def test_a_reader_tells_apart_what_it_reads_one_after_the_other(several: list[object]) -> None:
    """What a reader remembers of a value is never taken for another's that it reads later."""
    reader = argument_reader()
    forms = [reader.form(each) for each in several]
    assert forms == [form(each) for each in several]
    assert form(several) == form(deepcopy(several))


@given(values)
def test_a_copy_of_a_value_has_its_form(value: Any) -> None:
    """A copy shares no object with the value, and means the same."""
    assert form(deepcopy(value)) == form(value)


@given(st.dictionaries(hashables, values, max_size=5), st.randoms())
def test_the_order_of_a_mapping_never_counts(mapping: dict[object, object], random: Any) -> None:
    """A mapping filled in any order has one form."""
    items = list(mapping.items())
    random.shuffle(items)
    assert form(dict(items)) == form(mapping)


_ELSEWHERE = """
import json, pickle, sys
from keying.making import keys
with open(sys.argv[1], "rb") as file:
    print(json.dumps([keys(value) for value in pickle.load(file)]))
"""


messages = st.lists(
    st.builds(
        lambda kind, role, content, name: kind(role=role, content=content, name=name),
        st.sampled_from([dict, Plain, Record]),
        st.sampled_from(["system", "user", "Human", "assistant"]),
        st.text(max_size=3) | st.lists(st.sampled_from(["a", "b\nc", {"type": "text", "text": "d"}]), max_size=2),
        values,
    ),
    max_size=3,
)


@pytest.mark.untraced
def test_another_process_makes_the_same_keys(tmp_path: Path) -> None:
    """Values, messages and calls have the keys in another process, with other hashes of texts, that they have here."""
    seen: list[object] = [{"a", "b", "c"}, *TYPES[:4], np.ones(3), OrderedDict(a=1), Point, Slotted, len, sorted]

    @examples(1.5, database=None)
    @given(values, messages)
    def collect(value: object, conversation: list[Any]) -> None:
        seen.extend([value, conversation])

    collect()
    path = tmp_path / "values"
    path.write_bytes(pickle.dumps(seen))
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    done = subprocess.run([sys.executable, "-c", _ELSEWHERE, path], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == list(map(keys, seen))


def defined(source: str) -> Any:
    """Return what a source defines as ``S``, in a module of the program always of the same name."""
    namespace: dict[str, Any] = {"__name__": "keying.notebook"}
    exec(source, namespace)  # noqa: S102  # the sources are the tables below
    return namespace["S"]


CLASSES = [
    "class S: prompt = 'pirate'",
    "class S: prompt = 'judge'",
    "class S:\n  'Another text for the model.'",
    "class S:\n  price: int",
    "class S:\n  name: str",
    "class S:\n  def system(self): return 1 + len('a')",
    "class S:\n  def system(self): return 'b'",
    "class S(dict): pass",
    "import enum\nS = enum.Enum('S', 'RED BLUE')",
    "import enum\nS = enum.Enum('S', 'CAT DOG')",
    "import collections\nS = collections.namedtuple('S', 'a b')",
    "import collections\nS = collections.namedtuple('S', 'c d')",
    "import typing\nS = typing.TypedDict('S', {'a': int})",
    "import typing\nS = typing.TypedDict('S', {'b': int})",
    "import dataclasses\nS = dataclasses.make_dataclass('S', [('a', int)])",
    "import dataclasses\nS = dataclasses.make_dataclass('S', [('b', int)])",
    "import pydantic\nS = pydantic.create_model('S', a=(int, 1))",
    "import pydantic\nS = pydantic.create_model('S', a=(int, 2))",
    "def S(): return 1",
    "def S(): return 2",
    "def S():\n  'A tool of the model.'\n  return 1",
    "def S(a: int): return 1",
    "def S(a: str): return 1",
    "def S(a=1): return 1",
    "def S(a=2): return 1",
    "def S(a): return 1",
    "import functools\ndef f(a): return a\nS = functools.partial(f, 1)",
    "import functools\ndef f(a): return a\nS = functools.partial(f, 2)",
    "class C:\n  def __init__(self, a): self.a = a\n  def m(self): return self.a\nS = C(1).m",
    "class C:\n  def __init__(self, a): self.a = a\n  def m(self): return self.a\nS = C(2).m",
    "VALUE = 1\ndef S(): return VALUE",
    "VALUE = 2\ndef S(): return VALUE",
]


def test_a_class_or_function_that_is_defined_otherwise_is_another() -> None:
    """Two of one name differ by what they define and read, as after a notebook's cell was changed and run again."""
    forms = [form(defined(source)) for source in CLASSES]
    for (one, source), (other, other_source) in combinations(zip(forms, CLASSES, strict=True), 2):
        assert one != other, (source, other_source)
    assert forms == [form(defined(source)) for source in CLASSES]


def test_instances_of_a_class_of_the_program_count_with_its_code() -> None:
    """An object of a class that was defined otherwise is another, though it holds the same; a library's is not."""
    one, other = defined("class S:\n  def m(self): return 1"), defined("class S:\n  def m(self): return 2")
    assert form(one()) != form(other())
    assert canonical(one()) == canonical(other())


def test_a_class_may_hold_itself() -> None:
    """A class that is among its own attributes is read to its end."""
    assert form(defined("class S: pass\nS.own = S")) == form(defined("class S: pass\nS.own = S"))
    assert form(defined("class S: pass\nS.own = S")) != form(defined("class S: pass\nS.own = int"))


def test_functions_have_no_form_for_a_reader_that_reads_none() -> None:
    """Alone, without a function whose argument it is, a function's code is not read, and it is refused."""
    with pytest.raises(UnfingerprintableError, match="a function has no canonical form here"):
        canonical(defined)


def test_a_method_of_a_built_in_object_is_refused() -> None:
    """What a built-in method is bound to is not read, so it must not count as equal to others."""
    with pytest.raises(UnfingerprintableError, match="built-in"):
        form("a".join)
    with pytest.raises(UnfingerprintableError, match="built-in"):
        form(with_attributes(Plain(), call=[].append))
