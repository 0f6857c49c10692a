"""Tokens: what stands, within one process, for objects that cannot be read."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any
from weakref import ref

MAX_HELD = 1024
"""How many objects that take no weak reference are kept alive, so that their tokens stay their own."""


class Tokens:
    """Gives objects that pass for functions, such as mocks, random bytes in place of a form, while they live.

    Args:
        new_token: returns random bytes.
    """

    def __init__(self, new_token: Callable[[], bytes]) -> None:
        self._new_token = new_token
        self._tokens: dict[int, tuple[ref[Any], bytes]] = {}
        self._held: OrderedDict[int, tuple[object, bytes]] = OrderedDict()

    def of(self, value: Any) -> bytes:
        """Return the token of an object; equal objects do not share one."""
        key = id(value)
        known = self._tokens.get(key) or self._held.get(key)
        if known is not None:
            return known[1]
        token = self._new_token()
        try:
            self._tokens[key] = (ref(value, lambda _: self._tokens.pop(key, None)), token)
        except TypeError:
            # Nothing tells when it is gone: it is kept, so that no other takes its place in memory.
            self._held[key] = (value, token)
            if len(self._held) > MAX_HELD:
                self._held.popitem(last=False)
        return token


class Opaque:
    """Tells objects that cannot be read from those that were met in their places first.

    Args:
        tokens: names the later ones.
    """

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._first: dict[int, object] = {}

    def told(self, place: int, value: object) -> bytes:
        """Return a token of an object, or nothing of the first one in a place."""
        return b"" if self._first.setdefault(place, value) is value else self._tokens.of(value)
