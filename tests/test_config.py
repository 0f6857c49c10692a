"""Settings: every wrong kind of every field is refused with its value and what is allowed."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError, fields, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from recallm import checks
from recallm.config import CacheConfig, resolve_threshold
from recallm.errors import InvalidTypeError, InvalidValueError, RecallmError
from recallm.typing import PROFILES

INF, NAN = float("inf"), float("nan")

WRONG_THRESHOLDS: dict[type[Exception], list[Any]] = {
    TypeError: [None, True, False, [0.9], (0.9,), b"strict", Decimal("0.9"), 0.9j, timedelta(1)],
    ValueError: ["", "Strict", "Exact", "0.9", "fast", -0.1, 1.1, -1, 2, 97, NAN, INF, -INF, 10**400],
}
WRONG_TEXTS: dict[type[Exception], list[Any]] = {TypeError: [None, True, 1, b"n", ["n"]], ValueError: [""]}
WRONG_SECONDS: dict[type[Exception], list[Any]] = {
    TypeError: ["1", "", True, False, [1], b"1", Decimal(1), 1j],
    ValueError: [0, 0.0, -0.0, -1, -0.5, NAN, INF, -INF, timedelta(0), timedelta(-1), 10**400],
}
WRONG_TTLS: dict[type[Exception], list[Any]] = {
    TypeError: [True, False, [1], b"1", Decimal(1), 1j, len],
    ValueError: ["1", "", "1 hour", "-1h", "1h1d", "1h 1h", "0s", "1e3s", "٣s", "1.s", "h", *WRONG_SECONDS[ValueError]],
}
WRONG_TIMEOUTS = {**WRONG_SECONDS, TypeError: [None, *WRONG_SECONDS[TypeError]]}

FIELDS: dict[str, tuple[dict[type[Exception], list[Any]], str]] = {
    "threshold": (WRONG_THRESHOLDS, r"'exact', 'strict', 'balanced', 'guarded', 'loose'.*between 0 and 1"),
    "default_namespace": (WRONG_TEXTS, "non-empty str"),
    "default_ttl": (WRONG_TTLS, r"positive number of seconds, a datetime\.timedelta or a text .*, or None"),
    "embedding_model": (WRONG_TEXTS, "non-empty str"),
    "cache_timeout_seconds": (WRONG_TIMEOUTS, "positive number of seconds"),
    "embed_timeout_seconds": (WRONG_TIMEOUTS, "positive number of seconds"),
    "load_timeout_seconds": (WRONG_TIMEOUTS, "positive number of seconds"),
    "verify_timeout_seconds": (WRONG_TIMEOUTS, "positive number of seconds"),
    "coalesce_timeout_seconds": (WRONG_TIMEOUTS, "positive number of seconds"),
}
WRONG = [
    (field, value, error, allowed)
    for field, (table, allowed) in FIELDS.items()
    for error, values in table.items()
    for value in values
]


def test_the_table_has_every_field() -> None:
    """Every setting has rows in the table of wrong values."""
    assert {field.name for field in fields(CacheConfig)} == FIELDS.keys()


@pytest.mark.parametrize(("field", "value", "error", "allowed"), WRONG)
def test_a_wrong_value_is_refused(field: str, value: Any, error: type[Exception], allowed: str) -> None:
    """A wrong value raises recallm's error and the built-in one, with the field, the value and what is allowed."""
    with pytest.raises(error, match=f"{field}={re.escape(repr(value))}.*{allowed}") as caught:
        CacheConfig(**{field: value})
    assert isinstance(caught.value, RecallmError)


def test_the_type_of_a_wrong_value_is_told() -> None:
    """The message names the wrong type; a bool is no number."""
    with pytest.raises(InvalidTypeError, match="threshold=True is a bool"):
        CacheConfig(threshold=True)


@pytest.mark.parametrize(
    ("threshold", "cosine"),
    [
        ("exact", 1.0),
        ("strict", 0.97),
        ("balanced", 0.92),
        ("guarded", 0.88),
        ("loose", 0.85),
        (0, 0.0),
        (1, 1.0),
        (0.5, 0.5),
        (np.float64(0.5), 0.5),
    ],
)
def test_a_threshold_is_exact_a_profile_or_a_cosine(threshold: Any, cosine: float) -> None:
    """A threshold is "exact", a profile's name or a cosine; 0 and 1 are cosines like others."""
    assert CacheConfig(threshold=threshold).resolved_threshold() == cosine


