"""The log: each kind of trouble at most once a minute, never with a prompt, a response or a key."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from recallm.concurrency.breaker import State
from recallm.concurrency.signals import let_through
from recallm.errors import MissingExtraError, ModelUnavailableError
from recallm.records import Failure
from recallm.telemetry.labels import encodable

logger = logging.getLogger("recallm")

QUIET_SECONDS = 60.0
"""For how many seconds a message of one kind is not repeated."""

MAX_KINDS = 256
"""How many kinds of message are remembered, as there may be any number of cache names and exception types."""


class Log:
    """Logs each kind of trouble once a minute, and never raises.

    It has no lock that a signal handler or finalizer could wait for: each change of what it remembers is one step of
    the interpreter.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._logged_at: dict[tuple[str, ...], list[float]] = {}

    def trouble(self, cache: str, failure: Failure) -> None:
        """Log a failure by its stage and type; its text may hold a prompt or a password and stays out."""
        error = failure.error
        kind = (cache, failure.stage, type(error).__name__)
        advice = f": {error}" if isinstance(error, ModelUnavailableError | MissingExtraError) else ""
        message = f"cache {cache!r}: {failure.stage} failed with {type(error).__name__}{advice}"
        self.warn(kind, message, cache=cache, stage=failure.stage, error=type(error).__name__)

    def warn(
        self,
        kind: tuple[str, ...],
        message: str,
        *,
        cache: str | None = None,
        stage: str | None = None,
        error: str | None = None,
    ) -> None:
        """Log a warning, unless one of this kind was logged within the last minute.

        Args:
            kind: what is not repeated.
            message: the warning.
            cache: the cache that it is about; like the next two a field of the log record, for formatters that write
                JSON: ``recallm_cache``, ``recallm_stage`` and ``recallm_error``.
            stage: the part of a call that had trouble.
            error: the name of the exception's type.
        """
        if not self._is_due(kind):
            return
        fields = {"recallm_cache": cache and encodable(cache), "recallm_stage": stage, "recallm_error": error}
        try:
            logger.warning("%s", encodable(message), extra=fields)
        except Exception as raised:  # noqa: BLE001  # a log handler of the user's failed: the call must not
            let_through(raised)

    def _is_due(self, kind: tuple[str, ...]) -> bool:
        """Return whether a message of this kind may be logged now, to one of several that ask."""
        now = [self._clock()]
        logged_at = self._logged_at.setdefault(kind, now)
        if logged_at is not now:
            if now[0] - logged_at[0] < QUIET_SECONDS or self._logged_at.pop(kind, None) is not logged_at:
                return False
            return self._logged_at.setdefault(kind, now) is now
        for oldest in [*self._logged_at][:-MAX_KINDS]:
            self._logged_at.pop(oldest, None)
        return True


LOG = Log()
"""The log of the process."""


def log_circuit_change(part: str, state: State) -> None:
    """Log that the circuit of a part, "storage" or "embedder", opened or closed."""
    what = "keeps failing: it is skipped, for up to 60 s at a time" if state == "open" else "works again"
    LOG.warn(("circuit", part, state), f"the {part} {what}", stage=part)
