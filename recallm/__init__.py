"""recallm: a semantic cache for functions that call a language model.

>>> import recallm
>>> @recallm.semantic_cache(context=lambda kw: {"user": kw["user"]})
... def answer(question: str, *, user: str) -> str: ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recallm.cache import SemanticCache
from recallm.config import CacheConfig
from recallm.decorator import semantic_cache
from recallm.errors import RecallmError, RecallmWarning
from recallm.guards import DEFAULT_GUARDS
from recallm.process import (
    aclear,
    ainvalidate_namespace,
    caches,
    clear,
    invalidate_namespace,
    reset_stats,
    stats,
)
from recallm.records import Candidate, Entry, Explanation, Recalled, Stored
from recallm.registry import (
    get_default_embedder,
    get_storage,
    register_storage,
    set_default_embedder,
    storages,
    unregister_storage,
    use_metrics_registry,
)
from recallm.storage.base import StorageBackend
from recallm.storage.memory import InMemoryStorage, ThreadSafeInMemoryStorage
from recallm.tally import CacheStats
from recallm.typing import Embedder, Guard

if TYPE_CHECKING:
    from recallm.cached import CachedFunction, CacheInfo
    from recallm.embedders import FastEmbedEmbedder, SentenceTransformerEmbedder
    from recallm.evaluation import Evaluation, evaluate
    from recallm.pairs import Pair
    from recallm.recording import Recording, record
    from recallm.storage.redis import RedisStorage
    from recallm.tuning import Tuning, tune

__version__ = "0.1.0"

__all__ = [
    "DEFAULT_GUARDS",
    "CacheConfig",
    "CacheInfo",
    "CacheStats",
    "CachedFunction",
    "Candidate",
    "Embedder",
    "Entry",
    "Evaluation",
    "Explanation",
    "FastEmbedEmbedder",
    "Guard",
    "InMemoryStorage",
    "Pair",
    "Recalled",
    "RecallmError",
    "RecallmWarning",
    "Recording",
    "RedisStorage",
    "SemanticCache",
    "SentenceTransformerEmbedder",
    "StorageBackend",
    "Stored",
    "ThreadSafeInMemoryStorage",
    "Tuning",
    "aclear",
    "ainvalidate_namespace",
    "caches",
    "clear",
    "evaluate",
    "get_default_embedder",
    "get_storage",
    "invalidate_namespace",
    "record",
    "register_storage",
    "reset_stats",
    "semantic_cache",
    "set_default_embedder",
    "stats",
    "storages",
    "tune",
    "unregister_storage",
    "use_metrics_registry",
]

_ON_USE = {
    "CacheInfo": "recallm.cached",
    "CachedFunction": "recallm.cached",
    "Evaluation": "recallm.evaluation",
    "FastEmbedEmbedder": "recallm.embedders",
    "Pair": "recallm.pairs",
    "Recording": "recallm.recording",
    "RedisStorage": "recallm.storage.redis",
    "SentenceTransformerEmbedder": "recallm.embedders",
    "Tuning": "recallm.tuning",
    "evaluate": "recallm.evaluation",
    "record": "recallm.recording",
    "tune": "recallm.tuning",
}


def __getattr__(name: str) -> Any:
    """Import what few programs use when it is used."""
    if name in _ON_USE:
        from importlib import import_module

        return getattr(import_module(_ON_USE[name]), name)
    raise AttributeError(f"module 'recallm' has no attribute {name!r}")
