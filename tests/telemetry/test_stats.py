"""Statistics as a value: one event at a time, and summed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import weakref
from dataclasses import FrozenInstanceError, fields, replace
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recallm.records import (
    Audited,
    Bypass,
    Candidate,
    Coalesced,
    Compared,
    Embedded,
    Entry,
    Event,
    Failure,
    Hit,
    Miss,
    Query,
    Reported,
    ServedStale,
    Stored,
    Veto,
)
from recallm.telemetry.journal import FOLD_AT
from recallm.telemetry.stats import CacheStats, Ledger, merge


def hit(*, exact: bool, similarity: float = 1.0, seconds: float = 0.5, tokens: int = 7) -> Hit:
    """Return a hit on an entry that took `seconds` and `tokens` to make."""
    entry = Entry("k", "n", "p", "prompt", None, b"", seconds, tokens)
    return Hit(Candidate(entry, similarity, 1.0), exact, "answer")


MISS = Miss("unlike", Query("prompt", "n", "p", "k"), 0)


def after(*events: Event) -> CacheStats:
    """Return the statistics of these events."""
    ledger = Ledger()
    for event in events:
        ledger.record(event)
    return ledger.stats


@pytest.mark.parametrize(
    ("event", "changed"),
    [
        (hit(exact=True), {"exact_hits": 1, "similarity_sum": 1.0, "saved_seconds": 0.5, "saved_tokens": 7}),
        (
            hit(exact=False, similarity=0.95),
            {"semantic_hits": 1, "similarity_sum": 0.95, "saved_seconds": 0.5, "saved_tokens": 7},
        ),
        (MISS, {"misses": 1}),
        (Bypass("stream"), {"bypasses": {"stream": 1}}),
        (Bypass("unfingerprintable", "client"), {"bypasses": {"unfingerprintable": 1}}),
        (Failure("codec", ValueError()), {"errors": {"codec": 1}}),
        (Veto("numbers_agree"), {"vetoes": {"numbers_agree": 1}}),
        (Stored(kept=True, evicted=2), {"stored": 1, "evicted": 2}),
        (Stored(kept=False), {}),
        (Embedded(0.1), {}),
        (Coalesced(), {"coalesced": 1}),
        (ServedStale(), {"stale": 1}),
        (Compared("a", "b", 0.9, "miss"), {}),
    ],
)
def test_an_event_changes_its_own_fields_and_no_other(event: Event, changed: dict[str, Any]) -> None:
    """An event changes its own fields, and adding it leaves the statistics it is added to as they were."""
    start = CacheStats(1, 2, 3, 3.0, {"a": 1}, {"b": 1}, {"c": 1}, 5, 6, 7, 8.0, 9, {"n": 1}, {}, 10)
    same = CacheStats(1, 2, 3, 3.0, {"a": 1}, {"b": 1}, {"c": 1}, 5, 6, 7, 8.0, 9, {"n": 1}, {}, 10)
    result = merge([start, after(event)])
    for field in fields(CacheStats):
        before, now = getattr(start, field.name), getattr(result, field.name)
        change = changed.get(field.name, {} if isinstance(before, dict) else 0)
        assert now == ({**before, **change} if isinstance(before, dict) else before + change), field.name
    assert start == same


def test_counts_of_one_name_add_up() -> None:
    """Counts of one name add up, and those of other names stand beside them."""
    stats = after(Bypass("stream"), Bypass("stream"), Bypass("model"), Veto("a"), Veto("a"))
    assert (stats.bypasses, stats.vetoes) == ({"stream": 2, "model": 1}, {"a": 2})


def test_audits_tell_by_band_how_many_answers_were_wrong() -> None:
    """Audits count by how similar the prompts were; reports of wrong answers count beside them, without a band."""
    stats = after(Audited(0.93, same=True), Audited(0.93, same=False), Audited(0.999, same=True), Reported())
    assert (stats.audited, stats.wrong) == (3, 2)
    assert stats.wrong_rate == pytest.approx(1 / 3)
    assert stats.wrong_by_band == {"0.92-0.94": (2, 1), "0.99-1": (1, 0)}
    assert CacheStats(audits={"0.99-1": 1}).wrong_by_band == {"0.99-1": (1, 0)}


def test_an_audited_hit_is_not_one_that_would_have_been_served() -> None:
    """A hit that is audited is a miss; only what ``serve="none"`` finds counts as what would have been a hit."""
    shadowed = hit(exact=False, similarity=0.95)
    assert after(replace(MISS, reason="audited", shadowed=shadowed)) == CacheStats(misses=1)
    assert after(replace(MISS, reason="shadow", shadowed=shadowed)) != CacheStats(misses=1)


def test_rates_of_nothing_are_zero() -> None:
    """Rates are 0.0 before the first call."""
    assert (CacheStats().hits, CacheStats().hit_rate, CacheStats().avg_similarity) == (0, 0.0, 0.0)
    assert after(Bypass("stream"), Failure("model", ValueError())).hit_rate == 0.0


def test_rates_are_of_the_cacheable_calls() -> None:
    """Bypasses are not part of the hit rate; exact hits count as similarity 1."""
    stats = after(
        hit(exact=True), hit(exact=False, similarity=0.9), hit(exact=False, similarity=0.95), MISS, Bypass("stream")
    )
    assert (stats.hits, stats.misses, stats.hit_rate) == (3, 1, 0.75)
    assert stats.avg_similarity == pytest.approx(0.95)


names = st.sampled_from(["a", "b", "c"])
events = st.one_of(
    st.builds(hit, exact=st.booleans(), similarity=st.sampled_from([0.5, 1.0]), seconds=st.sampled_from([0.25, 2.0])),
    st.just(MISS),
    st.builds(Bypass, names),
    st.builds(Failure, names, st.just(ValueError())),
    st.builds(Veto, names),
    st.builds(Stored, st.booleans(), st.integers(0, 3)),
    st.builds(Embedded, st.just(0.5)),
    st.just(Coalesced()),
    st.just(ServedStale()),
)


@given(st.lists(st.lists(events, max_size=6), max_size=4))
def test_the_sum_of_the_parts_is_that_of_all_events(parts: list[list[Event]]) -> None:
    """Merging several caches' statistics gives what one cache would have counted."""
    assert merge(after(*part) for part in parts) == after(*(event for part in parts for event in part))


