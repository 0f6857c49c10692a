"""What goes on after a call has its answer: audits, and new answers in the place of expired ones."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Any

from recallm.concurrency.backlog import Backlog, Claim, Claims
from recallm.concurrency.timeouts import begun, end_abandoned
from recallm.engine.core import Core
from recallm.engine.decision import truth
from recallm.engine.effects import Compare
from recallm.errors import CircuitOpenError, contained
from recallm.records import Audited, Compared, Event, Failure
from recallm.telemetry.recording import active_recordings

AUDITS = Backlog("recallm-audit", size=1)
"""One thread: to compare answers may take a model, and calls must not get slower for it."""

REVALIDATIONS = Backlog("recallm-revalidate", size=8)
"""The user's functions wait for networks, mostly."""

REVALIDATED = Claims()
"""The answers that are being made anew, by storage and key."""


def compare_later(effect: Compare, core: Core) -> None:
    """Have a thread compare two answers, count what comes of it, and tell the recordings that are under way then.

    Args:
        effect: asks for it.
        core: the cache.

    Raises:
        BusyError: too many wait for it.
    """
    size_bytes = len(effect.payload) + len(effect.candidate.entry.payload) + len(effect.prompt)
    AUDITS.submit(lambda: _compare(effect, core), size_bytes)


def _compare(effect: Compare, core: Core) -> None:
    entry, similarity = effect.candidate.entry, effect.candidate.similarity
    try:
        own_response = contained(effect.codec.decode, effect.payload)
        is_same = truth(contained(effect.same, effect.prompt, effect.cached_response, own_response))
    except Exception as error:  # noqa: BLE001  # a comparison that fails tells nothing
        core.recorder.record(Failure("audit", error), 0.0)
        return
    core.recorder.record(Audited(similarity, is_same), 0.0)
    for recording in active_recordings():
        recording.enqueue(Compared(effect.prompt, entry.prompt, similarity, "hit", same=is_same))
    if not is_same and effect.max_wrong is not None:
        core.stop_if_over(effect.max_wrong)


def claimed(storage: object, key: Hashable) -> Claim | None:
    """Return the claim to make an answer anew, or None if that is under way in this process."""
    place = (id(storage), key)
    claim = REVALIDATED.claim(place)
    return REVALIDATED.claim(place) if claim is None and end_abandoned() else claim


def revalidate_in_thread(perform: Callable[[], object], claim: Claim, emit: Callable[[Event], object]) -> None:
    """Have a thread make an answer anew.

    Args:
        perform: makes it.
        claim: that of `claimed`.
        emit: reports what comes of it.

    Raises:
        BusyError: too many wait for it.
    """

    def work() -> None:
        try:
            contained(perform)
        except Exception as error:  # noqa: BLE001  # nobody waits for it
            _report(error, emit)
        finally:
            REVALIDATED.end(claim)

    try:
        REVALIDATIONS.submit(work)
    except BaseException:
        REVALIDATED.end(claim)
        raise


def revalidate_in_task(perform: Callable[[], Awaitable[object]], claim: Claim, emit: Callable[[Event], object]) -> None:
    """Have a task of the running asyncio loop make an answer anew. Arguments as `revalidate_in_thread`."""

    async def work() -> Any:
        try:
            await perform()
        except Exception as error:  # noqa: BLE001  # nobody waits for it
            _report(error, emit)
        finally:
            REVALIDATED.end(claim)

    begun(work())


def _report(error: Exception, emit: Callable[[Event], object]) -> None:
    if not isinstance(error, CircuitOpenError):
        emit(Failure("revalidate", error))
