"""How an operation of a storage that may wait is performed: within a time limit, and past a circuit breaker."""

from __future__ import annotations

from recallm.concurrency.breaker import Unhurried
from recallm.concurrency.patience import Patience, Turn
from recallm.concurrency.timeouts import Pending, PendingAwaitable, submit_admitted
from recallm.concurrency.workers import Workers
from recallm.engine.core import Core
from recallm.engine.plan import LOWEST_COSINE
from recallm.storage.base import RecallAndSearch, Removal, Search, Sizes, StorageBackend, StorageOperation

STORAGE_WORKERS = Workers("recallm-storage", size=16)
"""As many operations wait for a network at once without waiting for each other as a service commonly has threads."""

TURNS = 5
"""For how many time limits of a storage operation the operations of one call may wait for their turns, all together.

In a burst of calls each waits for others of its kind, not for a storage in trouble: that is no reason to give it up.
"""


def perform(
    core: Core, storage: StorageBackend, operation: StorageOperation, queueing: Patience, *, natively: bool
) -> Pending:
    """Begin an operation.

    Args:
        core: the cache whose settings and breaker count.
        storage: what performs the operation.
        operation: what to perform.
        queueing: for how long the operations of this call may wait for their turns, all together.
        natively: whether the running event loop performs it, or a worker thread.

    Raises:
        CircuitOpenError: the storage is skipped for now.
        BusyError: every worker is stuck.
    """
    breaker, is_tried = core.find_breaker(storage), isinstance(operation, Removal)
    if not is_tried:
        breaker.admit()
    told = Unhurried(breaker) if _is_of_no_call(operation) else breaker
    turn = Turn(queueing, None if is_tried else breaker)
    timeout = core.config.cache_timeout_seconds
    if natively:
        return PendingAwaitable(lambda: storage.aperform(operation), timeout, told, turn)
    return submit_admitted(STORAGE_WORKERS, lambda: operation.on(storage), timeout, told, turn)


def _is_of_no_call(operation: StorageOperation) -> bool:
    """Return whether an operation asks for more than calls do, so that theirs may be in time though it is late."""
    search = operation.search if isinstance(operation, RecallAndSearch) else operation
    return isinstance(operation, Sizes) or (isinstance(search, Search) and search.threshold == LOWEST_COSINE)
