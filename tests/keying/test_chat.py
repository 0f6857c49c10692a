"""Chat messages: the last user message is the prompt, all the rest is kept to be equal."""

from __future__ import annotations

from collections import UserDict, deque
from dataclasses import dataclass
from types import MappingProxyType, SimpleNamespace
from typing import Any
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keying.making import Bag, Record, Tagged, form, with_attributes
from pydantic import BaseModel, ConfigDict
from support.ids import named

from recallm.errors import UnfingerprintableError
from recallm.keying.chat import composed, replace_text, take_prompt
from recallm.keying.stand_ins import PROMPT_PLACEHOLDER, PromptPlaceholder, Replaced

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


class OpaqueError(RuntimeError):
    """A message whose content cannot be read as state, like those of compiled libraries."""

    role = "system"


HIDDEN = OpaqueError("hidden")


def as_dict(role: str, content: Any, **more: Any) -> dict[str, Any]:
    """Return a message as a dict."""
    return {"role": role, "content": content, **more}


KINDS: list[Any] = [as_dict, Message, Turn, Plain, Slotted]


def user(content: Any) -> dict[str, Any]:
    """Return a user message."""
    return {"role": "user", "content": content}


def split(messages: Any) -> tuple[str, bytes]:
    """Return the prompt of a conversation, and the canonical form of the rest."""
    taken = take_prompt(messages)
    assert taken is not None
    return taken.text, form(taken.rest)


@pytest.mark.parametrize("kind", KINDS)
def test_the_prompt_is_the_last_user_text(kind: Any) -> None:
    """Dicts and objects are read alike, and what follows the last user message belongs to the rest."""
    messages = [kind("user", "first"), kind("assistant", "yes"), kind("user", "last"), kind("assistant", "Sure:")]
    assert split(messages)[0] == split(tuple(messages))[0] == "last"
    assert split(messages)[1] != split(tuple(messages))[1]
    assert split(messages)[1] != split(messages[:3])[1]


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
        ([("user", "q")], [("User", "q")]),
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
@pytest.mark.parametrize("kind", [as_dict, Message, Plain])
@pytest.mark.parametrize("role", ["user", "assistant"])
def test_other_fields_of_a_message_count(kind: Any, role: str, one: dict[str, Any], other: dict[str, Any]) -> None:
    """Names, tool calls and whatever else a message carries belong to the rest, in the last message too."""
    tail = [] if role == "user" else [user("q")]
    assert split([kind(role, "q", **one), *tail])[1] != split([kind(role, "q", **other), *tail])[1]


PARTS: list[Any] = [
    "q",
    ["q"],
    ("q",),
    [{"type": "text", "text": "q"}],
    [{"type": "input_text", "text": "q"}],
    [{"text": "q"}],
    {"type": "text", "text": "q"},
    [{"type": "text", "text": "q", "cache_control": {"type": "ephemeral"}}],
    [{"type": "text", "text": "q"}, IMAGE],
    [IMAGE, {"type": "text", "text": "q"}],
    [{"type": "text", "text": "q"}, {**IMAGE, "image_url": {"url": "data:2"}}],
    [{"type": "text", "text": "q"}, IMAGE, IMAGE],
    [{"type": "text", "text": "q"}, {"type": "file", "text": "q"}],
    [{"type": "text", "text": "q"}, {"type": "thinking", "text": "r"}],
    [Message(role="part", content=1, type="text", text="q")],
    [SimpleNamespace(type="text", text="q")],
    Tagged("q"),
    with_attributes(Tagged("q"), language="fr"),
    Bag(["q"]),
    with_attributes(Bag(["q"]), language="fr"),
    [Record(type="text", text="q")],
]


@pytest.mark.parametrize("content", PARTS, ids=range(len(PARTS)))
def test_the_text_parts_are_the_prompt(content: Any) -> None:
    """Text in parts of a message is the prompt, whatever is beside it; its other parts and their shape are the rest."""
    assert split([user(content)])[0] == "q"
    assert sum(split([user(content)])[1] == split([user(other)])[1] for other in PARTS) == 1


TEXTS: list[list[str]] = [
    ["a\nb"],
    ["a", "b"],
    ["a", "b", ""],
    ["", "a", "b"],
    ["a\nb", ""],
    ["a\n", "b"],
    ["a", "", "b"],
]


def test_where_one_text_ends_and_the_next_begins_counts() -> None:
    """Text parts are read as one prompt of lines, and two messages with their borders elsewhere do not share a key."""
    keys = {split([user([{"type": "text", "text": text} for text in texts])]) for texts in TEXTS}
    assert split([user([{"type": "text", "text": "a"}, IMAGE, {"type": "text", "text": "b"}])])[0] == "a\nb"
    assert len(keys) == len(TEXTS)


@given(*[st.lists(st.text(alphabet="a\n", max_size=3), min_size=1, max_size=3) for _ in range(2)])
def test_parts_share_a_key_only_if_they_are_equal(one: list[str], other: list[str]) -> None:
    """However texts are cut into parts, prompt and rest together tell two messages apart."""
    assert (split([user(one)]) == split([user(other)])) == (one == other)


def test_parts_of_as_many_lines_share_a_rest() -> None:
    """Another wording in each part leaves the rest as it is, so that similar messages can share an answer."""
    assert split([user(["look:", "a cat"])])[1] == split([user(["see:", "one dog"])])[1]


