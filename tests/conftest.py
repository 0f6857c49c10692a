"""What every test starts from."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from weakref import WeakSet

import pytest

from recallm import events, registry
from recallm.storage.memory import ThreadSafeInMemoryStorage


@pytest.fixture(autouse=True)
def fresh_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The process's names are as after an import, whatever the tests before did."""
    monkeypatch.setattr(registry, "_sources", {"default": ThreadSafeInMemoryStorage})
    monkeypatch.setattr(registry, "_made", {})
    # A cache in a cycle outlives its test until the collector runs, its broken storage with it.
    monkeypatch.setattr(registry, "caches", WeakSet())
    monkeypatch.setattr(registry, "_chosen_encoder", None)
    monkeypatch.setattr(registry, "_metrics", None)
    monkeypatch.setattr(registry, "_metrics_registry", None)
    # What one test had logged would keep quiet in the next.
    monkeypatch.setattr(events.LOG, "_said", OrderedDict())
    yield
    for recording in registry.recordings:
        recording.stop()
