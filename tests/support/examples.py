"""How many examples Hypothesis draws, as a multiple of what the profile says."""

from __future__ import annotations

from typing import Any

from hypothesis import settings


def examples(times: float, **options: Any) -> settings:
    """Return settings for more or fewer examples than usual, of a profile that may itself draw fewer.

    Args:
        times: 1 is what the profile draws.
        options: further ones of Hypothesis.
    """
    return settings(max_examples=max(1, round(times * settings().max_examples)), **options)
