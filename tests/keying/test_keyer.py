"""Two calls share a key only if one answer serves both."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keying.making import asked, keyer, outcome, requested
from pydantic import BaseModel

from recallm.keying.keyer import Request
from recallm.records import Query


def ask(question: str, *, user: Any = None, model: Any = "small", **extra: Any) -> Any:
    """Take these arguments."""


def chat(messages: Any, model: Any = "small", *, tools: Any = None) -> Any:
    """Take these arguments."""


def either(a: Any, b: Any, question: str) -> Any:
    """Take these arguments."""


def positional_only(question: str, a: Any = 1, /, **extra: Any) -> Any:
    """Take these arguments."""


def with_rest(question: str, *rest: Any, last: Any = None) -> Any:
    """Take these arguments."""


def own_options(question: str, *, cache_context: Any = None, cache_namespace: Any = None, cache_ttl: Any = None) -> Any:
    """Take these arguments."""


class Message(BaseModel):
    """A message as client libraries define it."""

    role: str
    content: Any


values = st.recursive(
    st.sampled_from([None, True, False, 0, 1, "", "1", "a", b"1", 1.0, 0.0, "big", "small"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.lists(inner, max_size=2).map(tuple)
        | st.dictionaries(st.sampled_from(["a", 1, "1", None]), inner, max_size=2)
        | st.frozensets(st.sampled_from([1, "1", b"1"]), max_size=2)
    ),
    max_leaves=4,
)
calls = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("user", "model", "temperature", "seed", "name", "options"), values)
)


def typed(value: Any) -> str:
    """Return a text that tells values apart by type and content, whatever the order of mappings and sets."""
    if isinstance(value, dict):
        return f"dict{sorted((typed(key), typed(item)) for key, item in value.items())}"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__}{[typed(item) for item in value]}"
    if isinstance(value, frozenset):
        return f"set{sorted(map(typed, value))}"
    return f"{type(value).__name__} {value!r}"


@given(calls, calls, st.text(), st.text(), st.randoms())
def test_calls_share_a_partition_exactly_when_all_but_the_prompt_is_equal(
    one: dict[str, Any], other: dict[str, Any], text: str, other_text: str, random: Any
) -> None:
    """Equal exact parts share a digest whatever the order or the defaults given; different ones never do."""
    reader = keyer(ask)
    items = list(one.items())
    random.shuffle(items)
    mine, again, theirs = (
        asked(reader, text, **one),
        asked(reader, **dict(items), question=text),
        asked(reader, other_text, **other),
    )
    assert mine == again
    equal = typed({"user": None, "model": "small", **one}) == typed({"user": None, "model": "small", **other})
    assert (mine.partition == theirs.partition) == equal
    assert (mine.key == theirs.key) == (equal and mine.text == theirs.text)


TYPED: list[Any] = [
    *(None, 1, True, "1", 1.0, b"1", {1}, frozenset({1}), [1], (1,), {1: 0}, {"1": 0}, {1: None}, {}, {1: {}}, [[1]]),
    "None",
]


@pytest.mark.parametrize(
    "call",
    [
        lambda value: asked(keyer(ask), "q", user=value),
        lambda value: asked(keyer(ask), "q", tools=value),
        lambda value: asked(keyer(ask), "q", tools={"deep": [value]}),
        lambda value: asked(keyer(ask), "q", cache_context={"user": value}),
        lambda value: asked(keyer(ask, context={"user": value}), "q"),
        lambda value: asked(keyer(ask, context=lambda kw: {"user": kw["user"]}, ignore=("user",)), "q", user=value),
        lambda value: asked(keyer(with_rest), "q", value),
        lambda value: asked(keyer(with_rest), "q", last=value),
        lambda value: asked(keyer(partial(ask, user=value)), "q"),
        lambda value: asked(keyer(chat), [{"role": "user", "content": "q"}], tools=value),
        lambda value: asked(keyer(chat), [{"role": "user", "content": "q", "name": value}]),
        lambda value: asked(keyer(chat), [{"role": "tool", "content": value}, {"role": "user", "content": "q"}]),
        lambda value: asked(keyer(either, prompt=lambda kw: kw["b"]["text"]), value, {"text": "q"}, ""),
    ],
)
def test_values_of_different_types_never_share_a_partition(call: Callable[[Any], Query]) -> None:
    """Wherever a value stands, ``1``, ``True``, ``"1"``, ``{1}`` … are different calls."""
    for one, other in combinations([call(value) for value in TYPED], 2):
        assert one.partition != other.partition
        assert one.key != other.key


def calls_that_differ() -> list[Query]:
    """Return queries of calls of which no two may share an answer."""
    reader = keyer(ask)
    conversation = keyer(chat)
    return [
        *(asked(reader, question) for question in ("q", "Q", "q ", "")),
        asked(reader, "q", user="a"),
        asked(reader, "q", model="a"),
        asked(reader, "q", extra="a"),
        asked(reader, "q", extra={"user": "a"}),
        asked(reader, "q", kwargs={"a": "a"}),
        asked(reader, "q", cache_context={"user": "a"}),
        asked(reader, "q", cache_context={"model": "a"}),
        asked(reader, "q", cache_namespace="m"),
        asked(keyer(ask, namespace="N"), "q"),
        asked(keyer(partial(ask, model="b")), "q"),
        asked(keyer(partial(ask, user="b")), "q"),
        asked(keyer(partial(ask, extra="b")), "q"),
        asked(keyer(either), "b", "a", "q"),
        asked(keyer(either), "a", "b", "q"),
        asked(keyer(either, prompt="a"), "q", "b", "q"),
        asked(keyer(either, prompt="b"), "b", "q", "q"),
        asked(keyer(either, ignore=("a",)), "1", "2", "q"),
        asked(keyer(either, ignore=("b",)), "2", "1", "q"),
        asked(keyer(either, ignore=("a", "b")), "1", "2", "q"),
        asked(keyer(positional_only), "q", 2),
        asked(keyer(positional_only), "q", a=2),
        asked(keyer(positional_only), "q", 2, a=2),
        *(asked(keyer(with_rest), "q", *rest) for rest in ((1,), (1, 2), ((1, 2),))),
        asked(keyer(with_rest), "q", last=1),
        asked(conversation, "q"),
        asked(conversation, [{"role": "user", "content": "q"}]),
        asked(conversation, [{"role": "user", "content": [{"type": "text", "text": "q"}]}]),
        asked(conversation, [Message(role="user", content="q")]),
        asked(conversation, [{"role": "user", "content": "q"}, {"role": "assistant", "content": "q"}]),
        asked(conversation, [{"role": "system", "content": "q"}, {"role": "user", "content": "q"}]),
        Request("q", "n", b"", None).query("model"),
        Request("", "n", b"q", None).query("model"),
    ]


@pytest.mark.parametrize("size", [1, 1024, 1025, 100_000])
def test_a_request_has_one_key_however_often_it_is_asked_for(size: int) -> None:
    """What must be equal has the same digest whether it is remembered or not, and another one if a byte differs."""
    texts, others = ("q", "", "q"), (b"x" * size, b"x" * (size - 1) + b"y")
    first, empty, again = (Request(text, "n", others[0], None).query("model") for text in texts)

    assert first == again
    assert first.partition == empty.partition
    assert first.key != empty.key
    assert Request("q", "n", others[1], None).query("model").partition != first.partition
    assert Request("q", "n", others[0], None).query("other").partition != first.partition
    assert Request("q", "n", others[0], None, history=()).query("model").partition != first.partition


def test_no_two_different_calls_share_a_key() -> None:
    """Calls differ by prompt, arguments by place and name, context, namespace, partials, ignored names and history."""
    for one, other in combinations(calls_that_differ(), 2):
        assert one.key != other.key, (one, other)


def test_a_prompt_may_be_among_the_open_arguments() -> None:
    """Calls that differ in nothing but a prompt passed through ``**options`` share a partition."""

    def answer(model: str = "small", **options: Any) -> Any:
        return model

    reader = keyer(answer, prompt="question")
    one, other = asked(reader, question="a"), asked(reader, question="b")
    assert (one.text, other.text) == ("a", "b")
    assert one.partition == other.partition
    assert one.partition != asked(reader, question="a", seed=1).partition


@pytest.mark.parametrize("text", ["\ud800", "\udcff and more"])
def test_texts_that_are_no_unicode_have_a_key_of_their_own(text: str) -> None:
    """Half a surrogate pair, which cut texts may hold, has keys of its own in a prompt and in a namespace."""
    assert asked(keyer(ask), text).key != asked(keyer(ask), "?").key
    assert asked(keyer(ask, namespace=text), "q").key != asked(keyer(ask, namespace="?"), "q").key


def test_functions_never_share_a_key() -> None:
    """The same call of another function has another key."""

    def other(question: str, *, user: Any = None, model: Any = "small", **extra: Any) -> Any:
        return question

    assert asked(keyer(ask), "q").partition != asked(keyer(other), "q").partition


@given(st.text(), st.text(), st.binary(), st.binary())
def test_models_never_share_a_partition(one: str, other: str, exact: bytes, other_exact: bytes) -> None:
    """A model id never runs into the exact part: only equal pairs share a partition."""
    mine, theirs = Request("q", "n", exact, None), Request("q", "n", other_exact, None)
    same = mine.query(one).partition == theirs.query(other).partition
    assert same == ((one, exact) == (other, other_exact))


def test_history_must_be_equal_and_the_last_text_similar() -> None:
    """The same history with another last text shares the partition and not the key; another history neither."""
    system, reader = {"role": "system", "content": "s"}, keyer(chat)
    one = asked(reader, [system, {"role": "user", "content": "a"}])
    reworded = asked(reader, [system, {"role": "user", "content": "b"}])
    elsewhere = asked(reader, [{**system, "content": "t"}, {"role": "user", "content": "a"}])
    assert one.partition == reworded.partition
    assert one.key != reworded.key
    assert one.partition != elsewhere.partition
    assert (one.text, reworded.text) == ("a", "b")


def test_ignored_arguments_do_not_count() -> None:
    """Whatever an ignored argument is, the call is the same, even if it has no canonical form."""
    reader = keyer(ask, ignore=("user", "client"))
    assert asked(reader, "q", user=1, client=object()) == asked(reader, "q", user=object()) == asked(reader, "q")


def test_arguments_are_left_as_they_are() -> None:
    """Making a request changes none of the call's arguments."""
    reader, messages = keyer(chat), [{"role": "user", "content": "q"}]
    kwargs = {"messages": messages, "tools": [1]}
    asked(reader, **kwargs)
    assert kwargs == {"messages": [{"role": "user", "content": "q"}], "tools": [1]}


