"""Tokens of objects that cannot be read: their own while they live, and nobody's afterwards."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from functools import partial
from itertools import count
from weakref import ref

import pytest

from recallm.keying.tokens import Opaque, Tokens


class Open:
    """An object that takes weak references."""

    held: object


class Closed:
    """An object that takes none."""

    __slots__ = ("held",)

    held: object


def tokens() -> Tokens:
    """Return tokens that are random, as those of a process."""
    return Tokens(partial(os.urandom, 16))


def test_an_object_keeps_its_token_and_shares_it_with_nobody() -> None:
    """The same object has the same token, another one another, and other tokens know nothing of it."""
    known, one, other = tokens(), Open(), Open()
    assert known.of(one) == known.of(one) != known.of(other)
    assert tokens().of(one) != known.of(one)


def test_a_token_is_not_inherited_by_a_later_object() -> None:
    """An object that comes to lie where a dead one lay gets another token."""
    known = tokens()
    given, places = set(), set()
    for _ in range(50):
        value = Open()
        places.add(id(value))
        given.add(known.of(value))
        del value
    assert len(places) < 50
    assert len(given) == 50


def test_an_object_without_weak_references_gets_a_new_token_each_time() -> None:
    """Nothing tells when such an object is gone, so that a token would be another object's in the end."""
    known, value = tokens(), Closed()
    assert known.of(value) != known.of(value)


def numbered() -> Opaque:
    """Return what tells opaque objects by numbers, in the order in which they get them."""
    numbers = count(1)
    return Opaque(Tokens(lambda: b"%d" % next(numbers)))


@pytest.mark.parametrize("make", [Open, Closed])
def test_the_first_object_in_a_place_is_told_by_nothing_and_no_other_is(make: Callable[[], object]) -> None:
    """The first object of each place counts as nothing as long as it is there; what takes its place has a token."""
    opaque, one, other = numbered(), make(), make()
    assert [opaque.told(1, one), opaque.told(1, one), opaque.told(2, other)] == [b"", b"", b""]
    later = opaque.told(1, other)
    assert later
    assert opaque.told(1, other) == later
    assert opaque.told(1, make()) not in (b"", later)


def test_objects_that_take_turns_are_known_again() -> None:
    """The first object of a place is always told by nothing, and a later one by its token if it has its own."""
    opaque, one, other = numbered(), Open(), Open()
    first, second = opaque.told(1, one), opaque.told(1, other)
    assert [opaque.told(1, each) for each in (one, other, one)] == [first, second, first]
    closed = Closed()
    assert opaque.told(2, closed) == b"" != opaque.told(2, Closed())
    assert opaque.told(2, closed) == b""


@pytest.mark.parametrize("kinds", [(Open, Closed), (Closed, Open)])
def test_objects_of_both_kinds_may_follow_each_other(kinds: tuple[Callable[[], object], ...]) -> None:
    """Whatever takes whose place, no two different objects are told by the same."""
    opaque = numbered()
    one, other = (make() for make in kinds)
    seen = [(each, opaque.told(1, each)) for each in (one, other, one, other, one)]
    for value, told in seen:
        assert all(told != others for each, others in seen if each is not value)
    assert {told for value, told in seen if value is other}.isdisjoint({b""})


def test_nobody_but_the_first_is_told_by_nothing_after_it_died() -> None:
    """The end of the first object leaves its place to nobody."""
    opaque, given = numbered(), []
    for _ in range(50):
        value = Open()
        given.append(opaque.told(1, value))
        del value
    assert given[0] == b""
    assert b"" not in given[1:]


def test_only_what_is_in_its_place_is_kept_alive() -> None:
    """What a place held before, and whatever lies in that, is left to die."""
    opaque, gone = numbered(), []
    for at in range(50):
        value: Closed | Open = Closed() if at % 2 else Open()
        value.held = held = Open()
        gone.append(ref(held))
        opaque.told(1, value)
        del value, held
    gc.collect()
    assert sum(each() is not None for each in gone) <= 1
    opaque.told(1, Open())
    gc.collect()
    assert [each() for each in gone] == [None] * len(gone)
