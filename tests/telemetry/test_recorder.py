"""What is told of what happened: a log that is quiet, and warnings that come once."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import pytest

from recallm import RecallmWarning
from recallm.errors import ModelUnavailableError, UnstorableResponseError
from recallm.keying.identity import Identity
from recallm.records import Bypass, Candidate, Entry, Event, Failure, Hit, Miss, Query
from recallm.telemetry import advice, log, recorder
from recallm.telemetry.advice import UNIQUE_MISSES, Advice
from recallm.telemetry.log import MAX_KINDS, QUIET_SECONDS, Log
from recallm.telemetry.recorder import Recorder
from recallm.testing import Clock

MISS = Miss("unlike", Query("q", "n", "p", "k"), 0)


@pytest.fixture(autouse=True)
def fresh_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """No kind of trouble has been told yet."""
    made = Log()
    for module in (advice, log, recorder):
        monkeypatch.setattr(module, "LOG", made)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged."""
    return [record.getMessage() for record in caplog.records if record.name == "recallm"]


def test_one_kind_of_trouble_is_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """Another cache, stage or type is another kind."""
    clock = Clock()
    log = Log(clock=clock)
    for _ in range(3):
        log.trouble("one", Failure("storage", ConnectionError("redis://user:password@host")))
    log.trouble("one", Failure("storage", TimeoutError()))
    log.trouble("other", Failure("storage", ConnectionError()))
    assert told(caplog) == [
        "cache 'one': storage failed with ConnectionError",
        "cache 'one': storage failed with TimeoutError",
        "cache 'other': storage failed with ConnectionError",
    ]
    clock.advance(QUIET_SECONDS)
    log.trouble("one", Failure("storage", ConnectionError()))
    assert len(told(caplog)) == 4


def test_what_to_do_about_a_missing_model_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """It is the library's own text, and holds nothing of the user's."""
    Log().trouble("one", Failure("model", ModelUnavailableError('pip install "recallm[offline]"')))
    assert told(caplog) == ["cache 'one': model failed with ModelUnavailableError: pip install \"recallm[offline]\""]


def test_kinds_of_trouble_are_forgotten_where_there_are_too_many() -> None:
    """Nothing grows without bound."""
    log = Log()
    for number in range(2 * MAX_KINDS):
        log.warn((str(number),), "trouble")
    assert len(log._logged_at) == MAX_KINDS


def test_a_log_handler_that_raises_does_not_reach_the_caller() -> None:
    """The logging of an application is its own affair."""

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("disk full")

    logger = logging.getLogger("recallm")
    handler = Broken()
    logger.addHandler(handler)
    try:
        Log().warn(("kind",), "trouble")
    finally:
        logger.removeHandler(handler)


def test_metrics_that_fail_are_counted_and_told(caplog: pytest.LogCaptureFixture) -> None:
    """The statistics are kept all the same."""

    def refuse() -> None:
        raise ValueError("Duplicated timeseries")

    recorder = Recorder("one", metrics=refuse)
    recorder.record(MISS, 0.0)
    assert recorder.ledger.stats.misses == 1
    assert dict(recorder.ledger.stats.errors) == {"metrics": 1}
    assert told(caplog) == ["cache 'one': metrics failed with ValueError"]


def test_without_metrics_the_statistics_are_kept() -> None:
    """There need be none."""
    recorder = Recorder("one", metrics=lambda: None)
    hit = Hit(Candidate(Entry("k", "n", "p", "q", None, b"", 2.0, 5), 1.0, 0.0), True, "a")
    recorder.record(hit, 0.0)
    stats = recorder.ledger.stats
    assert (stats.exact_hits, stats.saved_seconds, stats.saved_tokens) == (1, 2.0, 5)


UNFINGERPRINTABLE = Bypass("unfingerprintable", "client")
UNSTORABLE = Failure("codec", UnstorableResponseError("a socket cannot be stored"))


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (UNFINGERPRINTABLE, r"module\.ask are not cached: its argument 'client'.*pass ignore=\('client',\)"),
        (Bypass("unfingerprintable", "cache_context"), "put texts, numbers or identifiers into the context"),
        (UNSTORABLE, r"module\.ask returned what cannot be stored: a socket"),
    ],
)
def test_the_author_is_warned_once(event: Event, expected: str) -> None:
    """At the place where the function is defined."""
    advice = Advice("module.ask", where=("file.py", 12))
    with pytest.warns(RecallmWarning, match=expected) as caught:
        advice.on(event, {})
    advice.on(event, {})
    assert [(warning.filename, warning.lineno) for warning in caught] == [("file.py", 12)]


@pytest.mark.parametrize(
    "event", [MISS, Bypass("stream"), Failure("codec", ValueError()), Failure("storage", OSError())]
)
def test_of_all_else_the_author_is_not_warned(event: Event) -> None:
    """Warnings are errors in this test."""
    Advice("module.ask", where=("file.py", 12)).on(event, {"user": 1})


def test_a_warning_that_is_turned_into_an_error_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A call must not fail for the cache's sake."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Advice("module.ask", where=("file.py", 12)).on(UNFINGERPRINTABLE, {})
    assert "its argument 'client'" in told(caplog)[0]


def test_a_warning_filter_that_breaks_does_not_fail_the_call(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is counted among the cache's own troubles."""

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("hook")

    monkeypatch.setattr(warnings, "warn_explicit", broken)
    Advice("module.ask", where=("file.py", 12)).on(UNFINGERPRINTABLE, {})
    assert told(caplog) == ["cache 'module.ask': advice failed with RuntimeError"]


def misses(advice: Advice, contexts: Any) -> None:
    """Have calls with these contexts miss."""
    for context in contexts:
        advice.on(MISS, context)


def test_a_context_key_that_is_never_the_same_is_told() -> None:
    """After a hundred misses, once, and only of the key that it is."""
    advice = Advice("module.ask", where=("file.py", 12))
    misses(advice, ({"request_id": number, "user": number % 99} for number in range(UNIQUE_MISSES - 1)))
    with pytest.warns(RecallmWarning, match=r"`request_id` was unique in 100 of 100 calls") as caught:
        misses(advice, ({"request_id": number, "user": number % 99} for number in range(1000, 1200)))
    assert len(caught) == 1


@pytest.mark.parametrize(
    "contexts",
    [
        [{"user": number % 99} for number in range(300)],
        [{"user": object()} for _ in range(300)],
        [{f"key {number}": number} for number in range(300)],
        [{} for _ in range(300)],
    ],
    ids=["repeats", "cannot be read", "ever other keys", "empty"],
)
def test_other_contexts_are_not(contexts: Any) -> None:
    """Warnings are errors in this test; what is remembered is bounded."""
    advice = Advice("module.ask", where=("file.py", 12))
    misses(advice, contexts)
    assert len(advice._recent) <= UNIQUE_MISSES


def test_a_function_that_shares_its_answers_with_no_other_process_is_told() -> None:
    """It names what stands in the way, and the remedy."""
    advice = Advice("module.ask", where=("file.py", 12))
    advice.on_identity(Identity(b"", ()))
    with pytest.warns(RecallmWarning, match=r"depends on client, which cannot.*pass ignore=\('client',\)"):
        advice.on_identity(Identity(b"", ("client",)))
