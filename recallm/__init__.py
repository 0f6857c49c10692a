"""recallm: a semantic cache for functions that call a language model.

>>> import recallm
>>> @recallm.semantic_cache(context=lambda kw: {"user": kw["user"]})
... def answer(question: str, *, user: str) -> str: ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recallm.all_caches import (
    aclear,
    ainvalidate_namespace,
    caches,
    clear,
    invalidate_namespace,
    reset_stats,
    stats,
)
from recallm.config import CacheConfig
from recallm.decorator import semantic_cache
from recallm.errors import RecallmError, RecallmWarning
from recallm.guards.default import DEFAULT_GUARDS
from recallm.keying.completeness import is_complete
from recallm.records import Candidate, Entry, Explanation, Recalled, Stored
from recallm.registry import (
    get_default_embedder,
    get_storage,
    register_scheme,
    register_storage,
    set_default_embedder,
    storages,
    unregister_storage,
    use_metrics_registry,
)
from recallm.storage.base import Invalidate, Put, Recall, Remove, Search, Sizes, StorageBackend, StorageOperation
from recallm.storage.memory import InMemoryStorage, ThreadSafeInMemoryStorage
from recallm.telemetry.stats import CacheStats
from recallm.typing import Embedder, EmbedderLike, Guard

if TYPE_CHECKING:
    from recallm.cache import CachedFunction, CacheInfo, SemanticCache
    from recallm.embedders.fastembed import FastEmbedEmbedder
    from recallm.embedders.sentence_transformers import SentenceTransformerEmbedder
    from recallm.evaluation.evaluate import Evaluation, evaluate
    from recallm.evaluation.pairs import Pair
    from recallm.evaluation.tune import Tuning, tune
    from recallm.storage.redis.storage import RedisStorage
    from recallm.telemetry.recording import Recording, record

__version__ = "0.1.0"

__all__ = [
    "DEFAULT_GUARDS",
    "CacheConfig",
    "CacheInfo",
    "CacheStats",
    "CachedFunction",
    "Candidate",
    "Embedder",
    "EmbedderLike",
    "Entry",
    "Evaluation",
    "Explanation",
    "FastEmbedEmbedder",
    "Guard",
    "InMemoryStorage",
    "Invalidate",
    "Pair",
    "Put",
    "Recall",
    "Recalled",
    "RecallmError",
    "RecallmWarning",
    "Recording",
    "RedisStorage",
    "Remove",
    "Search",
    "SemanticCache",
    "SentenceTransformerEmbedder",
    "Sizes",
    "StorageBackend",
    "StorageOperation",
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
    "is_complete",
    "record",
    "register_scheme",
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
    "CacheInfo": "recallm.cache",
    "CachedFunction": "recallm.cache",
    "Evaluation": "recallm.evaluation.evaluate",
    "FastEmbedEmbedder": "recallm.embedders.fastembed",
    "Pair": "recallm.evaluation.pairs",
    "Recording": "recallm.telemetry.recording",
    "RedisStorage": "recallm.storage.redis.storage",
    "SemanticCache": "recallm.cache",
    "SentenceTransformerEmbedder": "recallm.embedders.sentence_transformers",
    "Tuning": "recallm.evaluation.tune",
    "evaluate": "recallm.evaluation.evaluate",
    "record": "recallm.telemetry.recording",
    "tune": "recallm.evaluation.tune",
}


def __getattr__(name: str) -> Any:
    """Import what few programs use when it is used."""
    if name in _ON_USE:
        from importlib import import_module

        return getattr(import_module(_ON_USE[name]), name)
    raise AttributeError(f"module 'recallm' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List what is imported on use among the rest."""
    return sorted({*globals(), *__all__})
