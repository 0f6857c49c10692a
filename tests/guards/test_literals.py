"""Literals: what they are, and when a prompt has those of another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recallm.guards.default import DEFAULT_GUARDS
from recallm.guards.literals import has_literals, literals_of, shared_operators


@pytest.mark.parametrize(
    ("prompt", "literals"),
    [
        ("What does `len(x)` do?", {"len(x)"}),
        ("grep -v --count", {"-v", "--count"}),
        ("Delete /etc/hosts and C:\\tmp", {"/etc/hosts", "C:\\tmp"}),
        ("set user_id or camelCase", {"user_id", "camelCase"}),
        ('what is "ghosting"?', {"ghosting"}),
        ("error E404, ask @ann or me@home", {"E404", "@ann", "me@home"}),
        ("what is pow(2, 8), or apple(s)?", {"pow(2, 8)"}),
        ("is it 3.11 in the U.S. or a Ph.D.?", set()),
        ("is 3 <= 4 or x == y", {"<=", "=="}),
    ],
)
def test_literals_stand_as_they_are(prompt: str, literals: set[str]) -> None:
    """Code, options, paths, identifiers, addresses and quoted text keep their capitals and signs."""
    assert set(literals_of(prompt)) == literals


@pytest.mark.parametrize(
    ("prompt", "literal", "has"),
    [
        ("What is a PS5?", "PS-5", True),
        ("What is a PS 5?", "PS-5", True),
        ("What does user id hold?", "user_id", True),
        ("Why does get user name fail?", "getUserName", True),
        ("What does length do?", "len", False),
        ("What is foo != bar?", "foo == bar", False),
        ("What does grep v do?", "-v", False),
        ("What does grep -v do?", "-v", True),
        ("What is C?", "C#", False),
        ("What is c# for?", "C#", True),
        ("Who is ghosting!", "ghosting", True),
        ("aab " * 100, "aba", False),
    ],
)
def test_punctuation_counts_only_where_it_decides(prompt: str, literal: str, has: bool) -> None:
    """A literal is found whatever stands between its letters, but whole, and with its signs if it is short."""
    assert has_literals(prompt, [literal]) is has


@given(st.text())
def test_a_prompt_has_its_own_literals(prompt: str) -> None:
    """Whatever a prompt holds, all literals in it are found in it."""
    assert shared_operators(prompt, prompt) == shared_operators(prompt, f"{prompt} ")
    assert all(has_literals(prompt, [literal]) for literal in literals_of(prompt) if literal.strip())


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("jaguar -car site:a.com filetype:pdf", "jaguar filetype:pdf -car site:a.com", True),
        ("after:2025-01-01 tag:release-notes", "tag:release-notes after:2025-01-01", True),
        ("jaguar -car site:a.com", "car -jaguar site:a.com", False),
        ("jaguar site:a.com", "jaguar site:a.org", False),
        ("cats OR dogs", "dogs OR cats", True),
        ("cats NOT dogs", "dogs NOT cats", False),
        ('"tea time" cake', 'cake "tea time"', True),
    ],
)
def test_search_operators_stand_in_any_order(one: str, other: str, same: bool) -> None:
    """The order of search operators is free; what they hold is not."""
    assert all(guard(one, other) for guard in DEFAULT_GUARDS) is same
    assert all(guard(other, one) for guard in DEFAULT_GUARDS) is same
