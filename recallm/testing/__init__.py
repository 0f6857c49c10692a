"""For tests: an embedder without a model, a clock that is moved, and the contracts of storages and embedders.

`fakes` holds the stand-ins, `storage_contract` the tests that every storage passes. Users import from here, run by
pytest; nothing in a call uses this room. What a storage must do is added to its contract as a method whose name begins
with ``test_``, with a storage in ``tests/testing`` that fails it.
"""

from recallm.testing.fakes import Clock, FakeEmbedder
from recallm.testing.storage_contract import StorageContract

__all__ = ["Clock", "FakeEmbedder", "StorageContract"]
