"""Advice warns the author of a function once for each cause that keeps its calls from being cached."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from recallm import RecallmWarning
from recallm.errors import UnstorableResponseError
from recallm.keying.identity import Identity
from recallm.records import Bypass, Event, Failure, Miss, Query
from recallm.telemetry import advice, log
from recallm.telemetry.advice import UNIQUE_MISSES, Advice
from recallm.telemetry.log import Log

MISS = Miss("unlike", Query("q", "n", "p", "k"), 0)
UNFINGERPRINTABLE = Bypass("unfingerprintable", "client")
UNSTORABLE = Failure("codec", UnstorableResponseError("a socket cannot be stored"))


@pytest.fixture(autouse=True)
def fresh_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """No kind of trouble has been logged yet."""
    made = Log()
    for module in (log, advice):
        monkeypatch.setattr(module, "LOG", made)


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged."""
    return [record.getMessage() for record in caplog.records if record.name == "recallm"]


def misses(advice: Advice, contexts: Any) -> None:
    """Have calls with these contexts miss."""
    for context in contexts:
        advice.on(MISS, context)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (UNFINGERPRINTABLE, r"module\.ask are not cached: its argument 'client'.*pass ignore=\('client',\)"),
        (Bypass("unfingerprintable", "cache_context"), "put texts, numbers or identifiers into the context"),
        (UNSTORABLE, r"module\.ask returned what cannot be stored: a socket"),
    ],
)
def test_the_author_is_warned_once(event: Event, expected: str) -> None:
    """An event that keeps calls from being cached is warned about once, at the line that defines the function."""
    advice = Advice("module.ask", where=("file.py", 12))
    with pytest.warns(RecallmWarning, match=expected) as caught:
        advice.on(event, {})
    advice.on(event, {})
    assert [(warning.filename, warning.lineno) for warning in caught] == [("file.py", 12)]


@pytest.mark.parametrize(
    "event", [MISS, Bypass("stream"), Failure("codec", ValueError()), Failure("storage", OSError())]
)
def test_of_all_else_the_author_is_not_warned(event: Event) -> None:
    """Other events cause no warning (warnings are errors in this test)."""
    Advice("module.ask", where=("file.py", 12)).on(event, {"user": 1})


def test_a_warning_that_is_turned_into_an_error_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """If the user turns warnings into errors, the advice is logged and the call goes on."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Advice("module.ask", where=("file.py", 12)).on(UNFINGERPRINTABLE, {})
    assert "its argument 'client'" in logged(caplog)[0]


def test_a_warning_filter_that_breaks_does_not_fail_the_call(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If the warnings machinery fails, the failure is logged and the call goes on."""

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("hook")

    monkeypatch.setattr(warnings, "warn_explicit", broken)
    Advice("module.ask", where=("file.py", 12)).on(UNFINGERPRINTABLE, {})
    assert logged(caplog) == ["cache 'module.ask': advice failed with RuntimeError"]


def test_a_context_key_that_is_never_the_same_is_told() -> None:
    """A context key with a new value in each of a hundred misses is warned about once; other keys are not."""
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
    """Contexts that repeat, cannot be read, or have other keys each time cause no warning, and little is remembered."""
    advice = Advice("module.ask", where=("file.py", 12))
    misses(advice, contexts)
    assert len(advice._recent) <= UNIQUE_MISSES


def test_a_function_that_shares_its_answers_with_no_other_process_is_told() -> None:
    """A function whose answers no other process can use is warned about, with the reason and the remedy."""
    advice = Advice("module.ask", where=("file.py", 12))
    advice.on_identity(Identity(b"", ()))
    with pytest.warns(RecallmWarning, match=r"depends on client, which cannot.*pass ignore=\('client',\)"):
        advice.on_identity(Identity(b"", ("client",)))
