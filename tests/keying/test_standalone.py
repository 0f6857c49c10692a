"""Questions that stand alone: what still counts of the messages they were made of, and what is remembered."""

from __future__ import annotations

import pickle
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from keying.making import form, keyer, refused, requested

from recallm import standalone
from recallm.errors import InvalidTypeError, InvalidValueError
from recallm.keying.chat import take_prompt
from recallm.keying.standalone import remainder, settled

SYSTEM = {"role": "system", "content": "Be brief."}
IMAGE = {"type": "image_url", "image_url": {"url": "data:1"}}
LAST = {"role": "user", "content": "And now?"}
RESULT = {"role": "tool", "tool_call_id": "1", "content": "{}"}


def rewrite(messages: Any) -> str:
    """Rewrite nothing."""
    return str(messages)


PROMPT = standalone(rewrite)


class Tagged(str):
    """A text of a library's own type."""

    __slots__ = ()


def ask(messages: Any, model: str = "m") -> str:
    """Answer."""
    return "an answer"


def ask_any(**arguments: Any) -> str:
    """Answer."""
    return "an answer"


def left(messages: Any) -> bytes:
    """Return the canonical form of what still counts of messages."""
    taken = take_prompt(messages, with_history=True)
    assert taken is not None
    return form(remainder(taken.rest))


@pytest.mark.parametrize(
    "turn",
    [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello", "tool_calls": None},
        {"role": "assistant", "content": [{"type": "text", "text": "Hello"}]},
        {"role": "assistant", "type": "message", "id": "msg_1", "status": "completed", "content": "Hello"},
        {"role": "model", "parts": [{"text": "Hello"}]},
        ("ai", "Hello"),
        {"role": "user", "content": Tagged("Hello")},
        SimpleNamespace(type="ai", content="Hello", id="run-1", tool_calls=[], response_metadata={"tokens": 3}),
        SimpleNamespace(type="human", content="Hello", name=None, example=False, additional_kwargs={}),
        SimpleNamespace(type="ai", content="Hello", additional_kwargs={"refusal": None}),
        SimpleNamespace(
            kind="response",
            parts=[SimpleNamespace(part_kind="text", content="Hello", id=None)],
            usage=SimpleNamespace(input_tokens=3),
            model_name="m",
            provider_response_id="1",
            finish_reason="stop",
        ),
    ],
)
def test_a_turn_that_is_only_text_counts_no_more(turn: Any) -> None:
    """The question says what such a turn said, so that neither its text nor its being there counts."""
    assert left([SYSTEM, turn, LAST]) == left([SYSTEM, LAST]) == left([SYSTEM, turn, turn, LAST])


@pytest.mark.parametrize(
    "message",
    [
        {"role": "system", "content": "Be verbose."},
        RESULT,
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "assistant", "content": "Wait.", "tool_calls": [{"id": "1"}]},
        {"role": "user", "content": [{"type": "text", "text": "See:"}, IMAGE]},
        {"role": "user", "content": [IMAGE, {"type": "text", "text": "What is this?"}]},
        {"role": "user", "parts": [{"inline_data": {"data": "1"}}, {"text": "What is this?"}]},
        {"role": "user", "content": "Hi", "name": "Ann"},
        {"role": "user", "content": "Hi", "customer": 0},
        {"role": "user", "content": "Hi", "customer": {"number": 0}},
        {"role": "user", "content": "Hi", "customer": {"name": "Ann"}},
        SimpleNamespace(
            kind="request",
            parts=[
                SimpleNamespace(part_kind="system-prompt", content="Be verbose."),
                SimpleNamespace(part_kind="user-prompt", content="Hi"),
            ],
        ),
        SimpleNamespace(type="ai", content="", tool_calls=[{"id": "1"}]),
    ],
)
def test_what_is_more_than_text_still_counts(message: Any) -> None:
    """Instructions, tool calls, their results, images and names are not in the question."""
    assert left([SYSTEM, message, LAST]) != left([SYSTEM, LAST])


def test_what_the_last_turn_shows_still_counts() -> None:
    """The answer about one picture does not serve for another one, whether the picture or the text comes first."""
    asked = {"type": "text", "text": "What is this?"}
    shown = [{"type": "image_url", "image_url": {"url": url}} for url in ("data:1", "data:2")]
    turns = [parts for image in shown for parts in ([image, asked], [asked, image])]
    assert len({left([{"role": "user", "content": parts}]) for parts in turns}) == len(turns)


def test_where_the_last_turn_stands_still_counts() -> None:
    """The results of a tool that follow a question are part of its answer; those before it are not."""
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    assert left([LAST, call, RESULT]) != left([{"role": "user", "content": "Hi"}, call, RESULT, LAST])


def test_the_parts_of_one_message_are_no_turns() -> None:
    """Where an image stands among texts tells which of them is about it."""
    assert left(["See:", IMAGE, "What is it?"]) != left([IMAGE, "See:", "What is it?"])


def test_messages_within_an_object_are_read_as_well() -> None:
    """A prompt value that holds the messages is stripped of its turns, too."""
    one, other = (SimpleNamespace(messages=[SYSTEM, {"role": "user", "content": text}, LAST]) for text in "ab")
    assert left(one) == left(other)


