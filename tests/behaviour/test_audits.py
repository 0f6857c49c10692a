"""`audit`: for some similar hits the function is called as well, and its answer compared with the stored one."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from support.angles import Angles
from support.background import audits_settled

import recallm
from recallm import InMemoryStorage, registry, semantic_cache
from recallm.errors import InvalidTypeError, InvalidValueError
from recallm.telemetry.metrics import Metrics
from recallm.testing import Clock, FakeEmbedder


class Audited:
    """A function whose answers depend on the last word of its prompt only, cached with audits of all similar hits."""

    def __init__(self, *, asynchronous: bool = False, **given: Any) -> None:
        self.asked: list[str] = []
        self.compared: list[tuple[str, Any, Any]] = []
        known = {"context": {}, "embedder": Angles(), "guards": (), "threshold": 0.8, "storage": InMemoryStorage()}
        known |= {"audit": 1.0, "same": self.same, "ignore": ("self",)}

        def answer(prompt: str) -> list[str]:
            self.asked.append(prompt)
            return [prompt.rsplit(maxsplit=1)[-1]]

        async def later(prompt: str) -> list[str]:
            return answer(prompt)

        self.asynchronous = asynchronous
        self.cached: Any = semantic_cache(**{**known, **given})(later if asynchronous else answer)

    def same(self, prompt: str, cached_response: list[str], response: list[str]) -> bool:
        """Compare two answers."""
        self.compared.append((prompt, cached_response, response))
        return cached_response == response

    def ask(self, prompt: str) -> Any:
        """Call the cached function, sync or async."""
        return asyncio.run(self.cached(prompt)) if self.asynchronous else self.cached(prompt)

    def stats(self) -> Any:
        """Return the statistics once all comparisons are done."""
        audits_settled()
        return self.cached.stats()


class Raising(list[Any]):
    """Has the function that puts its prompts here raise what this holds."""

    def append(self, _: str) -> None:
        """Raise it."""
        raise self[0]


def test_an_audited_call_gets_the_functions_answer_and_counts_as_a_miss(asynchronous: bool) -> None:
    """An audited similar hit is a miss with the function's answer, which is stored; the two answers are compared."""
    audited = Audited(asynchronous=asynchronous)
    assert audited.ask("a cat") == ["cat"]
    assert audited.ask("0.9 a dog") == ["dog"]
    assert audited.ask("0.85 a cat") == ["cat"]
    assert audited.ask("0.9 a dog") == ["dog"]  # its own answer by now
    stats = audited.stats()
    assert audited.asked == ["a cat", "0.9 a dog", "0.85 a cat"]
    assert audited.compared == [("0.9 a dog", ["cat"], ["dog"]), ("0.85 a cat", ["dog"], ["cat"])]
    assert (stats.hits, stats.misses, stats.saved_seconds > 0.0) == (1, 3, True)
    assert (stats.audited, stats.wrong, stats.wrong_rate) == (2, 2, 1.0)
    assert stats.errors == {}


def test_the_rate_is_told_with_its_interval_and_by_bands_of_similarity() -> None:
    """Statistics and their text have the wrong rate, its 95 % interval, and both counts for each band of cosines."""
    audited = Audited()
    audited.ask("a cat")
    audited.ask("0.985 cat")
    audited.cached.invalidate("0.985 cat")
    audited.ask("a cat")
    audited.ask("0.83 dog")
    stats = audited.stats()
    assert stats.wrong_by_band == {"0.8-0.85": (1, 1), "0.98-0.99": (1, 0)}
    assert (stats.audited, stats.wrong, stats.wrong_rate) == (2, 1, 0.5)
    low, high = stats.wrong_rate_interval
    assert 0.0 < low < 0.5 < high < 1.0
    assert "audited         2, 1 wrong: 50.0% (95 %: 1.3% to 98.7%)" in repr(stats)
    assert "wrong_by_band   0.8-0.85 1 of 1, 0.98-0.99 0 of 1" in repr(stats)


def test_before_the_first_audit_nothing_is_claimed() -> None:
    """Without audits the rate is 0.0, its interval is everything, and no text speaks of them."""
    stats = Audited().cached.stats()
    assert (stats.audited, stats.wrong, stats.wrong_rate, stats.wrong_rate_interval) == (0, 0, 0.0, (0.0, 1.0))
    assert "wrong" not in repr(stats)
    assert "audit" not in repr(stats)


