"""What a cached function adds to a call while the caches are switched off, and an async one to an awaited call.

Run with ``python tests/benchmarks/switched_off.py``. Rounds of plain and cached calls are interleaved, and the best
round of each counts, as what else runs on the machine only ever adds time.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any

import recallm
from recallm import NullStorage, semantic_cache
from recallm.testing import FakeEmbedder


def answer(question: str, *, user: str = "u") -> str:
    """Answer."""
    return question


async def answer_later(question: str, *, user: str = "u") -> str:
    """Answer later."""
    return question


class Agent:
    """Has a plain and a cached method."""

    def plain(self, question: str) -> str:
        """Answer."""
        return question

    cached = semantic_cache(storage=NullStorage(), embedder=FakeEmbedder())(plain)


CACHED: Any = semantic_cache(storage=NullStorage(), embedder=FakeEmbedder())(answer)
LATER: Any = semantic_cache(storage=NullStorage(), embedder=FakeEmbedder())(answer_later)
AGENT: Any = Agent()


def awaited(coroutine: Any) -> None:
    """Run a coroutine that waits for nothing, without an event loop."""
    try:
        coroutine.send(None)
    except StopIteration:
        return


CASES: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
    "function": (lambda: answer("q", user="v"), lambda: CACHED("q", user="v")),
    "function, with cache_context=": (lambda: answer("q"), lambda: CACHED("q", cache_context={})),
    "method": (lambda: AGENT.plain("q"), lambda: AGENT.cached("q")),
    "async function": (lambda: awaited(answer_later("q")), lambda: awaited(LATER("q"))),
}


def seconds(call: Callable[[], object], calls: int) -> float:
    """Return the time of one call, on average."""
    numbers = range(calls)
    begun = time.thread_time()
    for _ in numbers:
        call()
    return (time.thread_time() - begun) / calls


def compare(switch: str, rounds: int = 60, calls: int = 2000) -> None:
    """Print what each kind of call takes, plain and cached, and the difference."""
    print(f"{switch:<34}{'plain':>9}{'cached':>9}{'added':>9}  µs")
    for name, (plain, cached) in CASES.items():
        best = [float("inf")] * 2
        for _ in range(rounds):
            best = [min(known, seconds(call, calls)) for known, call in zip(best, (plain, cached), strict=True)]
        one, other = (each * 1e6 for each in best)
        print(f"  {name:<32}{one:>9.3f}{other:>9.3f}{other - one:>9.3f}")


if __name__ == "__main__":
    gc.disable()
    recallm.set_active(False)
    compare("set_active(False)")
    recallm.set_active(True)
    with recallm.inactive():
        compare("with inactive()")
