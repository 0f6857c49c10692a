"""Arguments that stay as they are, though the caller goes on and changes what it passed."""

from __future__ import annotations

from typing import Any, TypeVar

T = TypeVar("T")

DEPTH = 50
"""How deep containers in containers are copied."""


def apart_from(value: T) -> T:
    """Return a value whose lists, dicts, tuples and sets are copies, those in them too; all else is the same object.

    >>> messages = [{"role": "user", "content": "why?"}]
    >>> kept = apart_from(messages)
    >>> messages[0]["content"] = "how?"
    >>> kept
    [{'role': 'user', 'content': 'why?'}]
    """
    copied: T = _copied(value, {}, DEPTH)
    return copied


def _copied(value: Any, made: dict[int, Any], depth: int) -> Any:
    kind = type(value)
    if depth == 0 or kind not in (list, dict, tuple, set):
        return value
    if id(value) in made:
        return made[id(value)]
    if kind is set:
        return set(value)
    if kind is tuple:
        return tuple(_copied(each, made, depth - 1) for each in value)
    copy: Any = kind()
    made[id(value)] = copy  # what it holds may refer to it
    if kind is list:
        copy.extend(_copied(each, made, depth - 1) for each in value)
    else:
        copy.update((key, _copied(each, made, depth - 1)) for key, each in value.items())
    return copy
