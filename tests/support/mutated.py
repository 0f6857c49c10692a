"""Payloads as they are stored, and what somebody may make of them."""

# The classes are there to tell if their code runs.
# ruff: noqa: D101, D102, S311

from __future__ import annotations

import json
import random
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from ipaddress import ip_address
from pathlib import Path
from re import compile as pattern
from typing import Any, Generic, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
from pydantic import BaseModel, HttpUrl, SecretStr, field_validator

from recallm.codec.builtin_types import TYPES_BY_TAG
from recallm.codec.codec import Codec

T = TypeVar("T")
RAN: list[str] = []
"""Gets an item whenever code runs that a payload must not run."""


@dataclass
class Sentinel(Generic[T]):
    item: T

    def __post_init__(self) -> None:
        RAN.append("post_init")

    def __setstate__(self, state: object) -> None:
        RAN.append("setstate")

    def __reduce__(self) -> Any:
        RAN.append("reduce")
        return super().__reduce__()

    def __setattr__(self, name: str, value: object) -> None:
        RAN.append("setattr")
        object.__setattr__(self, name, value)


@dataclass
class Ending:
    item: int

    def __del__(self) -> None:
        RAN.append("del")


class Called:
    def __init__(self, *_: object) -> None:
        RAN.append("init")

    def __new__(cls, *_: object) -> Any:
        RAN.append("new")
        return object.__new__(cls)


class Guarded(BaseModel):
    text: str
    url: HttpUrl | None = None
    key: SecretStr | None = None

    @field_validator("text")
    @classmethod
    def check(cls, text: str) -> str:
        RAN.append("validator")
        return text


MOMENT = datetime(2024, 7, 1, 12)
VALUES: list[Any] = [
    {"id": 1, "choices": [{"message": {"role": "assistant", "content": 'a "text" [{'}, "logprobs": None}], "x": 1.5},
    [Sentinel(1), Sentinel[int](2), Guarded(text="a", url=HttpUrl("https://a.example"), key=SecretStr("b"))],
    [MOMENT.replace(tzinfo=UTC), MOMENT.replace(tzinfo=ZoneInfo("Europe/Paris")), time(1), timedelta(1)],
    {1: (2,), (3, b"4"): {5.5, -1}, frozenset({6}): OrderedDict(a=deque([7], 8))},
    [1 << 600, Decimal("1.5"), Fraction(1, 3), 1 + 2j, float("nan"), UUID(int=1), bytearray(b"a")],
    [defaultdict(list, a=[1]), range(3), slice(1, 2), pattern("[a-z]+"), Path("a/b"), ip_address("::1")],
    [np.arange(6).reshape(2, 3), np.float32(0.1), np.array(["a", "b"]), np.datetime64("2024-01-01")],
    "a text",
    b"some bytes",
]
PLACES = [
    *(f"{__name__}.{name}" for name in ("Sentinel", "Ending", "Called", "Guarded", "RAN", "random", "Codec")),
    "os.system", "builtins.eval", "builtins.object", "subprocess.Popen", "pickle.loads", "pathlib.Path", "a.b", "",
    "numpy.ndarray", "numpy.generic", "pydantic.networks.HttpUrl", "httpx.URL",
]  # fmt: skip
ATOMS: list[Any] = [
    None, True, 0, -1, 2**31, 2**63, 1e308, 1e-9, "", "a", "9" * 300, "Europe/Paris", "../x", "<f8", "|O", "AAAA",
    [], {},
]  # fmt: skip
TAGS = [*TYPES_BY_TAG, "$o", "$e", "$x", "$?"]


def payloads() -> list[bytes]:
    """Return payloads of many types."""
    codec = Codec()
    return [codec.encode(value) for value in VALUES]


def mutations(seed: int) -> Iterator[bytes]:
    """Yield payloads with some bytes changed, or with some values, tags or classes exchanged, without end."""
    rng = random.Random(seed)
    stored = payloads()
    trees = [json.loads(payload[2:]) for payload in stored if payload[1:2] in b"jt"]
    while True:
        if rng.random() < 0.4:
            yield _changed_bytes(rng, rng.choice(stored))
        else:
            tree = _changed(rng, rng.choice(trees), 0.02 + 0.2 * rng.random())
            yield b"\x01t" + json.dumps(tree).encode()


def _changed_bytes(rng: random.Random, payload: bytes) -> bytes:
    made = bytearray(payload)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(made) + 1)
        match rng.randrange(4):
            case 0:
                made[place : place + 1] = bytes([rng.randrange(256)])
            case 1:
                del made[place : place + rng.randint(1, 9)]
            case 2:
                made[place:place] = rng.choice([b"[", b"{", b'"', b"$", b"9" * rng.randint(1, 999), b'{"$t":[', b"]"])
            case _:
                made[place:place] = made[rng.randrange(len(made) + 1) :][: rng.randint(1, 60)]
    return bytes(made)


def _changed(rng: random.Random, tree: Any, share: float) -> Any:
    if rng.random() < share:
        return _other(rng, tree)
    if isinstance(tree, dict):
        return {
            rng.choice(TAGS) if rng.random() < share else key: _changed(rng, item, share) for key, item in tree.items()
        }
    return [_changed(rng, item, share) for item in tree] if isinstance(tree, list) else tree


def _other(rng: random.Random, tree: Any) -> Any:
    match rng.randrange(6):
        case 0:
            return rng.choice(ATOMS)
        case 1:
            return {rng.choice(TAGS): tree}
        case 2:
            return {"$o": [rng.choice(PLACES), tree if isinstance(tree, dict) else {"item": tree}]}
        case 3:
            return [tree] * rng.randint(0, 50)
        case 4:
            return {"$x": [rng.choice(PLACES), tree]}
        case _:
            return {
                rng.choice(["$s", "$S", "$m"]): [{"$i": f"{k * (2**61 - 1):x}"} for k in range(rng.randint(1, 900))]
            }