def test_the_time_to_live_is_the_calls_or_the_functions() -> None:
    """``cache_ttl`` takes precedence over the function's ttl, None included, and is no part of the key."""
    reader = keyer(ask, ttl=5.0)
    found = [
        outcome(reader, "q"),
        outcome(reader, "q", cache_ttl=timedelta(minutes=1)),
        outcome(reader, "q", cache_ttl=None),
    ]
    assert [request.ttl for request in found if isinstance(request, Request)] == [5.0, 60.0, None]
    assert len({request.query("m").key for request in found if isinstance(request, Request)}) == 1


def test_the_calls_context_is_merged_over_the_functions() -> None:
    """Of the call's and the function's contexts, the call's keys win and the others stay."""
    reader = keyer(ask, context=lambda kw: {"user": kw["user"], "doc": 1})
    mine = requested(reader, "q", user="u", cache_context={"doc": 2})
    assert mine.contexts == ({"user": "u", "doc": 1}, {"doc": 2})
    assert mine.asks_the_same(requested(reader, "q", user="u", cache_context={"doc": 2, "user": "u"}))
    assert not mine.asks_the_same(requested(reader, "q", user="u", cache_context={"doc": 1}))
    assert not mine.asks_the_same(requested(reader, "q", user="u", cache_context={"doc": 2, "user": "v"}))


