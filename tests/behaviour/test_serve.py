"""What may be served: all answers, those of the very same prompt, or none; by function, by call and by process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import recallm
from recallm import InMemoryStorage, NullStorage, semantic_cache
from recallm.engine.switches import PROCESS
from recallm.telemetry.recording import active_recordings
from recallm.testing import Clock, FakeEmbedder
from recallm.testing.threads import run_at_once

ASKED, REWORDED, OTHER = "one two three four", "four three two one", "something else entirely"
TRAFFIC = (ASKED, ASKED, REWORDED, OTHER, REWORDED, ASKED, OTHER, "one two three four five six", "one")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Undo what a test switches."""
    before = PROCESS.serve
    yield
    PROCESS.serve = before


class Service:
    """A cached function that counts its runs, sync or async."""

    def __init__(self, asynchronous: bool, **options: Any) -> None:
        self.runs: list[str] = []
        self.error: Exception | None = None
        self.arrived: Callable[[], object] = int
        self.embedder = FakeEmbedder()
        known = {"context": {}, "storage": InMemoryStorage(), "embedder": self.embedder, "guards": (), "version": "1"}
        self._asynchronous = asynchronous

        def answer(question: str) -> str:
            self.runs.append(question)
            if self.error is not None:
                raise self.error
            self.arrived()
            return f"{question} {len(self.runs)}"

        async def later(question: str) -> str:
            return answer(question)

        self.cached: Any = semantic_cache(**{**known, **options})(later if asynchronous else answer)

    def ask(self, question: str, **options: Any) -> str:
        """Ask the function."""
        asked = self.cached(question, **options)
        answer: str = asyncio.run(asked) if self._asynchronous else asked
        return answer


def test_exact_serves_the_very_same_prompt_only(asynchronous: bool) -> None:
    """A similar answer is not served, each new one is stored with its vector, and is found once serving is back."""
    service = Service(asynchronous, serve="exact")
    assert [service.ask(each) for each in (ASKED, ASKED, REWORDED, REWORDED)] == [
        f"{ASKED} 1",
        f"{ASKED} 1",
        f"{REWORDED} 2",
        f"{REWORDED} 2",
    ]
    stats = service.cached.stats()
    assert (stats.exact_hits, stats.semantic_hits, stats.misses, stats.stored) == (2, 0, 2, 2)
    assert sorted(service.embedder.embedded) == sorted([ASKED, REWORDED])
    assert service.ask("two one four three", cache_serve="all") in {f"{ASKED} 1", f"{REWORDED} 2"}
    explained = service.cached.explain("two one four three") if not asynchronous else None
    if explained is not None:
        assert (explained.outcome, explained.reason, explained.detail) == ("miss", "exact_only", 'serve="exact"')


def test_shadow_counts_what_would_have_been_served_and_calls_each_time(asynchronous: bool) -> None:
    """On the same calls `shadow_hits` is what a serving twin's hits are, and every call calls the function."""
    shadow, twin = Service(asynchronous, serve="none"), Service(asynchronous)
    answers = [shadow.ask(each) for each in TRAFFIC]
    for each in TRAFFIC:
        twin.ask(each)
    assert answers == [f"{each} {run}" for run, each in enumerate(TRAFFIC, 1)]
    stats, served = shadow.cached.stats(), twin.cached.stats()
    assert (stats.hits, stats.misses) == (0, len(TRAFFIC))
    assert stats.shadow_hits == {"exact": served.exact_hits, "similar": served.semantic_hits}
    assert min(stats.shadow_hits.values()) > 0
    assert (stats.stored, stats.saved_seconds, stats.vetoes) == (served.stored, 0.0, served.vetoes)


def test_shadow_explains_what_would_have_been_served() -> None:
    """`explain` says that the call is a miss, why, and what stood ready."""
    service = Service(False, serve="none")
    service.ask(ASKED)
    exact, similar = service.cached.explain(ASKED), service.cached.explain(REWORDED)
    assert (exact.outcome, exact.reason, exact.exact, exact.cached_prompt) == ("miss", "shadow", True, ASKED)
    assert (similar.outcome, similar.reason, similar.exact, similar.cached_prompt) == ("miss", "shadow", False, ASKED)
    assert similar.similarity == pytest.approx(1.0)


def test_shadow_serves_no_expired_answer_either(asynchronous: bool) -> None:
    """If the function raises, the caller gets its exception, though an expired answer is there."""
    clock = Clock()
    service = Service(asynchronous, storage=InMemoryStorage(clock=clock), ttl=10, stale_if_error=100)
    service.ask(ASKED)
    clock.advance(20)
    service.error = KeyError("away")
    assert service.ask(ASKED) == f"{ASKED} 1"
    with pytest.raises(KeyError):
        service.ask(ASKED, cache_serve="none")
    recallm.set_serve("none")
    with pytest.raises(KeyError):
        service.ask(ASKED)


