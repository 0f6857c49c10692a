"""Code that runs in the midst of reading a call, as signal handlers and finalizers do, changes no key."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from unittest.mock import Mock

import pytest
from keying.making import keyer, requested
from support.interrupting import EVERY, NEVER, Points, each_point

from recallm.keying.identity import FunctionIdentity
from recallm.keying.keyer import Keyer
from recallm.keying.tokens import Tokens

KEYING = ("recallm/keying/",)
SYSTEM = {"role": "system", "words": ["a", "b"]}
TABLE = io.StringIO("what cannot be read")
ROW = iter("neither can this")


@dataclass
class Config:
    """Settings that lie in an argument."""

    model: str = "small"
    parts: list[Any] = field(default_factory=lambda: [1, {"a": (2, 3)}])


class Bot:
    """A callable object, whose method keeps a counter."""

    calls = 0

    def __init__(self, name: str) -> None:
        self.name = name
        self.config = Config()

    def __call__(self, question: str, config: Any = None, tool: Any = None) -> Any:
        """Answer."""
        self.calls += 1
        return helper(self.name, question, config)


def helper(*parts: Any) -> Any:
    """Return what it reads."""
    return parts, SYSTEM, TABLE, ROW


def plain(question: str, config: Any = None, tool: Any = None) -> Any:
    """Answer."""
    return helper(question, config, tool)


def over(value: Any) -> Callable[..., Any]:
    """Return a function that closes over a value."""

    def ask(question: str, config: Any = None, tool: Any = None) -> Any:
        """Answer."""
        return helper(question, value)

    return ask


BOT = Bot("a")
CLOSURE = over([Config("large"), iter("ab")])
FUNCTIONS: dict[str, Callable[..., Any]] = {"plain": plain, "closure": CLOSURE, "object": BOT, "method": BOT.__call__}


def key_of(reader: Keyer) -> bytes:
    """Return what a call of some arguments asks for."""
    config = Config()
    config.parts.append(config.parts)
    return requested(reader, "q", config, tool=[helper, Config, config]).exact


@pytest.mark.parametrize("warm", [False, True], ids=["first call", "later call"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_calls_all_along_change_no_key(name: str, warm: bool) -> None:
    """A call has its key though other calls of the same and of another function run all along its reading."""
    fn = FUNCTIONS[name]
    key, other_key = key_of(keyer(fn)), key_of(keyer(over("b")))
    same, other = keyer(fn), keyer(over("b"))
    seen: set[bytes] = set()
    if warm:
        seen.add(key_of(same))

    def interrupt() -> None:
        seen.add(key_of(same))
        assert key_of(other) == other_key

    points = Points(KEYING, interrupt, EVERY[::2] if warm else EVERY[::23])
    assert points.of(lambda: key_of(same)) == key
    assert points.passed > 100
    assert seen == {key}
    assert key_of(same) == key


class Reading:
    """The first call of a function, and the keys of other calls meanwhile."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.reader = keyer(fn)
        self.keys: list[bytes] = []

    def __call__(self) -> None:
        """Read the call."""
        self.keys.append(key_of(self.reader))


def some_points(fn: Callable[..., Any], act: Callable[[Reading], object]) -> Iterator[tuple[str, Reading]]:
    """Yield readings of a function's call, each with something done once, at points in all parts of it."""
    counted = Points(KEYING, lambda: None, NEVER)
    counted.of(Reading(fn))
    return each_point(lambda: Reading(fn), KEYING, act, stride=counted.passed // 12)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_one_call_at_any_point_changes_no_key(name: str) -> None:
    """A call has its key at whichever point of its reading another one of the same function comes."""
    fn = FUNCTIONS[name]
    key, times = key_of(keyer(fn)), 0
    for where, reading in some_points(fn, Reading.__call__):
        times += 1
        assert [*reading.keys, key_of(reading.reader)] == [key] * 3, where
    assert times > 8


def test_a_change_in_the_midst_is_noticed_at_the_next_call() -> None:
    """If a variable is set while the function is read, no later call goes by what was read of it before."""
    holder = ["a"]
    fn = over(holder)
    before = key_of(keyer(fn))
    holder[0] = "b"
    after = key_of(keyer(fn))

    def change(_: object) -> None:
        holder[0] = "b"

    holder[0] = "a"
    for where, reading in some_points(fn, change):
        assert reading.keys[0] in (before, after), where
        assert key_of(reading.reader) == after, where
        holder[0] = "a"


def test_a_mock_keeps_its_token_though_calls_come_in_between() -> None:
    """An object that passes for a function has one token, whoever asks for it first."""
    tokens, mock = Tokens(partial(os.urandom, 16)), Mock(spec=plain)

    def digest() -> bytes:
        return FunctionIdentity(mock, {}, tokens)().digest

    seen: set[bytes] = set()
    points = Points(KEYING, lambda: seen.add(digest()))
    seen.add(points.of(digest))
    assert points.passed > 3
    assert len(seen) == 1
