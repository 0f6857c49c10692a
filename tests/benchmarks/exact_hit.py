"""How long an exact hit takes through the decorator, beside what people compare it with.

Run with ``python tests/benchmarks/exact_hit.py``. Rounds are interleaved; the medians are of single calls.
"""

from __future__ import annotations

import functools
import gc
import json
import statistics
import time
from collections.abc import Callable

from recallm import semantic_cache
from recallm.testing import FakeEmbedder

EMBEDDER = FakeEmbedder()
CHAT = [
    {"role": "system", "content": "You are a support assistant. Be brief and friendly."},
    {"role": "user", "content": "Hello, I have a question about my subscription."},
    {"role": "assistant", "content": "Of course! What would you like to know?"},
    {"role": "user", "content": "How do I cancel it before it renews next month?"},
]
QUESTION = "How do I cancel my subscription before it renews next month?"


@semantic_cache(context=lambda kw: {"user": kw["user"]}, embedder=EMBEDDER, storage="memory://")
def ask(question: str, *, user: str) -> str:
    """Answer a question."""
    return f"an answer to {question}"


@semantic_cache(context={"tenant": "acme"}, embedder=EMBEDDER, storage="memory://")
def chat(messages: list[dict[str, str]], model: str = "small") -> str:
    """Answer a conversation."""
    return f"{model} answers {messages[-1]['content']}"


@functools.lru_cache
def ask_lru(question: str, *, user: str) -> str:
    """Answer a question, cached by functools."""
    return f"an answer to {question}"


CASES: dict[str, Callable[[], object]] = {
    "recallm ask(question, user=...)": lambda: ask(QUESTION, user="ada"),
    "recallm chat of four messages": lambda: chat(CHAT),
    "functools.lru_cache": lambda: ask_lru(QUESTION, user="ada"),
    "json.dumps of ask's arguments": lambda: json.dumps({"question": QUESTION, "user": "ada"}, sort_keys=True),
    "json.dumps of the chat": lambda: json.dumps({"messages": CHAT, "model": "small"}, sort_keys=True),
}


def main(rounds: int = 60, calls: int = 300) -> None:
    """Print the median and the 99th percentile of each case, in microseconds."""
    took: dict[str, list[int]] = {name: [] for name in CASES}
    for call in CASES.values():
        call()
    gc.disable()
    for _ in range(rounds):
        for name, call in CASES.items():
            for _ in range(calls):
                began = time.perf_counter_ns()
                call()
                took[name].append(time.perf_counter_ns() - began)
    gc.enable()
    assert ask.stats().misses == chat.stats().misses == 1
    print(f"{'':<34}{'p50 µs':>8}{'p99 µs':>8}")
    for name, samples in took.items():
        ordered = sorted(samples)
        print(f"{name:<34}{statistics.median(ordered) / 1e3:>8.1f}{ordered[len(ordered) * 99 // 100] / 1e3:>8.1f}")


if __name__ == "__main__":
    main()
