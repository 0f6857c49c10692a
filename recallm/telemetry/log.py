"""The log: each kind of trouble at most once a minute, never with a prompt, a response or a key."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable

from recallm.concurrency.breaker import State
from recallm.concurrency.forking import ForkSafeLock
from recallm.errors import MissingExtraError, ModelUnavailableError
from recallm.records import Failure

logger = logging.getLogger("recallm")

QUIET_SECONDS = 60.0
"""For how many seconds a message of one kind is not repeated."""

MAX_KINDS = 256
"""How many kinds of message are remembered, as there may be any number of cache names and exception types."""


class Log:
    """Logs each kind of trouble once a minute, and never raises.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = ForkSafeLock()
        self._logged_at: OrderedDict[tuple[str, ...], float] = OrderedDict()

    def trouble(self, cache: str, failure: Failure) -> None:
        """Log a failure by its stage and type; its text may hold a prompt or a password and stays out."""
        error = failure.error
        kind = (cache, failure.stage, type(error).__name__)
        advice = f": {error}" if isinstance(error, ModelUnavailableError | MissingExtraError) else ""
        self.warn(kind, f"cache {cache!r}: {failure.stage} failed with {type(error).__name__}{advice}")

    def warn(self, kind: tuple[str, ...], message: str) -> None:
        """Log a warning, unless one of this kind was logged within the last minute."""
        now = self._clock()
        with self._lock:
            logged_at = self._logged_at.get(kind)
            if logged_at is not None and now - logged_at < QUIET_SECONDS:
                return
            self._logged_at[kind] = now
            self._logged_at.move_to_end(kind)
            if len(self._logged_at) > MAX_KINDS:
                self._logged_at.popitem(last=False)
        try:
            logger.warning("%s", message)
        except Exception:  # noqa: BLE001  # a log handler of the user's failed: the call must not
            return


LOG = Log()
"""The log of the process."""


def log_circuit_change(part: str, state: State) -> None:
    """Log that the circuit of a part, "storage" or "embedder", opened or closed."""
    what = "keeps failing: it is skipped, for up to 60 s at a time" if state == "open" else "works again"
    LOG.warn(("circuit", part, state), f"the {part} {what}")
