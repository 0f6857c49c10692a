"""Guards: predicates that refuse a cached answer whatever its similarity."""

from __future__ import annotations

import re
from collections import Counter

from recallm.typing import Guard

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def numbers_agree(prompt: str, cached_prompt: str) -> bool:
    """Claim that both prompts name the same numbers, wherever they stand.

    Embeddings hardly see a digit: "30 days" and "90 days" are alike to them. Numbers in words pass.

    >>> numbers_agree("Refund within 30 days?", "Refund within 90 days?")
    False
    >>> numbers_agree("Is 30 days the limit?", "Is the limit 30 days?")
    True
    """
    return Counter(_NUMBER.findall(prompt)) == Counter(_NUMBER.findall(cached_prompt))


DEFAULT_GUARDS: tuple[Guard, ...] = (numbers_agree,)
