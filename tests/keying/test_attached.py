"""What is known of objects as long as they live."""

from __future__ import annotations

import gc
from typing import Any
from weakref import ref

import pytest

from recallm.keying.attached import Attached


class Thing:
    """An object that equals every other, and cannot be hashed."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]  # that is the point


def test_each_object_has_its_own_value() -> None:
    """Objects are told by their identity, whatever they say of themselves, and the first value stays."""
    known: Attached[str] = Attached()
    one, other = Thing(), Thing()
    assert (known.keep(one, "a"), known.keep(other, "b"), known.keep(one, "c")) == ("a", "b", "a")
    assert (known.get(one), known.get(other), known.get(Thing())) == ("a", "b", None)


def test_nothing_is_left_of_a_dead_object() -> None:
    """With an object its value goes, and the object does not live any longer for having one."""
    known: Attached[str] = Attached()
    for number in range(100):
        thing = Thing()
        known.keep(thing, str(number))
    gone = ref(thing)
    del thing
    gc.collect()
    assert (len(known), gone()) == (0, None)


def test_a_later_object_in_a_dead_ones_place_has_no_value() -> None:
    """Even if the end of an object went unnoticed, another one that lies where it lay has nothing of it."""
    known: Attached[str] = Attached()
    one, other = Thing(), Thing()
    known.keep(one, "of one")
    known._held[id(other)] = known._held.pop(id(one))
    assert known.get(other) is None
    assert known.keep(other, "of other") == known.get(other) == "of other"
    del one
    gc.collect()
    assert known.get(other) == "of other"


@pytest.mark.parametrize("value", [(), {}, 1, object()])
def test_an_object_without_weak_references_takes_no_value(value: Any) -> None:
    """Of an object whose end nobody tells, nothing is kept."""
    known: Attached[str] = Attached()
    with pytest.raises(TypeError):
        known.keep(value, "a")
    assert (known.get(value), len(known)) == (None, 0)
