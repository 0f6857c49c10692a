"""The shapes in which people and libraries write messages: in each the user's question is the prompt."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import pytest
from keying.making import Bag, Plain, Record, Tagged, form, with_attributes
from pydantic import BaseModel
from support.ids import named

from recallm.keying.chat import take_prompt


class Role(Enum):
    """Roles as an enum."""

    USER = "user"
    MODEL = "model"


class TextRole(str, Enum):  # noqa: UP042  # as libraries define it
    """Roles as an enum of texts."""

    USER = "User"


class Part(BaseModel):
    """A part as Gemini's library defines it: one of the fields is set."""

    text: str | None = None
    inline_data: bytes | None = None


class Content(BaseModel):
    """A content as Gemini's library defines it."""

    role: str | None = None
    parts: list[Part] | None = None


class Human(BaseModel):
    """A message as LangChain defines it: the type is the role."""

    content: str | list[Any]
    type: str = "human"
    additional_kwargs: dict[str, Any] = {}


class ChatPromptValue(BaseModel):
    """A prompt value of LangChain that holds messages."""

    messages: list[Human]


class StringPromptValue(BaseModel):
    """A prompt value of LangChain that holds a text."""

    text: str


@dataclass
class UserPart:
    """What a user says, as pydantic-ai defines it."""

    content: Any
    timestamp: int = 0
    part_kind: str = "user-prompt"


@dataclass
class SystemPart:
    """What the system says, likewise."""

    content: str
    part_kind: str = "system-prompt"


@dataclass
class ModelRequest:
    """A request of pydantic-ai, whose parts have the roles."""

    parts: list[Any]
    instructions: str | None = None
    kind: str = "request"


@dataclass
class ModelResponse:
    """A response of pydantic-ai."""

    parts: list[Any] = field(default_factory=list)
    kind: str = "response"


class RoleOfClass:
    """A message whose role is its class's."""

    role = "user"

    def __init__(self, content: str) -> None:
        self.content = content


class RoleOfProperty:
    """A message whose role is computed, and so runs code."""

    def __init__(self, content: str) -> None:
        self.content = content

    @property
    def role(self) -> str:
        """Fail."""
        raise RuntimeError


CALLED = {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": {"name": "f"}}]}
USED = {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "input": {}}]}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "42"}]}

Shape = Callable[[Any], Any]

