"""The recorder counts events whatever becomes of metrics and logging."""

from __future__ import annotations

import pytest

from recallm.records import Candidate, Entry, Hit, Miss, Query
from recallm.telemetry import log, recorder
from recallm.telemetry.log import Log
from recallm.telemetry.recorder import Recorder

MISS = Miss("unlike", Query("q", "n", "p", "k"), 0)


@pytest.fixture(autouse=True)
def fresh_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """No kind of trouble has been logged yet."""
    made = Log()
    for module in (log, recorder):
        monkeypatch.setattr(module, "LOG", made)


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged."""
    return [record.getMessage() for record in caplog.records if record.name == "recallm"]


def test_metrics_that_fail_are_counted_and_told(caplog: pytest.LogCaptureFixture) -> None:
    """If metrics fail, the statistics are kept, and the failure is counted and logged."""

    def refuse() -> None:
        raise ValueError("Duplicated timeseries")

    recorder = Recorder("one", metrics=refuse)
    recorder.record(MISS, 0.0)
    assert recorder.ledger.stats.misses == 1
    assert dict(recorder.ledger.stats.errors) == {"metrics": 1}
    assert logged(caplog) == ["cache 'one': metrics failed with ValueError"]


def test_without_metrics_the_statistics_are_kept() -> None:
    """A recorder without metrics keeps the statistics."""
    recorder = Recorder("one", metrics=lambda: None)
    hit = Hit(Candidate(Entry("k", "n", "p", "q", None, b"", 2.0, 5), 1.0, 0.0), True, "a")
    recorder.record(hit, 0.0)
    stats = recorder.ledger.stats
    assert (stats.exact_hits, stats.saved_seconds, stats.saved_tokens) == (1, 2.0, 5)
