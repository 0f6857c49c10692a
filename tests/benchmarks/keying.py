"""How long it takes to tell what a call is: the check of the function at each call, and reading arguments of all sizes.

Run with ``python tests/benchmarks/keying.py``. Each figure is the best of several rounds.
"""

from __future__ import annotations

import functools
import os
import timeit
from collections.abc import Callable
from typing import Any

from recallm.errors import UnfingerprintableError
from recallm.keying.canonical import canonical
from recallm.keying.identity import FunctionIdentity
from recallm.keying.tokens import Tokens

SYSTEM, MODEL, STYLE, LANGUAGE, TENANT, REGION, PLAN, TEAM, TONE, UNIT = (f"text {number}" for number in range(10))
SETTINGS = {"temperature": 0.1, "model": "small", "stop": ["\n"]}


class Settings:
    """Holds settings, as a service's object does."""

    def __init__(self) -> None:
        self.model = "small"
        self.temperature = 0.1


OBJECT = Settings()


def helper(question: str) -> str:
    """Build a prompt."""
    return f"{SYSTEM} {question}"


def no_globals(question: str) -> str:
    """Answer."""
    return question


def ten_globals(question: str) -> tuple[str, ...]:
    """Answer."""
    return (question, SYSTEM, MODEL, STYLE, LANGUAGE, TENANT, REGION, PLAN, TEAM, TONE, UNIT)


def helpers_and_settings(question: str) -> Any:
    """Answer."""
    return helper(question), SETTINGS["model"], OBJECT.model, Settings, functools, os


def diamond(levels: int) -> list[Any]:
    """Return a list that holds another one twice, and so on."""
    held: list[Any] = ["leaf"]
    for _ in range(levels):
        held = [held, held]
    return held


VALUES: dict[str, Callable[[], object]] = {
    "a text of 50 characters": lambda: "x" * 50,
    "a text of 10 MB": lambda: "x" * 10_000_000,
    "a chat of 100 messages": lambda: [{"role": "user", "content": f"message {number}"} for number in range(100)],
    "a list of 1,000,000 floats": lambda: [0.5] * 1_000_000,
    "a list of 49,000 texts": lambda: [str(number) for number in range(49_000)],
    "a list of 1,000,000 texts": lambda: [str(number) for number in range(1_000_000)],
    "90 lists, each twice in the next": lambda: diamond(90),
}


def microseconds(call: Callable[[], object], number: int) -> float:
    """Return the best time of one call."""
    return min(timeit.repeat(call, number=number, repeat=7)) / number * 1e6


def main() -> None:
    """Print the check at each call and the first reading of three functions, and the reading of arguments."""
    tokens = Tokens(functools.partial(os.urandom, 16))
    print(f"{'function':<34}{'check µs':>12}{'first reading µs':>20}")
    for fn in (no_globals, ten_globals, helpers_and_settings):
        identity = FunctionIdentity(fn, {}, tokens)
        first = microseconds(lambda fn=fn: FunctionIdentity(fn, {}, tokens)(), 50)  # type: ignore[misc]
        print(f"{fn.__name__:<34}{microseconds(identity, 20_000):>12.2f}{first:>20.0f}")
    print(f"\n{'argument':<34}{'ms':>12}")
    for name, make in VALUES.items():
        value = make()
        try:
            canonical(value)
        except UnfingerprintableError:
            print(f"{name:<34}{microseconds(lambda value=value: refused(value), 1) / 1e3:>12.3f}  refused")  # type: ignore[misc]
        else:
            print(f"{name:<34}{microseconds(lambda value=value: canonical(value), 1) / 1e3:>12.3f}")  # type: ignore[misc]


def refused(value: object) -> None:
    """Read what is too much to be read."""
    try:
        canonical(value)
    except UnfingerprintableError:
        return


if __name__ == "__main__":
    main()
