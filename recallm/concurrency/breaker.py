"""Circuit breaker: decides when to skip a part that keeps failing, and when to try it again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from recallm.concurrency.forking import reset_after_fork
from recallm.errors import CircuitOpenError, CorruptPayloadError, InvalidValueError, OddVectorError

State: TypeAlias = Literal["closed", "open", "probing"]

TROUBLES = 3
"""How many failures in a row open the circuit; one failure that took its whole time limit opens it alone."""

FIRST_PAUSE = 1.0
"""Seconds from opening to the first probe; each probe that fails doubles the pause."""

LONGEST_PAUSE = 60.0
"""Seconds beyond which the pause does not grow."""

PROBE_SECONDS = 10.0
"""Seconds after which a probe whose end nobody reported is taken for lost; a time limit is shorter."""


@dataclass(frozen=True, slots=True)
class Circuit:
    """The state of one part, as a value: operations begin while it is closed, none while open, one while probing.

    Source: the circuit breaker of Nygard, "Release It!" (2007), with a pause that doubles.

    Attributes:
        state: closed, open or probing.
        troubles: how many operations in a row have failed.
        pause: seconds from opening to the next probe.
        since: when it opened, or began to probe, in seconds of the clock that `admitting` is given.
    """

    state: State = "closed"
    troubles: int = 0
    pause: float = FIRST_PAUSE
    since: float = 0.0

    def admitting(self, now: float) -> Circuit | None:
        """Return the circuit with one more operation under way, or None if it must not begin.

        >>> Circuit("open", pause=1.0, since=5.0).admitting(5.5) is None
        True
        >>> Circuit("open", pause=1.0, since=5.0).admitting(6.0).state
        'probing'
        """
        if self.state == "closed":
            return self
        pause = self.pause if self.state == "open" else PROBE_SECONDS
        # A clock that went back must not keep it open for longer than the pause.
        waited = not self.since <= now < self.since + pause
        return replace(self, state="probing", since=now) if waited else None

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
        return replace(self, state="open", since=-LONGEST_PAUSE) if self.state == "probing" else self


class Breaker:
    """The circuit of one part with a clock, shared by all who use the part.

    There is no lock, as a signal handler or a finalizer that calls a cached function may run anywhere in here. Of two
    reports at the same moment one may be lost, and two calls may probe.

    Args:
        part: its name, for messages.
        clock: seconds that never go back.
        changed: called with the part and its state when it opens or closes.
    """

    def __init__(self, part: str, *, clock: Callable[[], float], changed: Callable[[str, State], object]) -> None:
        self.part = part
        self._clock = clock
        self._changed = changed
        self._circuit = Circuit()
        reset_after_fork(self)

    def after_fork(self) -> None:
        """Let the child probe: a probe that is under way belongs to the parent."""
        self.interrupted()

    @property
    def state(self) -> State:
        """The state of the circuit: closed, open or probing."""
        return self._circuit.state

    def admit(self) -> None:
        """Let one operation begin; the caller must tell its end to `record`, or to `interrupted`.

        Raises:
            CircuitOpenError: the part is skipped for now.
        """
        circuit = self._circuit
        if circuit.state == "closed":
            return
        admitting = circuit.admitting(self._clock())
        if admitting is None:
            raise CircuitOpenError(f"the {self.part} kept failing and is left alone for up to a minute")
        self._circuit = admitting

    def record(self, error: Exception | None, *, late: bool = False) -> None:
        """Record how an operation that was admitted has ended.

        Args:
            error: the exception that it raised; None: it succeeded. One that says that a circuit is open, or that what
                it was given is not allowed, such as an answer that is too large, tells nothing: it was not tried.
            late: whether its time limit ran out.
        """
        before = self._circuit
        if (error is None and before == _SOUND) or isinstance(error, CircuitOpenError):
            return
        if isinstance(error, InvalidValueError):
            self.interrupted()
            return
        # A reply that is doubted is still a reply: the part works.
        if error is None or isinstance(error, OddVectorError | CorruptPayloadError):
            self._circuit = after = before.after_success()
        else:
            self._circuit = after = before.after_trouble(self._clock(), slow=late)
        if (after.state == "closed") != (before.state == "closed"):
            self._changed(self.part, after.state)

    def interrupted(self) -> None:
        """Record that nobody waited for the end of an operation that was admitted."""
        self._circuit = self._circuit.after_neither()


@dataclass(frozen=True, slots=True)
class Unhurried:
    """A breaker as an operation reports to it that asks for more than others do: that it is late tells nothing of them.

    Attributes:
        breaker: the breaker that admitted it.
    """

    breaker: Breaker

    def record(self, error: Exception | None, *, late: bool = False) -> None:
        """Record how the operation has ended. Arguments as `Breaker.record`."""
        if late:
            self.breaker.interrupted()
        else:
            self.breaker.record(error)

    def interrupted(self) -> None:
        """Record that nobody waited for its end."""
        self.breaker.interrupted()


_SOUND = Circuit()
