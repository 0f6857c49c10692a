"""Evidence: what differs between two prompts is found, named and weighed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recallm.guards.default import DEFAULT_GUARDS
from recallm.guards.evidence import MAX_EXCHANGED_WORDS, WEIGHTS, Evidence, compare

TABLE: list[tuple[Evidence, str, str]] = [
    (Evidence.OPPOSITES, "How do I encrypt a disk?", "How do I decrypt a disk?"),
    (Evidence.OPPOSITE_PLACES, "Who won the cup?", "When was the cup won?"),
    (Evidence.KINDS, "Is the shop open on Monday?", "Is the shop open on Friday?"),
    (Evidence.NAMES, "Best hotels in Murray county", "Best hotels in Floyd county"),
    (Evidence.A_NAME, "Best hotels in Murray county", "Best hotels in the county"),
    (Evidence.ORDER_OF_NAMES, "Did Ann or Bob win?", "Did Bob or Ann win?"),
    (Evidence.NEGATION, "Is basil safe for dogs?", "Is basil not safe for dogs?"),
    (Evidence.RESTRICTION, "Which courses are there?", "Which free courses are there?"),
    (Evidence.PHRASE, "How do I install Docker?", "How do I install Docker on Windows?"),
    (Evidence.SPECIAL_EXCHANGE, "How do I peel basil?", "How do I water basil?"),
    (Evidence.COMMON_EXCHANGE, "How do I store basil?", "How do I grow basil?"),
    (Evidence.SPECIAL_WORDING, "Peel the basil in my garden", "My basil needs water in that garden"),
    (Evidence.COMMON_WORDING, "Grow the basil in my garden", "My basil needs water in that garden"),
    (Evidence.SPECIAL_INSERTION, "How do I peel basil?", "How do I peel frozen basil?"),
    (Evidence.COMMON_INSERTION, "How do I peel basil?", "How do I easily peel basil?"),
    (Evidence.SPECIAL_ADDITION, "How do I peel basil?", "Should frozen basil be peeled, and how?"),
    (Evidence.COMMON_ADDITION, "How do I peel basil?", "Should basil be peeled easily, and how?"),
    (Evidence.SMALL_EXCHANGE, "How can I peel basil?", "How does one peel frozen basil?"),
    (Evidence.ADVICE, "Should I peel basil?", "Can I peel basil?"),
    (Evidence.MODALITY, "Must I peel basil?", "Can I peel basil?"),
    (Evidence.TENSE, "Who was the king of Spain?", "Who is the king of Spain?"),
    (Evidence.TIME, "Orders that shipped", "Orders that will ship"),
    (Evidence.PERSON, "How do I peel basil?", "How does she peel basil?"),
]


def test_every_evidence_has_exactly_one_weight() -> None:
    """`WEIGHTS` holds each member of `Evidence` once, and nothing else."""
    assert set(WEIGHTS) == set(Evidence)
    assert len(WEIGHTS) == len(Evidence)


@pytest.mark.parametrize(("evidence", "one", "other"), TABLE)
def test_a_difference_is_found_in_either_order(evidence: Evidence, one: str, other: str) -> None:
    """Two prompts differ in what the table says of them, whichever of them is the stored one."""
    found, turned = compare(one, other), compare(other, one)
    assert evidence in found.evidence
    assert (turned.evidence, turned.weight) == (found.evidence, found.weight)
    assert (turned.ours, turned.theirs) == (found.theirs, found.ours)


def test_every_evidence_has_a_row() -> None:
    """The table has an example of each member of `Evidence`."""
    assert {evidence for evidence, _, _ in TABLE} == set(Evidence)


@pytest.mark.parametrize(("evidence", "one", "other"), TABLE)
def test_a_guard_refuses_whatever_speaks_against_one_answer(evidence: Evidence, one: str, other: str) -> None:
    """No evidence is forgotten by all guards: a pair whose differences weigh enough is refused."""
    refused = not all(guard(one, other) for guard in DEFAULT_GUARDS)
    assert refused or compare(one, other).weight <= 0


@given(st.text())
def test_a_prompt_does_not_differ_from_itself(prompt: str) -> None:
    """There is no evidence between equal prompts, and they may share an answer."""
    found = compare(prompt, prompt)
    assert (found.ours, found.theirs, found.evidence) == ((), (), frozenset())
    assert found.weight < 0


def test_equivalent_words_are_no_difference() -> None:
    """Synonyms, other forms of a word, joined words and initials explain each other."""
    for one, other in (
        ("repair my bicycle", "fix my bike"),
        ("cancelling an order", "cancel an order"),
        ("a screen saver", "a screensaver"),
        ("a vpn", "a virtual private network"),
    ):
        assert compare(one, other).ours == () == compare(other, one).theirs, one


def test_a_long_stretch_of_other_words_is_rewording() -> None:
    """An exchange has at most `MAX_EXCHANGED_WORDS` words; more count as other wording, which weighs less."""
    words = "zinc lamp moss kite dune fern".split()
    for count in range(1, len(words) + 1):
        found = compare("Paint the fence", f"Paint {' '.join(words[:count])}").evidence
        assert (Evidence.SPECIAL_EXCHANGE in found) == (count <= MAX_EXCHANGED_WORDS)
        assert (Evidence.SPECIAL_WORDING in found) == (count > MAX_EXCHANGED_WORDS)


def test_the_same_difference_weighs_less_in_prompts_that_differ_more() -> None:
    """One exchanged word decides between prompts that are otherwise equal, and hardly in much rewording."""
    alike = compare("How do I encrypt the disk of my laptop?", "How do I decrypt the disk of my laptop?")
    reworded = compare("How do I encrypt the disk of my laptop?", "On a notebook, what would decrypt its drive?")
    assert Evidence.OPPOSITES in alike.evidence & reworded.evidence
    assert alike.weight > reworded.weight


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("How do I pair my phone with the radio?", "What's the way to pair my laptop with the radio?", False),
        ("What are the prices on Sundays?", "How much do you charge on Saturdays?", False),
        ("Sort a list of dicts by a key", "How can a list of dictionaries be sorted by one of their keys?", True),
        ("Is there a ship museum in Zwolle?", "I am looking for a museum about ships, is one in Assen?", False),
    ],
)
def test_one_word_of_a_kind_tells_however_the_request_is_framed(one: str, other: str, same: bool) -> None:
    """Two members of a kind, or two names, are an exchange if hardly anything else is unexplained."""
    assert all(guard(one, other) for guard in DEFAULT_GUARDS) is same


@pytest.mark.parametrize(
    ("asked", "same"),
    [
        ("Can I keep it for the journey home?", False),
        ("Write a note to the agency about the noise.", False),
        ("What can I do about it?", True),
    ],
)
def test_a_story_is_told_to_ask_something_about_it(asked: str, same: bool) -> None:
    """Prompts that begin with the same story differ if they ask different things, and not in framing words alone."""
    story = "I rented a car last week and the gears make a loud noise."
    assert all(guard(f"{story} Who pays the repair?", f"{story} {asked}") for guard in DEFAULT_GUARDS) is same
