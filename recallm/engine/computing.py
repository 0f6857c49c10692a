"""What takes long to compute: in place, or in a worker if an event loop would stand still meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from recallm.concurrency.timeouts import submit
from recallm.concurrency.workers import Workers
from recallm.engine.effects import Decode, Judge
from recallm.errors import contained

CODEC_WORKERS = Workers("recallm-codec", size=2)
"""Decoding holds Python's lock most of the time: two large answers at once take as long as one after the other."""

GUARD_WORKERS = Workers("recallm-guard", size=1)
"""Guards hold Python's lock all of the time: more of them would only keep the event loop from getting it."""

DECODE_SECONDS = 2.0
"""How long an async call waits for a large answer; 8 MB of pydantic models take about a second."""

JUDGE_SECONDS = 2.0
"""How long an async call waits for what guards say of long prompts; sixteen of 8,000 characters take about 0.1 s."""


def compute(effect: Decode | Judge, *, asynchronous: bool) -> Any:
    """Perform an effect that computes.

    Args:
        effect: what to compute.
        asynchronous: whether an event loop waits.
    """
    work: Callable[[], object]
    if isinstance(effect, Judge):
        work, workers, timeout = effect.decide, GUARD_WORKERS, JUDGE_SECONDS
    else:
        work, workers, timeout = partial(effect.codec.decode, effect.payload), CODEC_WORKERS, DECODE_SECONDS
    return submit(workers, work, timeout) if asynchronous else contained(work)
