"""Which classes and functions among the arguments are remembered as they were read."""

from __future__ import annotations

import gc
from weakref import ref

from recallm.keying.lives import LASTING, MAX_LIVES, PASSING, Lives


class Thing:
    """An object to be remembered."""


def reading(lives: Lives[object], *values: object) -> list[object]:
    """Return what is remembered, or made anew, of some objects in one reading."""
    lives.turn()
    return [lives.of(value, frozenset(), object) for value in values]


def test_what_comes_with_many_calls_is_made_no_more() -> None:
    """An object that was met in enough readings has what was made for it, and another object has its own."""
    lives: Lives[object] = Lives()
    one, other = Thing(), Thing()
    made = [reading(lives, one, other) for _ in range(PASSING + 3)]
    assert len({id(each) for each, _ in made}) > PASSING
    assert made[-1][0] is made[-2][0] is not made[-1][1]
    assert made[-1][1] is made[-2][1]


def test_the_names_left_out_count() -> None:
    """What is left out in an object makes another reading of it."""
    lives: Lives[object] = Lives()
    one = Thing()
    for _ in range(PASSING + 2):
        whole = reading(lives, one)[0]
        part = lives.of(one, frozenset(("a",)), object)
    assert reading(lives, one)[0] is whole is not part
    assert lives.of(one, frozenset(("a",)), object) is part


def test_an_object_of_one_call_is_not_kept_alive() -> None:
    """However often one reading meets an object, and in as many readings as one call takes, it may die."""
    lives: Lives[object] = Lives()
    one = Thing()
    for _ in range(PASSING):
        reading(lives, *[one] * 20)
    gone = ref(one)
    del one
    gc.collect()
    assert gone() is None


def test_an_object_that_has_gone_out_of_use_is_forgotten() -> None:
    """What is not met any more is not kept alive for ever."""
    lives: Lives[object] = Lives()
    one, other = Thing(), Thing()
    for _ in range(PASSING + 2):
        reading(lives, one)
    gone = ref(one)
    del one
    for _ in range(LASTING + 2):
        reading(lives, other)
    gc.collect()
    assert gone() is None


def test_no_more_than_so_many_are_remembered() -> None:
    """Of many objects, those that were met last are remembered."""
    lives: Lives[object] = Lives()
    things = [Thing() for _ in range(MAX_LIVES + 5)]
    for begin in range(0, len(things), 10):
        for _ in range(PASSING + 2):
            known = reading(lives, *things[begin : begin + 10])
    assert reading(lives, things[-1]) == known[-1:]
    assert len(lives._kept) == len(lives._met) == MAX_LIVES


def test_a_later_object_in_a_dead_ones_place_starts_anew() -> None:
    """How often an object was met says nothing of another one that comes to lie in its place."""
    lives: Lives[object] = Lives()
    places, gone = set(), []
    for _ in range(10 * PASSING):
        value = Thing()
        places.add(id(value))
        gone.append(ref(value))
        reading(lives, value)
        del value
    gc.collect()
    assert len(places) < PASSING
    assert [each() for each in gone] == [None] * len(gone)
