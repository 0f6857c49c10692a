"""The options in the URLs of storages."""

from __future__ import annotations

from urllib.parse import parse_qsl

from recallm.errors import InvalidValueError


def max_entries_in(query: str, scheme: str) -> int | None:
    """Return the bound that a URL's query gives, or None if it gives none.

    Raises:
        InvalidValueError: the query has other options.
    """
    options = parse_qsl(query, keep_blank_values=True)
    match options:
        case []:
            return None
        case [("max_entries", bound)] if bound.isdecimal():
            return int(bound)
    given = ", ".join(f"{name}={value}" for name, value in options)
    raise InvalidValueError(f"{scheme}:// with {given}; it takes max_entries=<positive int> and nothing else")
