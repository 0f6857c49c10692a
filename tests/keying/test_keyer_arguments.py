"""What of a call counts: its contexts, defaults that say that nothing was passed, and what is in an argument."""

from __future__ import annotations

from collections import OrderedDict, UserDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePath
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from keying.making import Bag, Plain, Tagged, asked, keyer, outcome, requested
from support.ids import named


def ask(question: str, *, user: Any = None, model: Any = "small", **extra: Any) -> Any:
    """Take these arguments."""


class ManyValued(dict[str, Any]):
    """A mapping that keeps several values for each key and shows the first, as web frameworks have them."""

    def __getitem__(self, key: str) -> Any:
        return super().__getitem__(key)[0]

    def items(self) -> Any:
        """Return the first value of each key."""
        return [(key, values[0]) for key, values in dict.items(self)]

    def values(self) -> Any:
        """Return the first values."""
        return [values[0] for values in dict.values(self)]


class Computed(Mapping[str, int]):
    """A mapping that is no dict."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __getitem__(self, key: str) -> int:
        return self.size

    def __iter__(self) -> Iterator[str]:
        return iter(["a"])

    def __len__(self) -> int:
        return 1


CONTEXTS: list[Mapping[Any, Any]] = [
    *({}, {"a": 1}, {"a": 2}, {"a": 1, "b": 1}, {"a": "1"}, {1: 1}, {"1": 1}, {"a": {"b": 1}}, {"a": None}),
    *(ManyValued(a=[1]), ManyValued(a=[1, 2]), ManyValued(a=[1, 3]), OrderedDict(a=1), UserDict(a=1), UserDict(a=2)),
    *(Computed(1), Computed(2), {"cache_context": {"a": 1}}),
]


@pytest.mark.parametrize("given", ["decorator", "call", "both"])
def test_contexts_count_by_all_they_hold(given: str) -> None:
    """Contexts differ by keys, types and values, and a mapping of one's own by more than it shows, merged or alone."""
    found = []
    for context in CONTEXTS:
        reader = keyer(ask, context={"z": 0} if given == "both" else context if given == "decorator" else None)
        found.append(asked(reader, "q") if given == "decorator" else asked(reader, "q", cache_context=context))
    assert len({query.key for query in found}) == len(CONTEXTS)


def test_it_does_not_count_where_a_context_was_given() -> None:
    """What the decorator gives, what the call gives, and the two merged are one context if they say the same."""
    context = {"user": "u", "doc": [1]}
    ways = [
        asked(keyer(ask, context=context), "q"),
        asked(keyer(ask, context=None), "q", cache_context=context),
        asked(keyer(ask, context={"doc": [1]}), "q", cache_context={"user": "u"}),
        asked(keyer(ask, context={"user": "v", "doc": [1]}), "q", cache_context={"user": "u"}),
        asked(keyer(ask, context=lambda kw: context), "q", cache_context={}),
    ]
    assert len(set(ways)) == 1


NOT_GIVEN = object()


class Omit:
    """A sentinel of a library's: it holds nothing, and is false."""

    def __bool__(self) -> bool:
        return False


OMIT = Omit()


def with_sentinels(question: str, a: Any = NOT_GIVEN, *, b: Any = OMIT, c: Any = ..., stream: Any = OMIT) -> Any:
    """Take these arguments."""


def test_a_sentinel_that_is_a_default_counts_as_not_passed() -> None:
    """A call that passes none of them is cached, and so is one that passes the same sentinels; values differ."""
    reader = keyer(with_sentinels)
    plain = asked(reader, "q")
    assert asked(reader, "q", NOT_GIVEN, b=OMIT, c=..., stream=OMIT) == plain
    others = [asked(reader, "q", value) for value in (None, 0, "")] + [
        asked(reader, "q", b=None),
        asked(reader, "q", c=0),
    ]
    assert len({query.partition for query in [plain, *others]}) == 6


def test_a_default_that_may_change_is_read_at_each_call() -> None:
    """A list among the defaults counts by what is in it now, and an equal list that is passed is the same."""
    options: list[int] = [1]

    def tuned(question: str, options: list[int] = options, settings: Any = MappingProxyType({"a": 1})) -> Any:
        return options

    reader = keyer(tuned)
    before = requested(reader, "q")
    assert before.exact == requested(reader, "q", [1]).exact
    assert before.exact != requested(reader, "q", [2]).exact
    options.append(2)
    assert before.exact != requested(reader, "q").exact


@pytest.mark.parametrize("version", [None, "1"])
@pytest.mark.parametrize("value", [Plain(), Tagged("a"), Bag()], ids=lambda value: type(value).__name__)
def test_a_default_that_holds_nothing_yet_counts_by_what_it_comes_to_hold(version: str | None, value: Any) -> None:
    """An object among the defaults is read at each call, too if a version stands for the function."""

    def tuned(question: str, settings: Any = value) -> Any:
        return settings

    reader = keyer(tuned, version=version)
    before = requested(reader, "q")
    value.model = "large"
    after = requested(reader, "q")
    del value.model
    assert not before.asks_the_same(after)
    assert before.asks_the_same(requested(reader, "q", value))


