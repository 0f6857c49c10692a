"""What is told of what happened: the statistics, the metrics, the log and the warnings."""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from recallm.canonical import canonical
from recallm.errors import (
    MissingExtraError,
    ModelUnavailableError,
    RecallmWarning,
    UnfingerprintableError,
    UnstorableResponseError,
)
from recallm.forking import heed_forks, renewed
from recallm.identity import Identity
from recallm.records import Bypass, Event, Failure, Miss
from recallm.tally import Ledger

if TYPE_CHECKING:
    from recallm.breaker import State
    from recallm.metrics import CacheMetrics, Metrics

logger = logging.getLogger("recallm")

QUIET_SECONDS = 60.0
MAX_KINDS = 256
UNIQUE_MISSES = 100


class Log:
    """Writes each kind of trouble once a minute, and never raises.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._said: OrderedDict[tuple[str, ...], float] = OrderedDict()
        heed_forks(self)

    def after_fork(self) -> None:
        """Find the lock free."""
        self._lock = renewed(self._lock)

    def trouble(self, cache: str, failure: Failure) -> None:
        """Log a failure by its stage and type; its text may hold a prompt or a password and stays out."""
        error = failure.error
        kind = (cache, failure.stage, type(error).__name__)
        advice = f": {error}" if isinstance(error, ModelUnavailableError | MissingExtraError) else ""
        self.say(kind, f"cache {cache!r}: {failure.stage} failed with {type(error).__name__}{advice}")

    def say(self, kind: tuple[str, ...], message: str) -> None:
        """Log a warning, unless one of this kind was logged within the last minute."""
        now = self._clock()
        with self._lock:
            said = self._said.get(kind)
            if said is not None and now - said < QUIET_SECONDS:
                return
            self._said[kind] = now
            self._said.move_to_end(kind)
            if len(self._said) > MAX_KINDS:
                self._said.popitem(last=False)
        try:
            logger.warning("%s", message)
        except Exception:  # noqa: BLE001  # a log handler of the user's failed: the call must not
            return


LOG = Log()


def told(part: str, state: State) -> None:
    """Log that a circuit opened or closed."""
    what = "keeps failing and is left alone for a while" if state == "open" else "works again"
    LOG.say(("circuit", part, state), f"the {part} {what}")


class Recorder:
    """Where one cache's events go.

    Args:
        name: the cache's name.
        metrics: gives the process's metrics; asked on the first event, when they may have to be made.
    """

    def __init__(self, name: str, *, metrics: Callable[[], Metrics | None]) -> None:
        self.name = name
        self.ledger = Ledger()
        self._all_metrics = metrics
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
            metrics = self._all_metrics()
            if metrics is not self._source:
                self._source, self._metrics = metrics, None if metrics is None else metrics.of(self.name)
            if self._metrics is not None:
                self._metrics.record(event, elapsed)
        except Exception as error:  # noqa: BLE001  # what is counted must not decide over the call
            failure = Failure("metrics", error)
            self.ledger.record(failure)
            LOG.trouble(self.name, failure)


class Advice:
    """Warns the author of one function of what keeps its calls from being cached, once each.

    Args:
        where: file and line of the function, shown with the warning.
        path: ``module.qualname`` of the function.
    """

    def __init__(self, path: str, *, where: tuple[str, int]) -> None:
        self._path = path
        self._where = where
        self._given: set[str] = set()
        self._recent: dict[Any, deque[bytes]] = {}

    def on(self, event: Event, context: Mapping[Any, Any]) -> None:
        """Warn where an event calls for it.

        Args:
            event: what happened.
            context: the call's cache context.
        """
        try:
            match event:
                case Bypass("unfingerprintable", str(name)):
                    self._unfingerprintable(name)
                case Failure("codec", UnstorableResponseError() as error):
                    self.once("codec", f"{self._path} returned what cannot be stored: {error}")
                case Miss():
                    self._watch(context)
        except Exception as error:  # noqa: BLE001  # advice must not decide over the call
            LOG.trouble(self._path, Failure("advice", error))

    def on_identity(self, identity: Identity) -> None:
        """Warn where a shared storage will not be shared with other processes."""
        if identity.private:
            names = ", ".join(identity.private)
            self.once(
                "identity",
                f"{self._path} depends on {names}, which cannot be fingerprinted, so it shares its answers with "
                f"no other process; if they do not affect the answer, pass ignore={identity.private!r}",
            )

    def once(self, topic: str, message: str) -> None:
        """Warn, unless this topic was warned about."""
        if topic in self._given:
            return
        self._given.add(topic)
        filename, line = self._where
        try:
            warnings.warn_explicit(message, RecallmWarning, filename, line, module=self._path, registry={})
        except RecallmWarning:
            # The user turns warnings into errors, but a call must not fail for the cache's sake.
            LOG.say((self._path, topic), message)

    def _unfingerprintable(self, name: str) -> None:
        remedy = (
            f"put texts, numbers or identifiers into the context instead of {name}"
            if name == "cache_context"
            else f"if it does not affect the answer, pass ignore=({name!r},)"
        )
        self.once(
            f"argument {name}",
            f"calls of {self._path} are not cached: its argument {name!r} holds something that cannot be "
            f"fingerprinted (a client, a lock, an open file …); {remedy}",
        )

    def _watch(self, context: Mapping[Any, Any]) -> None:
        """Warn of a context key that was never the same in the last hundred misses."""
        for key, value in context.items():
            if len(self._recent) >= UNIQUE_MISSES and key not in self._recent:
                return
            recent = self._recent.setdefault(key, deque(maxlen=UNIQUE_MISSES))
            try:
                recent.append(canonical(value)[:256])
            except UnfingerprintableError:
                continue
            if len(recent) == UNIQUE_MISSES and len(set(recent)) == UNIQUE_MISSES:
                self.once(
                    f"context {key!r}",
                    f"`{key}` was unique in {UNIQUE_MISSES} of {UNIQUE_MISSES} calls of {self._path}: "
                    "it makes every call a miss; leave it out of the context if the answer does not depend on it",
                )