@pytest.mark.parametrize("ignore", [(), ("messages",)])
def test_a_call_asks_for_the_question_or_else_for_the_whole_history(ignore: tuple[str, ...]) -> None:
    """Rewritten, two histories ask for the same; not rewritten, they do not, even if the messages are ignored."""
    reader = keyer(ask, prompt=PROMPT, ignore=ignore)
    one, other = (requested(reader, [SYSTEM, {"role": "user", "content": text}, LAST]) for text in "ab")
    assert one.rewritten("What is new?").query("m") == other.rewritten("What is new?").query("m")
    assert one.rewritten(None).query("m") != other.rewritten(None).query("m")
    assert one.rewritten(None).text == "And now?"
    assert one.rewritten("And now?").query("m").partition != one.rewritten(None).query("m").partition
    assert one.rewriting is not None
    assert other.rewriting is not None
    assert one.rewriting.key != other.rewriting.key


@pytest.mark.parametrize("ignore", [(), ("messages",)])
@pytest.mark.parametrize("function", [ask, ask_any])
def test_all_else_about_a_call_counts_though_it_is_rewritten(function: Any, ignore: tuple[str, ...]) -> None:
    """The system prompt, tools' results and the other arguments keep questions apart."""
    reader = keyer(function, prompt=PROMPT, ignore=() if function is ask_any else ignore)
    calls = [
        {"messages": [SYSTEM, *messages, LAST], "model": model}
        for messages in ([{"role": "user", "content": "a"}], [{"role": "user", "content": "a"}, RESULT])
        for model in ("one", "other")
    ]
    calls.append({"messages": [{"role": "user", "content": "a"}, LAST], "model": "one"})
    partitions = {requested(reader, **call).rewritten("What?").query("m").partition for call in calls}
    assert len(partitions) == len(calls)


def test_a_single_turn_stands_alone_as_it_is() -> None:
    """Without earlier turns nothing is rewritten, and the prompt meets the questions of conversations."""
    reader = keyer(ask, prompt=PROMPT)
    single, long = (
        requested(reader, [SYSTEM, LAST]),
        requested(reader, [SYSTEM, {"role": "user", "content": "a"}, LAST]),
    )
    assert single.rewriting is None
    assert single.query("m") == long.rewritten("And now?").query("m")


def test_a_text_in_place_of_messages_is_a_single_turn() -> None:
    """Some functions take both."""
    request = requested(keyer(ask, prompt=PROMPT), "And now?")
    assert (request.text, request.rewriting) == ("And now?", None)


def test_messages_without_a_users_text_are_no_prompt() -> None:
    """A call without messages, or without a user's text in them, is not cached."""
    assert refused(keyer(ask_any, prompt=PROMPT)).reason == "no_prompt"
    assert refused(keyer(ask, prompt=PROMPT), [SYSTEM]).reason == "no_prompt"


def test_a_question_is_remembered_by_its_conversation() -> None:
    """What was rewritten is kept by the conversation's digest."""
    prompt = standalone(rewrite)
    assert prompt.known(b"one") is None
    prompt.remember(b"one", "What?")
    assert (prompt.known(b"one"), prompt.known(b"other")) == ("What?", None)


def test_the_memory_of_questions_is_bounded() -> None:
    """The oldest questions are forgotten."""
    prompt = standalone(rewrite, memo_bytes=10_000)
    for number in range(1000):
        prompt.remember(b"%d" % number, "What?")
    assert prompt.known(b"0") is None
    assert prompt.known(b"999") == "What?"


@pytest.mark.parametrize(("made", "question"), [(" What?", " What?"), ("", None), (" \n", None), (None, None)])
def test_nothing_and_blank_texts_are_no_question(made: str | None, question: str | None) -> None:
    """The user's callable may say that it can make none."""
    assert settled(made) == question


def test_a_question_that_is_no_text_is_refused() -> None:
    """What is neither a text nor None is a mistake, and is not quoted."""
    with pytest.raises(InvalidTypeError, match=r"^what rewrite returned is an int; use a str or None$"):
        settled(1234)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"timeout": 0}, InvalidValueError),
        ({"timeout": "1"}, InvalidTypeError),
        ({"argument": ""}, InvalidValueError),
        ({"memo_bytes": 0}, InvalidValueError),
        ({"rewrite": "rewrite"}, InvalidTypeError),
    ],
)
def test_wrong_arguments_are_refused(options: dict[str, Any], error: type[Exception]) -> None:
    """Each argument is checked when the prompt is made."""
    with pytest.raises(error):
        standalone(**{"rewrite": rewrite, **options})


def test_it_can_be_sent_to_another_process() -> None:
    """It is pickled without what it remembers."""
    prompt = standalone(rewrite, timeout=timedelta(seconds=3), argument="chat")
    prompt.remember(b"key", "What?")
    twin = pickle.loads(pickle.dumps(prompt))  # noqa: S301  # our own
    assert (twin.rewrite, twin.timeout, twin.argument, twin.known(b"key")) == (rewrite, 3.0, "chat", None)
