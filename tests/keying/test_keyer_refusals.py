"""What keeps a call out of the cache, and what is told of it: mistakes, bypasses with a remedy, failures."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keying.making import Bag, Plain, Point, asked, keyer, outcome, refused, requested, with_attributes
from pydantic import BaseModel

from recallm.errors import InvalidTypeError, InvalidValueError, MissingContextError
from recallm.keying.keyer import Keyer
from recallm.keying.reader import MAX_DEPTH, MAX_VALUES
from recallm.records import Bypass, BypassReason, Failure


def ask(question: str, *, user: Any = None, model: Any = "small", **extra: Any) -> Any:
    """Take these arguments."""


def chat(messages: Any, model: Any = "small", *, tools: Any = None) -> Any:
    """Take these arguments."""


def either(a: Any, b: Any, question: str) -> Any:
    """Take these arguments."""


class Message(BaseModel):
    """A message as client libraries define it."""

    role: str
    content: Any


@pytest.mark.parametrize(
    ("options", "call", "error", "told"),
    [
        ({"context": None}, {}, MissingContextError, "cache_context="),
        ({"context": None}, {"cache_context": None}, MissingContextError, "cache_context="),
        ({}, {"cache_context": "u"}, InvalidTypeError, "^cache_context.*str"),
        ({}, {"cache_context": [("a", 1)]}, InvalidTypeError, "^cache_context.*list"),
        ({"context": lambda kw: "u"}, {}, InvalidTypeError, "^context.*str"),
        ({"context": lambda kw: None}, {}, InvalidTypeError, "^context.*NoneType"),
        ({"context": lambda kw: None}, {"cache_context": {}}, InvalidTypeError, "^context.*NoneType"),
        ({}, {"cache_namespace": 7}, InvalidTypeError, "^cache_namespace is an int"),
        ({"namespace": lambda kw: None}, {}, InvalidTypeError, "^what namespace= returned is a NoneType"),
        ({}, {"cache_ttl": "1"}, InvalidValueError, "^cache_ttl says no time"),
        ({}, {"cache_ttl": 0}, InvalidValueError, "^cache_ttl is not positive"),
        ({}, {"cache_ttl": float("nan")}, InvalidValueError, "^cache_ttl is not positive and finite"),
    ],
)
def test_mistakes_in_configuration_raise(
    options: dict[str, Any], call: dict[str, Any], error: type[Exception], told: str
) -> None:
    """A missing or ill-typed context, namespace or ttl is an error that says of which type it is."""
    with pytest.raises(error, match=told):
        outcome(keyer(ask, **options), "q", **call)


def broken(_arguments: Any) -> Any:
    """Raise as a user's callable may."""
    raise KeyError("user")


@pytest.mark.parametrize("options", [{"context": broken}, {"namespace": broken}, {"prompt": broken}])
def test_a_users_callable_that_raises_is_a_failure_of_keying(options: dict[str, Any]) -> None:
    """A user's callable that raises makes the call a failure; the caller never sees the error."""
    found = outcome(keyer(ask, **options), "q")
    assert isinstance(found, Failure)
    assert found.stage == "keying"
    assert isinstance(found.error, KeyError)


class Odd:
    """Raises on being asked whether it is true."""

    def __bool__(self) -> bool:
        raise RuntimeError


def test_a_stream_argument_that_does_not_say_whether_it_is_true_is_taken_for_true() -> None:
    """A value that raises when it is asked does not reach the caller, and the call may be a stream."""
    assert refused(keyer(ask), "q", stream=Odd()).reason == "stream"


def vendor(name: str, **held: Any) -> Any:
    """Return an object of a library's class."""
    cls = type(name, (), {"__module__": "vendor", "__init__": lambda self: self.__dict__.update(held)})
    return cls()


class Service:
    """A class of the program that holds a client."""

    def __init__(self) -> None:
        self.model = "m"
        self.client = vendor("Client", _pool=vendor("Pool", lock=threading.Lock()))

    def answer(self, question: str) -> Any:
        """Answer with what it holds."""
        return self.model, question


IGNORE = "if it does not affect the answer, pass ignore=({!r},)"
INSTEAD = "pass texts, numbers or identifiers instead of {}"
IN_CONTEXT = "put texts, numbers or identifiers into the context"


