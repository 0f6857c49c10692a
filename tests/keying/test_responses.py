"""What a response says of itself: whether it is a stream, and how many tokens it took."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from recallm.keying.responses import is_stream, total_tokens


class Later:
    """An awaitable, and a stream that has ``__aiter__`` alone."""

    def __await__(self) -> Any:
        """Await nothing."""
        yield

    def __aiter__(self) -> Any:
        """Give itself."""
        return self


class AsyncOnly:
    """What only ``async for`` can read, and is no iterator itself."""

    def __aiter__(self) -> AsyncIterator[str]:
        raise NotImplementedError


class Evasive:
    """An object that raises on being asked for what it does not have."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (iter([]), True),
        ((each for each in [1]), True),
        (Later(), True),
        (map(str, []), True),
        (zip([]), True),
        (AsyncOnly(), True),
        ([], False),
        ("text", False),
        (b"bytes", False),
        ({}, False),
        (range(3), False),
        (None, False),
        (SimpleNamespace(), False),
        (Evasive(), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_stream_is_what_reading_consumes(response: object, expected: bool) -> None:
    """Iterators and awaitables are streams; containers are none, however often they can be iterated over."""
    assert is_stream(response) is expected


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ({"usage": {"total_tokens": 5}}, 5),
        (SimpleNamespace(usage=SimpleNamespace(total_tokens=5)), 5),
        (SimpleNamespace(usage={"total_tokens": 5}), 5),
        ({"usage": SimpleNamespace(total_tokens=5)}, 5),
        ({"usage": {"total_tokens": 1}}, 1),
        ({"usage": None}, 0),
        ({"usage": {"total_tokens": None}}, 0),
        ({"usage": {"total_tokens": True}}, 0),
        ({"usage": {"total_tokens": -5}}, 0),
        ({"usage": {"total_tokens": 5.0}}, 0),
        ({"usage": {"total_tokens": 10**9}}, 10**9),
        ({"usage": {"total_tokens": 10**400}}, 0),
        ({"usage": {"input_tokens": 10**9, "output_tokens": 1}}, 0),
        ({"usage": {"prompt_tokens": 5, "completion_tokens": 3}}, 8),
        ({"usage": {"input_tokens": 5, "output_tokens": 3, "cache_read_input_tokens": 2}}, 10),
        ({"usage": {"total_tokens": 9, "input_tokens": 5, "output_tokens": 3}}, 9),
        ({"usage": lambda: {"total_tokens": 5}}, 0),
        ({"usage": {"used": 5}, "usage_metadata": {"total_tokens": 5}}, 5),
        ({"usageMetadata": {"totalTokenCount": 5}}, 5),
        ({"prompt_eval_count": 2, "eval_count": 3}, 5),
        ({"response_metadata": {"token_usage": {"total_tokens": 5}}}, 5),
        ({"generations": [[{"message": {"usage_metadata": {"total_tokens": 5}}}] * 2], "llm_output": None}, 10),
        ({"_state": None, "usage": {"total_tokens": 5}}, 5),
        ("text", 0),
        (None, 0),
        (Evasive(), 0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_tokens_are_what_a_response_reports(response: object, expected: int) -> None:
    """A response reports positive ints of a size that can be, in the shape of any vendor, or nothing."""
    assert total_tokens(response) == expected
