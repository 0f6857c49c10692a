"""Sixty-odd responses of functions, each made anew by a callable, for the table of response types."""

# The classes are there to be stored.
# ruff: noqa: D101
# mypy: disable-error-code="type-arg"

from __future__ import annotations

import enum
import re
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from importlib import import_module
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path, PureWindowsPath
from threading import Lock
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
from pydantic import AnyUrl, BaseModel, ConfigDict, HttpUrl, PrivateAttr, RootModel, SecretBytes, SecretStr
from pydantic.dataclasses import dataclass as pydantic_dataclass

T = TypeVar("T")
COMPLETION: dict[str, Any] = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "3"}}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}
MESSAGE = {"type": "message", "id": "m", "role": "assistant", "status": "completed"}


class Row(NamedTuple):
    """One response.

    Attributes:
        make: makes it.
        response_type: what the function is told to return; None: nothing.
        refused: what the warning says of it, as a regular expression; empty: it comes back.
    """

    make: Callable[[], Any]
    response_type: Any = None
    refused: str = ""


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 2


class Mood(enum.StrEnum):
    CALM = "calm"


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Modes(enum.IntFlag):
    ONE = 1
    TWO = 2


class Point(NamedTuple):
    x: float
    y: float


class Word(str):
    __slots__ = ()


class Number(int):
    pass


@dataclass
class Answer:
    text: str
    points: list[Point] = field(default_factory=list)
    zone: Any = None


@dataclass(frozen=True, slots=True)
class Frozen:
    name: str
    mood: Mood = Mood.CALM


@dataclass
class Derived(Answer):
    lock: Any = None


@dataclass
class Box(Generic[T]):
    item: T


class Model(BaseModel):
    text: str
    url: HttpUrl | None = None
    key: SecretStr | None = None
    inner: Model | Frozen | None = None


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    known: int
    _seen: list[int] = PrivateAttr(default_factory=lambda: [1])


class Page(BaseModel, Generic[T]):
    items: list[T]


class Names(RootModel[list[str]]):
    pass


@pydantic_dataclass
class Checked:
    size: int
    inner: Model


class Stamped(BaseModel):
    at: datetime


def of(path: str) -> Any:
    """Return what a dotted path names; its module is imported."""
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def attrs_answer() -> Any:
    """Return an object of attrs, whose class is defined on first use."""
    if "Attrs" not in globals():
        globals()["Attrs"] = of("attrs.make_class")("Attrs", ["text", "sources"])
        globals()["Attrs"].__module__ = __name__
    return globals()["Attrs"]("a", [1, (2,)])


def struct_answer() -> Any:
    """Return a struct of msgspec, whose class is defined on first use."""
    if "Struct" not in globals():
        globals()["Struct"] = of("msgspec.defstruct")("Struct", [("text", str), ("sources", list)], module=__name__)
    return globals()["Struct"]("a", [1, (2,)])


def agent_answer() -> Any:
    """Return what an agent of Pydantic AI returns."""
    return of("pydantic_ai.Agent")(of("pydantic_ai.models.test.TestModel")()).run_sync("hi").output


def local_answer() -> Any:
    """Return an instance of a class that lies in no module."""
    return LOCAL("a")


def _local() -> Any:
    @dataclass
    class Local:
        text: str

    return Local


LOCAL = _local()
MOMENT = datetime(2024, 7, 1, 12, 30)

