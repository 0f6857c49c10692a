"""The work that a payload may ask for is bounded before it is done, and what is stored keeps to the same bounds."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.responses import there_and_back

from recallm.codec.bounds import MAX_EQUAL_HASHES, MAX_KEYS, MAX_TAGGED, MAX_VALUES
from recallm.codec.codec import Codec
from recallm.errors import CorruptPayloadError, UnstorableResponseError

PRIME = sys.hash_info.modulus


def tagged(node: Any) -> bytes:
    """Return a payload of JSON with tags."""
    return b"\x01t" + json.dumps(node, separators=(",", ":")).encode()


def long_number(digits: int) -> dict[str, str]:
    """Return an integer of so many hexadecimal digits."""
    rng = random.Random(0)  # noqa: S311  # any number does
    return {"$i": f"{rng.getrandbits(4 * digits) | 1:x}"}


HEAVY = {
    "fraction": tagged({"$q": [long_number(400_000), long_number(400_000)]}),
    "fractions": tagged([{"$q": [long_number(5_000), long_number(5_000)]}] * 100),
    "integer": tagged(long_number(1_000_000)),
    "decimal": tagged({"$d": "1" * 1_000_000}),
    "set of one hash": tagged({"$s": [number * PRIME for number in range(1, 20_000)]}),
    "keys of one hash": tagged({"$m": [[number * PRIME, 0] for number in range(1, 20_000)]}),
    "ordered keys": tagged({"$M": [[number * PRIME, 0] for number in range(1, 20_000)]}),
    "default keys": tagged({"$n": ["list", [[number * PRIME, 0] for number in range(1, 20_000)]]}),
    "sets of one hash": tagged([{"$s": [number * PRIME for number in range(1, 900)]}] * 500),
    "many numbers": tagged({"$s": list(range(100_000))}),
    "many lists": b"\x01j[" + b"[]," * 3_000_000 + b"1]",
    "many values": b"\x01j[" + b"1," * (MAX_VALUES + 1) + b"1]",
    "many tags": b"\x01t[" + b'{"$t":[]},' * (MAX_TAGGED + 1) + b"1]",
    "pattern": tagged({"$R": ["[\u0100-\uffff]" * 100, 34]}),
    "patterns": tagged([{"$R": [f"{number}a{{1,9}}" * 20, 32]} for number in range(1000)]),
    "long path": tagged({"$o": ["a." * 400_000, {}]}),
    "zone directory": tagged({"$Z": "Europe/" * 100_000}),
}


@pytest.mark.parametrize("payload", HEAVY.values(), ids=HEAVY.keys())
def test_a_payload_that_asks_for_too_much_is_corrupt_at_once(payload: bytes) -> None:
    """Numbers, keys, values and patterns that would take seconds or minutes are refused in a fraction of one."""
    began = time.thread_time()
    with pytest.raises(CorruptPayloadError):
        Codec().decode(payload)
    assert time.thread_time() - began < 1.0


@pytest.fixture
def without_limit() -> Iterator[None]:
    """Python reads integers of any length."""
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    yield
    sys.set_int_max_str_digits(limit)


@pytest.mark.usefixtures("without_limit")
def test_digits_are_bounded_if_python_bounds_them_no_more() -> None:
    """Where a program has lifted Python's own limit, a long integer is refused, and a text of digits is none."""
    began = time.thread_time()
    with pytest.raises(CorruptPayloadError):
        Codec().decode(b"\x01j[" + b"9" * 3_000_000 + b"]")
    assert time.thread_time() - began < 1.0
    assert there_and_back(["9" * 100_000, '"' + "9" * 10_000]) == ["9" * 100_000, '"' + "9" * 10_000]


TOO_MUCH = {
    "values": [0] * (MAX_VALUES + 2),
    "tagged": [()] * (MAX_TAGGED + 1),
    "keys": set(range(MAX_KEYS + 1)),
    "hashes": {number * PRIME: 0 for number in range(MAX_EQUAL_HASHES + 3)},
}


@pytest.mark.parametrize("value", TOO_MUCH.values(), ids=TOO_MUCH.keys())
def test_what_could_not_be_read_is_not_stored(value: Any) -> None:
    """A response beyond a bound is unstorable, with the bound in the error."""
    with pytest.raises(UnstorableResponseError, match=r"answer \(.*more than [\d,]+ "):
        Codec().encode(value)


@pytest.mark.parametrize(
    "value",
    [
        {f"key {number}": number for number in range(100_000)},
        {f"item {number}" for number in range(50_000)},
        {(x, y, z) for x in range(-3, 4) for y in range(-3, 4) for z in range(-3, 4)},
        dict.fromkeys(range(MAX_KEYS)),
        [[0.1] * 1000] * 300,
        ["[{,"] * 50_000,
    ],
    ids=["texts", "set of texts", "tuples of -1 and -2", "integers", "numbers", "brackets"],
)
def test_large_responses_are_stored(value: Any) -> None:
    """What is merely large comes back."""
    assert there_and_back(value) == value


def test_a_fraction_must_be_in_its_lowest_terms() -> None:
    """Another form of it would not be equal to any."""
    with pytest.raises(CorruptPayloadError):
        Codec().decode(tagged({"$q": [2, 4]}))
