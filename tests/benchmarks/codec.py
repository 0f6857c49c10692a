"""What encoding and decoding cost, in microseconds: a short text, a chat completion, a text of five megabytes.

Run with ``python tests/benchmarks/codec.py``; ``PYTHONPATH`` chooses the version of recallm that is measured. OpenAI's
class of completions is used where it is installed, else a pydantic model of the same fields.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import recallm
from recallm.codec.codec import Codec

COMPLETION: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "gpt-4o-mini",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "logprobs": None,
            "message": {"role": "assistant", "content": "A refund is possible within 30 days. " * 12},
        }
    ],
    "usage": {"prompt_tokens": 31, "completion_tokens": 120, "total_tokens": 151},
}


def completion() -> Any:
    """Return a chat completion."""
    try:
        from openai.types.chat import ChatCompletion
    except ImportError:
        from pydantic import create_model

        fields: Any = dict.fromkeys(COMPLETION, (Any, ...))
        return create_model("ChatCompletion", __module__="nowhere", **fields)(**COMPLETION)
    return ChatCompletion.model_validate(COMPLETION)


def microseconds(call: Callable[[], object], seconds: float = 0.5) -> float:
    """Return the median time of a call, of as many as fit into some time."""
    call()
    taken: list[float] = []
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends:
        began = time.perf_counter_ns()
        call()
        taken.append((time.perf_counter_ns() - began) / 1e3)
    return median(taken)


def main() -> None:
    """Print a line for each value."""
    values = {"text of 0.5 kB": "x" * 500, "chat completion": completion(), "text of 5 MB": "xé" * 2_500_000}
    values["list of 2,000 floats"] = [index / 7 for index in range(2000)]
    values["500 completions"] = [completion() for _ in range(500)]
    print(recallm.__file__)
    print(f"{'value':22}{'bytes':>10}{'encode µs':>12}{'decode µs':>12}")
    for name, value in values.items():
        codec = Codec()
        payload = codec.encode(value)
        encode, decode = (microseconds(call) for call in (lambda: codec.encode(value), lambda: codec.decode(payload)))  # noqa: B023  # called at once
        print(f"{name:22}{len(payload):10,}{encode:12.1f}{decode:12.1f}")


if __name__ == "__main__":
    main()
