"""The switches of the process, and of a block of code: whether calls are cached at all, and what may be served."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

from recallm import checks
from recallm.telemetry.log import LOG
from recallm.typing import SERVES, Serve

OFF_WORDS = ("0", "false", "no", "off")
ON_WORDS = ("1", "true", "yes", "on")


class Switches:
    """The switches of the process; both are read by every call.

    Attributes:
        active: False if every call goes straight to its function.
        serve: the most that any call may be served.
    """

    __slots__ = ("active", "serve")

    def __init__(self, environ: Mapping[str, str]) -> None:
        active = _word(environ, "RECALLM_ACTIVE", (*OFF_WORDS, *ON_WORDS), "1")
        self.active = active not in OFF_WORDS
        self.serve: Serve = _word(environ, "RECALLM_SERVE", SERVES, "all")  # type: ignore[assignment]  # one of these


def _word(environ: Mapping[str, str], name: str, allowed: tuple[str, ...], default: str) -> str:
    """Return what an environment variable says; what is not allowed is told, and counts as the default."""
    given = environ.get(name, "").strip().lower() or default
    if given in allowed:
        return given
    LOG.warn((name,), f"{name}={environ[name]!r} is not known and does nothing; use one of {', '.join(allowed)}")
    return default


PROCESS = Switches(os.environ)

_inactive: ContextVar[bool] = ContextVar("recallm_inactive", default=False)


def set_active(active: bool) -> None:
    """Switch the caches of this process on or off, from the next call on.

    While they are off every call goes straight to its function: nothing is looked up, stored, embedded or counted,
    and no context is needed. `explain` says ``"inactive"``, `refresh` calls the function and stores nothing, and what
    removes answers works as ever. ``RECALLM_ACTIVE=0`` (or ``false``, ``no``, ``off``) in the environment has a process
    begin so; it is read once, when the first function is cached or a switch is first used.

    Args:
        active: False to switch the caches off.

    Raises:
        InvalidTypeError: `active` is neither True nor False.
    """
    PROCESS.active = checks.flag(active, "active")


def is_active() -> bool:
    """Return whether a call that is made here would use its cache."""
    return PROCESS.active and not _inactive.get()


@contextmanager
def inactive() -> Iterator[None]:
    """Have each call that is made in a ``with`` block go straight to its function, as `set_active` describes.

    It counts for this thread or task alone, and for the tasks and `asyncio.to_thread` that are started in the block;
    not for other threads, also those that the block starts. While a generator waits at a ``yield`` inside the block, it
    counts for the code that iterates it, too.

    >>> with inactive():
    ...     is_active()
    False
    """
    before = _inactive.get()
    _inactive.set(True)
    try:
        yield
    finally:
        # Not by a token: a generator may be closed in another context, where that would raise.
        _inactive.set(before)


def set_serve(serve: Serve) -> None:
    """Set what the caches of this process may serve at the most, from the next call on.

    It caps what functions and calls ask for by ``serve=`` and ``cache_serve=``, and never widens it. ``RECALLM_SERVE``
    in the environment has a process begin with it, read as ``RECALLM_ACTIVE`` is (see `set_active`).

    Args:
        serve: ``"all"``; ``"exact"``, only the very same prompt's answer; ``"none"``: answers are looked up, and what
            would have been served is counted, but every call calls its function.

    Raises:
        InvalidValueError: `serve` is something else.
    """
    PROCESS.serve = checks.choice(serve, "serve", SERVES)


def allowed(own: Serve, at_call: Serve | Literal["refresh"] | None) -> Serve | Literal["refresh"]:
    """Return what a call may be served, if it is to be served at all.

    Args:
        own: what its function says.
        at_call: what the call itself says, which takes precedence; None: nothing.
    """
    wanted: Serve | Literal["refresh"] = own if at_call is None else at_call
    cap = PROCESS.serve
    if cap == "all" or wanted == "refresh":
        return wanted
    return max(wanted, cap, key=SERVES.index)
