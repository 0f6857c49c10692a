"""For tests: an embedder without a model, a clock that a test moves, and the contracts of storages and embedders.

`fakes` holds the stand-ins, `storage_contract` and `embedder_contract` the tests that every storage and every embedder
passes, `threads` runs work in many threads at once, and `plugin` has the fixtures that pytest finds by itself, which
`isolation` implements. Users import from here, and pytest runs what they inherit;
nothing in a call uses this room. To demand more of a storage or an embedder, add a method whose name begins with
``test_`` to its contract, and a storage or an embedder that fails it to ``tests/testing``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recallm.testing.embedder_contract import EmbedderContract
    from recallm.testing.fakes import Clock, FakeEmbedder
    from recallm.testing.storage_contract import StorageContract

__all__ = ["Clock", "EmbedderContract", "FakeEmbedder", "StorageContract"]

_ON_USE = {
    "Clock": "recallm.testing.fakes",
    "EmbedderContract": "recallm.testing.embedder_contract",
    "FakeEmbedder": "recallm.testing.fakes",
    "StorageContract": "recallm.testing.storage_contract",
}


def __getattr__(name: str) -> Any:
    """Import what is used when it is: each run of pytest imports this room, for its plugin."""
    if name in _ON_USE:
        from importlib import import_module

        return getattr(import_module(_ON_USE[name]), name)
    raise AttributeError(f"module 'recallm.testing' has no attribute {name!r}")
