"""Waiting for what goes on after a call has its answer."""

from __future__ import annotations

import threading

from recallm.engine.background import AUDITS, REVALIDATED


def audits_settled() -> None:
    """Wait until every comparison that was asked for is done: one thread does them one after the other."""
    done = threading.Event()
    AUDITS.submit(done.set)
    assert done.wait(10), "the comparisons did not end"


def is_revalidating() -> bool:
    """Claim that an answer is being made anew in the background."""
    return bool(REVALIDATED._under_way)
