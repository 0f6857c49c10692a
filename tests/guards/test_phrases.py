"""Phrases: some words in a row count as one word, ask for a form or time, or are left out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recallm.guards.phrases import phrases_in
from recallm.guards.prompt import parse


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("Get rid of ants", "remove ants"),
        ("I got rid of ants", "i remove ants"),
        ("figuring out a path", "determine a path"),
        ("Explain it in short", "explain it briefly"),
        ("Explain it to a five-year-old", "explain it to a 5 year old"),
        ("By the way, is it far?", "is it far"),
        ("Set up the thing", "setup the thing"),
        ("the most recent news", "the latest news"),
    ],
)
def test_a_phrase_counts_as_one_word(prompt: str, words: str) -> None:
    """A phrase is replaced by its word, in each form of its first word; a filler is left out."""
    parsed = parse(prompt)
    assert parsed.words == tuple(words.split())
    assert len(parsed.original) == len(parsed.words)


@pytest.mark.parametrize(
    ("prompt", "asks_for"),
    [
        ("List it as JSON", {"as-json"}),
        ("In a nutshell, what was on this week?", {"briefly", "this-week"}),
        ("Explain it like I'm five", {"for-child"}),
        ("Get rid of ants", set()),
        ("What is a nutshell?", set()),
    ],
)
def test_a_phrase_asks_for_a_form_or_a_time(prompt: str, asks_for: set[str]) -> None:
    """What a prompt asks for besides its subject is named as in the lists."""
    assert parse(prompt).asks_for == asks_for


def test_the_longest_phrase_counts() -> None:
    """Where several phrases begin, the longest is found, and none that overlaps it."""
    assert [phrase.words for _, _, phrase in phrases_in("put it in a table format now".split())] == [
        ("in", "a", "table", "format"),
        ("now",),
    ]


def test_a_name_that_is_a_phrase_stays_a_name() -> None:
    """The word for a phrase has a capital if the phrase has one."""
    assert parse("Is it cheap in the United Kingdom?").names == {"uk"}


@given(st.lists(st.sampled_from("in a table get rid of by the way at once short detail as json".split())))
def test_phrases_do_not_overlap(words: list[str]) -> None:
    """Phrases are found from left to right, each where its words are."""
    before = 0
    for at, end, phrase in phrases_in(words):
        assert at >= before
        before = end
        assert tuple(words[at:end]) == phrase.words