@pytest.mark.parametrize(
    "value",
    [
        *([], (), None, 7, {"a": "hi"}, {"hi"}, iter([user("q")]), deque([user("q")]), object(), [7], [None], [[]]),
        *([SYSTEM], [user(None)], [user([IMAGE])], [user([])], [{"role": "user"}], [user(7)], [{"content": "hi"}]),
        *([{"role": None, "content": "hi"}], [{"role": 7, "content": "hi"}], SYSTEM, ("system", "hi")),
        *({"question": "a", "text": "b"}, {"messages": []}, [UserDict(user("q"))]),
    ],
    ids=named,
)
def test_where_no_user_says_anything_there_is_no_prompt(value: Any) -> None:
    """A value without a text of a user's has no prompt, and nothing is guessed or consumed."""
    assert take_prompt(value) is None


def test_an_image_after_the_question_is_no_question() -> None:
    """If the last user message has no text, the one before it asks, and the image belongs to the rest."""
    prompt, rest = split([user("q"), user([IMAGE])])
    assert prompt == "q"
    assert rest != split([user("q"), user([IMAGE, IMAGE])])[1]


@pytest.mark.parametrize("messages", [[HIDDEN, user("q")], [user("q"), HIDDEN], (user("q"), HIDDEN)])
def test_a_message_that_cannot_be_read_has_no_canonical_form(messages: Any) -> None:
    """A message object that hides its content is refused, not left out of the rest."""
    taken = take_prompt(messages)
    assert taken is not None
    with pytest.raises(UnfingerprintableError):
        form(taken.rest)


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
    assert (mine[0], theirs[0]) == (composed(text), composed(other_text))
    assert (mine[1] == theirs[1]) == (list(map(told_by, one)) == list(map(told_by, other)))


@pytest.mark.parametrize("make", [str, Tagged, lambda text: [user(text)], lambda text: [user([text, IMAGE])]])
def test_texts_that_look_the_same_are_one_prompt(make: Any) -> None:
    """Composed and decomposed letters ask for the same, and the prompt is a plain str."""
    one, other = (take_prompt(make(normalize(kind, "Café"))) for kind in ("NFC", "NFD"))
    assert one is not None
    assert other is not None
    assert one.text == other.text == normalize("NFC", "Café")
    assert type(one.text) is type(other.text) is str
    assert form(one.rest) == form(other.rest)


def test_a_text_is_its_letters_whatever_its_class_makes_of_them() -> None:
    """The prompt is read past the overrides of a subclass of str."""
    shouting: Any = type("Shouting", (str,), {"__str__": lambda self: "loud", "isascii": lambda self: True})
    assert composed(shouting("quiet")) == "quiet"
    assert split(shouting("quiet"))[0] == "quiet"


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
        (SimpleNamespace(a="hi"), 1),
        (MappingProxyType({"a": "hi"}), 1),
        (Record(a="hi"), 1),
        (with_attributes(Bag(["hi"]), note="hi"), 1),
        (Tagged("hi"), 1),
        (7, 0),
        (object(), 0),
    ],
    ids=named,
)
def test_a_placeholder_takes_the_place_of_each_standing_text(value: object, times: int) -> None:
    """The prompt is found wherever it stands as it is, and nowhere else."""
    found: list[object] = []
    replaced = replace_text(value, "hi", found)
    assert len(found) == times
    assert (replaced is value) == (times == 0)
    assert (replaced is PROMPT_PLACEHOLDER) == (type(value) is str and times == 1)


def test_the_search_for_a_text_ends() -> None:
    """A value that holds itself is looked into once, and one that is too large not to its end."""
    own: list[Any] = ["hi"]
    own.append(own)
    found: list[object] = []
    assert replace_text(own, "hi", found) == Replaced(own, {0: PROMPT_PLACEHOLDER})
    assert len(found) == 1
    large = [[number] for number in range(20_000)]
    assert replace_text([large, ["hi"]], "hi", found) == [large, ["hi"]]


WITH_THE_PROMPT: list[Any] = [
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
    Tagged("hi"),
    Bag(["hi"]),
    Record(a="hi"),
]


def test_values_with_placeholders_stay_apart() -> None:
    """Values that hold the prompt in different places, or in different company, differ without it too."""
    forms = {form(replace_text(value, "hi", [])) for value in WITH_THE_PROMPT}
    assert len(forms) == len(WITH_THE_PROMPT)


def test_the_value_itself_is_left_alone() -> None:
    """Taking the prompt out changes neither a value nor a conversation: the function gets them whole."""
    value = {"a": ["hi", {"b": "hi"}]}
    replace_text(value, "hi", [])
    conversation = [SYSTEM, user([{"type": "text", "text": "hi"}])]
    take_prompt(conversation)
    assert value == {"a": ["hi", {"b": "hi"}]}
    assert conversation == [SYSTEM, user([{"type": "text", "text": "hi"}])]


def test_several_texts_leave_the_number_of_their_lines() -> None:
    """All but the last of several texts leave the number of lines that the prompt has from them."""
    taken = take_prompt(["a\nb", "c", "d"])
    assert taken is not None
    assert taken.text == "a\nb\nc\nd"
    assert taken.rest == Replaced(
        ["a\nb", "c", "d"], {0: PromptPlaceholder(2), 1: PromptPlaceholder(1), 2: PROMPT_PLACEHOLDER}
    )
