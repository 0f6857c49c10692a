"""What a response says of itself: whether it is a stream, and how many tokens it took."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping


def is_stream(response: object) -> bool:
    """Return whether a response is consumed by reading it, so that keeping it would take it from the caller."""
    return isinstance(response, Iterator | AsyncIterator | Awaitable) or hasattr(type(response), "__aiter__")


def total_tokens(response: object) -> int:
    """Return the ``usage.total_tokens`` that a response carries, as attributes or items, or 0."""
    found: object = response
    try:
        for name in ("usage", "total_tokens"):
            found = found.get(name) if isinstance(found, Mapping) else getattr(found, name, None)
    except Exception:  # noqa: BLE001  # a response's own property failed: it reports no tokens
        return 0
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else 0
