"""One-time warnings to the author of a function whose calls cannot be cached, or always miss."""

from __future__ import annotations

import re
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from operator import ne
from traceback import walk_tb

from recallm.concurrency.signals import let_through
from recallm.errors import RecallmWarning, UnstorableResponseError
from recallm.records import Bypass, Event, Failure, Miss
from recallm.telemetry.log import LOG

UNIQUE_MISSES = 100
"""How many misses in a row must have a value of their own in one place before it is warned about; fewer may be the
first calls of as many users."""

CHANGED_READS = 8
"""How many misses in a row must each find something else than the one before in what the function reads, which is not
the calls' own and seldom changes."""

MAX_NAMES = 200
"""How many places are watched: a context may have a key of its own in each call."""

MAX_TOPICS = 100
"""How many causes are warned about: a call may have any number of names that the function does not take."""

KNOWN_CALLS = 64
"""How many of the latest misses an explanation compares a call with."""

MAX_SHOWN = 8
"""How many names a warning shows; if there are more, those of the variables that they lie in."""

CHANGING = "changing"
"""The topic of what the function reads and what changes as it runs."""

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
        self._given: dict[str, object] = {}
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
                        f"calls of {self._path} are not cached: {_raiser(error)} raised {type(error).__name__} while "
                        f"the call was read; see {_EXPLAIN}",
                    )
                case Failure("skip_if" | "price" | "ttl" as option, error):
                    self.once(option, f"{option}= of {self._path} {_FAILED[option].format(type(error).__name__)}")
                case Failure("codec", UnstorableResponseError() as error):
                    self.once("codec", f"{self._path} returned what cannot be stored: {error}")
                case Miss("changed"):
                    self.once(
                        "changed",
                        f"what an answer of {self._path} depends on changed while the call waited, so the answer was "
                        "not stored; pass copies of what others change meanwhile",
                    )
                    self._watch(describe())
                case Miss("unknown_type", detail=path):
                    self.once("unknown_type", _unknown_type(self._path, path or ""))
                case Miss():
                    self._watch(describe())
        except Exception as error:  # noqa: BLE001  # advice must not decide over the call
            let_through(error)
            LOG.trouble(self._path, Failure("advice", error))

    def on_hit(self) -> None:
        """Learn that not every call is a miss: whatever differs does not keep all of them apart."""
        if self._recent:
            self._recent = {}

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
        if (
            topic in self._given
            or len(self._given) >= MAX_TOPICS
            or self._given.setdefault(topic, own := object()) is not own
        ):
            return
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
            LOG.warn((self._path, topic), message, cache=self._path, stage="advice")

    def _on_bypass(self, reason: str, detail: str | None, remedy: str) -> None:
        why = _LASTING.get(reason)
        if why is None:
            return
        if reason == "identity":
            self._missing += 1
            if self._missing <= _PASSING:
                return
        detail = None if detail is None else _public(detail)
        about = "" if detail is None else f": {detail}"
        if reason == "unfingerprintable" and detail is not None:
            why = f"as {detail.partition(' (')[0].partition(':')[0]!r} {why}"
        self.once(f"{reason} {detail}", f"calls of {self._path} are not cached, {why}{about}{remedy and '; ' + remedy}")

    def _watch(self, call: Described) -> None:
        """Remember a miss, and warn of a part that was never the same in the latest of them."""
        self._calls.append(call)
        changing: dict[str, bool] = {}
        for name, part in call.items():
            if name not in self._recent and len(self._recent) >= MAX_NAMES:
                continue
            is_read = name.endswith(READ)
            recent = self._recent.setdefault(name, deque(maxlen=CHANGED_READS if is_read else UNIQUE_MISSES))
            recent.append(part)
            latest = [*recent]
            is_long = len(latest) == recent.maxlen
            if is_read and all(map(ne, latest, latest[1:])):
                changing[name.removesuffix(READ)] = is_long
            elif is_long and not is_read and len({*latest}) == UNIQUE_MISSES:
                self._tell_unique(name)
        if any(changing.values()):
            # With what lies in them, which is read by name only once the whole is known to change.
            self._tell_changing([*changing])

    def _tell_unique(self, name: str) -> None:
        if name == "the function" and CHANGING in self._given:
            return
        shown = _public(name).removeprefix("context['").removesuffix("']")
        self.once(
            f"unique {name}",
            f"`{shown}` was unique in {UNIQUE_MISSES} of {UNIQUE_MISSES} calls of {self._path}: it makes every call a "
            f"miss; {_UNIQUE.get(name, _LEAVE_OUT)}",
        )

    def _tell_changing(self, names: Sequence[str]) -> None:
        """Warn of what the function reads and what changes as it runs, such as an object that counts its calls."""
        # What its methods read by way of `self` differs as the object does.
        outer = [name for name in names if name.partition(".")[0] != "self"] or names
        inner = [name for name in outer if not any(other.startswith(f"{name}.") for other in outer)]
        found = inner if len(inner) <= MAX_SHOWN else [*dict.fromkeys(name.partition(".")[0] for name in inner)]
        ignored = ", ".join(map(repr, found)) + ("," if len(found) == 1 else "")
        self.once(
            CHANGING,
            f"what {self._path} reads differs at each call: {', '.join(found)}; it makes every call a miss. If it only "
            f"keeps count of calls, or the like, pass ignore=({ignored}), and in context= whatever else the answer "
            "depends on there, such as a model's name",
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


def _raiser(error: Exception) -> str:
    """Return what of the user's raised an exception, and where, as far as that is known."""
    for frame, line in walk_tb(error.__traceback__):
        if frame.f_globals.get("__name__", "").partition(".")[0] != __name__.partition(".")[0]:
            return f"{frame.f_code.co_name} ({frame.f_code.co_filename}:{line})"
    return "a callable of yours, or an argument,"


def _public(detail: str) -> str:
    """Return a detail without keys and names that are no identifiers, as they may be anybody's words."""
    return _WORDS.sub("...", detail)


_NAMED = r"'[A-Za-z_]\w{0,39}'"

_WORDS = re.compile(
    rf"(?<=\[)(?!\d+\]|{_NAMED}\]).*(?=\])|(?<=argument )(?!{_NAMED}$).*",
    re.DOTALL,
)
"""What may be anybody's words: within brackets, or after Python's words for an argument that is not taken."""

_EXPLAIN = ".explain(...).detail"

_LEAVE_OUT = "leave it out, or name it in ignore=, if the answer does not depend on it"

_UNIQUE = {
    "the function": "what it reads changes all the time; see .explain(...).differs, and pass ignore= or version=",
    "self": "name those of its attributes in ignore= that change as it runs, such as ignore=('self.client',)",
    "messages[0]": "keep clocks and ids out of the system prompt",
}

_FAILED = {
    "skip_if": "raised {}, so the call was not cached: it may be private; return a bool for any arguments",
    "price": "raised {}, or returned no amount of money, so the answer's cost is not known; return a number",
    "ttl": "raised {}, or returned no time to live, so the answer was not stored; return seconds, a text or None",
}
"""What came of an option's callable that failed, by the option."""

_LASTING = {
    "unfingerprintable": "holds something that cannot be fingerprinted",
    "no_prompt": "as no prompt was found in them",
    "arguments": "as the function does not take their arguments",
    "stream": "as their answers are streams",
    "awaitable": "as the function returns an awaitable",
    "generator": "as the function generates its answer",
    "event_loop": "as neither asyncio nor trio runs them",
    "identity": "as the function imports a module when it runs that nobody has imported yet; import it at the top",
}
"""Why each call of a function may be one that is never cached."""