ROWS: dict[str, Row] = {
    "str": Row(lambda: "tëxt"),
    "bytes": Row(lambda: b"\xff\x00"),
    "bytearray": Row(lambda: bytearray(b"a")),
    "long int": Row(lambda: 1 << 2000),
    "float": Row(lambda: [0.1, -0.0, float("inf")]),
    "complex": Row(lambda: 1 + 2j),
    "Decimal": Row(lambda: Decimal("1.10")),
    "Fraction": Row(lambda: Fraction(1, 3)),
    "JSON": Row(lambda: {"a": [1, None, True, {"b": 2.5}]}),
    "dict of keys": Row(lambda: {1: "a", (1, b"x"): "b", Mood.CALM: "c"}),
    "tuple": Row(lambda: (1, ("a", [2]))),
    "sets": Row(lambda: ({1, "a"}, frozenset({(1,)}))),
    "OrderedDict": Row(lambda: OrderedDict(b=1, a=2)),
    "defaultdict": Row(lambda: defaultdict(list, a=[1])),
    "deque": Row(lambda: deque([1, 2], 5)),
    "range, slice": Row(lambda: [range(3), slice(1, None)]),
    "pattern": Row(lambda: re.compile(r"\d+", re.IGNORECASE)),
    "UUID": Row(lambda: UUID(int=5)),
    "date, time": Row(lambda: [date(2024, 1, 1), time(1, 2), timedelta(1)]),
    "datetime UTC": Row(lambda: MOMENT.replace(tzinfo=UTC)),
    "datetime zone": Row(lambda: MOMENT.replace(tzinfo=ZoneInfo("Europe/Paris"))),
    "datetime dateutil": Row(lambda: MOMENT.replace(tzinfo=of("dateutil.tz.gettz")("Europe/Paris"))),
    "datetime pydantic": Row(lambda: Stamped.model_validate_json('{"at": "2024-01-01T00:00:00+02:00"}')),
    "paths": Row(lambda: [Path("a/b"), PureWindowsPath("C:/a")]),
    "IP": Row(lambda: [ip_address("1.2.3.4"), ip_network("::/8"), ip_interface("10.0.0.1/8")]),
    "Enum": Row(lambda: Colour.RED),
    "IntEnum, StrEnum": Row(lambda: [Level.HIGH, Mood.CALM]),
    "Flag": Row(lambda: [Rights.READ | Rights.WRITE, Rights(0), Modes.ONE | Modes.TWO]),
    "NamedTuple": Row(lambda: Point(1.0, 2.0)),
    "str subclass": Row(lambda: [Word("a"), Number(3)], list[Word | Number]),
    "dataclass": Row(lambda: Answer("a", [Point(1.0, 2.0)])),
    "frozen dataclass": Row(lambda: {Frozen("a"): Frozen("b")}),
    "generic dataclass": Row(lambda: Box[int](1)),
    "local dataclass": Row(local_answer, LOCAL),
    "model": Row(lambda: Model(text="a", inner=Frozen("b"))),
    "model of models": Row(lambda: Model(text="a", inner=Model(text="b"))),
    "open model": Row(lambda: Open.model_validate({"known": 1, "other": {"x": (1,)}})),
    "generic model": Row(lambda: Page[Point](items=[Point(1.0, 2.0)])),
    "generic of generic": Row(lambda: Page[Page[int]](items=[Page[int](items=[1])])),
    "root model": Row(lambda: Names(["a"])),
    "pydantic dataclass": Row(lambda: Checked(1, Model(text="a"))),
    "URL": Row(lambda: [AnyUrl("https://a.example/x?y=1"), HttpUrl("https://b.example")]),
    "secrets": Row(lambda: [SecretStr("a"), SecretBytes(b"b"), Model(text="c", key=SecretStr("d"))]),
    "httpx URL": Row(lambda: of("httpx.URL")("https://user:pass@a.example/b")),
    "yarl URL": Row(lambda: of("yarl.URL")("https://a.example/%2Fb")),
    "attrs": Row(attrs_answer),
    "msgspec": Row(struct_answer),
    "array": Row(lambda: np.arange(6, dtype=np.float32).reshape(2, 3)),
    "NumPy scalars": Row(lambda: [np.float32(0.1), np.int64(1), np.datetime64("2024-01-01")]),
    "OpenAI chat": Row(lambda: of("openai.types.chat.ChatCompletion").model_validate(COMPLETION)),
    "OpenAI parsed": Row(lambda: of("openai.types.chat.ParsedChatCompletion")[Model].model_validate(COMPLETION)),
    "OpenAI response": Row(
        lambda: of("openai.types.responses.Response").model_validate(
            {"id": "r", "created_at": 1.0, "model": "m", "object": "response", "parallel_tool_calls": True}
            | {"tool_choice": "auto", "tools": []}
            | {"output": [MESSAGE | {"content": [{"type": "output_text", "text": "a", "annotations": []}]}]}
        )
    ),
    "OpenAI embedding": Row(
        lambda: of("openai.types.CreateEmbeddingResponse").model_validate(
            {"object": "list", "model": "m", "usage": {"prompt_tokens": 1, "total_tokens": 1}}
            | {"data": [{"object": "embedding", "index": 0, "embedding": [0.1] * 64}]}
        )
    ),
    "Anthropic": Row(
        lambda: of("anthropic.types.Message").model_validate(
            {"id": "m", "type": "message", "role": "assistant", "model": "c", "stop_reason": "end_turn"}
            | {"content": [{"type": "text", "text": "a"}], "usage": {"input_tokens": 1, "output_tokens": 1}}
        )
    ),
    "Gemini": Row(
        lambda: of("google.genai.types.GenerateContentResponse").model_validate(
            {"candidates": [{"content": {"parts": [{"text": "a"}], "role": "model"}, "finish_reason": "STOP"}]}
        )
    ),
    "LiteLLM": Row(lambda: of("litellm.ModelResponse")(id="i", created=1, choices=COMPLETION["choices"], model="m")),
    "Ollama": Row(lambda: of("ollama.ChatResponse")(model="m", message={"role": "assistant", "content": "a"})),
    "LangChain message": Row(lambda: of("langchain_core.messages.AIMessage")("a", response_metadata={"x": 1})),
    "LangChain documents": Row(lambda: [of("langchain_core.documents.Document")("a", metadata={"b": 1})]),
    "Pydantic AI": Row(
        lambda: of("pydantic_ai.messages.ModelResponse")(
            parts=[of("pydantic_ai.messages.TextPart")("a")], timestamp=MOMENT.replace(tzinfo=UTC)
        )
    ),
    "Pydantic AI output": Row(agent_answer),
    "lock in a field": Row(lambda: Derived("a", lock=Lock()), refused=r"answer\.lock \(_thread\.lock\)"),
    "zone in a field": Row(
        lambda: {"items": [1, Answer("a", zone=of("dateutil.tz.tzlocal")())]},
        refused=r"answer\['items'\]\[1\]\.zone \(dateutil\.tz\.tz\.tzlocal\)",
    ),
    "Counter": Row(lambda: [Counter("aab")], refused=r"answer\[0\] \(collections\.Counter\)"),
    "data frame": Row(
        lambda: {"table": of("pandas.DataFrame")({"a": [1]})}, refused=r"answer\['table'\] \(pandas\..*DataFrame\)"
    ),
    "array of objects": Row(lambda: [np.array([None])], refused=r"answer\[0\] \(numpy\.ndarray, whose dtype is 'O'\)"),
    "HTTP response": Row(lambda: of("httpx.Response")(200), refused=r"answer \(httpx\.Response\)"),
}


def are_same(left: Any, right: Any) -> bool:
    """Return whether two responses are equal and of one type, and so are the items and attributes in them."""
    if type(left) is not type(right):
        return False
    if isinstance(left, np.ndarray):
        return bool(left.dtype == right.dtype and np.array_equal(left, right))
    if isinstance(left, datetime):
        return bool(left == right and left.utcoffset() == right.utcoffset())
    if isinstance(left, dict):
        return list(left) == list(right) and all(are_same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple | deque):
        return len(left) == len(right) and all(map(are_same, left, right))
    held = getattr(left, "__dict__", None)
    if isinstance(held, dict) and not isinstance(left, enum.Enum):
        return bool(left == right) and are_same(held, right.__dict__)
    return bool(left == right)