def test_shadowed_calls_do_not_wait_for_each_other() -> None:
    """Two calls of one prompt at the same time are both in the function at once."""
    service, both = Service(False, serve="none"), threading.Barrier(2)
    service.arrived = lambda: both.wait(10)
    assert len(run_at_once([lambda: service.ask(ASKED)] * 2)) == 2


def test_recordings_take_a_shadowed_hit_for_the_miss_that_it_was(tmp_path: Any) -> None:
    """What `recallm.record` writes of a shadowed call says that it was not served."""
    service = Service(False, serve="none")
    service.ask(ASKED)
    with recallm.record(tmp_path / "pairs.jsonl"):
        service.ask(REWORDED)
    assert not active_recordings()
    assert '"miss"' in (tmp_path / "pairs.jsonl").read_text()


@pytest.mark.parametrize(
    ("option", "at_call", "process", "expected"),
    [
        ("all", None, "all", "all"),
        ("exact", None, "all", "exact"),
        ("exact", "all", "all", "all"),
        ("none", "exact", "all", "exact"),
        ("all", "none", "all", "none"),
        ("all", None, "exact", "exact"),
        ("none", None, "exact", "none"),
        ("all", "all", "none", "none"),
        ("all", "exact", "none", "none"),
        ("exact", "all", "exact", "exact"),
    ],
)
def test_the_call_comes_before_the_option_and_the_process_caps_both(
    option: str, at_call: str | None, process: Any, expected: str
) -> None:
    """What a call says replaces what its function says, and an operator's switch is never widened by code."""
    service = Service(False, serve=option)
    service.ask(ASKED, cache_serve="all")
    recallm.set_serve(process)
    given = {} if at_call is None else {"cache_serve": at_call}
    exact, similar = service.ask(ASKED, **given), service.ask(REWORDED, **given)
    got = {(True, True): "all", (True, False): "exact", (False, False): "none"}[
        exact == f"{ASKED} 1", similar == f"{ASKED} 1"
    ]
    assert got == expected


@pytest.mark.parametrize("process", ["all", "exact", "none"])
def test_a_call_may_refresh_its_answer(asynchronous: bool, process: Any) -> None:
    """`cache_serve="refresh"` calls the function and overwrites the stored answer, as `refresh` does."""
    service = Service(asynchronous)
    service.ask(ASKED)
    recallm.set_serve(process)
    assert service.ask(ASKED, cache_serve="refresh") == f"{ASKED} 2"
    recallm.set_serve("all")
    assert service.ask(ASKED) == f"{ASKED} 2"
    if not asynchronous:
        explained = service.cached.explain(ASKED, cache_serve="refresh")
        assert (explained.outcome, explained.reason) == ("miss", "refresh")


def test_a_call_may_leave_the_cache_out(asynchronous: bool) -> None:
    """`cache_serve="off"` needs no context, looks up, embeds and stores nothing, and is counted."""
    service = Service(asynchronous, context=None)
    service.ask(ASKED, cache_context={})
    assert service.ask(ASKED, cache_serve="off") == f"{ASKED} 2"
    assert service.ask(OTHER, cache_serve="off") == f"{OTHER} 3"
    stats = service.cached.stats()
    assert (stats.bypasses, stats.stored, stats.misses) == ({"off": 2}, 1, 1)
    assert service.embedder.embedded == [ASKED]
    if not asynchronous:
        explained = service.cached.explain(ASKED, cache_serve="off")
        assert (explained.outcome, explained.reason) == ("bypass", "off")
        assert service.cached.refresh(OTHER, cache_serve="off") == f"{OTHER} 4"
        assert service.cached.stats().stored == 1


def test_what_is_invalidated_does_not_depend_on_what_is_served() -> None:
    """`invalidate` removes what a serving call would hit."""
    service = Service(False, serve="none")
    service.ask(ASKED)
    assert service.cached.invalidate(REWORDED) == 1


def test_a_function_with_such_a_parameter_gets_it() -> None:
    """A function that names ``cache_serve`` itself is passed it."""

    @semantic_cache(context={}, storage=NullStorage(), embedder=FakeEmbedder())
    def answer(question: str, cache_serve: str = "all") -> str:
        return cache_serve

    assert answer("q", cache_serve="none") == "none"


def test_a_stored_answer_survives_shadowing() -> None:
    """What would have been served is not replaced, so that switching back serves what it served before."""
    service = Service(False)
    service.ask(ASKED)
    service.ask(ASKED, cache_serve="none")
    assert service.ask(ASKED) == f"{ASKED} 1"
