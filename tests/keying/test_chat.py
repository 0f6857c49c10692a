"""Chat messages: the last user message is the prompt, all the rest is kept to be equal."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from recallm.errors import UnfingerprintableError
from recallm.keying.canonical import PROMPT_PLACEHOLDER, canonical
from recallm.keying.chat import is_chat, split_chat, with_placeholder

SYSTEM = {"role": "system", "content": "Be brief."}
IMAGE = {"type": "image_url", "image_url": {"url": "data:1"}}


class Message(BaseModel):
    """A message as client libraries define it."""

    model_config = ConfigDict(extra="allow")
    role: str
    content: Any

    def __init__(self, role: str, content: Any, **more: Any) -> None:
        super().__init__(role=role, content=content, **more)


@dataclass
class Turn:
    """A message as a dataclass."""

    role: str
    content: Any


class Plain:
    """A message as a plain object."""

    def __init__(self, role: str, content: Any, **more: Any) -> None:
        self.role = role
        self.content = content
        self.__dict__.update(more)


class Slotted:
    """A message without a ``__dict__``."""

    __slots__ = ("content", "role")

    def __init__(self, role: str, content: Any) -> None:
        self.role = role
        self.content = content


class Opaque:
    """A message whose content cannot be read as state, like those of compiled libraries."""

    __slots__ = ()
    role = "system"
    content = "hidden"


KINDS: list[Any] = [lambda role, content: {"role": role, "content": content}, Message, Turn, Plain, Slotted]


def user(content: Any) -> dict[str, Any]:
    """Return a user message."""
    return {"role": "user", "content": content}


def split(messages: Any) -> tuple[str, bytes]:
    """Return the prompt of a conversation, and the canonical form of the rest."""
    found = split_chat(messages)
    assert found is not None
    return found[0], canonical(found[1])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([SYSTEM, user("hi")], True),
        ((user("hi"),), True),
        ([Message(role="user", content="hi")], True),
        ([], False),
        ("hi", False),
        ([{"content": "hi"}], False),
        ([user("hi"), "hi"], False),
        ({"role": "user"}, False),
        (None, False),
    ],
)
def test_a_chat_is_a_sequence_of_messages_with_roles(value: object, expected: bool) -> None:
    """Every item of a chat has a role, and there is one at least."""
    assert is_chat(value) is expected


@pytest.mark.parametrize("kind", KINDS)
def test_the_prompt_is_the_last_user_text(kind: Any) -> None:
    """Dicts and objects are read alike, and what follows the last user message belongs to the rest."""
    messages = [kind("user", "first"), kind("assistant", "yes"), kind("user", "last"), kind("assistant", "Sure:")]
    assert split(messages)[0] == "last"


@pytest.mark.parametrize("kind", KINDS)
def test_another_last_text_leaves_the_same_rest(kind: Any) -> None:
    """Conversations that differ in the last user text alone share the rest."""
    assert split([SYSTEM, kind("user", "one")])[1] == split([SYSTEM, kind("user", "two")])[1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([("system", "a"), ("user", "q")], [("system", "b"), ("user", "q")]),
        ([("system", "a"), ("user", "q")], [("developer", "a"), ("user", "q")]),
        ([("system", "a"), ("user", "q")], [("user", "q")]),
        ([("system", "a"), ("user", "q")], [("user", "q"), ("system", "a")]),
        ([("user", "p"), ("user", "q")], [("user", "x"), ("user", "q")]),
        ([("user", "p"), ("assistant", "1"), ("user", "q")], [("user", "p"), ("assistant", "2"), ("user", "q")]),
        ([("user", "q"), ("assistant", "a")], [("user", "q"), ("assistant", "b")]),
        ([("user", "q"), ("tool", "1")], [("user", "q"), ("tool", 1)]),
        ([("user", "q"), ("assistant", None)], [("user", "q"), ("assistant", "None")]),
    ],
)
def test_another_history_is_another_rest(kind: Any, one: list[Any], other: list[Any]) -> None:
    """System prompts, earlier turns, their order and what follows the prompt all count."""
    assert split([kind(*message) for message in one])[1] != split([kind(*message) for message in other])[1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"name": "ann"}, {"name": "bob"}),
        ({"name": "ann"}, {}),
        ({"tool_calls": [{"id": "1"}]}, {"tool_calls": [{"id": "2"}]}),
        ({"cache_control": None}, {}),
    ],
)
@pytest.mark.parametrize(
    "kind", [lambda role, content, **more: {"role": role, "content": content, **more}, Message, Plain]
)
@pytest.mark.parametrize("role", ["user", "assistant"])
def test_other_fields_of_a_message_count(kind: Any, role: str, one: dict[str, Any], other: dict[str, Any]) -> None:
    """Names, tool calls and whatever else a message carries belong to the rest, in the last message too."""
    tail = [] if role == "user" else [user("q")]
    assert split([kind(role, "q", **one), *tail])[1] != split([kind(role, "q", **other), *tail])[1]


PARTS = [
    "q",
    ["q"],
    [{"type": "text", "text": "q"}],
    [{"type": "input_text", "text": "q"}],
    [{"text": "q"}],
    [{"type": "text", "text": "q", "cache_control": {"type": "ephemeral"}}],
    [{"type": "text", "text": "q"}, IMAGE],
    [IMAGE, {"type": "text", "text": "q"}],
    [{"type": "text", "text": "q"}, {**IMAGE, "image_url": {"url": "data:2"}}],
    [{"type": "text", "text": "q"}, IMAGE, IMAGE],
    [{"type": "text", "text": "q"}, {"type": "file", "text": "q"}],
    [{"type": "text", "text": "q"}, {"type": "thinking", "text": "r"}],
    [Message(role="part", content=1, type="text", text="q")],
]


@pytest.mark.parametrize("content", PARTS)
def test_the_text_parts_are_the_prompt(content: Any) -> None:
    """Text in parts of a message is the prompt, whatever is beside it."""
    assert split([user(content)])[0] == "q"


def test_parts_that_are_not_text_belong_to_the_rest() -> None:
    """Images, files, markers, the order of a message's parts and their shape belong to the rest; the text does not."""
    assert len({split([user(content)])[1] for content in PARTS}) == len(PARTS)


