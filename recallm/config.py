"""Settings, checked when they are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from recallm import checks
from recallm.errors import InvalidTypeError, a_kind
from recallm.typing import PROFILES, Duration, Threshold

DEFAULT_MODEL = "BAAI/bge-small-en-v1.5"


class _Default(str):
    """A default, which differs from an equal text that the user gives."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """The settings of a cache, fixed once made.

    Args:
        threshold: ``"strict"`` (0.97), ``"balanced"`` (0.92), ``"guarded"`` (0.88, only with `DEFAULT_GUARDS`),
            ``"loose"`` (0.85) or a cosine in [0, 1]; ``"exact"``: only the very same prompt, without any embedding.
        default_namespace: namespace of calls that name none. Not given: ``"default"`` for functions that
            `SemanticCache.wrap` wraps, the function's path for those that `semantic_cache` decorates.
        default_ttl: seconds, timedelta or a text such as ``"1h30m"`` until an entry expires; None: never.
        embedding_model: FastEmbed model of the default embedder, if neither of the extras ``offline`` and
            ``offline-multilingual`` is installed.
        cache_timeout_seconds: the most that one storage operation may add to a call.
        embed_timeout_seconds: the most that one embedding may add to a call.
        load_timeout_seconds: the most that a first call waits for the model to load.
        verify_timeout_seconds: the most that one verdict of ``verify=`` may add to a call.
        coalesce_timeout_seconds: the most that a call waits, in all, for others that compute the same answer.

    Raises:
        InvalidTypeError: a field has the wrong type (also a `TypeError`).
        InvalidValueError: a field has a value that is not allowed (also a `ValueError`).

    >>> CacheConfig(threshold="strict").resolved_threshold()
    0.97
    """

    threshold: Threshold = "balanced"
    default_namespace: str = _Default("default")
    default_ttl: Duration | None = None
    embedding_model: str = DEFAULT_MODEL
    cache_timeout_seconds: float = 0.2
    embed_timeout_seconds: float = 5.0
    load_timeout_seconds: float = 60.0
    verify_timeout_seconds: float = 5.0
    coalesce_timeout_seconds: float = 30.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "threshold", checks.threshold(self.threshold))
        checks.text(self.default_namespace, "default_namespace")
        checks.text(self.embedding_model, "embedding_model")
        checks.ttl(self.default_ttl, "default_ttl")
        for limit in ("cache", "embed", "load", "verify", "coalesce"):
            field = f"{limit}_timeout_seconds"
            object.__setattr__(self, field, checks.seconds(getattr(self, field), field))

    @property
    def gives_namespace(self) -> bool:
        """Whether `default_namespace` was given, rather than left to its default."""
        return not isinstance(self.default_namespace, _Default)

    def resolved_threshold(self) -> float:
        """Return the threshold as a cosine."""
        return resolve_threshold(self.threshold, PROFILES)


def checked_config(config: object) -> CacheConfig:
    """Return a `CacheConfig`; None: the default one.

    Raises:
        InvalidTypeError: `config` is something else.
    """
    if config is None:
        return CacheConfig()
    if isinstance(config, CacheConfig):
        return config
    raise InvalidTypeError(f"config={config!r} is {a_kind(config)}; use a CacheConfig")


def resolve_threshold(threshold: Threshold, calibrated: Mapping[str, float]) -> float:
    """Return a threshold as a cosine, by the model's calibrated profiles if it has them; 1.0 for ``"exact"``.

    A model with its own "balanced" has another scale than `PROFILES`, by which a profile that it leaves out may let
    everything pass. So the next stricter one that it has stands for that.
    """
    if threshold == "exact":
        return 1.0
    if not isinstance(threshold, str):
        return threshold
    if threshold in calibrated or "balanced" not in calibrated:
        return float(calibrated.get(threshold, PROFILES[threshold]))
    balanced = float(calibrated["balanced"])
    return max(balanced, PROFILES["strict"]) if threshold == "strict" else float(calibrated.get("guarded", balanced))
