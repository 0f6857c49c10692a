"""One-time warnings to the author of a function whose calls cannot be cached, or always miss."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Mapping
from typing import Any

from recallm.errors import RecallmWarning, UnfingerprintableError, UnstorableResponseError
from recallm.keying.canonical import canonical
from recallm.keying.identity import Identity
from recallm.records import Bypass, Event, Failure, Hit, Miss
from recallm.telemetry.log import LOG

UNIQUE_MISSES = 100
"""How many misses in a row must have a context value of their own before the key is warned about; fewer may be
the first calls of as many users."""


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
        self._recent: dict[Any, deque[bytes]] = {}

    def on(self, event: Event, context: Mapping[Any, Any]) -> None:
        """Warn if an event calls for it.

        Args:
            event: an event of a call of the function.
            context: the call's cache context.
        """
        if isinstance(event, Hit):
            return
        try:
            match event:
                case Bypass("unfingerprintable", str(name)):
                    self._unfingerprintable(name)
                case Failure("codec", UnstorableResponseError() as error):
                    self.once("codec", f"{self._path} returned what cannot be stored: {error}")
                case Miss():
                    self._watch(context)
        except Exception as error:  # noqa: BLE001  # advice must not decide over the call
            LOG.trouble(self._path, Failure("advice", error))

    def on_identity(self, identity: Identity) -> None:
        """Warn if other processes cannot use what this function stores in a shared storage."""
        if identity.process_local:
            names = ", ".join(identity.process_local)
            self.once(
                "identity",
                f"{self._path} depends on {names}, which cannot be fingerprinted, so it shares its answers with "
                f"no other process; if they do not affect the answer, pass ignore={identity.process_local!r}",
            )

    def once(self, topic: str, message: str) -> None:
        """Warn, unless this topic was warned about."""
        if topic in self._given:
            return
        self._given.add(topic)
        filename, line = self._where
        try:
            warnings.warn_explicit(message, RecallmWarning, filename, line, module=self._path, registry={})
        except RecallmWarning:
            # The user turns warnings into errors, but a call must not fail for the cache's sake.
            LOG.warn((self._path, topic), message)

    def _unfingerprintable(self, name: str) -> None:
        remedy = (
            f"put texts, numbers or identifiers into the context instead of {name}"
            if name == "cache_context"
            else f"if it does not affect the answer, pass ignore=({name!r},)"
        )
        self.once(
            f"argument {name}",
            f"calls of {self._path} are not cached: its argument {name!r} holds something that cannot be "
            f"fingerprinted (a client, a lock, an open file …); {remedy}",
        )

    def _watch(self, context: Mapping[Any, Any]) -> None:
        """Warn of a context key that was never the same in the last hundred misses."""
        for key, value in context.items():
            if len(self._recent) >= UNIQUE_MISSES and key not in self._recent:
                return
            recent = self._recent.setdefault(key, deque(maxlen=UNIQUE_MISSES))
            try:
                recent.append(canonical(value)[:256])
            except UnfingerprintableError:
                continue
            if len(recent) == UNIQUE_MISSES and len(set(recent)) == UNIQUE_MISSES:
                self.once(
                    f"context {key!r}",
                    f"`{key}` was unique in {UNIQUE_MISSES} of {UNIQUE_MISSES} calls of {self._path}: "
                    "it makes every call a miss; leave it out of the context if the answer does not depend on it",
                )
