"""Checks of what an answer costs, and of how long it lives, as options say it and as callables return it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from numbers import Number
from typing import Any

from recallm import checks
from recallm.errors import InvalidTypeError, InvalidValueError, a_kind

MILLION = 1_000_000


def ttl(value: Any) -> Any:
    """Return a time to live in seconds, None for no expiry, or a callable that returns a response's.

    Raises:
        InvalidTypeError: `value` is something else, or async.
        InvalidValueError: as of `recallm.checks.ttl`.
    """
    return _of_response(value, "ttl", "a time to live") if callable(value) else checks.ttl(value)


def jitter(value: object) -> float:
    """Return a share from 0 to 1, 1 excluded.

    Raises:
        InvalidTypeError: `value` is not a number, or is a bool.
        InvalidValueError: it is outside [0, 1).
    """
    if type(value) in (int, float) and value == 0:
        return 0.0
    return checks.share(value, "ttl_jitter", use="use a share such as 0.1, or 0")


def price(value: Any) -> Any:
    """Return what a million tokens cost, in and out, as a pair; a callable that returns a response's cost; or None.

    Raises:
        InvalidTypeError: `value` is something else, or async.
        InvalidValueError: it is no pair, or a price is negative or not finite.
    """
    if value is None:
        return None
    if callable(value):
        return _of_response(value, "price", "what it cost")
    use = "use (0.15, 0.60), {'input': 0.15, 'output': 0.60} or a callable of the response that returns a float"
    if isinstance(value, Mapping) and value.keys() != {"input", "output"}:
        raise InvalidValueError(f"price={value!r} does not name the prices of input and output; {use}")
    pair = (value["input"], value["output"]) if isinstance(value, Mapping) else value
    if not isinstance(pair, Sequence) or isinstance(pair, str | bytes):
        raise InvalidTypeError(f"price={value!r} is {a_kind(value)}; {use}")
    if len(pair) != 2:
        raise InvalidValueError(f"price={value!r} is no pair; {use}")
    return tuple(cost(each, use=use) for each in pair)


def cost(value: object, *, use: str = "use a number such as 0.0025") -> float:
    """Return an amount of money, at least 0 and finite; it may be a `decimal.Decimal` or the like.

    No message quotes it: it may come from a response.

    Raises:
        InvalidTypeError: `value` is not a number, or is a bool.
        InvalidValueError: it is negative or not finite.
    """
    if isinstance(value, bool | complex) or not isinstance(value, Number):
        raise InvalidTypeError(f"price gives {a_kind(value)}; {use}")
    try:
        amount = float(value)  # type: ignore[arg-type]  # all numbers but complex ones can be floats
    except (ArithmeticError, ValueError):  # too large an int, or a NaN that signals
        amount = -1.0
    if not 0.0 <= amount < inf:
        raise InvalidValueError(f"price gives what is negative or not finite; {use}")
    return amount


def _of_response(value: Any, field: str, what: str) -> Any:
    return checks.predicate(value, field, use=f"use a callable of the response that returns {what}", else_="")
