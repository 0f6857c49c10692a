"""Turns: work that one caller at a time does and that nobody waits for."""

from __future__ import annotations

from collections.abc import Callable, Iterator


class _Body:
    """A generator that does the work each time it is resumed, and its successor, if it has ended."""

    __slots__ = ("resume", "successor")

    def __init__(self, work: Callable[[], object]) -> None:
        self.resume = _repeat(work).__next__
        self.successor: dict[str, _Body] = {}


class Turns:
    """Does some work unless it is being done already, by another thread or further down in the same one.

    A lock that is tried would do, were it not that Ctrl-C may strike between its acquisition and the ``try`` that
    releases it. Nobody can enter a generator that is running, and an exception ends it wherever it strikes.

    Args:
        work: what to do; it raises no `Exception`.
    """

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._body = _Body(work)

    def take(self) -> bool:
        """Do the work; return False, without having waited, if it is being done."""
        body = self._body
        while True:
            try:
                body.resume()
            except ValueError:  # it is running
                return False
            except StopIteration:  # an exception has ended it, and several callers may find that out
                body = self._body = body.successor.setdefault("body", _Body(self._work))
            else:
                return True


def _repeat(work: Callable[[], object]) -> Iterator[None]:
    while True:
        work()
        yield
