"""Manner: the form, manner and time that two prompts ask for are the same, or they need other answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recallm.guards.manner import MOST_APPENDED_WORDS, manners_agree
from recallm.guards.prompt import parse
from recallm.guards.word_lists import lines_of

QUESTION = "How are tides made?"
PHRASES = [
    phrase for name in ("forms", "times") for line in lines_of(name) for phrase in line.partition(": ")[2].split(", ")
]


def agree(one: str, other: str) -> bool:
    """Return whether two prompts agree in manner, in either order."""
    agreed = manners_agree(parse(one), parse(other))
    assert manners_agree(parse(other), parse(one)) is agreed
    return agreed


@pytest.mark.parametrize("phrase", PHRASES)
def test_a_form_or_time_of_one_prompt_only_is_refused(phrase: str) -> None:
    """Each phrase of the lists asks for something, before a prompt and after it."""
    assert not agree(QUESTION, f"How are tides made {phrase}?")
    assert not agree(QUESTION, f"{phrase}, how are tides made?")
    assert agree(f"How are tides made {phrase}?", f"{phrase}, how are tides made?")


@pytest.mark.parametrize(
    "phrase",
    [
        "as a dialogue",
        "like a news anchor",
        "using emojis only",
        "for my grandmother",
        "so that my aunt understands",
        "since the war",
        "and cite two papers",
        "enthusiastically",
        "then make it rhyme",
    ],
)
def test_what_is_appended_is_refused_if_no_list_has_it(phrase: str) -> None:
    """A phrase that opens with a preposition, an instruction or an adverb changes what is asked for."""
    assert not agree(QUESTION, f"How are tides made, {phrase}?")


@pytest.mark.parametrize("addition", ["for me", "please tell me", "to you", "usually", "and why", "really"])
def test_what_adds_nothing_is_let_through(addition: str) -> None:
    """Who asks, and words that ask for no other answer, are no manner."""
    assert agree(QUESTION, f"How are tides made {addition}?")


def test_a_long_stretch_is_no_manner() -> None:
    """A clause of more than `MOST_APPENDED_WORDS` words is left to the other guards."""
    for count in range(1, MOST_APPENDED_WORDS + 3):
        words = " ".join("zinc lamp moss kite dune fern gold wind rain sand".split()[: count - 1])
        assert agree(QUESTION, f"How are tides made for {words}") == (count == 1 or count > MOST_APPENDED_WORDS), count


def test_the_present_may_be_left_unsaid_in_a_rewording() -> None:
    """Only beside an otherwise equal prompt does "now" ask for another answer; "today" always does."""
    assert agree("Who is now the tallest man?", "Which man is the tallest?")
    assert not agree("Who is the tallest man now?", "Who is the tallest man?")
    assert not agree("Who is today the tallest man?", "Which man is the tallest?")


@given(st.text(), st.text())
def test_any_prompts_can_be_compared(one: str, other: str) -> None:
    """Whatever prompts hold, the order does not matter, and a prompt agrees with itself."""
    assert agree(one, one)
    agree(one, other)
