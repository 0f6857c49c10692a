"""The tags of an answer: names of what it rests on, by which it can be removed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from recallm import checks
from recallm.errors import InvalidTypeError, InvalidValueError, a_kind
from recallm.typing import Arguments, Tags

MAX_TAGS = 100
"""How many tags one answer may have."""


def checked_tags(value: object) -> Tags | None:
    """Return the option ``tags`` in the form that is used: names, or a callable that returns them.

    Raises:
        InvalidTypeError: it is neither, or an async callable.
        InvalidValueError: see `named`.
    """
    if value is None:
        return None
    return checks.sync_callable(value, "tags") if callable(value) else named(value)


def tags_of(tags: Tags, arguments: Arguments, response: object) -> tuple[str, ...]:
    """Return the tags of one answer. Raises what the user's callable raises, or as `named`."""
    chosen: Any = tags(arguments, response) if callable(tags) else tags
    return named(chosen)


def named(value: object) -> tuple[str, ...]:
    """Return tags, each once; a str is a single tag.

    Raises:
        InvalidTypeError: it is no collection of str.
        InvalidValueError: a tag is empty, or there are more than `MAX_TAGS`.
    """
    given = (value,) if isinstance(value, str) else value
    if isinstance(given, Mapping | bytes) or not isinstance(given, Collection):
        raise InvalidTypeError(f"tags are {a_kind(value)}; use a collection of str, such as ('doc:42',)")
    names = tuple(dict.fromkeys(checks.text(name, "tags", of_call=True) for name in given))
    if len(names) > MAX_TAGS:
        raise InvalidValueError(f"an answer has {len(names)} tags; use {MAX_TAGS} at the most")
    return names
