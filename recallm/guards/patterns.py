"""Patterns of the guards, each compiled when it is first used."""

from __future__ import annotations

import re
from functools import cache


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """Return a pattern compiled: to compile all of them takes longer than all else that importing the guards does."""
    return re.compile(pattern)
