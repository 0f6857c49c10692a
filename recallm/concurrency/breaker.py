"""Circuit breaker: decides when to skip a part that keeps failing, and when to try it again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from recallm.concurrency.forking import ForkSafeLock, reset_after_fork
from recallm.errors import CircuitOpenError, CorruptPayloadError, OddVectorError

State: TypeAlias = Literal["closed", "open", "probing"]

TROUBLES = 3
"""How many failures in a row open the circuit; one failure that took its whole time limit opens it alone."""

FIRST_PAUSE = 1.0
"""Seconds from opening to the first probe; each probe that fails doubles the pause."""

LONGEST_PAUSE = 60.0
"""Seconds beyond which the pause does not grow."""


@dataclass(frozen=True, slots=True)
class Circuit:
    """The state of one part, as a value: operations begin while it is closed, none while open, one while probing.

    Source: the circuit breaker of Nygard, "Release It!" (2007), with a pause that doubles.

    Attributes:
        state: closed, open or probing.
        troubles: how many operations in a row have failed.
        pause: seconds from opening to the next probe.
        opened_at: when it opened, in seconds of the clock that `admitting` and `after_trouble` are given.
    """

    state: State = "closed"
    troubles: int = 0
    pause: float = FIRST_PAUSE
    opened_at: float = 0.0

    def admitting(self, now: float) -> Circuit | None:
        """Return the circuit with one more operation under way, or None if it must not begin.

        >>> Circuit("open", pause=1.0, opened_at=5.0).admitting(5.5) is None
        True
        >>> Circuit("open", pause=1.0, opened_at=5.0).admitting(6.0).state
        'probing'
        """
        if self.state == "closed":
            return self
        # A clock that went back must not keep it open for longer than the pause.
        waited = not self.opened_at <= now < self.opened_at + self.pause
        return replace(self, state="probing") if self.state == "open" and waited else None

    def after_success(self) -> Circuit:
        """Return the circuit after an operation that succeeded."""
        return Circuit()

    def after_trouble(self, now: float, *, slow: bool) -> Circuit:
        """Return the circuit after an operation that failed.

        Args:
            now: seconds of the clock that `admitting` is given.
            slow: whether it took its whole time limit, as the next one would too.
        """
        troubles = self.troubles + 1
        if self.state == "probing":
            return Circuit("open", troubles, min(2 * self.pause, LONGEST_PAUSE), now)
        if self.state == "closed" and (slow or troubles >= TROUBLES):
            return Circuit("open", troubles, FIRST_PAUSE, now)
        return replace(self, troubles=troubles)

    def after_neither(self) -> Circuit:
        """Return the circuit after an operation that was interrupted; after a probe, the next one may probe at once."""
        return replace(self, state="open", opened_at=-LONGEST_PAUSE) if self.state == "probing" else self


class Breaker:
    """The circuit of one part with a clock and a lock, shared by all who use the part.

    Args:
        part: its name, for messages.
        clock: seconds that never go back.
        changed: called with the part and its state when it opens or closes.
    """

    def __init__(self, part: str, *, clock: Callable[[], float], changed: Callable[[str, State], object]) -> None:
        self.part = part
        self._clock = clock
        self._changed = changed
        self._lock = ForkSafeLock()
        self._circuit = Circuit()
        reset_after_fork(self)

    def after_fork(self) -> None:
        """Let the child probe: a probe that is under way belongs to the parent."""
        self._circuit = self._circuit.after_neither()

    @property
    def state(self) -> State:
        """The state of the circuit: closed, open or probing."""
        return self._circuit.state

    def admit(self) -> None:
        """Let one operation begin; the caller must report its end to `record`.

        Raises:
            CircuitOpenError: the part is skipped for now.
        """
        if self._circuit.state == "closed":
            return
        with self._lock:
            admitting = self._circuit.admitting(self._clock())
            if admitting is None:
                raise CircuitOpenError(f"the {self.part} kept failing and is left alone for up to a minute")
            self._circuit = admitting

    def record(self, error: BaseException | None, *, late: bool = False) -> None:
        """Record how an operation that was admitted has ended.

        Args:
            error: the exception that it raised; None: it succeeded.
            late: whether its time limit ran out.
        """
        if error is None and self._circuit == Circuit():
            return
        with self._lock:
            before = self._circuit.state
            # A reply that is doubted is still a reply: the part works.
            if error is None or isinstance(error, OddVectorError | CorruptPayloadError):
                self._circuit = self._circuit.after_success()
            elif isinstance(error, Exception):
                self._circuit = self._circuit.after_trouble(self._clock(), slow=late)
            else:
                self._circuit = self._circuit.after_neither()
            state = self._circuit.state
        if (state == "closed") != (before == "closed"):
            self._changed(self.part, state)
