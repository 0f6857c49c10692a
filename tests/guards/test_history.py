"""Facts of conversations: the numbers, names and literals of one are all in the other, or its answer does not serve."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recallm.guards.history import histories_agree, places_agree
from recallm.guards.prompt import MAX_CHARS
from recallm.records import Turn


def turns(*texts: str) -> list[Turn]:
    """Return a history, the user's turn first."""
    return [Turn(("user", "assistant")[at % 2], text) for at, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("one", "other", "agree"),
    [
        (("Is 30 days the limit?", "Yes."), ("Is the limit 30 days?", "Yes."), True),
        (("Is 30 days the limit?", "Yes."), ("Is 90 days the limit?", "Yes."), False),
        (("Hotels in Rome?", "Many."), ("Hotels in Oslo?", "Many."), False),
        (("I live in Rome.", "Nice."), ("i live in rome.", "Nice."), True),
        (("Hotels in Rome?", "Many."), ("Hotels?", "Many."), True),
        (("Hotels in Rome?", "Many."), ("Hotels?", "Many in Oslo."), False),
        (("Fix `main.py`.", "Done."), ("Fix `test.py`.", "Done."), False),
        (("Two hotels?", "The Anker and the Krone."), ("Two hotels?", "The Krone and the Anker."), False),
        (("Is it the Anker or the Krone?", "Yes."), ("Is it the Krone or the Anker?", "Yes."), True),
        (("First 3, then 4.", "It is 3, then 4."), ("First 3, then 4.", "It is 4, then 3."), False),
    ],
)
def test_what_is_named_must_be_named_by_the_other(one: tuple[str, ...], other: tuple[str, ...], agree: bool) -> None:
    """One history may name less than the other, but nothing else; what assistants name must come in the same order."""
    assert histories_agree(turns(*one), turns(*other)) is agree
    assert histories_agree(turns(*other), turns(*one)) is agree


IDEAS = (("Two ideas?", "Go hiking, or go swimming."), ("Two ideas?", "Go swimming, or go hiking."))


@pytest.mark.parametrize(
    ("prompt", "histories", "agree"),
    [
        ("More on the first one.", IDEAS, False),
        ("And the latter?", IDEAS, False),
        ("Tell me about the third.", IDEAS, False),
        ("Tell me about option 2.", IDEAS, False),
        ("Mehr zur zweiten Idee?", IDEAS, False),
        ("Et la première ?", IDEAS, False),
        ("¿Y la segunda?", IDEAS, False),
        ("Which is cheaper?", IDEAS, True),
        ("What do I need first?", IDEAS, True),
        ("More on the first one.", (IDEAS[0], ("Give me two ideas.", "Go hiking, or else swimming.")), True),
        ("The second option?", (("Buy or rent?", "Rent."), ("Rent or buy?", "Rent.")), False),
    ],
)
def test_what_a_prompt_points_to_stands_in_the_same_place(prompt: str, histories: Any, agree: bool) -> None:
    """What two histories share comes in the same order if the last turn says which of it is meant by a place."""
    one, other = (turns(*each) for each in histories)
    assert places_agree(one, other, [prompt, "Why?"]) is agree
    assert places_agree(other, one, ["Why?", prompt]) is agree


def test_a_long_history_agrees_with_itself_alone() -> None:
    """A history that is too long to be judged in the midst of a call must be equal."""
    long = turns("word " * MAX_CHARS)
    assert histories_agree(long, long)
    assert not histories_agree(long, turns("word " * MAX_CHARS + "more"))


texts = st.lists(st.sampled_from(["Rome 3", "the Krone", "`a.py`", "yes", "4 then 3", ""]), max_size=4)


@given(texts, texts)
def test_the_verdict_does_not_depend_on_whose_history_is_stored(one: list[str], other: list[str]) -> None:
    """Two histories agree in either order, and each with itself."""
    mine, theirs = turns(*one), turns(*other)
    assert histories_agree(mine, mine)
    assert histories_agree(mine, theirs) == histories_agree(theirs, mine)
