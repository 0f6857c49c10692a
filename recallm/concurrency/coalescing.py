"""Single flight: concurrent calls with one key wait for the first to compute the answer.

There is no lock: a signal handler or a finalizer that calls a cached function may run anywhere in here.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from concurrent.futures import Future
from contextvars import ContextVar
from functools import partial
from math import inf
from time import perf_counter
from typing import Literal, TypeAlias
from weakref import ref

from recallm.concurrency.forking import reset_after_fork
from recallm.concurrency.waiting import is_waited_for
from recallm.concurrency.workers import Result, follower

Role: TypeAlias = Literal["first", "leading", "stored", "waited", "alone"]
"""The role of a call among the calls that want the same answer.

``first``: compute the answer for everybody; no other call has computed it since this one began. ``leading``: the same,
but another call may just have stored it: look it up before. ``stored``: the call that led has stored it: look it up,
and compute it without sharing it if it is gone, as the next one may be gone as soon. ``waited``: the call that led was
cancelled or lost: look the answer up, and join again if it is not there. ``alone``: compute it without sharing it (the
call that led has got no answer that can be shared, waiting would never end, or it is sync code on an event loop).
"""

_ENDS = 1024
"""How many times of ends are kept, by the hashes of keys: two keys that share one at worst cause a needless look."""


class Leadership:
    """One call's claim to compute an answer; whoever makes it holds it, and gives it back to `SingleFlight.leave`.

    If it is lost without that, as when an interrupt arrives just before, the waiting calls go on all the same.

    Args:
        key: names the answer.

    Attributes:
        key: names the answer.
        lesson: the role that waiting calls have when this one is done.
        leader: stands for the leadership that the call waits for, if it does not lead.
        waits_for: what stands for the leaderships that this one waits for: the calls in it may wait for several.
        thread: the thread that the call runs in.
        reference: stands for it where it must not be kept alive.
    """

    __slots__ = ("__weakref__", "_ended", "_if_lost", "key", "leader", "lesson", "reference", "thread", "waits_for")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.lesson: Role = "waited"
        self.leader: ref[Leadership] | None = None
        self.waits_for: list[ref[Leadership]] = []
        self.thread = threading.get_ident()
        # Empty, until the first call that waits puts a future here, or the leadership ends and puts the lesson.
        self._ended: dict[Literal["by"], Future[Role] | Role] = {}
        self.reference = ref(self)
        self._if_lost: ref[Leadership] | None = ref(self, partial(_end, self._ended, "waited"))

    @property
    def done(self) -> Future[Role]:
        """The future of `lesson`, which calls that wait follow."""
        future: Future[Role] = Result()
        ended = self._ended.setdefault("by", future)
        if isinstance(ended, Future):
            return ended
        future.set_result(ended)
        return future

    def end(self) -> None:
        """Let the calls that wait go on."""
        _end(self._ended, self.lesson)
        self.withdraw()

    def withdraw(self) -> None:
        """Have nothing done when the claim is collected: nobody waits."""
        self._if_lost = None

    def waits_in_vain(self) -> bool:
        """Return whether the thread that computes the answer waits for this one, as for a task of its own pool."""
        leader = None if self.leader is None else self.leader()
        return leader is not None and leader.thread != self.thread and is_waited_for(leader.thread)

    def after_fork(self) -> None:
        """Forget the calls that wait, whose threads are not in the child."""
        self._ended.clear()


def _end(ended: dict[Literal["by"], Future[Role] | Role], lesson: Role, _lost: object = None) -> None:
    waited_for = ended.setdefault("by", lesson)
    if isinstance(waited_for, Future) and not waited_for.done():
        waited_for.set_result(lesson)


_held: ContextVar[tuple[ref[Leadership], ...]] = ContextVar("recallm_leading", default=())
"""The leaderships of the running thread or task: those of the calls that it is inside of."""


def _leaderships() -> list[Leadership]:
    return [leadership for each in _held.get() if (leadership := each()) is not None]


class SingleFlight:
    """The answers being computed, by key. Threads and tasks have an instance each, so neither waits for the other.

    Args:
        of_threads: whether to wait keeps a thread from doing anything else. Green threads may be one thread to Python,
            which then waits for itself.
    """

    def __init__(self, *, of_threads: bool) -> None:
        self._of_threads = of_threads
        self._under_way: dict[Hashable, ref[Leadership]] = {}
        self._ends = [-inf] * _ENDS
        reset_after_fork(self)

    def after_fork(self) -> None:
        """Forget all leaders and who waits for them: their threads are not in the child."""
        left_behind, self._under_way = self._under_way, {}
        for reference in left_behind.values():
            leadership = reference()
            if leadership is not None:
                leadership.after_fork()

    def join(self, claim: Leadership) -> Future[Role] | Role:
        """Lead the claim's key if no other call leads it.

        Returns:
            ``"leading"`` if the claim is the first; else a future of the role that this call has once the leader is
            done, which it may cancel, and after which it must `stop_waiting`; or ``"alone"`` if the leader waits,
            directly or through others, for a call that this one is inside of, or could not run while it waits.
        """
        held = _leaderships()
        leader = self._leader(claim)
        if leader is claim:
            _held.set((*(each.reference for each in held), claim.reference))
            return "leading"
        claim.leader = leader.reference
        claim.withdraw()
        if self._of_threads and leader.thread == claim.thread:
            return "alone"
        # First say so, then look: of two calls that come to wait for each other at once, one sees it.
        for leadership in held:
            leadership.waits_for.append(leader.reference)
        if _waits_for_one_of(leader, held):
            self.stop_waiting(claim)
            return "alone"
        return follower(leader.done)

    def stop_waiting(self, claim: Leadership) -> None:
        """Say that the running call, whose claim this is, no longer waits."""
        for leadership in _leaderships():
            if claim.leader in leadership.waits_for:
                leadership.waits_for.remove(claim.leader)

    def leave(self, leadership: Leadership) -> None:
        """End a leadership: the calls that wait take the role that it says. Does nothing the second time."""
        # Before another call can lead, which then asks.
        self._ends[hash(leadership.key) % _ENDS] = perf_counter()
        if self._under_way.get(leadership.key) is leadership.reference:
            self._under_way.pop(leadership.key, None)
        held = _held.get()
        if held == (leadership.reference,):
            _held.set(())
        elif held:
            _held.set(tuple(each.reference for each in _leaderships() if each is not leadership))
        leadership.end()

    def has_ended(self, key: Hashable, since: float) -> bool:
        """Return whether a leadership of a key may have ended since a time of `time.perf_counter`."""
        return self._ends[hash(key) % _ENDS] >= since

    def _leader(self, claim: Leadership) -> Leadership:
        """Return who leads the claim's key, which may be the claim itself from now on."""
        while True:
            reference = self._under_way.setdefault(claim.key, claim.reference)
            leader = reference()
            if leader is not None:
                return leader
            # It was lost; whoever claims the key meanwhile at worst computes the answer beside this call.
            if self._under_way.get(claim.key) is reference:
                self._under_way.pop(claim.key, None)


def _waits_for_one_of(leader: Leadership, held: list[Leadership]) -> bool:
    seen: list[Leadership] = []
    waiting = [leader]
    while waiting:
        each = waiting.pop()
        if each in held:
            return True
        if each not in seen:
            seen.append(each)
            waiting += [found for reference in each.waits_for if (found := reference()) is not None]
    return False
