"""Tokens: what stands, within one process, for objects that cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from weakref import ref

from recallm.keying.attached import Attached


class Tokens:
    """Gives objects that pass for functions, such as mocks, random bytes in place of a form, while they live.

    Args:
        new_token: returns random bytes.
    """

    def __init__(self, new_token: Callable[[], bytes]) -> None:
        self._new_token = new_token
        self._tokens: Attached[bytes] = Attached()

    def of(self, value: object) -> bytes:
        """Return the token of an object; equal objects do not share one.

        An object without weak references gets another token each time: nothing tells when it is gone, and to keep it
        alive would keep alive whatever it holds.
        """
        known = self._tokens.get(value)
        if known is not None:
            return known
        token = self._new_token()
        try:
            return self._tokens.keep(value, token)
        except TypeError:
            return token


class Opaque:
    """Tells objects that cannot be read from those that were met in their places first.

    The first ones are told by nothing, so that another process may share the answers. No later one is kept alive that
    is not in its place any more, nor a first one that takes weak references.

    Args:
        tokens: names the later ones.
    """

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._first: dict[int, Callable[[], object]] = {}
        self._later: dict[int, tuple[object, bytes]] = {}

    def told(self, place: int, value: object) -> bytes:
        """Return a token of an object, or nothing of the first one in a place."""
        weak = _weakly(value)
        first = self._first.setdefault(place, weak or (lambda: value))
        if first() is value or weak is not None:
            self._later.pop(place, None)
            return b"" if first() is value else self._tokens.of(value)
        later = self._later.get(place)
        if later is None or later[0] is not value:
            later = self._later[place] = value, self._tokens.of(value)
        return later[1]


def _weakly(value: object) -> Callable[[], object] | None:
    """Return a weak reference to an object, or None if it takes none."""
    try:
        return ref(value)
    except TypeError:
        return None