@pytest.mark.parametrize(
    ("call", "detail", "remedy"),
    [
        (lambda: {"user": Plain(lock=threading.Lock())}, "user.lock (_thread.lock)", IGNORE.format("user.lock")),
        (lambda: {"user": Service()}, "user.client (vendor.Client)", IGNORE.format("user.client")),
        (
            lambda: {"user": Plain(inner=Service())},
            "user.inner.client (vendor.Client)",
            IGNORE.format("user.inner.client"),
        ),
        (lambda: {"extra": Service()}, "extra.client (vendor.Client)", IGNORE.format("extra.client")),
        (lambda: {"user": Plain(log=io.StringIO())}, "user.log (_io.StringIO)", IGNORE.format("user.log")),
        (lambda: {"user": threading.Lock()}, "user (_thread.lock)", IGNORE.format("user")),
        (lambda: {"user": io.StringIO("table")}, "user (_io.StringIO)", INSTEAD.format("user")),
        (lambda: {"user": [1, io.StringIO()]}, "user[1] (_io.StringIO)", INSTEAD.format("user")),
        (lambda: {"user": {"a": Service()}}, "user['a'].client (vendor.Client)", INSTEAD.format("user")),
        (lambda: {"user": iter([])}, "user (builtins.list_iterator)", INSTEAD.format("user")),
        (lambda: {"user": ValueError("a")}, "user (builtins.ValueError)", INSTEAD.format("user")),
        (lambda: {"user": Point(1, object())}, "user.y (builtins.object)", None),
        (
            lambda: {"user": with_attributes(Bag(), f=iter([]))},
            "user.f (builtins.list_iterator)",
            INSTEAD.format("user"),
        ),
        (lambda: {"user": "a".join}, "user: a method of a built-in object is not read", INSTEAD.format("user")),
        (lambda: {"user": [0] * MAX_VALUES}, f"user: more than {MAX_VALUES} values", INSTEAD.format("user")),
        (lambda: {"cache_context": {"u": Service()}}, "context['u'].client (vendor.Client)", IN_CONTEXT),
        (lambda: {"cache_context": {"u": threading.Lock()}}, "context['u'] (_thread.lock)", IN_CONTEXT),
    ],
)
def test_what_cannot_be_read_is_named_with_a_remedy(
    call: Callable[[], dict[str, Any]], detail: str, remedy: str | None
) -> None:
    """The way leads to the outermost object of a library; leaving it out is proposed only where that is safe."""
    found = refused(keyer(ask), "q", **call())
    assert found.reason == "unfingerprintable"
    assert found.detail is not None
    assert found.detail.startswith(detail)
    if remedy is not None:
        assert found.remedy == remedy


def test_following_the_remedy_lets_all_else_count() -> None:
    """With the client left out as proposed, calls are cached, and the rest of the object still counts."""
    one, other = Service(), Service()
    other.model = "n"
    found = refused(keyer(Service.answer), one, "q")
    assert found == Bypass("unfingerprintable", "self.client (vendor.Client)", IGNORE.format("self.client"))
    reader = keyer(Service.answer, ignore=("self.client",))
    assert asked(reader, one, "q") == asked(reader, Service(), "q") != asked(reader, other, "q")


def test_what_a_bound_method_is_bound_to_is_no_argument() -> None:
    """A client of the object behind a bound method counts by its class, as all that a function reads."""
    one, other = Service(), Service()
    assert asked(keyer(one.answer), "q") == asked(keyer(other.answer), "q")
    other.model = "n"
    assert asked(keyer(one.answer), "q") != asked(keyer(other.answer), "q")


def test_messages_without_a_form_are_a_bypass_that_names_them() -> None:
    """An object in the conversation that cannot be read keeps the call out of the cache."""
    conversation = [{"role": "tool", "content": iter([])}, {"role": "user", "content": "q"}]
    found = refused(keyer(chat), conversation)
    assert (found.reason, found.detail) == ("unfingerprintable", "messages[0]['content'] (builtins.list_iterator)")
    assert found.remedy == INSTEAD.format("messages")


def test_a_value_that_is_too_deep_is_a_bypass() -> None:
    """A value that nests deeper than the limit is refused as one that cannot be read."""
    value: list[Any] = []
    for _ in range(2 * MAX_DEPTH):
        value = [value]
    found = refused(keyer(ask), "q", user=value)
    assert found.reason == "unfingerprintable"
    assert found.remedy == INSTEAD.format("user")
    assert f"deeper than {MAX_DEPTH} levels" in str(found.detail)


def test_a_sentinel_that_is_passed_and_is_no_default_is_a_bypass() -> None:
    """An object without state that the caller passes may mean anything: its default alone says nothing was passed."""
    found = refused(keyer(ask), "q", user=object())
    assert (found.reason, found.detail) == ("unfingerprintable", "user (builtins.object)")


@pytest.mark.parametrize(
    ("reader", "args", "kwargs", "reason"),
    [
        (keyer(ask), (), {}, "arguments"),
        (keyer(ask), ("q", "too many"), {}, "arguments"),
        (keyer(ask), ("q",), {"question": "q"}, "arguments"),
        (keyer(ask), ("q",), {"stream": True}, "stream"),
        (keyer(ask), ("q",), {"stream": 1}, "stream"),
        (keyer(ask), (None,), {}, "no_prompt"),
        (keyer(ask), (7,), {}, "no_prompt"),
        (keyer(ask), ([],), {}, "no_prompt"),
        (keyer(ask, prompt=lambda kw: None), ("q",), {}, "no_prompt"),
        (keyer(ask, prompt=lambda kw: 7), ("q",), {}, "no_prompt"),
        (keyer(ask, prompt="absent"), ("q",), {}, "no_prompt"),
        (keyer(chat), ([{"role": "system", "content": "s"}],), {}, "no_prompt"),
        (keyer(chat), (iter([{"role": "user", "content": "q"}]),), {}, "no_prompt"),
    ],
)
def test_calls_that_cannot_be_cached_are_bypasses(
    reader: Keyer, args: tuple[Any, ...], kwargs: dict[str, Any], reason: BypassReason
) -> None:
    """A call that cannot be cached is a bypass with its reason."""
    assert refused(reader, *args, **kwargs).reason == reason