def test_defaults() -> None:
    """A config made without arguments has the documented defaults."""
    config = CacheConfig()
    assert (config.resolved_threshold(), config.default_namespace, config.default_ttl) == (0.92, "default", None)
    assert config.embedding_model == "BAAI/bge-small-en-v1.5"
    limits = (config.cache_timeout_seconds, config.embed_timeout_seconds, config.load_timeout_seconds)
    assert limits == (0.2, 5.0, 60.0)


def test_a_time_limit_given_as_a_timedelta_is_kept_in_seconds() -> None:
    """A time limit given as a timedelta reads as seconds."""
    limit: Any = timedelta(milliseconds=500)
    assert CacheConfig(cache_timeout_seconds=limit).cache_timeout_seconds == 0.5


@pytest.mark.parametrize(
    ("ttl", "seconds"),
    [
        (None, None),
        (1, 1.0),
        (0.5, 0.5),
        (timedelta(minutes=2), 120.0),
        ("90s", 90.0),
        ("1h", 3600.0),
        ("1h30m", 5400.0),
        ("1h 30m", 5400.0),
        ("1 h", 3600.0),
        ("7d", 604800.0),
        ("1w", 604800.0),
        ("1.5h", 5400.0),
        ("2w1d3h4m5.25s", 2 * 604800 + 86400 + 3 * 3600 + 4 * 60 + 5.25),
    ],
)
def test_a_ttl_is_seconds_a_timedelta_or_a_text(ttl: Any, seconds: float | None) -> None:
    """A ttl in seconds, as a timedelta and as a text mean the same."""
    assert checks.ttl(ttl) == seconds
    assert CacheConfig(default_ttl=ttl).default_ttl == ttl


def test_settings_are_fixed_once_made() -> None:
    """A config cannot be assigned to; `replace` makes another one and checks it."""
    config = CacheConfig()
    with pytest.raises(FrozenInstanceError):
        config.threshold = 0.5  # type: ignore[misc]  # that it cannot be set is the point
    assert replace(config, threshold=0.5).resolved_threshold() == 0.5
    with pytest.raises(InvalidValueError):
        replace(config, threshold=5)


@pytest.mark.parametrize(
    ("threshold", "calibrated", "cosine"),
    [
        ("strict", {}, 0.97),
        ("strict", {"strict": 0.5}, 0.5),
        ("loose", {"strict": 0.5}, 0.85),
        ("guarded", {}, 0.88),
        ("guarded", {"strict": 0.99}, 0.88),
        ("guarded", {"balanced": 0.98}, 0.98),
        ("guarded", {"balanced": 0.98, "guarded": 0.96}, 0.96),
        ("loose", {"balanced": 0.98}, 0.98),
        ("loose", {"balanced": 0.98, "guarded": 0.96}, 0.96),
        ("strict", {"balanced": 0.98}, 0.98),
        ("strict", {"balanced": 0.6}, 0.97),
        (0.7, {"strict": 0.5}, 0.7),
        ("exact", {"strict": 0.5, "exact": 0.5}, 1.0),
    ],
)
def test_a_calibrated_model_moves_its_profiles_only(
    threshold: Any, calibrated: dict[str, float], cosine: float
) -> None:
    """A model's calibrated thresholds move the profiles; a cosine means the same with every model."""
    assert resolve_threshold(threshold, calibrated) == cosine


def test_profiles_are_strict_to_loose() -> None:
    """A looser profile has a lower threshold."""
    assert PROFILES["strict"] > PROFILES["balanced"] > PROFILES["guarded"] > PROFILES["loose"]


def test_a_default_namespace_that_is_given_is_told_from_one_that_is_not() -> None:
    """A namespace given as ``"default"`` differs from one left to its default, also after `replace`."""
    left, given = CacheConfig(), CacheConfig(default_namespace="default")
    assert left.default_namespace == given.default_namespace == "default"
    assert (left.gives_namespace, given.gives_namespace) == (False, True)
    assert not replace(left, threshold=0.5).gives_namespace
    assert replace(given, threshold=0.5).gives_namespace
    assert left == given
