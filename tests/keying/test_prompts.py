"""Where a prompt is taken from: functions that cannot have a similar history, or a last turn, are refused."""

from __future__ import annotations

from typing import Any

import pytest

from recallm import standalone
from recallm.errors import SignatureMismatchError
from recallm.keying.prompts import may_be_similar
from recallm.keying.signature import Binder

PROMPT = standalone(str)


def ask(messages: Any, model: str = "m") -> str:
    """Answer."""
    return "an answer"


def ask_any(**arguments: Any) -> str:
    """Answer."""
    return "an answer"


def question_of(question: str) -> str:
    """Answer."""
    return "an answer"


def untyped(question, messages=()):  # type: ignore[no-untyped-def]
    """Answer."""
    return "an answer"


@pytest.mark.parametrize(
    ("function", "history", "prompt", "told"),
    [
        (question_of, "similar", "question", "'question' is a str"),
        (ask, "similar", lambda kw: "text", "prompt= is a callable"),
        (ask, "similar", PROMPT, "prompt= is a callable"),
        (question_of, "equal", PROMPT, "argument='messages'"),
    ],
)
def test_a_function_without_messages_is_refused(function: Any, history: Any, prompt: Any, told: str) -> None:
    """A similar history, and a last turn, need an argument with messages; the message says what is lacking."""
    with pytest.raises(SignatureMismatchError, match=told):
        may_be_similar(history, prompt, Binder(function))


@pytest.mark.parametrize(
    ("function", "history", "prompt", "similar"),
    [
        (ask, "similar", "messages", True),
        (ask, "equal", "messages", False),
        (ask, "equal", PROMPT, False),
        (ask_any, "similar", "messages", True),
        (ask_any, "equal", PROMPT, False),
        (untyped, "similar", "question", True),
        (question_of, "equal", "question", False),
    ],
)
def test_a_function_that_may_get_messages_is_taken(function: Any, history: Any, prompt: Any, similar: bool) -> None:
    """What is not known to be a text may hold messages."""
    assert may_be_similar(history, prompt, Binder(function)) is similar
