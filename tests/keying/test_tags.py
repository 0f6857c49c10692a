"""The tags of an answer are a few names, each once."""

from __future__ import annotations

from typing import Any

import pytest

from recallm.errors import InvalidTypeError, InvalidValueError
from recallm.keying.tags import MAX_TAGS, checked_tags, named, tags_of


@pytest.mark.parametrize(
    ("given", "expected"),
    [("one", ("one",)), (["b", "a", "b"], ("b", "a")), ({"a"}, ("a",)), ((), ()), ({"k": 1}.keys(), ("k",))],
)
def test_tags_are_names_each_once(given: Any, expected: tuple[str, ...]) -> None:
    """A str is one tag; of a collection each name counts once, in its order."""
    assert named(given) == expected


@pytest.mark.parametrize("given", [None, 1, b"a", {"a": 1}, [1], [None]])
def test_what_is_no_collection_of_str_is_refused(given: Any) -> None:
    """Other types raise, and no message quotes what may be a user's id."""
    with pytest.raises(InvalidTypeError, match="tags"):
        named(given)


@pytest.mark.parametrize("given", ["", [""], [str(number) for number in range(MAX_TAGS + 1)]])
def test_empty_names_and_too_many_are_refused(given: Any) -> None:
    """A tag is a non-empty str, and an answer has a bounded number of them."""
    with pytest.raises(InvalidValueError, match="tags"):
        named(given)


def test_a_callable_gets_the_arguments_and_the_response() -> None:
    """What it returns is read as a fixed collection is."""
    assert tags_of(lambda kw, response: [kw["a"], response], {"a": "one"}, "two") == ("one", "two")
    assert tags_of(("one",), {}, "two") == ("one",)
    assert checked_tags(None) is None
