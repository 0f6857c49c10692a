"""Something that happens at points of a piece of work, as signal handlers, finalizers and Ctrl-C do.

A point is where Python may run them: where a function begins or goes on, where a loop goes round, and where a call
returns. A trace that acted at each line or instruction would also act where Python never does: at the end of a ``with``
block, say, before the lock is released.
"""

from __future__ import annotations

import dis
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count, pairwise
from types import CodeType, FrameType
from typing import Any, TypeVar

T = TypeVar("T")

PATIENCE_SECONDS = 60.0
EVERY = range(1, sys.maxsize)
"""The numbers of all points."""
NEVER = range(0)
"""The numbers of none, to count only."""

LOOKS = ("RESUME", "JUMP_BACKWARD", "CALL", "CALL_FUNCTION_EX", "CALL_KW")
"""The instructions after which Python runs what is pending; see `CHECK_EVAL_BREAKER` in its source."""

_known: dict[int, tuple[CodeType, dict[int, int]]] = {}
"""The points of code objects by their ids; they are kept, as the hash of one takes longer than a trace."""


def _points(code: CodeType) -> dict[int, int]:
    """Return the offsets of `LOOKS` and of the instructions that follow each, if both have the same exception handler.

    What is raised in looking is raised by the instruction before; if another handler is its, a trace cannot do that.
    """
    handlers: Any = dis._parse_exception_table(code)  # type: ignore[attr-defined]

    def handler(offset: int) -> object:
        return next((each.target for each in handlers if each.start <= offset < each.end), None)

    points = {}
    for look, next_one in pairwise(dis.get_instructions(code)):
        looks = look.opname in LOOKS and not (look.opname == "RESUME" and (look.arg or 0) & 3 > 1)  # after an `await`
        then = look.argval if look.opname == "JUMP_BACKWARD" else next_one.offset
        if looks and handler(look.offset) == handler(then):
            points[look.offset] = then
    return points


class Points:
    """Counts the points that work passes in certain files, and acts at some of them.

    Args:
        within: parts of the paths of the files that count.
        act: what to do there; the points of that do not count.
        at: the numbers of the points at which to act, from 1.
    """

    def __init__(self, within: tuple[str, ...], act: Callable[[], object], at: range = EVERY) -> None:
        self.passed = 0
        self.where = ""
        """At which line it acted last."""
        self._within = within
        self._act = act
        self._at = at

    def of(self, work: Callable[[], T]) -> T:
        """Do the work in this thread, and return what it returns."""
        # Kept here, as Python may still call it after a finalizer, which it runs before, has acted and ended the trace.
        before, enter = sys.gettrace(), self._enter
        sys._getframe().f_trace_opcodes = True  # Python 3.12 looks for instructions only if a frame had it before
        sys.settrace(enter)
        try:
            return work()
        finally:
            sys.settrace(before)

    def _enter(self, frame: FrameType, _event: str, _argument: object) -> Any:
        code = frame.f_code
        for part in self._within:
            if part in code.co_filename:
                break
        else:
            return None
        if id(code) not in _known:
            _known[id(code)] = code, _points(code)
        then = _known[id(code)][1].get
        last = frame.f_lasti

        def on(frame: FrameType, event: str, _argument: object) -> Any:
            nonlocal last
            if event == "opcode":
                at = frame.f_lasti
                if then(last) == at:
                    self._pass(frame)
                last = at
            return on

        # Python 3.13 heeds the second only after the first.
        frame.f_trace = on
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return on

    def _pass(self, frame: FrameType) -> None:
        self.passed += 1
        if self.passed in self._at:
            self.where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
            if self.passed + self._at.step >= self._at.stop:
                sys.settrace(None)
            self._act()


def interrupt(*_: object) -> None:
    """Do what a signal handler does on Ctrl-C."""
    raise KeyboardInterrupt


def each_point(
    begin: Callable[[], Callable[[], object]],
    within: tuple[str, ...],
    act: Callable[[Any], object] = interrupt,
    *,
    stride: int = 1,
) -> Iterator[tuple[str, Any]]:
    """Do some work again and again, and act at the first point of it, then at the second, and so on to its end.

    Args:
        begin: prepares the work, and returns it.
        within: parts of the paths of the files that count.
        act: what to do, once; called with the work.
        stride: act only at every so many-th point.

    Yields:
        The line at which it acted, and the work, which has been done or has been cut short by Ctrl-C.
    """
    for number in count(1, stride):
        work = begin()
        points = Points(within, lambda: act(work), range(number, number + 1))  # noqa: B023  # called within this turn
        with suppress(KeyboardInterrupt):
            points.of(work)
        if points.passed < number:
            return
        yield points.where, work


def in_time(function: Callable[[], object]) -> None:
    """Run a function in a thread of its own; fail if it does not end, or fails."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except BaseException as error:  # noqa: BLE001  # raised by whoever waits
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive(), "it waits for ever"
    if raised:
        raise raised[0]
