"""The time of a file: it never goes back, whatever happens to the clock of the machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

MAX_MS = 1 << 52
"""The latest time, in ms, that a file may say: some 140,000 years from now."""


class Anchor(NamedTuple):
    """What two clocks showed at the same moment, in ms: that of the wall, and one that counts from the machine's start.

    Every put writes one into the file, so that no entry was stored later than the file's time.
    """

    wall_ms: int
    steady_ms: int


def _steady_seconds() -> float:
    # It counts the time that a machine sleeps, too.
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class FileClock:
    """Tells the time of a file from its anchor.

    It is the wall clock's, or that of the anchor and the time that has passed since, whichever is later. So a clock
    that is set back neither lengthens the life of an entry nor brings one back. After a restart of the machine less
    time may seem to have passed since the anchor, never more; then the wall clock tells.

    Args:
        wall: seconds since 1970.
        steady: seconds since some moment, the same for all processes until the machine starts anew.
    """

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = _steady_seconds) -> None:
        self._wall = wall
        self._steady = steady

    def now(self, anchor: Anchor) -> Anchor:
        """Return the time of a file as an anchor that may take the place of its own."""
        wall_ms, steady_ms = round(self._wall() * 1000), round(self._steady() * 1000)
        passed_ms = max(0, steady_ms - anchor.steady_ms)
        return Anchor(min(MAX_MS, max(wall_ms, anchor.wall_ms + passed_ms)), steady_ms)