def test_callables_see_every_argument_by_name() -> None:
    """A context callable sees positionals, defaults and extras by name, but not the call-time options."""
    seen: list[dict[str, Any]] = []

    def context(kw: dict[str, Any]) -> dict[str, Any]:
        seen.append(dict(kw))
        return {}

    reader = keyer(ask, context=context, namespace=lambda kw: kw["model"])
    assert asked(reader, "q", temperature=0, cache_ttl=1).namespace == "small"
    assert seen == [{"question": "q", "user": None, "model": "small", "temperature": 0}]


def test_options_that_the_function_names_itself_reach_it_and_count() -> None:
    """A function with a ``cache_context`` of its own receives it, and the cache reads it too."""
    reader = keyer(own_options, context=None)
    options, own = reader.split_options({"cache_context": {"a": 1}, "cache_namespace": "m", "cache_ttl": 3})
    assert options == own == {"cache_context": {"a": 1}, "cache_namespace": "m", "cache_ttl": 3}
    request = reader.request(("q",), own, options)
    assert isinstance(request, Request)
    assert (request.contexts, request.namespace, request.ttl) == ((None, {"a": 1}), "m", 3.0)


def test_options_are_taken_from_functions_that_do_not_name_them() -> None:
    """``**extra`` alone does not make an option the function's own."""
    options, own = keyer(ask).split_options({"cache_context": {}, "cache_ttl": 1, "user": "u"})
    assert (options, own) == ({"cache_context": {}, "cache_ttl": 1}, {"user": "u"})


@pytest.mark.parametrize("stream", [False, None, 0])
def test_a_false_stream_is_an_argument_like_others(stream: object) -> None:
    """Only a truthy ``stream=`` bypasses; which falsy one it is counts."""
    assert asked(keyer(ask), "q", stream=stream).partition != asked(keyer(ask), "q").partition


@pytest.mark.parametrize(
    ("similar_history", "changed"),
    [(True, ["a", "other", "c"]), (True, ["a", "b", "other"]), (False, ["a", "other", "c"])],
)
def test_a_call_whose_conversation_changes_asks_for_something_else(similar_history: bool, changed: list[str]) -> None:
    """A change of an earlier turn is noticed though it may be similar, so that no answer is stored for another one."""

    def ask(messages: Any) -> str:
        return "an answer"

    def talk(texts: list[str]) -> list[Any]:
        return [(("user", "ai")[at % 2], text) for at, text in enumerate(texts)]

    reader = keyer(ask, similar_history=similar_history)
    before, after = requested(reader, talk(["a", "b", "c"])), requested(reader, talk(changed))
    assert before.asks_the_same(requested(reader, talk(["a", "b", "c"])))
    assert not before.asks_the_same(after)
    assert before.query("model").key != after.query("model").key
