"""The log repeats no kind of trouble within a minute, quotes nothing of the user's, and never raises."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from recallm.errors import ModelUnavailableError
from recallm.records import Failure
from recallm.telemetry.log import MAX_KINDS, QUIET_SECONDS, Log
from recallm.testing import Clock


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged."""
    return [record.getMessage() for record in caplog.records if record.name == "recallm"]


def test_one_kind_of_trouble_is_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """Trouble is logged once a minute for each cache, stage and type of exception, without the exception's text."""
    clock = Clock()
    log = Log(clock=clock)
    for _ in range(3):
        log.trouble("one", Failure("storage", ConnectionError("redis://user:password@host")))
    log.trouble("one", Failure("storage", TimeoutError()))
    log.trouble("other", Failure("storage", ConnectionError()))
    assert logged(caplog) == [
        "cache 'one': storage failed with ConnectionError",
        "cache 'one': storage failed with TimeoutError",
        "cache 'other': storage failed with ConnectionError",
    ]
    clock.advance(QUIET_SECONDS)
    log.trouble("one", Failure("storage", ConnectionError()))
    assert len(logged(caplog)) == 4


def test_what_to_do_about_a_missing_model_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """A missing model is logged with the library's own advice, which holds nothing of the user's."""
    Log().trouble("one", Failure("model", ModelUnavailableError('pip install "recallm[offline]"')))
    assert logged(caplog) == ["cache 'one': model failed with ModelUnavailableError: pip install \"recallm[offline]\""]


def test_kinds_of_trouble_are_forgotten_where_there_are_too_many() -> None:
    """The log remembers a bounded number of kinds of trouble."""
    log = Log()
    for number in range(2 * MAX_KINDS):
        log.warn((str(number),), "trouble")
    assert len(log._logged_at) == MAX_KINDS


def test_a_log_handler_that_raises_does_not_reach_the_caller() -> None:
    """An exception in a log handler of the application stays in the log."""

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


def test_a_log_record_has_fields_for_formatters(caplog: pytest.LogCaptureFixture) -> None:
    """Cache, stage and type of exception are fields of the log record, for formatters that write JSON."""
    Log().trouble("one", Failure("storage", ConnectionError("redis://user:password@host")))
    log = Log()
    log.warn(("kind",), "trouble")
    fields = [(each.recallm_cache, each.recallm_stage, each.recallm_error) for each in map(_any, caplog.records)]
    assert fields == [("one", "storage", "ConnectionError"), (None, None, None)]
    assert "password" not in repr([vars(record) for record in caplog.records])


def _any(record: Any) -> Any:
    return record