SETTINGS: dict[str, Callable[..., Any]] = {
    "mapping": lambda timeout, model="m": {"model": model, "timeout": timeout},
    "object": lambda timeout, model="m": Plain(model=model, timeout=timeout),
    "ordered": lambda timeout, model="m": OrderedDict(model=model, timeout=timeout),
    "deep": lambda timeout, model="m": {"http": Plain(timeout=timeout, url="u"), "model": model},
    "class": lambda timeout, model="m": type(
        "Settings", (), {"__module__": "keying.notebook", "timeout": timeout, "model": model}
    ),
}


@pytest.mark.parametrize("kind", SETTINGS)
@pytest.mark.parametrize("name", ["user", "extra"])
def test_what_lies_in_an_argument_may_be_ignored(kind: str, name: str) -> None:
    """A dotted name leads through attributes and keys; what it leads to does not count, and all beside it does."""
    make = SETTINGS[kind]
    reader = keyer(ask, ignore=(f"{name}.http.timeout" if kind == "deep" else f"{name}.timeout",))
    assert asked(reader, "q", **{name: make(1)}) == asked(reader, "q", **{name: make(2)})
    assert asked(reader, "q", **{name: make(1)}) != asked(keyer(ask), "q", **{name: make(1)})
    assert asked(reader, "q", **{name: make(1)}) != asked(reader, "q", **{name: make(1, "n")})


@pytest.mark.parametrize(
    "value", [None, 1, "a", [1], {"a": 1}, len, Plain(a=1), Plain, np.ones(2), PurePath("a")], ids=named
)
def test_a_value_that_lacks_what_is_ignored_counts_as_it_is(value: object) -> None:
    """Whatever an argument is, a dotted name that leads nowhere in it changes nothing."""
    assert asked(keyer(ask, ignore=("user.timeout",)), "q", user=value) == asked(keyer(ask), "q", user=value)


def test_what_cannot_be_read_may_be_ignored_where_it_lies() -> None:
    """Of an object that holds a live client all else still counts."""
    reader = keyer(ask, ignore=("user.client",))
    calls = [asked(reader, "q", user=Plain(name=name, client=object())) for name in ("ann", "ann", "bob")]
    assert calls[0] == calls[1] != calls[2]


def test_code_that_is_replaced_in_place_is_bound_anew() -> None:
    """After a function got other code, as when a module is reloaded, its calls are bound and told by what it is now."""

    def fn(question: str, a: int = 1) -> Any:
        return a

    def other(question: str, b: int = 2, *, c: int = 3) -> Any:
        return b + c

    reader = keyer(fn)
    before = requested(reader, "q", a=1)
    fn.__code__, fn.__defaults__, fn.__kwdefaults__ = other.__code__, other.__defaults__, other.__kwdefaults__
    after = requested(reader, "q", b=2)
    assert after.named.keys() == {"question", "b", "c"}
    assert after.asks_the_same(requested(reader, "q", c=3))
    assert not after.asks_the_same(before)
    assert not after.asks_the_same(requested(reader, "q", c=4))
    fn.__defaults__ = (5,)
    assert requested(reader, "q").named["b"] == 5


def test_a_request_knows_whether_another_asks_the_same() -> None:
    """Prompt, namespace and all else must be equal; the time to live is not asked for."""
    reader = keyer(ask)
    held = [1]
    mine = requested(reader, "q", user=held)
    assert mine.asks_the_same(requested(reader, "q", user=[1], cache_ttl=1))
    held.append(2)
    others = [requested(reader, "q", user=held), requested(reader, "p", user=[1])]
    others.append(requested(reader, "q", user=[1], cache_namespace="m"))
    assert not any(mine.asks_the_same(other) for other in [*others, outcome(reader), None])


STYLE = "one"


def reading(messages: Any, user: Any = None, **extra: Any) -> Any:
    """Read a global."""
    return STYLE


def test_a_request_describes_what_must_be_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part has a name and a number, which differs where two calls do, and only there."""
    conversation = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]
    reader = keyer(reading, context={"doc": 1})

    def differing(*args: Any, **kwargs: Any) -> set[str]:
        one = reader.described(requested(reader, conversation, user=1, seed=1))
        other = reader.described(requested(reader, *args, **kwargs))
        return {name for name in {*one, *other} if one.get(name) != other.get(name)}

    assert differing(conversation, user=1, seed=1) == set()
    assert differing([conversation[0], {"role": "user", "content": "other"}], user=1, seed=1) == set()
    assert differing(conversation, user=2, seed=1) == {"user"}
    assert differing(conversation, user=1, seed=2, cache_namespace="m") == {"seed", "the namespace"}
    assert differing(conversation, user=1, seed=1, cache_context={"doc": 2}) == {"context['doc']"}
    altered = [{**conversation[0], "content": "t"}, conversation[1]]
    assert differing(altered, user=1, seed=1) == {"messages", "messages[0]"}
    mine = requested(reader, conversation, user=1, seed=1)
    monkeypatch.setitem(globals(), "STYLE", "two")
    theirs = requested(reader, conversation, user=1, seed=1)
    one, other = reader.described(mine), reader.described(theirs)
    assert {name for name in one if one[name] != other[name]} == {"the function", "STYLE (read by the function)"}
