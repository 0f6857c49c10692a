"""Courtesies: what a prompt says besides what it asks is left out, and nothing that it asks is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recallm.guards.courtesies import without_courtesies
from recallm.guards.prompt import parse

ASKED = "how do i sort a list"


@pytest.mark.parametrize(
    "prompt",
    [
        "Hi, how do I sort a list?",
        "Hi team, how do I sort a list?",
        "Hello there! How do I sort a list?",
        "Dear Sir or Madam, how do I sort a list?",
        "hey claude how do I sort a list",
        "Good morning - how do I sort a list?",
        "Hi,\nhow do I sort a list?\n\nBest,\nAnn",
        "How do I sort a list? Kind regards, Ann Lee",
        "How do I sort a list? Have a nice day!",
        "How do I sort a list? Thanks in advance.",
        "I'm really stuck. How do I sort a list?",
        "Please could you, if you don't mind... how do I sort a list? tysm",
    ],
)
def test_a_courtesy_is_left_out(prompt: str) -> None:
    """Greetings, whom they greet, thanks, worries and signatures ask for nothing."""
    assert " ".join(parse(prompt).words).removeprefix("please could you ") == ASKED


@pytest.mark.parametrize(
    "prompt",
    [
        "Hey Jude, who wrote it?",
        "Hello world in C",
        "How do I say hi there in French?",
        "Which is best, coke or pepsi?",
        "How do I take care of a dog?",
        "Who sends regards to whom in the play?",
    ],
)
def test_what_is_asked_about_stays(prompt: str) -> None:
    """A name after a greeting, and a courtesy amid a question, may be what the prompt is about."""
    assert without_courtesies(prompt) == prompt


@given(st.text())
def test_a_prompt_gets_no_longer(prompt: str) -> None:
    """Whatever a prompt holds, courtesies are taken out of it, and nothing but white space is put in."""
    left = without_courtesies(prompt)
    assert len(left.split()) <= len(prompt.split())
