"""What a response says of itself: whether it is a stream, and how many tokens it took."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from recallm.keying.responses import Usage, is_stream, total_tokens, used_tokens


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


def noted(**usage: Any) -> dict[str, Any]:
    """Return a message of LangChain's with its usage."""
    return {"message": {"usage_metadata": usage}}


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        # OpenAI chat, and Responses
        ({"usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}}, Usage(12, 9, 3)),
        (SimpleNamespace(usage=SimpleNamespace(input_tokens=9, output_tokens=3, total_tokens=12)), Usage(12, 9, 3)),
        # Anthropic, whose own cache counts beside
        ({"usage": {"input_tokens": 9, "output_tokens": 3}}, Usage(12, 9, 3)),
        (
            {
                "usage": {
                    "input_tokens": 9,
                    "output_tokens": 3,
                    "cache_read_input_tokens": 5,
                    "cache_creation_input_tokens": 2,
                }
            },
            Usage(19, 16, 3),
        ),
        # LiteLLM, where it counts within
        (
            {
                "usage": {
                    "prompt_tokens": 16,
                    "completion_tokens": 3,
                    "total_tokens": 19,
                    "cache_read_input_tokens": 5,
                    "cache_creation_input_tokens": 2,
                }
            },
            Usage(19, 16, 3),
        ),
        # Gemini, with thoughts and tools, from Python and as JSON
        (
            SimpleNamespace(
                usage_metadata=SimpleNamespace(
                    prompt_token_count=9,
                    candidates_token_count=3,
                    thoughts_token_count=4,
                    tool_use_prompt_token_count=1,
                    total_token_count=17,
                )
            ),
            Usage(17, 10, 7),
        ),
        (
            {"usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 3, "totalTokenCount": 12}},
            Usage(12, 9, 3),
        ),
        # Ollama
        ({"prompt_eval_count": 9, "eval_count": 3}, Usage(12, 9, 3)),
        # LangChain: a message, its metadata, a result, a batch of results
        ({"usage_metadata": {"input_tokens": 9, "output_tokens": 3, "total_tokens": 12}}, Usage(12, 9, 3)),
        (
            {"response_metadata": {"token_usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}}},
            Usage(12, 9, 3),
        ),
        ({"llm_output": {"token_usage": {"prompt_tokens": 9, "completion_tokens": 3}}}, Usage(12, 9, 3)),
        (
            {
                "generations": [
                    [noted(input_tokens=9, output_tokens=3, total_tokens=12)],
                    [noted(input_tokens=1, output_tokens=1)],
                ]
            },
            Usage(14, 10, 4),
        ),
        # Instructor and Pydantic AI
        ({"_raw_response": {"usage": {"prompt_tokens": 9, "completion_tokens": 3}}}, Usage(12, 9, 3)),
        ({"_state": {"usage": {"input_tokens": 9, "output_tokens": 3}}}, Usage(12, 9, 3)),
        # Not told, or not to be believed
        ({"usage": {"total_tokens": 12}}, Usage(12, 0, 0)),
        ({"usage": {"prompt_tokens": 9}}, Usage(9, 9, 0)),
        ({"usage": {"prompt_tokens": 10**9, "completion_tokens": 1}}, Usage()),
        ({"usage": {"prompt_tokens": -1, "completion_tokens": "3"}}, Usage()),
        ({"generations": []}, Usage()),
        (Evasive(), Usage()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_tokens_in_and_out_are_told_apart(response: object, expected: Usage) -> None:
    """What was read and what was written is known of every shape that says it, and nothing is made up."""
    assert used_tokens(response) == expected