NO_PROMPT = "pass prompt='<argument>', or prompt=lambda kw: ... that returns the user's text"


@pytest.mark.parametrize(
    ("reader", "question", "detail", "remedy"),
    [
        (keyer(ask), 7, "'question' (int)", NO_PROMPT),
        (keyer(ask), None, "'question' (NoneType)", NO_PROMPT),
        (keyer(ask, prompt=lambda kw: None), "q", "prompt= returned None", ""),
        (keyer(ask, prompt=lambda kw: [kw["question"]]), "q", "prompt= returned a list", "return a str"),
    ],
)
def test_a_call_without_a_prompt_is_told_what_was_found(reader: Keyer, question: Any, detail: str, remedy: str) -> None:
    """The argument in which no prompt was found is named with its type, and the line to write."""
    assert refused(reader, question) == Bypass("no_prompt", detail, remedy)


def test_a_call_that_the_function_would_refuse_is_told_as_python_tells_it() -> None:
    """Missing and unknown arguments are named in Python's words."""
    assert "missing a required argument: 'question'" in str(refused(keyer(ask)).detail)
    assert "too many positional arguments" in str(refused(keyer(ask), "q", "r").detail)


DERIVED = {
    "standing once": (lambda kw: kw["b"], True),
    "inside a mapping": (lambda kw: kw["b"], True),
    "stripped": (lambda kw: kw["b"].strip(), True),
    "changed": (lambda kw: kw["b"].upper() + "!", False),
    "constant": (lambda kw: "always the same", False),
}


@pytest.mark.parametrize("derive", DERIVED)
def test_a_derived_prompt_is_replaced_only_where_it_stands(derive: str) -> None:
    """Calls share a partition if the prompt itself was found in the arguments, else they match exactly only."""
    prompt, shares = DERIVED[derive]
    reader = keyer(either, prompt=prompt)
    one, other = asked(reader, "a", "one", ""), asked(reader, "a", "two", "")
    assert (one.partition == other.partition) == shares
    assert one.key != other.key


def test_a_derived_prompt_that_stands_twice_matches_exactly_only() -> None:
    """If the prompt stands twice, nobody knows which is the prompt, so both count whole."""
    reader = keyer(either, prompt=lambda kw: kw["b"])
    assert asked(reader, "one", "one", "").partition != asked(reader, "two", "two", "").partition
    assert asked(reader, "one", "one", "") == asked(reader, "one", "one", "")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("q", "q", ""), ("q", "r", "")),
        (("q", "", ""), ("", "q", "")),
        (({"t": "q"}, "", ""), ({"u": "q"}, "", "")),
        (({"t": "q", "u": "r"}, "", ""), ({"t": "q", "u": "s"}, "", "")),
        ((["q", "r"], "", ""), (["r", "q"], "", "")),
        (({"t": ["q"]}, "", ""), ({"t": ("q",)}, "", "")),
        (({"t": Message(role="a", content="q")}, "", ""), ({"t": Message(role="b", content="q")}, "", "")),
        (({"t": Message(role="a", content="q")}, "", ""), ({"t": {"role": "a", "content": "q"}}, "", "")),
    ],
)
def test_what_stands_around_a_derived_prompt_counts(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    """The place of the prompt and all that is beside it keep calls apart, though the prompts are equal."""
    reader = keyer(either, prompt=lambda kw: "q")
    assert asked(reader, *one).partition != asked(reader, *other).partition


@given(
    st.lists(st.sampled_from(["q", "r", " q ", ""]), min_size=3, max_size=3),
    st.lists(st.sampled_from(["q", "r", ""]), min_size=3, max_size=3),
)
def test_derived_prompts_share_a_key_only_if_the_arguments_are_equal(one: list[str], other: list[str]) -> None:
    """Whatever text the callable picks, two calls share a key only if nothing but its white space differs."""
    reader = keyer(either, prompt=lambda kw: next((value for value in kw.values() if value.strip()), ""))
    if asked(reader, *one).key == asked(reader, *other).key:
        assert [value.strip() for value in one] == [value.strip() for value in other]


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        (lambda kw: kw["b"], None),
        (lambda kw: kw["b"].upper(), "stands in no argument as it is"),
        (lambda kw: f"Please answer: {kw['b']}", "stands in no argument as it is"),
        (lambda kw: kw["b"][:3], "only a part of 'b'"),
        (lambda kw: "Something else altogether", None),
    ],
)
def test_a_derived_prompt_that_can_only_match_exactly_is_told(prompt: Callable[[Any], str], told: str | None) -> None:
    """If the text is made of an argument and stands in none, the author is told; to ignore a part is never proposed."""
    note = requested(keyer(either, prompt=prompt), None, "How high is it?", "").note
    text = None if note is None else note()
    assert (text is None) == (told is None)
    if told is not None and text is not None:
        assert told in text
        assert ("ignore=" in text) == ("only a part" not in text)
