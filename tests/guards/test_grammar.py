"""Grammar: modality, tense and person of two prompts are told apart, whoever comes first."""

from __future__ import annotations

import pytest

from recallm.guards import grammar
from recallm.guards.evidence import unshared
from recallm.guards.prompt import parse


@pytest.mark.parametrize(
    ("one", "other", "modes"),
    [
        ("Must I pay?", "Can I pay?", {"must", "can"}),
        ("Do I have to pay?", "Must I pay?", set()),
        ("Should I pay?", "May I be able to pay?", {"should", "can"}),
        ("Do I pay?", "Must I pay?", set()),
        ("Should I pay?", "Do I need to pay?", set()),
        ("Ought I to pay?", "Do I have to pay?", set()),
        ("Should I pay?", "Must I pay?", {"should", "must"}),
        ("Should a tenant pay?", "Does a tenant have to pay?", {"should", "must"}),
        ("Do I need to pay?", "Can I pay?", {"need", "can"}),
        ("Can I pay by card?", "I need to pay by card", set()),
        ("I must work. Why is that?", "I must work. Why might that be?", set()),
        ("I must work. Can I eat?", "I must work. Should I eat?", {"can", "should"}),
    ],
)
def test_modalities_differ_if_both_prompts_have_one(one: str, other: str, modes: set[str]) -> None:
    """A prompt asks what one must, should or can do, or none of it; what both prompts say is not compared."""
    assert grammar.modalities(parse(one), parse(other)) == modes == grammar.modalities(parse(other), parse(one))


def test_open_questions_are_told_from_others() -> None:
    """A question word in both prompts makes an open question of both."""
    assert grammar.both_ask_openly(parse("What should I do?"), parse("What can I do?"))
    assert not grammar.both_ask_openly(parse("What should I do?"), parse("Can I do it?"))


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        ("Who was the king?", "Who is the king?", True),
        ("My flight was cancelled, am I paid?", "They cancelled my flight, am I paid?", False),
        ("I was told that by my boss", "My boss has told me that", False),
        ("Is the flight cancelled?", "Was the flight cancelled?", True),
        ("What was your best trip?", "What has been your best trip?", False),
        ("Kings of Spain", "Who was the king of Spain?", False),
    ],
)
def test_tenses_differ_between_past_and_present(one: str, other: str, differ: bool) -> None:
    """The passive voice is no other tense, and a prompt without a verb has none."""
    assert grammar.tenses_differ(parse(one), parse(other)) is differ
    assert grammar.tenses_differ(parse(other), parse(one)) is differ


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        ("Orders that will ship", "Orders that shipped", True),
        ("Orders that will ship", "Orders that ship", False),
        ("Will my order be shipped?", "Is my order shipped?", True),
        ("Will I need a visa?", "Do I need a visa?", False),
        ("I was bitten. Will I be ill?", "I was bitten. Am I ill?", False),
        ("I was bitten. Could it be rabies?", "I was bitten. Might it be rabies?", False),
    ],
)
def test_what_is_to_come_is_told_from_what_is_done(one: str, other: str, differ: bool) -> None:
    """What "will" be is ahead; what ends in "-ed" is done, unless both prompts say so."""
    assert grammar.one_is_ahead_and_one_done(parse(one), parse(other)) is differ
    assert grammar.one_is_ahead_and_one_done(parse(other), parse(one)) is differ


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        ("How do I pay?", "How does she pay?", True),
        ("My wife is ill. What helps her?", "My wife is ill. What helps me?", True),
        ("My husband snores. Why?", "Why does my husband snore? He is old", False),
        ("How do I pay?", "How can I pay?", False),
    ],
)
def test_persons_differ_if_only_one_prompt_is_about_a_third(one: str, other: str, differ: bool) -> None:
    """A pronoun for somebody whom both prompts name is no other person."""
    a, b = parse(one), parse(other)
    assert grammar.persons_differ(a, b, unshared(a, b)) is differ
    assert grammar.persons_differ(b, a, unshared(b, a)) is differ


@pytest.mark.parametrize(
    ("prompt", "infinitive"),
    [("How to pay", True), ("a way to pay", True), ("from Rome to Paris", False), ("how to get to Paris", False)],
)
def test_a_direction_is_told_from_an_infinitive(prompt: str, infinitive: bool) -> None:
    """A "to" after "how", "want" and the like stands before a verb."""
    assert grammar.is_infinitive("to", parse(prompt)) is infinitive
