"""Settings, checked when they are made."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType

from recallm.errors import InvalidTypeError, InvalidValueError
from recallm.typing import Seconds, Threshold

PROFILES: Mapping[str, float] = MappingProxyType({"strict": 0.97, "balanced": 0.92, "loose": 0.85})

DEFAULT_MODEL = "BAAI/bge-small-en-v1.5"


def checked_threshold(value: object, *, field: str = "threshold") -> Threshold:
    """Return `value` where it is a profile name or a cosine in [0, 1].

    Raises:
        InvalidTypeError: `value` is neither a str nor a number (a bool is not a number here).
        InvalidValueError: an unknown profile, or a number outside [0, 1].
    """
    allowed = f"{', '.join(map(repr, PROFILES))}, or a cosine between 0 and 1"
    if isinstance(value, str):
        if value not in PROFILES:
            raise InvalidValueError(f"{field}={value!r} is not a known profile; use {allowed}")
        return value  # type: ignore[return-value]  # membership was checked just above
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidTypeError(f"{field}={value!r} is a {type(value).__name__}; use {allowed}")
    if not 0.0 <= value <= 1.0:
        raise InvalidValueError(f"{field}={value!r} is outside [0, 1]; use {allowed}")
    return float(value)


def checked_seconds(value: object, *, field: str) -> float:
    """Return `value` in seconds where it is a positive, finite number or timedelta.

    Raises:
        InvalidTypeError: `value` is neither a number nor a timedelta.
        InvalidValueError: it is not positive and finite.
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    allowed = "use a positive number of seconds or a datetime.timedelta"
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise InvalidTypeError(f"{field}={value!r} is a {type(value).__name__}; {allowed}")
    if not 0 < seconds <= sys.float_info.max:
        raise InvalidValueError(f"{field}={value!r} is not positive and finite; {allowed}")
    return float(seconds)


def checked_ttl(value: object, *, field: str = "ttl") -> float | None:
    """Return `value` in seconds, or None for an entry that does not expire.

    Raises:
        InvalidTypeError: `value` is neither None, a number nor a timedelta.
        InvalidValueError: it is not positive and finite.
    """
    if value is None:
        return None
    try:
        return checked_seconds(value, field=field)
    except (InvalidTypeError, InvalidValueError) as error:
        raise type(error)(f"{error}, or None for no expiry") from None


def checked_text(value: object, *, field: str) -> str:
    """Return `value` where it is a non-empty str.

    Raises:
        InvalidTypeError: `value` is not a str.
        InvalidValueError: it is empty.
    """
    if not isinstance(value, str):
        raise InvalidTypeError(f"{field}={value!r} is a {type(value).__name__}; use a non-empty str")
    if not value:
        raise InvalidValueError(f"{field}={value!r} is empty; use a non-empty str")
    return value


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """The settings of a cache, fixed once made.

    Args:
        threshold: ``"strict"`` (0.97), ``"balanced"`` (0.92), ``"loose"`` (0.85) or a cosine in [0, 1].
        default_namespace: namespace of `SemanticCache.wrap`-ped calls that name none.
        default_ttl: seconds or timedelta until an entry expires; None: never.
        embedding_model: FastEmbed model of the default embedder, where the extra ``offline`` is absent.
        cache_timeout_seconds: the most that one storage operation may add to a call.
        embed_timeout_seconds: the most that one embedding may add to a call.
        load_timeout_seconds: the most that a first call waits for the model to load.
        verify_timeout_seconds: the most that one verdict of ``verify=`` may add to a call.
        coalesce_timeout_seconds: the most that a call waits for another that makes the same answer, in all.

    Raises:
        InvalidTypeError: a field has the wrong type (also a `TypeError`).
        InvalidValueError: a field has a value that is not allowed (also a `ValueError`).

    >>> CacheConfig(threshold="strict").resolved_threshold()
    0.97
    """

    threshold: Threshold = "balanced"
    default_namespace: str = "default"
    default_ttl: Seconds | None = None
    embedding_model: str = DEFAULT_MODEL
    cache_timeout_seconds: float = 0.2
    embed_timeout_seconds: float = 5.0
    load_timeout_seconds: float = 60.0
    verify_timeout_seconds: float = 5.0
    coalesce_timeout_seconds: float = 30.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "threshold", checked_threshold(self.threshold))
        checked_text(self.default_namespace, field="default_namespace")
        checked_text(self.embedding_model, field="embedding_model")
        checked_ttl(self.default_ttl, field="default_ttl")
        for limit in ("cache", "embed", "load", "verify", "coalesce"):
            field = f"{limit}_timeout_seconds"
            object.__setattr__(self, field, checked_seconds(getattr(self, field), field=field))

    def resolved_threshold(self) -> float:
        """Return the threshold as a cosine."""
        return resolve_threshold(self.threshold, PROFILES)


def resolve_threshold(threshold: Threshold, calibrated: Mapping[str, float]) -> float:
    """Return `threshold` as a cosine, by the model's calibrated profiles where it has them."""
    if isinstance(threshold, str):
        return float(calibrated.get(threshold, PROFILES[threshold]))
    return threshold
