"""Numerals: how numbers are written, in one spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recallm.guards.numerals import is_number, plain
from recallm.guards.prompt import parse


def numbers(prompt: str) -> list[str]:
    """Return the numbers of a prompt."""
    return [number.text for number in parse(prompt).numbers]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("2024-01-02, 2024/1/2", "2024-01-02 2024-01-02"),
        ("2 Jan 2024, January 2nd, 2024, the 2nd of January 2024", "2024-01-02 2024-01-02 2024-01-02"),
        ("on May 5, on 5 May", "05-05 05-05"),
        ("on 01/02/2024", "01/02/2024"),
        ("at 7:30 pm, at 19:30, at 12 am", "19:30 19:30 0:00"),
        ("10-20, 10 - 20, 10\u201320, 10 to 20, 10 minus 20", "10 20 10 20 10 20 10 20 10 20"),
        ("9am-5pm", "9:00 17:00"),
        ("555-123-4567, (555) 123-4567, +1 (555) 123-4567", "555-123-4567 555-123-4567 15551234567"),
        ("10.0.0.1/24, v2.0.1, 3.10, 3.1", "10.0.0.1/24 2.0.1 3.10 3.1"),
        ("3/4, \u00bd", "3/4 1/2"),
        ("-20, \u221220, minus 20, negative 20, (-20), -$20, $-20", "-20 -20 -20 -20 -20 -20 -20"),
        ("PS-5, top-10, F-16", "5 10 16"),
        ("UTC-5, UTC+5", "-5 5"),
        ("1e-5, 1E5", "1e-5 1e5"),
        (".5, 0.5, -.5", "0.5 0.5 -0.5"),
        ("5.0, 5.00, 5.000", "5 5 5.000"),
        ("3,5 Liter, 1.000 Euro", "3,5 1.000"),
        ("f(2,8), [1,2], 1,2,3", "2 8 1 2 1 2 3"),
        ("1,500, 1,234,567, 1,00,000, 0,500", "1500 1234567 100000 0,500"),
        ("1.5k, $3m, 2 million", "1500 3000000 2000000"),
        ("half an hour, an hour and a half, two and a half hours", "0.5 1.5 2.5"),
        ("half a million", "500000"),
        ("18+", "18"),
        ("the 21st, the 1st, the 22nd", "21 1st 22"),
        ("b2b, mp3, 5kg", "2 3 5"),
    ],
)
def test_numbers_have_one_spelling(prompt: str, expected: str) -> None:
    """A date, a time, a version, a fraction, a telephone number or an amount is one number, however it is written."""
    assert numbers(prompt) == expected.split()


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("2+2", "2 plus 2"),
        ("2 * 3 / 4", "2 times 3 divided by 4"),
        ("2^10 or 2**10", "2 power 10 or 2 power 10"),
        ("10 - 3", "10 to 3"),
        ("18+", "18 or more"),
    ],
)
def test_operators_are_words(prompt: str, words: str) -> None:
    """Operators between numbers are words, so that "2 + 2" is "2 plus 2" and not "2 * 2"."""
    assert parse(prompt).words == tuple(words.split())


@given(st.text("0123456789.,:/-+eE stndrhaApmMJjJan()$%k\u00b2\u2167", max_size=30))
def test_any_text_is_read(prompt: str) -> None:
    """Whatever signs stand beside digits, numbers begin with a digit or a minus, and read alike in their spelling."""
    for number in parse(prompt).numbers:
        assert is_number(number.text)
        assert plain(number.text) == number.text
