"""Decisive words: degree, tense, place, and how many, in prompts that are equal otherwise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recallm.guards.decisive import asks_for_the_other_side, decisive_words_agree
from recallm.guards.prompt import parse

DEGREES = [
    ("a cheap flat in Graz", "the cheapest flat in Graz", False),
    ("Is there a late bus?", "Is there a later bus?", False),
    ("Which is the larger lake?", "Which is the largest lake?", False),
    ("Name a big port", "Can you name the biggest port?", False),
    ("Show me a pretty garden", "Show me the prettiest garden", False),
    ("Find a comfortable chair", "Find the most comfortable chair", False),
    ("Is it a more dangerous sport?", "Is it the most dangerous sport?", False),
    ("Is it a good deal?", "Is it a better deal?", False),
    ("What is a good way to relax?", "What is the best way to relax?", True),
    ("What is a fast way to relax?", "What is the fastest way to relax?", True),
    ("What is a good tent?", "What is the best tent?", True),
    ("How do I run fast?", "How do I run faster?", True),
    ("What are some common faults?", "What are some of the most common faults?", True),
    ("Name a tall tree", "Tell me the name of a tree that is tallest in the wood", True),
    ("What does it cost to work?", "What does it cost a worker?", True),
    ("Where is the cheapest flat?", "Where's the cheapest flat?", True),
]

CLOSED_CLASSES = [
    ("May I bring a tent and a stove?", "May I bring a tent or a stove?", False),
    ("List rows where a is 1 and b is 2", "List rows where a is 1 or b is 2", False),
    ("Which is better, tea or milk?", "Which is better, tea and milk?", True),
    ("Is it made of tin and zinc?", "Is it made of zinc or tin?", True),
    ("Did many voters stay home?", "Did few voters stay home?", False),
    ("Did many voters stay home?", "Did a lot of voters stay home?", True),
    ("Did many voters stay home?", "Did lots of voters stay home?", True),
    ("Have several trains stopped?", "Has one train stopped?", False),
    ("Clean it every week", "Clean it every other week", False),
    ("Do nearly all snakes bite?", "Do all snakes bite?", False),
    ("Do both keys fit?", "Does either key fit?", False),
    ("Is either key right?", "Is neither key right?", False),
    ("Is it safe on the roof?", "Is it safe under the roof?", False),
    ("Is it below the roof?", "Is it under the roof?", True),
    ("Shall I go into the tunnel?", "Shall I go out of the tunnel?", False),
    ("Who is in front of the house?", "Who is behind the house?", False),
    ("Can I walk around the field?", "Can I walk over the field?", False),
    ("Put it over the bed", "Put it above the bed", True),
    ("Put it over the bed", "Put it on the bed", True),
]

TENSES = [
    ("Who is painting the hall?", "Who has painted the hall?", False),
    ("What is she writing?", "What did she write?", False),
    ("Where do the owls live?", "Where have the owls lived?", False),
    ("Where does the owl live?", "Where did the owl live?", False),
    ("Is the gate open?", "Was the gate open?", False),
    ("How many owls live in the barn?", "How many owls lived in the barn?", False),
    ("Who lives here?", "Who lived here?", False),
    ("Recipe with grilled cheese", "Recipe with grill cheese", True),
    ("Recipes explained", "Explain recipes", True),
    ("Do I need a visa?", "Is a visa needed?", True),
    ("What has changed?", "What changed?", True),
    ("Is the gate open?", "Could the gate be open?", True),
]


@pytest.mark.parametrize(("one", "other", "agree"), [*DEGREES, *CLOSED_CLASSES, *TENSES])
def test_decisive_words_agree_unless_they_exclude_each_other(one: str, other: str, agree: bool) -> None:
    """Words of different degree, tense, place or number do not agree; rewordings and what only frames a request do."""
    assert decisive_words_agree(parse(one), parse(other)) is agree
    assert decisive_words_agree(parse(other), parse(one)) is agree


@pytest.mark.parametrize(
    ("one", "other", "asks"),
    [
        ("Who sued Ann?", "Who did Ann sue?", True),
        ("What melts iron?", "What does iron melt?", True),
        ("Who taught Ann?", "Who did Ann teach?", True),
        ("Which firm owns the port?", "Which firm does the port own?", True),
        ("Who will hire Ann?", "Who will Ann hire?", True),
        ("Who sued Ann in May?", "Who did Ann sue in May?", True),
        ("Who sued Ann?", "Who did sue Ann?", False),
        ("Who sued Ann?", "Who did Ben sue?", False),
        ("What do owls eat?", "What can owls eat?", False),
        ("What is the port called?", "What is called the port?", False),
        ("Sue Ann", "Ann sue", False),
        ("", "Who did Ann sue?", False),
    ],
)
def test_questions_for_subject_and_object_are_told_apart(one: str, other: str, asks: bool) -> None:
    """Who does something to somebody is not to whom he does it."""
    assert asks_for_the_other_side(parse(one), parse(other)) is asks
    assert asks_for_the_other_side(parse(other), parse(one)) is asks


WORDS = st.lists(
    st.sampled_from("who did ann sue sued a the cheap cheaper cheapest most good and or on under both either".split()),
    max_size=8,
).map(" ".join)


@given(WORDS, WORDS)
def test_neither_depends_on_which_prompt_comes_first(one: str, other: str) -> None:
    """A prompt agrees with itself, and with another one as that does with it."""
    a, b = parse(one), parse(other)
    assert decisive_words_agree(a, a)
    assert decisive_words_agree(a, b) is decisive_words_agree(b, a)
    assert asks_for_the_other_side(a, b) is asks_for_the_other_side(b, a)