def test_metrics_count_audits_by_band(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prometheus gets both counts with the cache's name and the band."""
    seen = CollectorRegistry()
    metrics = Metrics(seen)
    monkeypatch.setattr(registry, "_metrics", metrics)
    audited = Audited(name="mine")
    audited.ask("a cat")
    audited.ask("0.9 dog")
    audits_settled()
    shown = generate_latest(seen).decode()
    assert 'recallm_audited_total{band="0.88-0.9",cache="mine"} 1.0' in shown
    assert 'recallm_wrong_total{band="0.88-0.9",cache="mine"} 1.0' in shown


@pytest.mark.parametrize("prompt", ["a cat", "0.5 dog"], ids=["exact", "unlike"])
def test_only_similar_hits_are_audited(prompt: str) -> None:
    """Neither an exact hit nor a miss is audited."""
    audited = Audited()
    audited.ask("a cat")
    audited.ask(prompt)
    assert audited.stats().audited == 0
    assert audited.compared == []


@given(st.floats(0.0, 1.0), st.integers(0, 5))
def test_the_same_calls_in_the_same_order_give_the_same_audits(share: float, salt: int) -> None:
    """Which hits are audited follows from the share, the calls and their order; hits and misses are all the calls."""
    prompts = ["a cat", *(f"0.{90 + place} cat {salt}" for place in range(9) for _ in range(3))]

    def run() -> tuple[list[str], int, int]:
        audited = Audited(audit=share, version="1", name="repeated", namespace="repeated")
        for prompt in prompts:
            audited.ask(prompt)
        stats = audited.stats()
        assert stats.hits + stats.misses == len(prompts)
        assert stats.misses == 1 + stats.audited
        return audited.asked, stats.hits, stats.audited

    assert run() == run()


def test_sync_and_async_calls_are_audited_alike() -> None:
    """The same calls are audited whether the function is sync or async."""
    outcomes = []
    for asynchronous in (False, True):
        audited = Audited(asynchronous=asynchronous, audit=0.5, version="1", name="either", namespace="either")
        for place in range(20):
            audited.ask("a cat" if place == 0 else f"0.9 {place} cat")
        stats = audited.stats()
        outcomes.append((audited.asked, stats.hits, stats.misses, stats.audited, stats.wrong))
    assert outcomes[0] == outcomes[1]
    assert 0 < outcomes[0][3] < 19


def test_what_the_function_raises_is_the_callers() -> None:
    """An exception of the function reaches the caller of an audited call, which is a miss; nothing is compared."""
    audited, error = Audited(), ConnectionError("away")
    audited.ask("a cat")
    audited.asked = Raising([error])
    with pytest.raises(ConnectionError) as caught:
        audited.ask("0.9 cat")
    assert caught.value is error
    stats = audited.stats()
    assert (stats.hits, stats.misses, stats.audited) == (0, 2, 0)


def test_with_stale_if_error_an_audit_takes_no_answer_away(asynchronous: bool) -> None:
    """If the function raises, and even an expired answer may be served then, so is the one that was to be compared."""
    audited = Audited(asynchronous=asynchronous, stale_if_error=60, audit=1)
    audited.ask("a cat")
    audited.asked = Raising([ConnectionError("away")])
    assert audited.ask("0.9 dog") == ["cat"]
    audited.cached.clear()
    with pytest.raises(ConnectionError):
        audited.ask("0.9 dog")
    stats = audited.stats()
    assert (stats.hits, stats.misses, stats.stale, stats.audited, stats.errors) == (0, 3, 1, 0, {})


def test_an_answer_that_is_not_stored_says_nothing_about_another() -> None:
    """If `store_if` refuses the function's answer, it reaches the caller and is compared with nothing."""
    audited = Audited(store_if=lambda response: response != ["dog"])
    audited.ask("a cat")
    assert audited.ask("0.9 dog") == ["dog"]
    stats = audited.stats()
    assert (stats.misses, stats.audited, stats.stored) == (2, 0, 1)


def test_an_answer_that_was_removed_meanwhile_is_not_judged() -> None:
    """If the namespace is emptied while the function works, newer facts may be behind its answer: no comparison."""
    audited = Audited()
    audited.ask("a cat")

    class Emptying(list[str]):
        def append(self, _: str) -> None:
            audited.cached.clear()

    audited.asked = Emptying()
    assert audited.ask("0.9 dog") == ["dog"]
    assert audited.stats().audited == 0


def test_a_comparison_that_fails_is_an_error_and_no_audit(caplog: pytest.LogCaptureFixture) -> None:
    """What `same` raises, and what is no verdict, is counted under "audit", logged without texts, and nothing else."""

    def same(prompt: str, cached_response: object, response: object) -> bool:
        raise RuntimeError(prompt)

    audited = Audited(same=same)
    audited.ask("a cat")
    with caplog.at_level(logging.WARNING, "recallm"):
        assert audited.ask("0.9 dog") == ["dog"]
        stats = audited.stats()
    assert (stats.audited, stats.wrong, stats.errors) == (0, 0, {"audit": 1})
    assert "audit failed with RuntimeError" in caplog.text
    assert "dog" not in caplog.text


def test_the_caller_may_change_its_answer_while_it_is_compared() -> None:
    """`same` gets copies of both answers, in another thread, whatever the caller does with its own."""
    go_on = threading.Event()
    seen: list[Any] = []

    def same(prompt: str, cached_response: list[str], response: list[str]) -> bool:
        go_on.wait(10)
        seen.append((threading.current_thread().name, cached_response, response))
        return True

    audited = Audited(same=same)
    first = audited.ask("a cat")
    answer = audited.ask("0.9 dog")
    first.clear()
    answer.clear()
    go_on.set()
    assert audited.stats().audited == 1
    assert seen == [("recallm-audit", ["cat"], ["dog"])]


def test_comparisons_that_fall_behind_are_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call never waits for `same`: if too much waits for it, further audits are dropped as errors."""
    from recallm.engine import background

    monkeypatch.setattr(background.AUDITS, "_max_bytes", 3 << 16)
    go_on = threading.Event()
    audited = Audited(same=lambda *_: go_on.wait(10))
    audited.ask("a cat")
    for place in range(5):
        audited.ask(f"0.9 {place} cat")
    assert audited.cached.stats().errors == {"audit": 2}
    go_on.set()
    monkeypatch.setattr(background.AUDITS, "_max_bytes", 1 << 26)
    assert audited.stats().audited == 3


def test_an_expired_answer_that_is_served_meanwhile_is_not_audited() -> None:
    """An answer that was right in its time is no wrong one."""
    clock = Clock()
    audited = Audited(storage=InMemoryStorage(clock=clock), ttl=10, stale_while_revalidate=100)
    audited.ask("a cat")
    clock.advance(50)
    assert audited.ask("0.9 dog") == ["cat"]
    assert audited.stats().audited == 0


def test_in_shadow_each_would_be_similar_hit_is_compared_and_nothing_more_is_stored(asynchronous: bool) -> None:
    """With `serve="none"` and `audit=1` every call calls the function, and would-be similar hits are compared."""
    audited = Audited(asynchronous=asynchronous, serve="none")
    for prompt in ("a cat", "0.9 dog", "0.9 dog", "0.9 cat", "a cat"):
        assert audited.ask(prompt) == [prompt.split()[-1]]
    stats = audited.stats()
    assert (stats.hits, stats.misses, stats.stored) == (0, 5, 1)
    assert stats.shadow_hits == {"similar": 3, "exact": 1}
    assert (stats.audited, stats.wrong) == (3, 2)


def test_explain_neither_draws_nor_compares() -> None:
    """`explain` tells of a similar hit as of any, and leaves the draw as it was."""
    audited = Audited(audit=0.5)
    audited.ask("a cat")
    before = next(audited.cached.cache._core._similar_hits)
    why = audited.cached.explain("0.9 dog")
    assert (why.outcome, why.reason) == ("hit", "similar")
    assert next(audited.cached.cache._core._similar_hits) == before + 1
    assert audited.compared == []


def test_a_recording_has_the_verdicts(tmp_path: Path) -> None:
    """The pair of an audited call has one line in a recording, with what `same` said."""
    path = tmp_path / "pairs.jsonl"
    audited = Audited()
    with recallm.record(path):
        audited.ask("a cat")
        audited.ask("0.9 dog")
        audited.stats()
    (line,) = [json.loads(line) for line in path.read_text().splitlines()]
    assert (line["prompt"], line["cached_prompt"], line["outcome"], line["same"]) == ("0.9 dog", "a cat", "hit", False)


def test_a_cache_that_is_over_its_budget_serves_exact_hits_only(
    asynchronous: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Once audits prove more wrong than `max_wrong`, only exact hits are served, until the statistics begin anew."""
    audited = Audited(asynchronous=asynchronous, max_wrong=0.2)
    audited.ask("a cat")
    with caplog.at_level(logging.WARNING, "recallm"):
        for place in range(10):
            audited.ask(f"0.9 {place}")
            audited.stats()
    stats = audited.stats()
    assert stats.circuits == {"similar": "stopped by max_wrong"}
    assert "similar stopped by max_wrong" in repr(stats)
    assert [each.getMessage() for each in caplog.records] == [
        f"cache {audited.cached.cache.name!r}: {stats.wrong} of {stats.audited} audited answers were wrong, more than "
        "max_wrong=0.2 allows: similar prompts' answers are no longer served until reset_stats()"
    ]
    assert 2 <= stats.audited < 10
    why = audited.cached.explain("0.95 a cat")
    assert (why.reason, why.detail) == ("exact_only", "stopped by max_wrong")
    calls = len(audited.asked)
    assert audited.ask("0.9 3") == ["3"]  # its own answer
    assert audited.ask("0.95 a cat") == ["cat"]
    assert len(audited.asked) == calls + 1
    audited.cached.cache.reset_stats()
    assert audited.cached.stats().circuits == {}
    assert audited.cached.explain("0.96 a cat").reason == "similar"


def test_a_cache_within_its_budget_goes_on() -> None:
    """Right answers stop nothing, and one wrong one among many proves nothing against a budget."""
    audited = Audited(max_wrong=0.2)
    audited.ask("a cat")
    for place in range(20):
        audited.ask(f"0.9 {place} cat")
    audited.ask("0.9 dog")
    stats = audited.stats()
    assert (stats.audited, stats.wrong, stats.circuits) == (21, 1, {})


@pytest.mark.parametrize(
    ("mistake", "error", "told"),
    [
        ({"audit": 2}, InvalidValueError, "audit=2"),
        ({"audit": True}, InvalidTypeError, "audit=True"),
        ({"audit": "all"}, InvalidTypeError, "audit='all'"),
        ({"max_wrong": 0}, InvalidValueError, "max_wrong=0"),
        ({"max_wrong": 0.01, "audit": 0}, InvalidValueError, "max_wrong=0.01 has no audits to go by"),
        ({"max_wrong": 0.01, "audit": 0.1}, InvalidValueError, "max_wrong=0.01 needs a judge of yours"),
        ({"same": "equal"}, InvalidTypeError, "same='equal'"),
    ],
)
def test_a_mistake_is_told_at_decoration(mistake: dict[str, Any], error: type[Exception], told: str) -> None:
    """A wrong `audit`, `same` or `max_wrong` raises at decoration, and the message has the value."""
    with pytest.raises(error, match=told):
        semantic_cache(context={}, embedder=FakeEmbedder(), **mistake)(lambda prompt: prompt)


def test_texts_that_agree_are_the_same_by_default() -> None:
    """Without `same` answers whose texts agree are right, here but for capitals and markup."""
    audited = Audited(same=None, embedder=None, threshold=0.0)
    recallm.set_default_embedder(Angles())
    audited.cached = semantic_cache(context={}, guards=(), threshold=0.8, audit=1.0)(lambda prompt: prompt[4:].title())
    audited.ask("0.9 the CAT is grey")
    audited.ask("0.9 The cat is grey")
    audited.ask("0.9 the dog has 4 legs")
    stats = audited.stats()
    assert (stats.audited, stats.wrong, stats.errors) == (2, 1, {})


def test_a_comparison_that_would_have_to_be_awaited_is_refused() -> None:
    """An async `same` raises at decoration: nobody would await it."""

    async def same(prompt: str, cached_response: object, response: object) -> bool:
        return True

    with pytest.raises(InvalidTypeError, match="is async"):
        semantic_cache(context={}, audit=0.1, same=same)(lambda prompt: prompt)  # type: ignore[arg-type]


PROGRAM = """
import os, sys, threading
from recallm import semantic_cache
from recallm.testing import FakeEmbedder

def same(prompt, cached_response, response):
    if os.getpid() == parent:
        begun.set()
        threading.Event().wait()
    return True

parent, begun = os.getpid(), threading.Event()

@semantic_cache(context={}, embedder=FakeEmbedder(), guards=(), audit=1, same=same, version="1")
def ask(prompt: str) -> str:
    return prompt

ask("one two")
ask("two one")
begun.wait(20)
"""


def run(program: str) -> str:
    """Return what a program prints after `PROGRAM`."""
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM + program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_a_comparison_that_hangs_does_not_keep_a_program_from_ending() -> None:
    """The program ends though `same` does not, and nothing is called after its end."""
    assert run("print(ask.stats().misses)") == "2"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_compares_for_itself() -> None:
    """In a child the thread that compared is gone with what it was at, and another one begins."""
    program = """
sys.stdout.flush()
child = os.fork()
if child == 0:
    ask("one two three four")
    ask("two one four three")
    for _ in range(1000):
        if ask.stats().audited:
            break
        threading.Event().wait(0.01)
    os._exit(ask.stats().audited)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), ask.stats().audited)
"""
    assert run(program) == "1 0"
