"""Arguments that are kept apart from the caller's."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from recallm.keying.apart import DEPTH, apart_from

values = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=2), inner, max_size=3)
        | st.sets(st.integers(), max_size=3)
    ),
    max_leaves=10,
)


def emptied(value: Any) -> None:
    """Empty every container in a value that can be."""
    if isinstance(value, list | tuple):
        for each in value:
            emptied(each)
    if isinstance(value, dict):
        for each in value.values():
            emptied(each)
    if isinstance(value, list | dict | set):
        value.clear()


@given(values)
def test_a_copy_is_equal_and_stays_so(value: Any) -> None:
    """A copy is equal and of the same types, and no change of the original's containers reaches it."""
    copy = apart_from(value)
    before = repr(value)
    assert copy == value
    emptied(value)
    assert repr(copy) == before


def test_other_objects_stay_the_same() -> None:
    """What is no plain container is the same object in the copy: a client must not be copied."""

    class Client(list[int]):
        pass

    client = Client([1])
    (copy,) = apart_from([{"client": client}])
    assert copy["client"] is client


def test_what_contains_itself_is_copied() -> None:
    """A list that contains itself ends in a copy that contains itself."""
    value: list[Any] = [1]
    value.append(value)
    copy = apart_from(value)
    assert copy is not value
    assert copy[1] is copy


def test_what_lies_too_deep_is_not_copied() -> None:
    """Copying ends at a depth, so that no nesting exhausts the stack."""
    innermost: list[Any] = []
    value = innermost
    for _ in range(DEPTH + 5):
        value = [value]
    copy = apart_from(value)
    for _ in range(DEPTH + 5):
        copy = copy[0]
    assert copy is innermost
