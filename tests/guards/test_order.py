"""Order: parts of a prompt that have changed places, and the stretch in which two prompts differ."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recallm.guards.order import MOST_WORDS, is_turned_round, trimmed


@pytest.mark.parametrize(
    ("one", "other", "turned"),
    [
        ("convert miles to inches", "convert inches to miles", True),
        ("fly from london to new york", "fly from new york to london", True),
        ("my boss called me", "i called my boss", True),
        ("move files from x to y and delete x", "move files from y to x and delete y", True),
        ("repair a bike before a car", "fix a car before a bicycle", True),
        ("compare tea and coffee", "compare coffee and tea", False),
        ("is tea or coffee better", "is coffee or tea better", False),
        ("is it worth it to move", "to move is it worth it", False),
        ("convert miles to inches", "convert miles to inches", False),
        ("convert miles to inches", "convert inches to metres", False),
    ],
)
def test_parts_that_have_changed_places(one: str, other: str, turned: bool) -> None:
    """Two parts have changed places, unless they are joined by "and" or "or", or one of them is gone."""
    assert is_turned_round(one.split(), other.split()) is turned
    assert is_turned_round(other.split(), one.split()) is turned


def test_two_exchanged_words_are_found_in_prompts_of_any_length() -> None:
    """Longer parts that have changed places are looked for in prompts of at most `MOST_WORDS` words."""
    rest = ["word"] * MOST_WORDS
    assert is_turned_round(["tea", "beats", "ale", *rest], ["ale", "beats", "tea", *rest])
    long, turned = "new york beats old york".split(), "old york beats new york".split()
    assert is_turned_round(long, turned)
    green, black = "green tea beats black ale".split(), "black ale beats green tea".split()
    assert is_turned_round(green, black)
    assert not is_turned_round([*green, *rest], [*black, *rest])


@pytest.mark.parametrize(
    ("one", "other", "rest"),
    [
        ("the red car", "the blue car", ("red", "blue")),
        ("the car", "the blue car", ("", "blue")),
        ("a a", "a a a", ("", "a")),
        ("same words", "same words", ("", "")),
        ("one", "other", ("one", "other")),
        ("", "words", ("", "words")),
    ],
)
def test_what_lies_between_a_common_beginning_and_end(one: str, other: str, rest: tuple[str, str]) -> None:
    """The words that two prompts share at their beginning and at their end are taken off, each once."""
    assert tuple(" ".join(words) for words in trimmed(one.split(), other.split())) == rest


WORDS = st.lists(st.sampled_from("from to and tea coffee i me my boss calls".split()), max_size=7)


@given(WORDS, WORDS)
def test_no_order_of_prompts_is_preferred(one: list[str], other: list[str]) -> None:
    """Parts have changed places between two prompts in both orders or in neither; no prompt differs from itself."""
    assert is_turned_round(one, other) == is_turned_round(other, one)
    assert not is_turned_round(one, one)
