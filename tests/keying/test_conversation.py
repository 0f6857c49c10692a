"""Conversations as text: written so that no two are alike, and read without trusting what is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recallm.keying.conversation import read, written
from recallm.records import Turn

turns = st.lists(st.builds(Turn, st.sampled_from(["user", "assistant"]), st.text(max_size=8)), max_size=4)


@given(turns, st.text(max_size=8))
def test_a_conversation_is_read_as_it_was_written(history: list[Turn], prompt: str) -> None:
    """Reading gives the earlier turns and the prompt, whatever characters they hold."""
    assert read(written(history, prompt)) == (*history, Turn("user", prompt))


@given(turns, turns, st.text(max_size=3), st.text(max_size=3))
def test_only_equal_conversations_are_written_alike(one: list[Turn], other: list[Turn], mine: str, theirs: str) -> None:
    """Two conversations share their text if and only if all their turns are equal."""
    assert (written(one, mine) == written(other, theirs)) == ((one, mine) == (other, theirs))


@pytest.mark.parametrize(
    "text",
    [
        "Hi",
        "[]",
        "{}",
        "[[]]",
        "null",
        '[["user"]]',
        '[["user", 1]]',
        '[["system", "a"], ["user", "b"]]',
        '[["user", "a"], ["assistant", "b"]]',
        '[["user", "a", "b"]]',
        '[[["user"], "a"], ["user", "b"]]',
        "[" * 100_000,
    ],
)
def test_a_text_that_is_no_conversation_has_no_turns(text: str) -> None:
    """What was not written by this module, or ends with no prompt, is read as nothing."""
    assert read(text) is None


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    """Reading raises for no text."""
    assert read(text) is None or text.lstrip().startswith("[")
