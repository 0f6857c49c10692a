"""Earlier turns of messages: their texts can be taken out, and all else about them is kept to be equal."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from keying.making import form

from recallm.keying.chat import Taken, take_prompt
from recallm.records import Turn

IMAGE = {"type": "image_url", "image_url": {"url": "data:1"}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "search", "arguments": "{}"}}


def dicts(*texts: str, **first: Any) -> list[Any]:
    """Return messages as dicts, the user's first and last."""
    turns = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)]
    return [{**turns[0], **first}, *turns[1:]]


def objects(*texts: str) -> list[Any]:
    """Return messages as objects."""
    return [SimpleNamespace(**message) for message in dicts(*texts)]


def pairs(*texts: str) -> list[Any]:
    """Return messages as LangChain takes them."""
    return [(("human", "ai")[at % 2], text) for at, text in enumerate(texts)]


def langchain(*texts: str) -> list[Any]:
    """Return messages as LangChain's objects."""
    return [SimpleNamespace(type=("human", "ai")[at % 2], content=text, tool_calls=[]) for at, text in enumerate(texts)]


def gemini(*texts: str) -> list[Any]:
    """Return the contents of Gemini."""
    return [{"role": ("user", "model")[at % 2], "parts": [{"text": text}]} for at, text in enumerate(texts)]


def responses(*texts: str) -> list[Any]:
    """Return the input items of OpenAI's Responses."""
    kinds = ("input_text", "output_text")
    return [
        {"role": ("user", "assistant")[at % 2], "content": [{"type": kinds[at % 2], "text": text}]}
        for at, text in enumerate(texts)
    ]


def pydantic_ai(*texts: str) -> list[Any]:
    """Return the requests and responses of pydantic-ai."""
    kinds = (("request", "user-prompt"), ("response", "text"))
    return [
        SimpleNamespace(kind=kinds[at % 2][0], parts=[SimpleNamespace(part_kind=kinds[at % 2][1], content=text)])
        for at, text in enumerate(texts)
    ]


SHAPES: list[Any] = [dicts, objects, pairs, langchain, gemini, responses, pydantic_ai]


def taken(messages: Any) -> Taken:
    """Return what is taken out of messages with the history."""
    found = take_prompt(messages, with_history=True)
    assert found is not None
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_the_texts_before_the_prompt_are_the_history(shape: Any) -> None:
    """Users' and assistants' texts are found in messages of every usual shape."""
    found = taken(shape("Who wrote Emma?", "Jane Austen.", "When?"))
    assert (found.text, found.history) == (
        "When?",
        (Turn("user", "Who wrote Emma?"), Turn("assistant", "Jane Austen.")),
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_other_texts_leave_the_same_rest(shape: Any) -> None:
    """Conversations that differ in the texts of turns alone share the rest, unless the history is to be equal."""
    one, other = shape("a", "b", "c"), shape("d", "e", "f")
    assert form(taken(one).rest) == form(taken(other).rest)
    plain = [take_prompt(each) for each in (one, other)]
    assert form(plain[0].rest) != form(plain[1].rest)  # type: ignore[union-attr]  # there is a prompt


@pytest.mark.parametrize(
    "other",
    [
        [{"role": "system", "content": "Be brief."}, *dicts("a", "b", "c")],
        dicts("a", "b", "c", "d", "e"),
        [*dicts("a"), *dicts("b"), *dicts("c")],
        dicts("a", "b", "c", name="Ann"),
        dicts("a", "b", "c", content=["a"]),
        [*dicts("a"), {"role": "assistant", "content": "b", "tool_calls": [CALL]}, *dicts("c")],
        [{"role": "user", "content": [{"type": "text", "text": "a"}, IMAGE]}, *dicts("a", "b", "c")[1:]],
        [*dicts("a", "b", "c"), {"role": "assistant", "content": "Sure:"}],
    ],
)
def test_all_but_the_texts_of_turns_is_kept(other: list[Any]) -> None:
    """System prompts, number and roles of turns, names, tool calls, images and prefills must be equal."""
    assert form(taken(dicts("a", "b", "c")).rest) != form(taken(other).rest)


@pytest.mark.parametrize(
    "between", [{"role": "tool", "content": "{}", "tool_call_id": "call_1"}, {"role": "system", "content": "{}"}]
)
def test_what_is_no_turn_stays_as_it_is(between: dict[str, str]) -> None:
    """Results of tools and instructions in the midst of a conversation are no turns, and must be equal."""
    one, other = ([*dicts("a", "b"), {**between, "content": text}, *dicts("c")] for text in ("one", "other"))
    assert taken(one).history == (Turn("user", "a"), Turn("assistant", "b"))
    assert form(taken(one).rest) != form(taken(other).rest)


def test_a_mapping_that_holds_messages_is_looked_into() -> None:
    """Messages may lie in a mapping or an object, as in a request of a library."""
    messages = dicts("a", "b", "c")
    assert taken({"messages": messages}).history == taken(SimpleNamespace(messages=messages)).history
    assert taken({"messages": messages}).history == (Turn("user", "a"), Turn("assistant", "b"))


def test_a_text_has_no_history() -> None:
    """A prompt that is no conversation comes without turns."""
    assert taken("Hi").history == taken({"question": "Hi"}).history == ()
