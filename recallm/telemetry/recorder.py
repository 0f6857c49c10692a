"""The recorder: passes one cache's events on to its statistics, the metrics, the log and the listeners."""

from __future__ import annotations

from collections.abc import Callable

from recallm.concurrency.signals import let_through
from recallm.records import Event, Failure
from recallm.telemetry.listening import LISTENERS, tell
from recallm.telemetry.log import LOG
from recallm.telemetry.metrics import Metrics, Series
from recallm.telemetry.stats import Ledger, row_of


class Recorder:
    """Counts one cache's events.

    Args:
        name: the cache's name.
        metrics: returns the metrics of the process, or None; asked at each event, as the user may move them to another
            registry.
    """

    def __init__(self, name: str, *, metrics: Callable[[], Metrics | None]) -> None:
        self.name = name
        self.ledger = Ledger()
        self._metrics_of_process = metrics
        self._source: Metrics | None = None
        self._series: Series | None = None

    def record(self, event: Event, elapsed: float) -> None:
        """Count one event; trouble with metrics or logging never reaches the caller, who may be interrupted meanwhile.

        Args:
            event: what happened.
            elapsed: seconds since the call began.
        """
        if isinstance(event, Failure):
            LOG.trouble(self.name, event)
        try:
            row = row_of(event, elapsed)
            if row:
                self.ledger.add(row)
                metrics = self._metrics_of_process()
                if metrics is not self._source:
                    # The series first: a handler in between may record, too.
                    self._series = None if metrics is None else metrics.of(self.name)
                    self._source = metrics
                if self._series is not None:
                    self._series.add(row)
                if metrics is not None and metrics.trouble is not None:
                    self._failed(metrics.trouble)
        except Exception as error:  # noqa: BLE001  # a metric that fails must not fail the call
            let_through(error)
            self._failed(error)
        if LISTENERS and not (isinstance(event, Failure) and event.stage == "listener"):
            for trouble in tell(event, self.name, elapsed):
                self.record(Failure("listener", trouble), elapsed)

    def _failed(self, error: Exception) -> None:
        failure = Failure("metrics", error)
        self.ledger.record(failure)
        LOG.trouble(self.name, failure)