def test_several_texts_are_one_prompt_of_lines() -> None:
    """Text parts are read as one prompt, and a placeholder stands in the rest for each."""
    one = split([user([{"type": "text", "text": "a"}, IMAGE, {"type": "text", "text": "b"}])])
    assert one[0] == "a\nb"
    assert one[1] != split([user([{"type": "text", "text": "a\nb"}, IMAGE])])[1]


@pytest.mark.parametrize(
    "messages",
    [[SYSTEM], [user(None)], [user([IMAGE])], [user([])], [{"role": "user"}], [user(7)], [user("a"), user([IMAGE])]],
)
def test_no_text_in_the_last_user_message_is_no_prompt(messages: list[Any]) -> None:
    """If the last user message has no text there is no prompt, whatever earlier ones say."""
    assert split_chat(messages) is None


@pytest.mark.parametrize("messages", [[Opaque(), user("q")], [user("q"), Opaque()]])
def test_a_message_that_cannot_be_read_has_no_canonical_form(messages: list[Any]) -> None:
    """A message object that hides its content is refused, not left out of the rest."""
    found = split_chat(messages)
    assert found is not None
    with pytest.raises(UnfingerprintableError):
        canonical(found[1])


def test_objects_of_two_types_differ() -> None:
    """Messages that say the same are different if they are of different types."""
    rests = {split([kind("system", "s"), kind("user", "q")])[1] for kind in KINDS}
    assert len(rests) == len(KINDS)


messages = st.lists(
    st.builds(
        lambda kind, role, content: kind(role, content),
        st.sampled_from(KINDS),
        st.sampled_from(["system", "user", "assistant"]),
        st.sampled_from(["", "a", "b", "?"]),
    ),
    max_size=3,
)


def told_by(message: Any) -> tuple[str, str, str]:
    """Return a message's type, role and content."""
    kind = type(message).__name__
    return (kind, message["role"], message["content"]) if kind == "dict" else (kind, message.role, message.content)


@given(messages, messages, st.text(max_size=5), st.text(max_size=5))
def test_rests_are_equal_exactly_when_histories_are(one: Any, other: Any, text: str, other_text: str) -> None:
    """Two conversations share the rest if and only if all messages before the last one are equal."""
    mine, theirs = split([*one, user(text)]), split([*other, user(other_text)])
    assert (mine[0], theirs[0]) == (text, other_text)
    assert (mine[1] == theirs[1]) == (list(map(told_by, one)) == list(map(told_by, other)))


@pytest.mark.parametrize(
    ("value", "times"),
    [
        ("hi", 1),
        (" hi\n", 1),
        ("Hi", 0),
        ("hi there", 0),
        ({"hi": 1}, 0),
        ({"a": "hi", "b": ["hi", ("hi",)]}, 3),
        ([Turn("user", "hi"), Message(role="user", content="hi")], 2),
        ({"hi"}, 0),
        (SimpleNamespace(a="hi"), 0),
    ],
)
def test_a_placeholder_takes_the_place_of_each_standing_text(value: object, times: int) -> None:
    """The prompt is found wherever it stands as it is, and nowhere else."""
    found: list[object] = []
    replaced = with_placeholder(value, "hi", found)
    assert len(found) == times
    assert (replaced is PROMPT_PLACEHOLDER) == (isinstance(value, str) and times == 1)


WITH_THE_PROMPT = [
    ["hi"],
    ("hi",),
    {"a": "hi"},
    {"b": "hi"},
    [["hi"]],
    ["hi", 1],
    [1, "hi"],
    (b"builtins.list", ["hi"]),
    Turn("user", "hi"),
    Turn("system", "hi"),
    {"": b"tests.test_chat.Turn", "role": "user", "content": "hi"},
    Message(role="user", content="hi"),
    "hi",
]


def test_values_with_placeholders_stay_apart() -> None:
    """Values that hold the prompt in different places, or in different company, differ without it too."""
    forms = {canonical(with_placeholder(value, "hi", [])) for value in WITH_THE_PROMPT}
    assert len(forms) == len(WITH_THE_PROMPT)


def test_the_value_itself_is_left_alone() -> None:
    """Taking the prompt out changes neither a value nor a conversation: the function gets them whole."""
    value = {"a": ["hi", {"b": "hi"}]}
    with_placeholder(value, "hi", [])
    conversation = [SYSTEM, user([{"type": "text", "text": "hi"}])]
    split_chat(conversation)
    assert value == {"a": ["hi", {"b": "hi"}]}
    assert conversation == [SYSTEM, user([{"type": "text", "text": "hi"}])]
