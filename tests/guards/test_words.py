"""Words: which are equivalent, opposed, of one kind, common, or no part of what a request is about."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recallm.guards.word_lists import request_words, words_in_any_list
from recallm.guards.words import (
    KEPT_WORDS,
    _is_said_by,
    any_of_one_kind,
    are_equivalent,
    are_of_one_kind,
    are_opposed,
    equivalents,
    is_common,
    is_request_word,
    opposed,
    said_by,
)

LISTED = st.sampled_from(sorted(words_in_any_list()))
FORMS = st.builds(str.__add__, LISTED, st.sampled_from(["s", "es", "ed", "ing", "er", "less", "ful", "ly"]))
NEGATED = st.builds(str.__add__, st.sampled_from(["un", "in", "dis", "non", "non-", "de"]), LISTED)
MISTYPED = st.builds(
    lambda word, at, letters: word[: at % len(word)] + letters + word[at % len(word) + 1 :],
    LISTED,
    st.integers(0, 12),
    st.sampled_from(["", "a", "se", "-", "ou"]),
).filter(bool)
WORDS_OF_TWO_PROMPTS = st.lists(LISTED | FORMS | NEGATED | MISTYPED, max_size=6)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("colour", "color"),
        ("organise", "organize"),
        ("e-mail", "email"),
        ("cancel", "cancelling"),
        ("reply", "replies"),
        ("game", "gaming"),
        ("bought", "buy"),
        ("fridge", "refrigerator"),
        ("repairing", "fix"),
        ("monday", "mon"),
        ("subscription", "subscripton"),
        ("cancel", "cancle"),
        ("subscription", "subscriptoin"),
        ("subscription", "sbuscription"),
    ],
)
def test_equivalent_words(one: str, other: str) -> None:
    """Spellings, forms, synonyms and their forms, abbreviations and typing errors are equivalent."""
    assert are_equivalent(one, other)
    assert are_equivalent(other, one)
    assert equivalents([one], ["tea", other]) == {one: other}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("enable", "disable"),
        ("monday", "tuesday"),
        ("dog", "cat"),
        ("10", "100"),
        ("cat", "cut"),
        ("branch", "brunch"),
        ("cancel", "cancer"),
        ("a" * 41, "a" * 40 + "b"),
    ],
)
def test_words_that_are_not_equivalent(one: str, other: str) -> None:
    """Opposites, members of one kind, numbers, known words, and short words and long keys that nearly match differ."""
    assert not are_equivalent(one, other)
    assert not are_equivalent(other, one)


@pytest.mark.parametrize(
    ("one", "other", "opposed"),
    [
        ("import", "export", True),
        ("legal", "illegal", True),
        ("useful", "useless", True),
        ("ripe", "unripe", True),
        ("care", "careless", True),
        ("import", "imports", False),
        ("tea", "team", False),
        ("ear", "unear", False),
    ],
)
def test_opposites_are_listed_or_formed(one: str, other: str, opposed: bool) -> None:
    """Opposites are in the list, or one is the other with a negating prefix or with "less" at its end."""
    assert are_opposed(one, other) is opposed
    assert are_opposed(other, one) is opposed


@pytest.mark.parametrize(
    ("one", "other", "of_one_kind"),
    [
        ("monday", "friday", True),
        ("miles", "inches", True),
        ("python", "java", True),
        ("monday", "mon", False),
        ("dog", "dogs", False),
        ("moves", "moving", False),
        ("dicts", "dictionaries", False),
        ("dicts", "tuples", True),
        ("monday", "java", False),
    ],
)
def test_members_of_one_kind_are_different_things(one: str, other: str, of_one_kind: bool) -> None:
    """Two members of one kind differ, unless they are synonyms or forms of one word."""
    assert are_of_one_kind(one, other) is of_one_kind
    assert are_of_one_kind(other, one) is of_one_kind


@pytest.mark.parametrize(
    ("word", "frames", "common"),
    [
        ("please", True, True),
        ("how", True, True),
        ("improve", False, True),
        ("improving", False, True),
        ("safely", False, True),
        ("sorted", False, True),
        ("basil", False, False),
        ("fly", False, False),
    ],
)
def test_request_words_are_common_and_common_words_have_forms(word: str, frames: bool, common: bool) -> None:
    """Request words are common; so are the listed common words, their regular forms, and adverbs in "-ly"."""
    assert is_request_word(word) is frames
    assert is_common(word) is common


WORDS = st.text("abcdeilnrstuy-", min_size=1, max_size=9)


@given(WORDS, WORDS)
def test_relations_do_not_mind_the_order_of_two_words(one: str, other: str) -> None:
    """Whatever two words are, each relation holds in both orders or in neither, and a word is equivalent to itself."""
    for relation in (are_equivalent, are_opposed, are_of_one_kind):
        assert relation(one, other) == relation(other, one)
    assert are_equivalent(one, one)


def test_each_word_has_the_first_of_its_equivalents() -> None:
    """Of several words that a word is equivalent to, the first one counts."""
    assert equivalents(["fridge", "tea"], ["coffee", "fridges", "refrigerator"]) == {"fridge": "fridges"}


def related(words: list[str]) -> list[str]:
    """Return words, and for each what differs from it in an ending or a letter."""
    return [
        *words,
        *(word + "s" for word in words),
        *(word[:-1] for word in words),
        *(word[:2] + word[3:] for word in words),
    ]


@given(WORDS_OF_TWO_PROMPTS, WORDS_OF_TWO_PROMPTS)
def test_what_is_found_among_many_words_is_found_word_by_word(ours: list[str], theirs: list[str]) -> None:
    """Sets of words relate as their words do, each compared with each."""
    others = [word for word in [*theirs, *related(ours)] if word]
    first = {word: next((other for other in others if are_equivalent(word, other)), None) for word in ours}
    assert equivalents(ours, others) == {word: other for word, other in first.items() if other is not None}
    pairs = {(one, other) for one in ours for other in others}
    assert opposed(set(ours), set(others)) == {pair for pair in pairs if are_opposed(*pair)}
    assert any_of_one_kind(ours, others) is any(are_of_one_kind(*pair) for pair in pairs)


def test_words_are_judged_alike_however_many_were_met() -> None:
    """A word that is no longer kept is looked up again."""
    assert are_equivalent("fridge", "refrigerator")
    assert not any(are_equivalent("fridge", f"word{number}") for number in range(KEPT_WORDS + 1))
    assert are_equivalent("fridge", "refrigerator")


@given(WORDS_OF_TWO_PROMPTS, st.lists(st.sampled_from(sorted(request_words())), max_size=6, unique=True))
def test_what_request_words_say_is_found_word_by_word(words: list[str], framing: list[str]) -> None:
    """Many words are said by the same request words as each of them alone."""
    others = [word for word in [*words, *related(framing)] if word and word not in framing]
    first = {word: next((each for each in framing if _is_said_by(word, each)), None) for word in others}
    assert said_by(others, framing) == {word: each for word, each in first.items() if each is not None}
