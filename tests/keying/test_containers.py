"""Mappings, sequences and sets: their kind and their items count, and an error names the item."""

from __future__ import annotations

from collections import Counter, OrderedDict, UserDict, UserList, defaultdict, deque, namedtuple
from collections.abc import Callable
from itertools import combinations
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keying.making import Bag, Plain, Point, Record, argument_reader, atoms, form, hashables, reference, with_attributes

from recallm.keying.canonical import ValueReader
from recallm.keying.containers import SMALL, attributes_form, is_small, mapping_form
from recallm.keying.reader import UnreadableError

Pair = namedtuple("Pair", "x y")


class Noted(Pair):
    """A named tuple that takes attributes."""


CONTAINERS: list[object] = [
    [], (), {}, set(), frozenset(), [1], (1,), {1}, frozenset({1}), {1: None}, {"1": None}, {True: None}, {1.0: None},
    {None: 1}, ["1"], [True], [1.0], [[1]], [[], 1], [1, []], [[1, []]], [1, 2], [2, 1], [12], ["1", "2"], ["12"],
    ["1:2"], ["i1", "i2"], [b"12"], {"a": {"b": 1}}, {"a": {}, "b": 1}, {"a": "b"}, {"b": "a"}, {"a": 1, "b": 2},
    {"a": 2, "b": 1}, {("a", 1)}, {"a"}, {"a", "b"}, {"ab"}, {"x": 1}, {"x": None}, {"x": 1, "y": None},
    {"x": 1, "y": 0}, (1, 2), Pair(1, 2), Pair(2, 1), Noted(1, 2), with_attributes(Noted(1, 2), z=3),
]  # fmt: skip

OF_COLLECTIONS: list[Any] = [
    OrderedDict(x=1), OrderedDict(x=1, y=2), OrderedDict(y=2, x=1), OrderedDict(), Counter(x=1), Counter("xx"),
    defaultdict(None, x=1), defaultdict(int, x=1), defaultdict(list, x=1), defaultdict(lambda: 0, x=1), {"x": 1},
    deque([1]), deque([1], 1), deque([1], 2), deque(), deque([1, 1]), [1], [1, 1], UserDict(x=1), UserDict(x=2),
    UserList([1]), UserList([2]), with_attributes(OrderedDict(x=1), note=1), with_attributes(OrderedDict(x=1), note=2),
    {"x": 1, "y": 2}, Record(x=1), Bag([1]), Bag([2]),
]  # fmt: skip


@pytest.mark.parametrize("several", [CONTAINERS, OF_COLLECTIONS], ids=["built-in", "collections"])
def test_different_containers_never_share_a_form(several: list[object]) -> None:
    """Containers differ by kind, by items, by their order where it matters, and by what else they are made with."""
    for one, other in combinations(several, 2):
        assert form(one) != form(other), (one, other)
        assert form({"k": [one]}) != form({"k": [other]}), (one, other)
    assert len({form(each) for each in several}) == len(several)


def test_a_view_of_a_mapping_is_the_mapping() -> None:
    """A read-only view counts as the dict that it shows, and shows what becomes of it."""
    held: dict[str, object] = {"b": 1, "a": [2]}
    view = MappingProxyType(held)
    assert form(view) == form({"a": [2], "b": 1})
    held["a"] = 3
    assert form(view) == form({"a": 3, "b": 1})


numbers = st.lists(st.floats(allow_nan=False) | st.integers(-1, 1) | st.booleans(), max_size=12)


@given(numbers, numbers)
def test_lists_of_numbers_are_told_apart(one: list[Any], other: list[Any]) -> None:
    """Long lists of floats are read at once, and still differ from every other list and from tuples."""
    assert (form(one) == form(other)) == (repr(one) == repr(other))
    assert form(tuple(one)) != form(one)


@given(st.dictionaries(hashables, atoms, max_size=SMALL + 3), st.dictionaries(hashables, atoms, max_size=SMALL + 3))
def test_small_and_large_mappings_are_read_alike(one: dict[Any, Any], other: dict[Any, Any]) -> None:
    """Whether a mapping is small enough to be read at once says nothing of its form, alone and beside others."""
    assert (form(one) == form(other)) == (reference(one) == reference(other))
    assert mapping_form(one.items(), ValueReader()) == mapping_form([*one.items()][::-1], ValueReader())
    if is_small(one):
        assert form(one) == mapping_form(one.items(), ValueReader())


@pytest.mark.parametrize(
    ("held", "small"),
    [
        ({}, True),
        (dict.fromkeys(range(SMALL)), True),
        (dict.fromkeys(range(SMALL + 1)), False),
        ({"a": []}, False),
        ({("a",): 1}, False),
        ({"a": 1.0, 2: b"", None: True}, True),
    ],
)
def test_a_mapping_is_small_if_it_has_few_items_and_all_are_scalars(held: dict[Any, Any], small: bool) -> None:
    """One with many items, or with an item that holds others, is remembered when it is read."""
    assert is_small(held) is small


UNREADABLE = object()


@pytest.mark.parametrize(
    ("value", "trail"),
    [
        ([0, UNREADABLE], ["[1]"]),
        ((UNREADABLE,), ["[0]"]),
        ({"a": UNREADABLE, "b": 1}, ["['a']"]),
        ({7: UNREADABLE}, ["[7]"]),
        (OrderedDict(b=1, a=UNREADABLE), ["['a']"]),
        (defaultdict(list, a=UNREADABLE), ["['a']"]),
        (defaultdict("".join), [".default_factory"]),  # type: ignore[arg-type]
        (deque([0, UNREADABLE]), ["[1]"]),
        (Pair(1, UNREADABLE), ["[1]"]),
        (Plain(a=1, client=UNREADABLE), [".client"]),
        (Point(1, {"k": [UNREADABLE]}), ["[0]", "['k']", ".y"]),
        (with_attributes(Record(), note=UNREADABLE), [".note"]),
        ({UNREADABLE}, []),
        ({UNREADABLE: 1}, []),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_names_the_item_that_cannot_be_read(value: object, trail: list[str]) -> None:
    """The way leads through keys, indices and attributes; what lies in a set, or is a key, has no name."""
    with pytest.raises(UnreadableError) as caught:
        form(value)
    assert [step for step, _ in caught.value.trail] == trail


@pytest.mark.parametrize("wrap", [list, tuple, set, frozenset, deque], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("unreadable", [UNREADABLE, iter([]), "".join], ids=["object", "iterator", "method"])
def test_what_cannot_be_read_is_refused_in_every_container(wrap: Callable[[Any], Any], unreadable: object) -> None:
    """A value with hidden state inside another is refused, rather than left out."""
    for value in (wrap([unreadable]), {"k": wrap([unreadable])}, Plain(held=wrap([unreadable]))):
        with pytest.raises(UnreadableError):
            form(value)


def test_names_are_kept_apart_from_keys() -> None:
    """What an object holds by name is no mapping, and the order in which it was set does not count."""
    reader = argument_reader()
    assert attributes_form({"b": 1, "a": 2}, reader) == attributes_form({"a": 2, "b": 1}, reader)
    assert attributes_form({"a": 1}, reader) != mapping_form({"a": 1}.items(), reader)
    assert attributes_form({"a": 1}, reader) != attributes_form({"b": 1}, reader)
