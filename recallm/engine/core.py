"""The core of one cache, shared by its calls: settings, current storage and embedder, statistics and namespaces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from recallm.concurrency.breaker import Breaker
from recallm.concurrency.forking import ForkSafeLock
from recallm.config import CacheConfig
from recallm.embedders.managed import ManagedEmbedder
from recallm.records import Failure
from recallm.storage.base import StorageBackend
from recallm.telemetry.recorder import Recorder

MAX_NAMESPACES = 10_000
"""How many namespaces a cache remembers having used; each user may have one. The oldest are forgotten first."""


@dataclass(slots=True, eq=False, weakref_slot=True)
class Core:
    """The state that all calls of one cache share, and by which `recallm.registry` knows the cache.

    Args:
        name: the cache's name.
        config: its settings.
        find_storage: returns the storage in use now; raises if its name is no longer registered.
        find_breaker: returns the circuit breaker of a storage.
        find_embedder: returns the embedder in use now; raises if there is none.
        recorder: counts and logs its events.
    """

    name: str
    config: CacheConfig
    find_storage: Callable[[], StorageBackend]
    find_breaker: Callable[[StorageBackend], Breaker]
    find_embedder: Callable[[], ManagedEmbedder]
    recorder: Recorder
    _namespaces: dict[str, None] = field(default_factory=dict)
    _lock: ForkSafeLock = field(default_factory=ForkSafeLock)

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The namespaces this cache has used."""
        with self._lock:
            return tuple(self._namespaces)

    def remember_namespace(self, namespace: str) -> None:
        """Remember a namespace, so that clearing and counting reach it."""
        if namespace in self._namespaces:
            return
        with self._lock:
            if len(self._namespaces) >= MAX_NAMESPACES:
                self._namespaces.pop(next(iter(self._namespaces)), None)
            self._namespaces[namespace] = None

    @property
    def circuits(self) -> Mapping[str, str]:
        """The state, ``"open"`` or ``"probing"``, of each part that is skipped because it keeps failing."""
        try:
            states = {"storage": self.find_breaker(self.find_storage()).state}
            if self.config.threshold != "exact":
                states["embedder"] = self.find_embedder().breaker.state
        except Exception as error:  # noqa: BLE001  # statistics must be had though a name is no longer registered
            self.recorder.record(Failure("storage", error), 0.0)
            return {}
        return {part: state for part, state in states.items() if state != "closed"}
