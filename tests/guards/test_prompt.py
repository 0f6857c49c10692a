"""Parsing: the words of a prompt in one spelling, its numbers, names, negations and literals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recallm.guards.numerals import SPELLED_OUT
from recallm.guards.prompt import capital_forms, parse


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("", ""),
        ("How do I pay?", "how do i pay"),
        ("I can't, won't and don't pay", "i can not will not and do not pay"),
        ("What's up, and who's there?", "what is up and who is there"),
        ("no matter what", "whatever what"),
        ("Ann\u2019s car", "ann car"),
        ("thank you very much, how are you", "how are you"),
        ("sign-in on a seven-day trial", "sign-in on a 7 day trial"),
        ("twenty-one, third and twice", "21 3 and 2"),
        ("first and second", "first and second"),
        ("$5 & 3 %", "dollar 5 and 3 percent"),
        ("7:30 pm or 12 am", "19:30 or 0:00"),
        ("1,500 or 1.50", "1500 or 1.50"),
        ("5k, 2 million, $3m", "5000 2000000 dollar 3000000"),
        ("C++ or C#", "c++ or c#"),
        ("the U.S. Army, e.g. a Ph.D. of the U.S.A.", "the usa army eg a phd of the usa"),
        ("Überweisung auf später", "überweisung auf später"),
    ],
)
def test_words_have_one_spelling(prompt: str, words: str) -> None:
    """Contractions are expanded, courtesies dropped, and numbers, times and signs written in one way."""
    assert parse(prompt).words == tuple(words.split())


@pytest.mark.parametrize(
    ("prompt", "numbers"),
    [
        ("no numbers", ()),
        ("ten of 2 or 10", ("10", "2", "10")),
        ("the 21st in line", ("21",)),
        ("the 1st and the 2nd", ("1st", "2nd")),
        ("the first second", ()),
        ("version 3.11", ("3.11",)),
    ],
)
def test_numbers_are_in_digits_and_in_their_order(prompt: str, numbers: tuple[str, ...]) -> None:
    """Numbers are given in digits, with their places; "first" and "second" have other meanings and are none."""
    parsed = parse(prompt)
    assert tuple(number.text for number in parsed.numbers) == numbers
    assert all(SPELLED_OUT.get(text, text) == parsed.words[place] for text, place in parsed.numbers)


@pytest.mark.parametrize(
    ("prompt", "names"),
    [
        ("How old is Ada Lovelace?", {"ada", "lovelace"}),
        ("Paris is where? Rome is where?", set()),
        ("NASA flies. I do not", {"nasa"}),
        ("HOW OLD IS ADA LOVELACE", set()),
        ('He said "Yes" to Ada', {"ada"}),
    ],
)
def test_names_have_capitals_inside_a_sentence(prompt: str, names: set[str]) -> None:
    """A word with a capital is a name unless it begins a sentence or a quotation, or all the prompt is in capitals."""
    assert parse(prompt).names == names


@pytest.mark.parametrize(
    ("prompt", "negations"),
    [
        ("I can not pay", 1),
        ("Why can't I never pay without a card?", 3),
        ("Isn't it safe?", 0),
        ("Isn't bread bad?", 0),
        ("Can't I pay?", 0),
        ("Can't log in", 1),
        ("Did not arrive", 1),
        ("It is unable to start", 1),
        ("It refuses to start", 1),
    ],
)
def test_negations_are_counted(prompt: str, negations: int) -> None:
    """Each negating word counts, but for the "not" of a question that begins with its verb and subject."""
    assert parse(prompt).negations == negations


@given(st.text())
def test_words_and_their_originals_correspond(prompt: str) -> None:
    """Whatever a prompt holds, its words are not empty, and each has its original."""
    parsed = parse(prompt)
    assert len(parsed.words) == len(parsed.original)
    assert all(parsed.words)
    assert parsed.vocabulary == set(parsed.words)
    assert parsed.names <= parsed.vocabulary


def test_capital_forms_leave_out_the_first_word() -> None:
    """The first word of a prompt has a capital whatever it means; others are "aa", "Aa" or "AA"."""
    words = {"may", "polish"}
    assert capital_forms(parse("Polish shoes in MAY, or may I have Polish shoes"), words) == {
        "may": {"AA", "aa"},
        "polish": {"Aa"},
    }
    assert capital_forms(parse("Polish shoes"), words) == {}