@given(st.lists(st.dictionaries(names, st.integers(0, 5), max_size=3), max_size=3))
def test_sizes_add_up_by_namespace(sizes: list[dict[str, int]]) -> None:
    """Sizes add up by namespace, in whatever order the parts come."""
    expected = {name: sum(part.get(name, 0) for part in sizes) for part in sizes for name in part}
    for order in permutations(sizes):
        assert merge(CacheStats(namespace_sizes=part) for part in order).namespace_sizes == expected


@given(st.lists(events, max_size=20))
def test_hits_and_misses_are_the_cacheable_calls(counted: list[Event]) -> None:
    """Hits and misses add up to the cacheable calls, and rates stay between 0 and 1."""
    stats = after(*counted)
    assert stats.hits + stats.misses == sum(isinstance(event, Hit | Miss) for event in counted)
    assert 0.0 <= stats.hit_rate <= 1.0
    assert 0.0 <= stats.avg_similarity <= 1.0


def test_reads_well_in_a_repl() -> None:
    """The ``repr`` has each figure that matters on a line of its own and leaves out what is empty."""
    stats = after(hit(exact=True), hit(exact=False, similarity=0.9), MISS, Bypass("stream"), Veto("numbers_agree"))
    text = repr(stats)
    assert text.splitlines() == [
        "CacheStats(",
        "  hits            2 (1 exact, 1 semantic)",
        "  misses          1",
        "  hit_rate        66.7%",
        "  avg_similarity  0.950",
        "  stored          0 (evicted 0)",
        "  saved           1.0 s, 14 tokens",
        "  bypasses        stream 1",
        "  vetoes          numbers_agree 1",
        ")",
    ]
    stats = CacheStats(coalesced=2, stale=3, circuits={"storage": "open", "embedder": "probing"})
    assert repr(stats).splitlines()[-4:] == [
        "  coalesced       2",
        "  stale           3",
        "  circuits        storage open, embedder probing",
        ")",
    ]


