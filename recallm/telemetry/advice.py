"""One-time warnings to the author of a function whose calls cannot be cached, or always miss."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Mapping

from recallm.errors import RecallmWarning, UnstorableResponseError
from recallm.records import Bypass, Event, Failure, Miss
from recallm.telemetry.log import LOG

UNIQUE_MISSES = 100
"""How many misses in a row must have a value of their own in one place before it is warned about; fewer may be the
first calls of as many users."""

CHANGED_FUNCTIONS = 10
"""The same of what the function reads, which is not the calls' own and seldom changes."""

MAX_NAMES = 200
"""How many places are watched: a context may have a key of its own in each call."""

KNOWN_CALLS = 64
"""How many of the latest misses an explanation compares a call with."""

_PASSING = 2
"""How many calls may find a module missing that they import themselves: the first, and others beside it."""

Described = Mapping[str, int]
"""By name, a number for each part of a call that must be equal: the same for equal parts."""


class Advice:
    """Warns the author of one function, once for each cause.

    Args:
        path: ``module.qualname`` of the function.
        where: file and line of the function, shown with the warning.
    """

    def __init__(self, path: str, *, where: tuple[str, int]) -> None:
        self._path = path
        self._where = where
        self._given: set[str] = set()
        self._recent: dict[str, deque[int]] = {}
        self._calls: deque[Described] = deque(maxlen=KNOWN_CALLS)
        self._missing = 0

    def on(self, event: Event, describe: Callable[[], Described]) -> None:
        """Warn if an event calls for it.

        Args:
            event: an event of a call of the function.
            describe: describes the call.
        """
        try:
            match event:
                case Bypass(reason, detail, remedy):
                    self._on_bypass(reason, detail, remedy)
                case Failure("keying", error):
                    self.once(
                        "keying",
                        f"calls of {self._path} are not cached: a callable of yours, or an argument, raised "
                        f"{type(error).__name__} while the call was read; see {_EXPLAIN}",
                    )
                case Failure("codec", UnstorableResponseError() as error):
                    self.once("codec", f"{self._path} returned what cannot be stored: {error}")
                case Miss("changed"):
                    self.once(
                        "changed",
                        f"what an answer of {self._path} depends on changed while the call waited, so the answer was "
                        "not stored; pass copies of what others change meanwhile",
                    )
                case Miss("unknown_type", detail=path):
                    self.once("unknown_type", _unknown_type(self._path, path or ""))
                case Miss():
                    self._watch(describe())
        except Exception as error:  # noqa: BLE001  # advice must not decide over the call
            LOG.trouble(self._path, Failure("advice", error))

    def differences(self, call: Described) -> tuple[str, ...]:
        """Return the names of the parts in which a call differs from the nearest of the latest misses."""
        found = [
            tuple(name for name in {**call, **known} if call.get(name) != known.get(name)) for known in [*self._calls]
        ]
        return min(found, key=len, default=())

    def once(self, topic: str, message: str | Callable[[], str | None]) -> None:
        """Warn, unless this topic was warned about.

        Args:
            topic: what the warning is about.
            message: the warning, or what returns it, or None if there is none to give.
        """
        if topic in self._given:
            return
        self._given.add(topic)
        if callable(message):
            found = message()
            if found is None:
                return
            message = found
        filename, line = self._where
        try:
            warnings.warn_explicit(message, RecallmWarning, filename, line, module=self._path, registry={})
        except RecallmWarning:
            # The user turns warnings into errors, but a call must not fail for the cache's sake.
            LOG.warn((self._path, topic), message)

    def _on_bypass(self, reason: str, detail: str | None, remedy: str) -> None:
        why = _LASTING.get(reason)
        if why is None:
            return
        if reason == "identity":
            self._missing += 1
            if self._missing <= _PASSING:
                return
        about = "" if detail is None else f": {detail}"
        if reason == "unfingerprintable" and detail is not None:
            why = f"as {detail.partition(' (')[0].partition(':')[0]!r} {why}"
        self.once(f"{reason} {detail}", f"calls of {self._path} are not cached, {why}{about}{remedy and '; ' + remedy}")

    def _watch(self, call: Described) -> None:
        """Remember a miss, and warn of a part that was never the same in the last hundred of them."""
        self._calls.append(call)
        for name, part in call.items():
            if name not in self._recent and len(self._recent) >= MAX_NAMES:
                continue
            many = CHANGED_FUNCTIONS if name.endswith(READ) else UNIQUE_MISSES
            recent = self._recent.setdefault(name, deque(maxlen=many))
            recent.append(part)
            if len(recent) == len(set(recent)) == many:
                self._tell_unique(name, many)

    def _tell_unique(self, name: str, many: int) -> None:
        shown = name.removeprefix("context['").removesuffix("']").removesuffix(READ)
        remedy = _UNIQUE.get(name, _LEAVE_OUT)
        if name.endswith(READ):
            remedy = f"pass ignore=({shown!r},) if the answer does not depend on it, or version="
        self.once(
            f"unique {name}",
            f"`{shown}` was unique in {many} of {many} calls of {self._path}: it makes every call a miss; {remedy}",
        )


READ = " (read by the function)"
"""Follows the name of a variable in the description of a call."""


def _unknown_type(function: str, path: str) -> str:
    """Return what to do if another process has stored an answer of a class that this one does not know."""
    module, _, name = path.rpartition(".")
    remedy = f"response_type={name or '...'}" if "<locals>" not in path else "response_type=..."
    imported = f", or import {module} before the first call" if module and "<locals>" not in path else ""
    return (
        f"an answer of {function} is stored as a {path or 'class'}, which this process does not know, so the function "
        f"is called again; pass {remedy}{imported}"
    )


_EXPLAIN = ".explain(...).detail"

_LEAVE_OUT = "leave it out, or name it in ignore=, if the answer does not depend on it"

_UNIQUE = {
    "the function": "what it reads changes all the time; see .explain(...).differs, and pass ignore= or version=",
    "messages[0]": "keep clocks and ids out of the system prompt",
}

_LASTING = {
    "unfingerprintable": "holds something that cannot be fingerprinted",
    "no_prompt": "as no prompt was found in them",
    "arguments": "as the function does not take their arguments",
    "stream": "as their answers are streams",
    "awaitable": "as the function returns an awaitable",
    "generator": "as the function generates its answer",
    "identity": "as the function imports a module when it runs that nobody has imported yet; import it at the top",
}
"""Why each call of a function may be one that is never cached."""
