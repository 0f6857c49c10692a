"""Making something once: the first caller makes it, and those who come meanwhile wait and share the outcome."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from recallm.concurrency.forking import is_held, reset_after_fork
from recallm.errors import InvalidValueError

T = TypeVar("T")

_waiting: dict[int, Once[Any]] = {}
"""What threads wait for, by their identifiers."""


class _Attempt:
    """One caller's attempt: who makes it, and what that raised."""

    __slots__ = ("error", "maker")

    def __init__(self, maker: int) -> None:
        self.maker = maker
        self.error: Exception | None = None


class Once(Generic[T]):
    """Something that is made on first use, by foreign code that may take its time, fail or ask for other such things.

    No lock but its own is held meanwhile. What it raises goes to those who waited for it, and the next caller tries
    again. If an exception of a signal handler ends the attempt, one of those who waited makes another.

    Args:
        what: its name, for messages.
        make: makes it; not None.
    """

    def __init__(self, what: str, make: Callable[[], T]) -> None:
        self.what = what
        self.made: T | None = None
        """What has been made; None: nothing yet."""
        self._make = make
        self._attempt: _Attempt | None = None
        reset_after_fork(self)

    def after_fork(self) -> None:
        """Let the child make it, if a thread of the parent is about to."""
        lock = vars(self).get("_own_lock")
        if lock is not None and is_held(lock):
            vars(self).pop("_own_lock")

    def _lock(self) -> Any:
        # Made on first use: gevent and eventlet may give this process other locks after recallm is imported.
        return vars(self).setdefault("_own_lock", threading.RLock())

    def is_made_here(self) -> bool:
        """Return whether the caller runs within what makes it."""
        return bool(self._lock()._is_owned())

    def get(self) -> T:
        """Return it, made now if it is not made yet.

        Raises:
            InvalidValueError: what makes it asks for it, in this thread or through others.
            Exception: whatever its making raises.
        """
        if self.made is not None:
            return self.made
        me, attempt = threading.get_ident(), self._attempt
        waited_for = attempt if attempt is not None and attempt.error is None else None
        _waiting[me] = self
        try:
            if self._waits_for_us():
                raise InvalidValueError(f"{self.what} is asked for by what makes it; it cannot be made from itself")
            with self._lock():
                _waiting.pop(me, None)
                if self.made is None and waited_for is not None and waited_for.error is not None:
                    raise waited_for.error
                return self._made_by(me) if self.made is None else self.made
        finally:
            _waiting.pop(me, None)

    def _made_by(self, maker: int) -> T:
        attempt = self._attempt = _Attempt(maker)
        try:
            made = self.made = self._make()
        except Exception as error:
            attempt.error = error
            raise
        finally:
            self._attempt = None
        self._make = lambda: made  # whatever was needed to make it is needed no more
        return made

    def _waits_for_us(self) -> bool:
        """Return whether the caller makes it, or what its maker waits for, maybe through others."""
        once: Once[Any] | None = self
        seen: set[int] = set()
        while once is not None:
            if once.is_made_here():
                return True
            attempt = once._attempt
            if attempt is None or attempt.maker in seen:
                return False
            seen.add(attempt.maker)
            once = _waiting.get(attempt.maker)
        return False
