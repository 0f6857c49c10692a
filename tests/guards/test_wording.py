"""Wording: duty, time and person, as the words of one prompt tell them."""

from __future__ import annotations

from collections import Counter

import pytest

from recallm.guards.wording import Grammar, wording_of


def read(prompt: str) -> Grammar:
    """Return the grammar of a prompt in lower case."""
    return wording_of(prompt.split()).grammar


@pytest.mark.parametrize(
    ("prompt", "modalities"),
    [
        ("can i pay", ["can"]),
        ("may i pay if i could", ["can", "can"]),
        ("must i pay if i should", ["must", "should"]),
        ("do i need to pay", ["need"]),
        ("do i have to pay", ["need"]),
        ("does she have to pay", ["must"]),
        ("need to pay", []),
        ("i need to pay", []),
        ("what do i need", []),
        ("how do i pay", []),
    ],
)
def test_every_modality_is_counted(prompt: str, modalities: list[str]) -> None:
    """A duty of oneself is a "need", and "need" is a duty before "to" only."""
    assert read(prompt).modalities == Counter(modalities)


@pytest.mark.parametrize(
    ("prompt", "is_ahead", "done"),
    [
        ("will it rain", True, set()),
        ("is it going to rain as expected", True, {"expected"}),
        ("is it going well", False, set()),
        ("has it rained", False, {"has", "rained"}),
        ("does it need to bleed", False, set()),
        ("might it rain", False, set()),
    ],
)
def test_words_tell_what_is_to_come_and_what_is_done(prompt: str, is_ahead: bool, done: set[str]) -> None:
    """What is done is told by "has", "was" and words that end in "-ed"."""
    assert (read(prompt).is_ahead, read(prompt).done) == (is_ahead, frozenset(done))


@pytest.mark.parametrize(
    ("prompt", "is_tensed", "is_past"),
    [("what was it", True, True), ("what is it", True, False), ("store fresh basil", False, False)],
)
def test_the_tense_is_that_of_common_verbs(prompt: str, is_tensed: bool, is_past: bool) -> None:
    """Only the verbs of a short list tell whether a prompt is about the past."""
    assert (read(prompt).is_tensed, read(prompt).is_past) == (is_tensed, is_past)


@pytest.mark.parametrize(("prompt", "third"), [("reset her password", True), ("reset my password", False)])
def test_a_third_person_is_told_by_a_pronoun(prompt: str, third: bool) -> None:
    """Pronouns tell of a third person."""
    assert read(prompt).has_third_person is third
