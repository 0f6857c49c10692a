"""Words: which are equivalent, opposed, of one kind, common, or no part of what a request is about."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recallm.guards.words import are_equivalent, are_of_one_kind, are_opposed, is_common, is_request_word


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
    ],
)
def test_equivalent_words(one: str, other: str) -> None:
    """Spellings, forms, synonyms and their forms, abbreviations and typing errors are equivalent."""
    assert are_equivalent(one, other)
    assert are_equivalent(other, one)


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