def test_a_long_list_is_cut_to_its_largest() -> None:
    """The ``repr`` shows the largest few of a thousand namespaces."""
    text = repr(CacheStats(namespace_sizes={f"n{number}": number for number in range(1, 1001)}, coalesced=3))
    assert "n1000 1000, n999 999" in text
    assert "and 992 more" in text
    assert "coalesced       3" in text
    assert max(map(len, text.splitlines())) < 120
    assert "more" not in repr(CacheStats(namespace_sizes=dict.fromkeys("abcdefgh", 1)))
    assert "a 1, b 1, c 1" in repr(CacheStats(namespace_sizes=dict.fromkeys("cab", 1)))


def test_circuits_of_all_caches_are_told() -> None:
    """Merged statistics show the circuits of all caches; a state is not summed."""
    parts = [CacheStats(circuits={"storage": "open"}), CacheStats(circuits={"embedder": "probing"})]
    assert merge(parts).circuits == {"storage": "open", "embedder": "probing"}


def test_statistics_are_values() -> None:
    """Statistics that were read do not change under the reader."""
    ledger = Ledger()
    before = ledger.stats
    ledger.record(MISS)
    assert (before.misses, ledger.stats.misses) == (0, 1)
    with pytest.raises(FrozenInstanceError):
        before.misses = 5  # type: ignore[misc]  # that it cannot be set is the point
    ledger.reset()
    assert ledger.stats == CacheStats()


def test_no_event_is_lost_between_threads() -> None:
    """Many threads may count at once, and no event is lost."""
    ledger = Ledger()

    def count() -> None:
        for _ in range(500):
            ledger.record(MISS)

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.stats.misses == 4000


def test_a_reset_keeps_what_comes_after_it() -> None:
    """A reset forgets what was counted before, whether it was folded or not, and nothing that comes later."""
    ledger = Ledger()
    for number in range(3 * FOLD_AT):
        ledger.record(MISS if number % 2 else hit(exact=True))
        if number == 2 * FOLD_AT + 9:
            ledger.reset()
    assert ledger.stats.hits + ledger.stats.misses == FOLD_AT - 10


def test_nothing_of_an_event_is_held_but_its_figures() -> None:
    """A response that was served is not kept by the statistics of it."""

    class Response:
        pass

    ledger, response = Ledger(), Response()
    gone = weakref.ref(response)
    ledger.record(Hit(hit(exact=True).candidate, True, response))
    del response
    assert gone() is None
    assert ledger.stats.hits == 1


def test_a_child_begins_with_the_counts_of_its_parent_whatever_was_going_on() -> None:
    """A child that is forked while threads count has whole counts, and counts on."""
    program = """
import os, sys, threading, time
from recallm.records import Bypass
from recallm.telemetry.journal import FOLD_AT
from recallm.telemetry.stats import Ledger
sys.setswitchinterval(1e-6)
ledger, done = Ledger(), threading.Event()
def count():
    while not done.is_set():
        ledger.record(Bypass("stream"))
threads = [threading.Thread(target=count) for _ in range(3)]
for thread in threads:
    thread.start()
for _ in range(25):
    child = os.fork()
    if child == 0:
        before = ledger.stats.bypasses["stream"]
        for _ in range(1000):
            ledger.record(Bypass("stream"))
        os._exit(ledger.stats.bypasses["stream"] - before != 1000)
    assert os.waitpid(child, 0)[1] == 0
done.set()
"""
    if hasattr(os, "fork"):
        finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
        assert finished.returncode == 0, finished.stderr
