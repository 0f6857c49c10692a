"""The recorder: passes one cache's events on to its statistics, the metrics and the log."""

from __future__ import annotations

from collections.abc import Callable

from recallm.records import Event, Failure
from recallm.telemetry.log import LOG
from recallm.telemetry.metrics import CacheMetrics, Metrics
from recallm.telemetry.stats import Ledger


class Recorder:
    """Counts one cache's events.

    Args:
        name: the cache's name.
        metrics: returns the metrics of the process, or None; asked at each event, as the first one may have to
            make them and the user may move them to another registry.
    """

    def __init__(self, name: str, *, metrics: Callable[[], Metrics | None]) -> None:
        self.name = name
        self.ledger = Ledger()
        self._metrics_of_process = metrics
        self._source: Metrics | None = None
        self._metrics: CacheMetrics | None = None

    def record(self, event: Event, elapsed: float) -> None:
        """Count one event; trouble with metrics or logging never reaches the caller.

        Args:
            event: what happened.
            elapsed: seconds since the call began.
        """
        if isinstance(event, Failure):
            LOG.trouble(self.name, event)
        try:
            self.ledger.record(event)
            metrics = self._metrics_of_process()
            if metrics is not self._source:
                self._source, self._metrics = metrics, None if metrics is None else metrics.of(self.name)
            if self._metrics is not None:
                self._metrics.record(event, elapsed)
        except Exception as error:  # noqa: BLE001  # a metric that fails must not fail the call
            failure = Failure("metrics", error)
            self.ledger.record(failure)
            LOG.trouble(self.name, failure)
