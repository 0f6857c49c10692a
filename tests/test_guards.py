"""Guards: what each refuses, and what it must let pass."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recallm.guards import DEFAULT_GUARDS, numbers_agree


@pytest.mark.parametrize(
    ("one", "other", "agree"),
    [
        ("Refund within 30 days?", "Refund within 90 days?", False),
        ("Refund within 30 days?", "Can I get a refund within 30 days?", True),
        ("Is 30 days the limit?", "Is the limit 30 days?", True),
        ("Refund?", "Refund within 30 days?", False),
        ("1 and 2", "2 and 1", True),
        ("1 and 1", "1", False),
        ("1.5 kg", "15 kg", False),
        ("version 3.11", "version 3.1", False),
        ("3 of 10", "10 of 30", False),
        ("How do I pay?", "How can I pay?", True),
        ("", "", True),
    ],
)
def test_numbers_agree(one: str, other: str, agree: bool) -> None:
    """The same numbers, as often, wherever they stand."""
    assert numbers_agree(one, other) is agree


@pytest.mark.parametrize("guard", DEFAULT_GUARDS)
@given(st.text(), st.text())
def test_a_guard_is_a_symmetric_predicate(guard: object, one: str, other: str) -> None:
    """It never raises, allows a prompt for itself, and does not mind which prompt came first."""
    assert callable(guard)
    assert guard(one, one)
    assert guard(one, other) == guard(other, one)