SHAPES: dict[str, Shape] = {
    "text": lambda q: q,
    "dict": lambda q: [{"role": "user", "content": q}],
    "two turns": lambda q: [{"role": "user", "content": "x"}, {"role": "user", "content": q}],
    "one dict": lambda q: {"role": "user", "content": q},
    "human": lambda q: [{"role": "Human", "content": q}],
    "upper case": lambda q: [{"role": "USER", "content": q}],
    "enum": lambda q: [{"role": Role.USER, "content": q}, {"role": Role.MODEL, "content": "x"}],
    "enum of texts": lambda q: [{"role": TextRole.USER, "content": q}],
    "object": lambda q: [Plain(role="user", content=q)],
    "one object": lambda q: Plain(role=Role.USER, content=q),
    "text field": lambda q: [{"role": "user", "text": q}],
    "tuple": lambda q: ({"role": "user", "content": q},),
    "pair": lambda q: [("system", "s"), ("user", q)],
    "pair as list": lambda q: [["human", q]],
    "one pair": lambda q: ("user", q),
    "pair and dict": lambda q: [("user", "x"), {"role": "user", "content": q}],
    "parts": lambda q: [{"role": "user", "content": [{"type": "text", "text": q}, {"type": "image_url", "u": 1}]}],
    "bare part": lambda q: [{"role": "user", "content": {"type": "text", "text": q}}],
    "part object": lambda q: [{"role": "user", "content": [Plain(type="text", text=q)]}],
    "texts": lambda q: ["x", q],
    "role of the class": lambda q: [RoleOfClass(q)],
    "class attribute and dict": lambda q: [RoleOfClass("x"), {"role": "user", "content": q}],
    "str subclass": lambda q: [{"role": "user", "content": with_attributes(Tagged(q), language="fr")}],
    "list subclass": lambda q: with_attributes(Bag([{"role": "user", "content": q}]), session=1),
    "dict subclass": lambda q: [with_attributes(Record(role="user", content=q), note=1)],
    "trailing tool": lambda q: [{"role": "user", "content": q}, CALLED, {"role": "tool", "content": "42"}],
    "trailing function": lambda q: [{"role": "user", "content": q}, {"role": "function", "name": "f", "content": "1"}],
    "usual name": lambda q: {"question": q, "temperature": 0},
    "messages by name": lambda q: {"messages": [{"role": "user", "content": q}], "question": "x"},
    "contents by name": lambda q: {"contents": q},
    "responses": lambda q: [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": q}]}],
    "responses call": lambda q: [
        {"role": "user", "content": q},
        {"type": "function_call", "call_id": "c", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "42"},
    ],
    "anthropic": lambda q: [{"role": "user", "content": [{"type": "text", "text": q, "cache_control": {}}]}],
    "anthropic tool": lambda q: [{"role": "user", "content": q}, USED, RESULT],
    "converse": lambda q: [{"role": "user", "content": [{"text": q}, {"image": {"format": "png"}}]}],
    "gemini": lambda q: [{"role": "user", "parts": [{"text": q}]}, {"role": "model", "parts": [{"text": "x"}]}],
    "gemini texts": lambda q: [{"role": "user", "parts": [q]}],
    "gemini content": lambda q: Content(role="user", parts=[Part(text=q)]),
    "gemini contents": lambda q: [Content(role="user", parts=[Part(inline_data=b"1"), Part(text=q)])],
    "gemini part": lambda q: Part(text=q),
    "gemini parts": lambda q: [Part(inline_data=b"1"), Part(text=q)],
    "gemini mixed": lambda q: [Part(inline_data=b"1"), q],
    "langchain": lambda q: [Human(content="s", type="system"), Human(content=q), Human(content="x", type="ai")],
    "langchain parts": lambda q: [Human(content=[{"type": "text", "text": q}])],
    "langchain dict": lambda q: [{"type": "human", "content": q}],
    "langchain one": lambda q: Human(content=q),
    "langchain chat prompt": lambda q: ChatPromptValue(messages=[Human(content=q)]),
    "langchain text prompt": lambda q: StringPromptValue(text=q),
    "pydantic-ai": lambda q: [ModelRequest([SystemPart("s"), UserPart(q)]), ModelResponse([SystemPart("x")])],
    "pydantic-ai parts": lambda q: [ModelRequest([UserPart([q, b"image"])])],
    "pydantic-ai turns": lambda q: [ModelRequest([UserPart("x")]), ModelResponse(), ModelRequest([UserPart(q)])],
}


@pytest.mark.parametrize("name", SHAPES)
def test_the_question_is_the_prompt_in_every_shape(name: str) -> None:
    """The last thing that a user says is taken out; with another question the rest is the same, and is none without."""
    shape = SHAPES[name]
    one, other = take_prompt(shape("What now?")), take_prompt(shape("And then?"))
    assert one is not None
    assert other is not None
    assert one.text.endswith("What now?")
    assert form(one.rest) == form(other.rest) == form(deepcopy(one.rest))
    assert form(one.rest) != form(shape("What now?"))
    assert b"What now?" not in form(one.rest)


def test_the_shape_counts() -> None:
    """What one library's messages leave, another's do not, though they ask for the same."""
    rests = [take_prompt(shape("q")) for shape in SHAPES.values()]
    assert len({form(taken.rest) for taken in rests if taken is not None}) == len(SHAPES)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([Part(inline_data=b"1"), "q"], [Part(inline_data=b"2"), "q"]),
        ([{"role": "user", "content": "q"}, USED, RESULT], [{"role": "user", "content": "q"}, USED]),
        ([Human(content="q")], [Human(content="q", additional_kwargs={"a": 1})]),
        ([ModelRequest([SystemPart("s"), UserPart("q")])], [ModelRequest([SystemPart("t"), UserPart("q")])]),
        ([ModelRequest([UserPart("q")])], [ModelRequest([UserPart("q")], instructions="Be brief.")]),
        (
            ChatPromptValue(messages=[Human(content="q")]),
            ChatPromptValue(messages=[Human(content="q"), Human(content="q")]),
        ),
        ({"question": "q", "temperature": 0}, {"question": "q", "temperature": 1}),
        (("user", "q"), ("human", "q")),
        (with_attributes(Bag(["q"]), session=1), with_attributes(Bag(["q"]), session=2)),
        (with_attributes(Tagged("q"), language="fr"), with_attributes(Tagged("q"), language="en")),
        ([with_attributes(Record(role="user", content="q"), note=1)], [Record(role="user", content="q")]),
        ("q", ["q"]),
    ],
)
def test_what_is_beside_the_question_counts(one: Any, other: Any) -> None:
    """Images, tool results, options, instructions and attributes of what holds the question belong to the rest."""
    mine, theirs = take_prompt(one), take_prompt(other)
    assert mine is not None
    assert theirs is not None
    assert form(mine.rest) != form(theirs.rest)


