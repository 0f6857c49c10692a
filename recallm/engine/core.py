"""The core of one cache, shared by its calls: settings, current storage and embedder, statistics and namespaces."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from sys import getsizeof

from recallm.concurrency.breaker import Breaker
from recallm.concurrency.signals import let_through
from recallm.config import CacheConfig
from recallm.embedders.managed import ManagedEmbedder
from recallm.records import Failure
from recallm.storage.base import StorageBackend
from recallm.telemetry.log import LOG, log_circuit_change
from recallm.telemetry.proof import is_drawn, is_over
from recallm.telemetry.recorder import Recorder

MAX_NAMESPACE_BYTES = 64 << 20
"""How much memory the names of the namespaces that a cache has used may take; each user may have one."""

ENTRY_BYTES = 110
"""What a dict takes for an entry, its key aside."""

STOPPED = "stopped by max_wrong"
"""The state of similar hits once audits have proved that too many are wrong."""

CHUNK = 1024
"""How many namespaces a storage is asked about at a time."""


@dataclass(slots=True, eq=False, weakref_slot=True)
class Core:
    """The state that all calls of one cache share, and by which `recallm.registry` knows the cache.

    Args:
        name: the cache's name.
        config: its settings.
        find_storage: returns the storage in use now, and may wait for it to be made; raises if its name is no longer
            registered, or it cannot be made.
        find_breaker: returns the circuit breaker of a storage.
        find_embedder: returns the embedder in use now; raises if there is none.
        recorder: counts and logs its events.
        existing_storage: returns the storage in use now, or None if it is yet to be made; never waits, and takes no
            longer than a look into a dict. It raises `UnknownNameError` if its name is no longer registered.
        find_opening: returns the circuit breaker of what makes the storage; raises as `existing_storage`.

    Attributes:
        verifying: the circuit breaker of the functions' verifiers.
        rewriting: that of what rewrites their last turns.
        similar_stopped: whether only exact hits are served, as audits have proved more wrong answers than ``max_wrong``
            allows; until the statistics begin anew.
    """

    name: str
    config: CacheConfig
    find_storage: Callable[[], StorageBackend]
    find_breaker: Callable[[StorageBackend], Breaker]
    find_embedder: Callable[[], ManagedEmbedder]
    recorder: Recorder
    existing_storage: Callable[[], StorageBackend | None]
    find_opening: Callable[[], Breaker]
    verifying: Breaker = field(
        default_factory=lambda: Breaker("verifier", clock=time.monotonic, changed=log_circuit_change)
    )
    rewriting: Breaker = field(
        default_factory=lambda: Breaker("rewriter", clock=time.monotonic, changed=log_circuit_change)
    )
    similar_stopped: bool = False
    _similar_hits: Iterator[int] = field(default_factory=count)
    # No lock: whatever a thread, a finalizer or a signal handler does here is one operation on a dict.
    _namespaces: dict[str, None] = field(default_factory=dict)
    _namespace_bytes: int = 0
    _has_forgotten: bool = False

    @property
    def opening(self) -> Breaker:
        """The circuit breaker of what makes the storage in use now."""
        return self.find_opening()

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The namespaces this cache has used."""
        return tuple(self._namespaces)

    def remember_namespace(self, namespace: str) -> None:
        """Remember a namespace, so that clearing and counting reach it."""
        if namespace in self._namespaces:
            return
        self._namespaces[namespace] = None
        self._namespace_bytes += getsizeof(namespace) + ENTRY_BYTES
        if self._namespace_bytes > MAX_NAMESPACE_BYTES:
            self._forget_some()

    def namespaces_to_clear(self) -> tuple[str, ...]:
        """Return the namespaces this cache has used; log a warning if some that may hold entries are forgotten."""
        if self._has_forgotten:
            LOG.warn(
                ("namespaces", self.name),
                f"cache {self.name!r} has used more namespaces than it can remember and cannot clear those that it has "
                "forgotten; remove their entries with invalidate_namespace(), and use fewer namespaces, or a ttl",
                cache=self.name,
            )
        return self.namespaces

    def _forget_some(self) -> None:
        """Forget a sixteenth of the namespaces: those that hold nothing among the oldest ones, else the oldest."""
        names = self.namespaces
        wanted = len(names) // 16 + 1
        forgotten = self._emptied(names[: len(names) // 4 + 1], wanted)
        if len(forgotten) < wanted:
            self._has_forgotten = True
            forgotten += names[:wanted]
        for name in forgotten:
            self._namespaces.pop(name, None)
        self._namespace_bytes = sum(getsizeof(name) + ENTRY_BYTES for name in self.namespaces)

    def _emptied(self, names: Sequence[str], wanted: int) -> list[str]:
        """Return namespaces that hold nothing, and will hold nothing that is being computed now."""
        empty: list[str] = []
        try:
            storage = self.existing_storage()
            if storage is None or storage.blocking or not storage.serves_sync:
                return empty
            for start in range(0, len(names), CHUNK):
                chunk = names[start : start + CHUNK]
                sizes = storage.sizes(chunk)
                for name in chunk:
                    if len(empty) == wanted:
                        return empty
                    if not sizes.get(name) and not storage.invalidate(name):
                        empty.append(name)
        except Exception as error:  # noqa: BLE001  # remembering a name must not fail the call
            let_through(error)
            self.recorder.record(Failure("storage", error), 0.0)
        return empty

    def is_audited(self, key: str, share: float) -> bool:
        """Draw whether a similar hit is audited, by the key of the call and how many similar hits there were before."""
        return is_drawn(key.encode(), next(self._similar_hits), share)

    def stop_if_over(self, max_wrong: float) -> None:
        """Serve exact hits only from now on, if audits prove that more than a share of the similar ones are wrong."""
        counted = self.recorder.ledger.stats
        found_wrong = sum(counted.wrong_audits.values())
        if not self.similar_stopped and is_over(found_wrong, counted.audited, max_wrong):
            self.similar_stopped = True
            if self.recorder.ledger.stats.audited < counted.audited:  # they have begun anew meanwhile
                self.similar_stopped = False
                return
            LOG.warn(
                ("max_wrong", self.name),
                f"cache {self.name!r}: {found_wrong} of {counted.audited} audited answers were wrong, more than "
                f"max_wrong={max_wrong:g} allows: similar prompts' answers are no longer served until reset_stats()",
                cache=self.name,
                stage="audit",
            )

    def reset_stats(self) -> None:
        """Begin the statistics anew, and serve similar hits again if audits have stopped that."""
        self.recorder.ledger.reset()
        self.similar_stopped = False

    @property
    def circuits(self) -> Mapping[str, str]:
        """The state of each part that is skipped.

        ``"open"`` or ``"probing"``, if it keeps failing; ``"similar"`` is `STOPPED`, see the option ``max_wrong``.
        """
        stopped = {"similar": STOPPED} if self.similar_stopped else {}
        return {**self._failing, **stopped}

    @property
    def _failing(self) -> Mapping[str, str]:
        try:
            storage = self.existing_storage()
            breaker = self.opening if storage is None else self.find_breaker(storage)
            states = {
                "verifier": self.verifying.state,
                "rewriter": self.rewriting.state,
                "storage": breaker.state,
            }
            if self.config.threshold != "exact":
                states["embedder"] = self.find_embedder().breaker.state
        except Exception as error:  # noqa: BLE001  # statistics must be had though a name is no longer registered
            let_through(error)
            self.recorder.record(Failure("storage", error), 0.0)
            return {}
        return {part: state for part, state in states.items() if state != "closed"}
