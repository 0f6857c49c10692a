"""A traced flow does what the flow does: its effects, results and exceptions are the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.faulty import Obstinate, Returning

from recallm import InMemoryStorage, observed, semantic_cache
from recallm.telemetry.tracing import trace_lookups
from recallm.testing import Clock, FakeEmbedder


class Recorded:
    """A span that keeps what it is told."""

    def __init__(self, told: list[str]) -> None:
        self.told = told
        told.append("begin")

    def on_model(self, model_id: str, threshold: float) -> None:
        """Keep that the model is known."""
        self.told.append("model")

    def on_event(self, event: object) -> None:
        """Keep the event."""
        self.told.append(type(event).__name__)

    def end(self, outcome: object) -> None:
        """Keep the outcome."""
        self.told.append(f"end {type(outcome).__name__}")


def fail(error: BaseException) -> Callable[..., Any]:
    """Return what raises an exception in the place of an operation."""

    def operation(own: Callable[..., Any], *arguments: Any) -> Any:
        raise error

    return operation


def refuse(prompt: str, cached_prompt: str) -> bool:
    """Refuse every candidate."""
    return False


def broken(prompt: str, cached_prompt: str) -> bool:
    """Judge nothing."""
    raise StopIteration


SCENES: dict[str, Callable[[], dict[str, Any]]] = {
    "working": dict,
    "vetoed": lambda: {"guards": (refuse,)},
    "a guard raises": lambda: {"guards": (broken,)},
    "no embeddings": lambda: {"embedder": Returning(StopIteration())},
    "no storage": lambda: {"storage": Obstinate(recall=fail(ConnectionError()))},
    "a storage that stops iterating": lambda: {"storage": Obstinate(recall=fail(StopIteration()))},
    "nothing is stored": lambda: {"storage": Obstinate(put=fail(OSError()))},
    "exact": lambda: {"threshold": "exact"},
    "not coalesced": lambda: {"coalesce": False},
}
"""By name, what makes the options of a function, with parts that no run has used yet."""

PROMPTS = ("one two", "one two", "two one", "raise", "stop", "raise")


def outcomes(scene: dict[str, Any], *, asynchronous: bool) -> tuple[object, ...]:
    """Return what some calls come to, what was observed, and the counts."""

    def answer(prompt: str) -> str:
        if prompt == "raise":
            raise LookupError(prompt)
        if prompt == "stop":
            raise KeyError if asynchronous else StopIteration
        return prompt.upper()

    async def later(prompt: str) -> str:
        return answer(prompt)

    known = {"context": {}, "guards": (), "storage": InMemoryStorage(clock=Clock()), "embedder": FakeEmbedder()}
    cached: Any = semantic_cache
    ask = cached(**{**known, "version": "1", **scene})(later if asynchronous else answer)
    found = []
    with observed() as seen:
        for prompt in PROMPTS:
            try:
                found.append(asyncio.run(ask(prompt)) if asynchronous else ask(prompt))
            except Exception as error:  # noqa: BLE001  # each outcome is compared
                found.append(repr(error))
    stats = ask.stats()
    counts = (stats.hits, stats.misses, dict(stats.bypasses), dict(stats.errors), dict(stats.vetoes), stats.stored)
    return found, [f"{call.outcome} {call.reason}" for call in seen], *counts


@pytest.fixture
def told() -> Iterator[list[str]]:
    """What the spans of all look-ups are told, two for each."""
    told: list[str] = []
    removals = [trace_lookups(lambda cache, prompt: Recorded(told)), trace_lookups(lambda cache, prompt: Recorded([]))]
    yield told
    for remove in removals:
        remove()


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)
def test_tracing_changes_nothing(
    scene: Callable[[], dict[str, Any]], asynchronous: bool, request: pytest.FixtureRequest
) -> None:
    """Whatever works or fails, calls come to the same, and are counted alike, with and without spans."""
    without = outcomes(scene(), asynchronous=asynchronous)
    told: list[str] = request.getfixturevalue("told")
    assert outcomes(scene(), asynchronous=asynchronous) == without
    assert told.count("begin") == len(PROMPTS)
    assert sum(each.startswith("end") for each in told) == len(PROMPTS)
    assert "end NoneType" not in told


def test_a_span_ends_before_the_function_is_called(told: list[str]) -> None:
    """The span of a miss has ended when the function is called, and is told nothing of what comes after."""

    def answer(prompt: str) -> str:
        told.append("called")
        return prompt

    ask = semantic_cache(context={}, storage=InMemoryStorage(), embedder=FakeEmbedder(), version="1")(answer)
    ask("one two")
    assert told == ["begin", "model", "end Miss", "called"]
