"""What does not count: names, and names of what lies in them, as a tree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

from recallm.keying.objects import named_values
from recallm.keying.stand_ins import IGNORED, Replaced

Ignore: TypeAlias = Mapping[str, Any]
"""Names that do not count, each with the names in it that do not count; a name with none does not count at all."""

COUNTER: Mapping[str, Any] = MappingProxyType({"": {}})
"""Stands in a tree for an attribute that does not count while it is a number."""


def ignore_tree(names: Iterable[str]) -> dict[str, Any]:
    """Return dotted names as a tree.

    >>> ignore_tree(["timeout", "self.client", "self.log"])
    {'self': {'client': {}, 'log': {}}, 'timeout': {}}
    """
    tree: dict[str, Any] = {}
    whole = set(names)
    for name in sorted(whole):
        steps = name.split(".")
        if any(".".join(steps[:at]) in whole for at in range(1, len(steps))):
            continue
        inner = tree
        for step in steps:
            inner = inner.setdefault(step, {})
    return tree


def whole(ignore: Ignore) -> list[str]:
    """Return the names of what is ignored as a whole."""
    return [name for name, inner in ignore.items() if not inner]


def merged(one: Ignore, other: Ignore) -> dict[str, Any]:
    """Return a tree of what does not count in one tree or in another.

    >>> merged({"self": {"calls": {}}}, {"self": {"client": {}}, "timeout": {}})
    {'self': {'calls': {}, 'client': {}}, 'timeout': {}}
    """
    found = dict(one)
    for name, inner in other.items():
        known = found.get(name)
        if known is None or COUNTER in (known, inner):
            found[name] = inner if known is None or known is COUNTER else known
        else:
            found[name] = merged(known, inner) if known and inner else {}
    return found


def without(value: Any, ignore: Ignore) -> Any:
    """Return a stand-in for a value in which some of what it holds does not count."""
    if not ignore:
        return value
    held = value if isinstance(value, dict) else vars(value) if isinstance(value, type) else named_values(value)
    changes: dict[str, Any] = {}
    for name, inner in ignore.items():
        if name not in held or (inner is COUNTER and type(held[name]) not in (int, float)):
            continue
        changes[name] = without(held[name], inner) if inner and inner is not COUNTER else IGNORED
    return Replaced(value, changes) if changes else value