@pytest.mark.parametrize(
    "value",
    [
        [{"role": "assistant", "content": "q"}],
        {"role": "assistant", "content": "q"},
        {"role": "system", "content": "q", "text": "q"},
        ("assistant", "q"),
        [("system", "q"), ("ai", "q")],
        [RESULT],
        [RoleOfProperty("q")],
        [ModelRequest([SystemPart("q")])],
        [ModelResponse([UserPart("q")])],
        Content(role="model", parts=[Part(text="q")]),
        [Part(inline_data=b"1")],
        Plain(question="q"),
        {"question": "q", "query": "q"},
        {"question": None},
        {"temperature": 0},
        {"type": "file", "text": None},
        ChatPromptValue(messages=[]),
    ],
    ids=named,
)
def test_what_no_user_says_is_no_prompt(value: Any) -> None:
    """Texts of others, and texts under names that do not say whose they are, are not taken for a question."""
    assert take_prompt(value) is None


def test_roles_are_read_without_running_code() -> None:
    """A role that a class has as a plain attribute is known; a property is not asked."""
    taken = take_prompt([RoleOfProperty("x"), RoleOfClass("q")])
    assert taken is not None
    assert taken.text == "q"


def vendors_messages(name: str) -> Any:
    """Return messages of a library that is installed, which end in the question ``q``."""
    if name == "langchain":
        messages = pytest.importorskip("langchain_core.messages")
        return [messages.SystemMessage("s"), messages.HumanMessage("q"), messages.AIMessage("x")]
    if name == "langchain prompt":
        prompts = pytest.importorskip("langchain_core.prompts")
        return prompts.ChatPromptTemplate([("system", "s"), ("user", "{a}")]).invoke({"a": "q"})
    if name == "langchain text":
        return pytest.importorskip("langchain_core.prompts").PromptTemplate.from_template("{a}").invoke({"a": "q"})
    if name == "pydantic-ai":
        messages = pytest.importorskip("pydantic_ai.messages")
        parts = [messages.SystemPromptPart("s"), messages.UserPromptPart("q")]
        return [messages.ModelRequest(parts), messages.ModelResponse([messages.TextPart("x")])]
    types = pytest.importorskip("google.genai.types")
    if name == "gemini part":
        return types.Part.from_text(text="q")
    if name == "gemini user content":
        return types.UserContent("q")
    return [types.Content(role="user", parts=[types.Part.from_text(text="q")])]


@pytest.mark.parametrize(
    "name",
    ["langchain", "langchain prompt", "langchain text", "pydantic-ai", "gemini", "gemini part", "gemini user content"],
)
def test_messages_of_installed_libraries_are_read(name: str) -> None:
    """The libraries' own classes are read as the stand-ins for them above, and have a canonical form."""
    taken = take_prompt(vendors_messages(name))
    assert taken is not None
    assert taken.text == "q"
    assert form(taken.rest) != form(vendors_messages(name))
