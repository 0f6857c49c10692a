"""Which threads wait for which, as their stacks tell: Python itself keeps no account of it."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent import futures
from concurrent.futures.thread import _WorkItem
from traceback import walk_stack
from types import CodeType, FrameType

_Frames = Mapping[int, FrameType]

_WAITS: Mapping[CodeType, str] = {
    futures.Future.result.__code__: "self",
    futures.Future.exception.__code__: "self",
    futures.wait.__code__: "fs",
    futures.as_completed.__code__: "fs",
    threading.Thread.join.__code__: "self",
}
"""What waits for futures or for a thread, and the variable that holds them."""

_RUNS: CodeType = _WorkItem.run.__code__
"""The method of a pool's thread that runs a task."""


_COLLECTS_MEANWHILE = sys.version_info < (3, 12)
"""Whether Python may collect garbage while it looks at the frames. A finalizer that lets another thread run, which
starts a thread or ends, then has all of them wait for each other for ever (python/cpython#106883)."""


def is_waited_for(by: int) -> bool:
    """Return whether a thread waits for the running one, to end or to do a task of a pool, maybe through others.

    A thread that waits for a queue, an event or a lock is not known to wait for anybody.

    Args:
        by: the identifier of the thread.
    """
    frames, waiting, seen = _current_frames(), [by], set[int]()
    try:
        while waiting:
            thread = waiting.pop()
            if thread == threading.get_ident():
                return True
            if thread not in seen:
                seen.add(thread)
                waiting += _runners(frames, list(_waited_for(frames, thread)))
        return False
    finally:
        # This very frame is among them, and would keep itself alive, and its callers.
        frames.clear()


def _current_frames() -> dict[int, FrameType]:
    if not _COLLECTS_MEANWHILE:
        return sys._current_frames()
    collects = gc.isenabled()
    try:
        gc.disable()
        return sys._current_frames()
    finally:
        if collects:
            gc.enable()


def _waited_for(frames: _Frames, thread: int) -> Iterator[object]:
    if thread in frames:
        for frame, _ in walk_stack(frames[thread]):
            if frame.f_code in _WAITS:
                found = frame.f_locals.get(_WAITS[frame.f_code])
                yield from list(found) if isinstance(found, set | list | tuple) else [found]


def _runners(frames: _Frames, objects: list[object]) -> list[int]:
    """Return the threads that are among the objects, and those that run a task among them."""
    if not objects:
        return []
    return [thread for thread in frames if any(each is it for each in _run_by(frames, thread) for it in objects)]


def _run_by(frames: _Frames, thread: int) -> Iterator[object]:
    yield threading._active.get(thread)  # type: ignore[attr-defined]  # without the lock that `enumerate` takes
    for frame, _ in walk_stack(frames[thread]):
        if frame.f_code is _RUNS:
            yield frame.f_locals["self"].future
