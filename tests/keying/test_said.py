"""What a response says: the texts and calls of every known shape, whatever else the response holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.answers import ANSWERS, TEXT, Answer, dumped

from recallm.keying.said import Call, Said, said

FORMS: dict[str, Callable[[Answer], Any]] = {
    "dict": lambda answer: answer.body,
    "object": lambda answer: answer.read(answer.body),
    "dumped": lambda answer: dumped(answer.read(answer.body)),
}
IMAGE = {"mimeType": "image/png", "data": "UklGRg=="}
BY_NAME = {"audio": Call("audio", TEXT), "image": Call("inlineData", IMAGE)}


def expected(answer: Answer) -> Said:
    """Return what one of the answers of `support.answers` says."""
    if answer.name in BY_NAME:
        return Said("", (BY_NAME[answer.name],))
    if any(word in answer.name for word in ("tool", "function")):
        return Said("", (Call("f", {}),))
    return Said(TEXT, ())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "answer",
    [each for each in ANSWERS if each.whole and each.package != "instructor"],
    ids=lambda answer: f"{answer.package}: {answer.name}",
)
def test_a_vendors_answer_says_its_texts_and_calls(answer: Answer, form: str) -> None:
    """What a service sends, its SDK's object and the object's own dict say alike; thoughts are left out."""
    if form != "dict":
        pytest.importorskip(answer.package)
    found = said(FORMS[form](answer))
    assert found is not None
    if answer.name == "image" and form != "dict":  # An SDK has its own class, and names, for it.
        assert (found.text, len(found.calls)) == ("", 1)
    else:
        assert found == expected(answer)


def test_a_text_says_itself() -> None:
    """A text says itself, and a subclass of str the text that it is."""

    class Text(str):
        __slots__ = ()

        def __str__(self) -> str:
            return "something else"

    assert said("Within 30 days.") == said(Text("Within 30 days.")) == Said("Within 30 days.", ())


@pytest.mark.parametrize("response", [None, 3, b"a", {"answer": "a"}, ["a"], {}, object(), {"content": "a"}])
def test_what_is_no_known_shape_is_not_read(response: object) -> None:
    """Values and objects of one's own are left to be compared as values."""
    assert said(response) is None


def test_texts_stand_in_their_order_and_calls_are_decoded() -> None:
    """All parts are read, and arguments in JSON are told by their content, not by their spelling."""
    content = [
        {"type": "text", "text": "One."},
        "Two.",
        {"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1}},
    ]
    message = {"type": "message", "role": "assistant", "content": content, "stop_reason": "tool_use"}
    assert said(message) == Said("One.\nTwo.", (Call("f", {"a": 1}),))
    spelled = {"function": {"name": "f", "arguments": '{ "a": 1 }'}}
    chat = {"object": "chat.completion", "choices": [{"message": {"content": None, "tool_calls": [spelled]}}]}
    assert said(chat) == Said("", (Call("f", {"a": 1}),))
    broken = {"function": {"name": "f", "arguments": "{"}}
    chat["choices"][0]["message"]["tool_calls"] = [broken]  # type: ignore[index]  # a list of dicts
    assert said(chat) == Said("", (Call("f", "{"),))


def test_a_part_of_an_unknown_kind_is_told_by_all_that_it_holds() -> None:
    """Two parts of a kind that nobody knows differ if they hold something else; their ids do not count."""

    def message(url: str, number: int) -> dict[str, Any]:
        content = [{"type": "picture", "id": number, "url": url}]
        return {"type": "message", "role": "assistant", "content": content, "stop_reason": "end_turn"}

    assert said(message("a.png", 1)) == said(message("a.png", 2))
    assert said(message("a.png", 1)) != said(message("b.png", 1))
