"""What each part of running in production adds to a call: audits, limits, switches, listeners and traces, on and off.

Run with ``python tests/benchmarks/overhead.py``. Rounds are interleaved; the figures are medians of single calls in
microseconds, and in brackets what the part adds to the plain call, negative if it leaves something out. The function
takes no time, and embeddings are remembered, but for those of misses. What would be a similar hit is an exact one of
its own answer with ``serve="exact"``, and a call of the function with ``serve="none"`` and if caches are inactive.
Traces need the OpenTelemetry SDK; without it they are left out.
"""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import recallm
from recallm import ThreadSafeInMemoryStorage, semantic_cache
from recallm.judges import equal_values

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIM = 384
PROMPTS = 100


class Near:
    """An embedder to which a prompt and the same prompt with ``~`` are alike, and all others are not."""

    model_id = "near"

    def embed(self, text: str) -> NDArray[np.float32]:
        """Return a vector that depends on the text without ``~``, or one near it."""
        random = np.random.default_rng(int(text.rstrip("~").split()[-1]))
        row = random.standard_normal(DIM).astype(np.float32)
        return row * np.float32(1.01) + np.float32(0.02) if text.endswith("~") else row


class Part(NamedTuple):
    """One way to run.

    Attributes:
        options: of the cached function.
        around: what its calls are made in.
    """

    options: dict[str, Any]
    around: Callable[[], AbstractContextManager[object]] = nullcontext


@contextmanager
def listener() -> Iterator[None]:
    """Have a listener told each event."""
    remove = recallm.on_event(lambda event, *_: None)
    try:
        yield
    finally:
        remove()


@contextmanager
def traced() -> Iterator[None]:
    """Have spans and metrics recorded, and exported nowhere."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.trace import TracerProvider

    from recallm.opentelemetry import instrument

    remove = instrument(TracerProvider(), MeterProvider())
    try:
        yield
    finally:
        remove()


def is_there(package: str) -> bool:
    """Return whether a package can be imported."""
    try:
        __import__(package)
    except ImportError:
        return False
    return True


PARTS: dict[str, Part] = {
    "plain": Part({}),
    "audit on, not drawn": Part({"audit": 1e-12}),
    "audit on, max_wrong": Part({"audit": 1e-12, "same": equal_values, "max_wrong": 0.01}),
    'serve="exact"': Part({"serve": "exact"}),
    'serve="none"': Part({"serve": "none"}),
    "inactive": Part({}, recallm.inactive),
}
if hasattr(recallm, "on_event"):
    PARTS["one listener"] = Part({}, listener)
if hasattr(recallm, "on_event") and is_there("opentelemetry.sdk"):
    PARTS["OpenTelemetry"] = Part({}, traced)


def cached(part: Part) -> Callable[[str], str]:
    """Return a function cached so, with the answers to all prompts."""

    @semantic_cache(
        threshold=0.9, guards=(), context={}, embedder=Near(), storage=ThreadSafeInMemoryStorage(), **part.options
    )
    def answer(question: str) -> str:
        return question

    for number in range(PROMPTS):
        answer(f"question {number}")
        answer(f"question {number}~")
    return answer


def medians(part: Part, answer: Callable[[str], str], fresh: Iterator[int], took: dict[str, list[int]]) -> None:
    """Add the nanoseconds of single calls of each kind."""
    with part.around():
        for number in range(PROMPTS):
            for kind, prompt in (
                ("exact hit", f"question {number}"),
                ("similar hit", f"question {number}~"),
                ("miss", f"question {next(fresh)}"),
            ):
                began = time.perf_counter_ns()
                answer(prompt)
                took[kind].append(time.perf_counter_ns() - began)


def main(rounds: int = 4) -> None:
    """Print the medians of each part and each kind of call."""
    fresh = itertools.count(PROMPTS)
    functions = {name: cached(part) for name, part in PARTS.items()}
    took: dict[str, dict[str, list[int]]] = {
        name: {kind: [] for kind in ("exact hit", "similar hit", "miss")} for name in PARTS
    }
    gc.disable()
    for _ in range(rounds):
        for name, part in PARTS.items():
            medians(part, functions[name], fresh, took[name])
            gc.collect()
    print(f"{'':<22}" + "".join(f"{kind:>22}" for kind in took["plain"]))
    for name, kinds in took.items():
        cells = []
        for kind, values in kinds.items():
            median, plain = (float(np.median(each)) / 1000 for each in (values, took["plain"][kind]))
            cells.append(f"{median:.1f} ({median - plain:+.1f})")
        print(f"{name:<22}" + "".join(f"{cell:>22}" for cell in cells))


if __name__ == "__main__":
    main()
