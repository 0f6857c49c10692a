"""Names as what is read by others can carry them: the labels of metrics, and lines of a log or a terminal."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping

SHOWN_NAMESPACES = 100
"""How many namespaces have a time series of their own; each user may have a namespace."""

OTHER = "other"
"""The label of all further namespaces together."""


def encodable(text: str) -> str:
    r"""Return a text that UTF-8 can encode, with escapes for halves of surrogate pairs; different texts stay different.

    >>> encodable("user 1"), encodable(chr(0xD800))
    ('user 1', '\\ud800')
    """
    if "\\ud" not in text:  # else it may look like what another is escaped to
        try:
            text.encode()
        except UnicodeEncodeError:
            pass
        else:
            return text
    return text.replace("\\", "\\\\").encode("utf-8", "backslashreplace").decode()


def largest(sizes: Mapping[str, int]) -> Mapping[str, int]:
    """Return the sizes of the largest namespaces, and of all others together."""
    if len(sizes) <= SHOWN_NAMESPACES:
        return sizes
    shown = {
        name: sizes[name] for name in heapq.nlargest(SHOWN_NAMESPACES, sizes, key=lambda name: (sizes[name], name))
    }
    shown[OTHER] = shown.get(OTHER, 0) + sum(sizes.values()) - sum(shown.values())
    return shown


def total(parts: Iterable[Mapping[str, int]]) -> Mapping[str, int]:
    """Return the sum of several mappings."""
    added: dict[str, int] = {}
    for part in parts:
        for name, size in part.items():
            added[name] = added.get(name, 0) + size
    return added
