"""Signal handlers: the exceptions that they raise in the midst of something else."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from traceback import walk_tb
from types import CodeType
from typing import Any

_OURS = str(Path(__file__).parents[1])


def interruption_behind(error: BaseException) -> BaseException | None:
    """Return the exception of a signal handler, such as a deadline's, that an exception is or was made of.

    Python runs handlers between any two instructions of the main thread, so that what they raise seems to come from
    the code that is interrupted. The frames that an exception came through tell.
    """
    if threading.current_thread() is not threading.main_thread():
        return None
    came_through = [(each, codes) for each in _chain(error) if (codes := _codes_of_others(each))]
    if came_through:
        handlers = set(_handlers())
        for each, codes in came_through:
            if not codes.isdisjoint(handlers):
                return each
    return None


def _codes_of_others(error: BaseException) -> set[CodeType]:
    """Return the code outside this package that an exception came through: most trouble here is of our own making."""
    codes = {frame.f_code for frame, _ in walk_tb(error.__traceback__)}
    return {code for code in codes if not code.co_filename.startswith(_OURS)}


def let_through(error: BaseException) -> None:
    """Do nothing, unless an exception is or was made of a signal handler's, which is nobody's trouble but the caller's.

    Args:
        error: what is about to be taken for trouble.

    Raises:
        BaseException: the handler's exception.
    """
    interruption = interruption_behind(error)
    if interruption is not None:
        raise interruption from None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    while error is not None and not any(error is each for each in seen):
        seen.append(error)
        error = error.__cause__ or error.__context__
    return iter(seen)


def _handlers() -> Iterator[CodeType]:
    for number in signal.valid_signals():
        handler: Any = signal.getsignal(number)
        if not callable(handler):
            continue
        while isinstance(handler, partial):
            handler = handler.func
        called: Any = type(handler).__call__
        yield from (
            each.__code__ for each in (getattr(handler, "__func__", handler), called) if hasattr(each, "__code__")
        )
