"""For tests: an embedder without a model, a clock that a test moves, and the contracts of storages and embedders.

`fakes` holds the stand-ins, `storage_contract` and `embedder_contract` the tests that every storage and every embedder
passes, and `threads` runs work in many threads at once. Users import from here, and pytest runs what they inherit;
nothing in a call uses this room. To demand more of a storage or an embedder, add a method whose name begins with
``test_`` to its contract, and a storage or an embedder that fails it to ``tests/testing``.
"""

from recallm.testing.embedder_contract import EmbedderContract
from recallm.testing.fakes import Clock, FakeEmbedder
from recallm.testing.storage_contract import StorageContract

__all__ = ["Clock", "EmbedderContract", "FakeEmbedder", "StorageContract"]
