"""Names of parameters that are the same in every process: workers that share a run must collect the same tests."""

from __future__ import annotations

import re


def named(value: object, length: int = 80) -> str:
    """Return what a value looks like, without addresses, and sets in order.

    Args:
        value: a test's parameter.
        length: the most characters.
    """
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(named, value)))}}}"[:length]
    text = value if isinstance(value, str) else repr(value)
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)[:length]
