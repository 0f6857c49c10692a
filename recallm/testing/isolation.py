"""What a test leaves behind in the process, undone: names, switches, statistics, and answers in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from recallm import registry
from recallm.all_caches import reset_stats
from recallm.concurrency.forking import living
from recallm.engine.drivers import maintain
from recallm.engine.maintenance import invalidate
from recallm.engine.switches import PROCESS
from recallm.errors import UnknownNameError
from recallm.storage.memory import InMemoryStorage
from recallm.telemetry.listening import LISTENERS
from recallm.telemetry.tracing import TRACERS


@contextmanager
def switched_off() -> Iterator[None]:
    """Switch the caches of the process off for a ``with`` block."""
    before = PROCESS.active
    PROCESS.active = False
    try:
        yield
    finally:
        PROCESS.active = before


@contextmanager
def isolated() -> Iterator[None]:
    """Begin a ``with`` block as a fresh process would, and undo what it registers, switches and stores in memory."""
    names = registry._registered, registry._schemes, registry._chosen_embedder
    switches = PROCESS.active, PROCESS.serve
    told = {*LISTENERS, *TRACERS}
    _forget_answers()
    registry._registered = {**names[0], "default": registry._fresh_default()}
    registry._schemes = dict(names[1])
    reset_stats()
    try:
        yield
    finally:
        _forget_answers()
        registry._registered, registry._schemes, registry._chosen_embedder = names
        PROCESS.active, PROCESS.serve = switches
        for token in {*LISTENERS, *TRACERS} - told:
            LISTENERS.pop(token, None)
            TRACERS.pop(token, None)


def _forget_answers() -> None:
    """Empty the storages of this process; those that others may share, or that wait for something, stay as they are."""
    for core, namespaces in registry.one_per_storage(registry.live_cores()).items():
        with suppress(UnknownNameError):
            storage = core.existing_storage()
            if storage is not None and not storage.blocking and storage.serves_sync:
                with suppress(Exception):  # a storage that a test has broken
                    maintain(invalidate(sorted(namespaces)), core)
    # The functions whose answers a storage holds may be gone, as those are that a test has made.
    for kept in living(InMemoryStorage):
        if not kept.blocking:
            with suppress(Exception):
                for namespace in kept.namespaces():
                    kept.invalidate(namespace)
