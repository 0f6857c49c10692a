"""Stores answers as those of a function's own calls: its keyer, its codec and its model decide, as in any call."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from recallm import checks
from recallm.cache import BoundCachedFunction, CachedFunction
from recallm.commands.exchange import NEWER, Exported, Logged
from recallm.commands.opening import named_object
from recallm.engine.callsite import CallSite, Invocation
from recallm.engine.lookup import EXACT_MODEL
from recallm.engine.reports import own
from recallm.errors import CorruptPayloadError, InvalidTypeError, InvalidValueError, a_kind
from recallm.keying.conversation import read
from recallm.keying.keyer import CALL_OPTIONS, Request
from recallm.records import Query, Turn
from recallm.registry import breaker_of

if TYPE_CHECKING:
    import argparse

    from recallm.storage.base import StorageBackend

PATIENCE_SECONDS = 60.0
"""How long an embedding, or an operation of the storage, may take: nobody's call waits here."""

MESSAGES = ("messages",)
"""Arguments whose value is a conversation, of which a prompt becomes the one message."""


class Warming:
    """Stores answers for one cached function, in a storage that need not be its own.

    Args:
        storage: where.
        options: those of the command.

    Raises:
        RecallmError: there is no such function, or an option cannot be used.
    """

    def __init__(self, storage: StorageBackend, options: argparse.Namespace) -> None:
        function = named_object(options.function, "a function")
        if not isinstance(function, CachedFunction | BoundCachedFunction):
            raise InvalidTypeError(
                f"{options.function} is {a_kind(function)}, and not cached; decorate it with @semantic_cache"
            )
        if not storage.serves_sync:
            raise InvalidTypeError(f"{storage!r} has only an async client; give its URL, or it a sync_client as well")
        self._storage = storage
        self._invocation: Callable[..., Invocation] = function._invocation
        self._site = _with_storage(function._site, storage)
        self._ledger = function._site.core.recorder.ledger  # the cache would count entries for its own statistics
        self._kwargs = _object(options.kwargs)
        self._make = None if options.make is None else named_object(options.make, "a callable")
        self._was: str | None = options.was
        self._partition: str | None = options.partition

    def store(self, row: Exported | Logged) -> str:
        """Store one answer; return "loaded", `NEWER`, or why not."""
        if isinstance(row, Logged):
            response = row.response if self._make is None else self._make(row.response)
            return self._stored(response, {**self._kwargs, **row.kwargs, **self._asking(row.prompt, row.kwargs)})
        kwargs = {**self._kwargs, **self._asking(row.entry.prompt, {})}
        if row.entry.tags and self._site.plan.tags is None:
            return "they have tags, and the function gives none; see its option tags"
        request = self._request(kwargs)
        if not self._is_proved(row, request):
            return "made with other arguments, or by another model or code; see --was and --partition"
        try:
            response = self._site.plan.codec.decode(row.entry.payload)
        except CorruptPayloadError:
            return "the response is none that this function can return"
        left = self._seconds_left(row, response)
        if left is not None and left <= 0:
            return "expired"
        if isinstance(request, Request) and self._has_newer(row, request.query(self._model_id())):
            return NEWER
        return self._stored(response, kwargs if left is None else {**kwargs, "cache_ttl": left})

    def _asking(self, prompt: str | None, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the argument that carries a prompt."""
        name = self._site.keyer.prompt
        if prompt is None:
            return {}
        if not isinstance(name, str):
            raise InvalidValueError('has a "prompt", and the function finds its own by prompt=; give all "kwargs"')
        if name in kwargs:
            raise InvalidValueError(f'has a "prompt" and {name!r} among its "kwargs"; leave one out')
        return {name: _conversation(prompt, whole=self._site.keyer.similar_history) if name in MESSAGES else prompt}

    def _request(self, kwargs: dict[str, Any]) -> object:
        """Return what a call with these arguments asks for, or why it is not cached."""
        invocation = self._invocation((), kwargs)
        options, own_kwargs = self._site.keyer.split_options(invocation.kwargs)
        return self._site.keyer.request((*invocation.owner, *invocation.args), own_kwargs, options)

    def _is_proved(self, row: Exported, request: object) -> bool:
        """Return whether an exported entry was made by a call of this function that asks for this."""
        if self._partition is not None:
            return row.entry.partition.startswith(self._partition)
        model_id = self._model_id() if self._was is None else self._was
        return isinstance(request, Request) and request.query(model_id).key == row.entry.key

    def _has_newer(self, row: Exported, query: Query) -> bool:
        """Return whether the storage has got an answer since, or has been told that this one is wrong."""
        held = [self._storage.recall(query.namespace, each.key).candidate for each in (query, own(query))]
        return any(row.is_older_than(candidate, time.time()) for candidate in held)

    def _model_id(self) -> str:
        if self._site.plan.threshold == "exact":
            return EXACT_MODEL.model_id
        return self._site.core.find_embedder().load().model_id

    def _seconds_left(self, row: Exported, response: object) -> float | None:
        """Return for how long an answer may still be served, by its own expiry and the function's ttl; None: always."""
        now = time.time()
        ends = [] if row.expires_at in (None, math.inf) else [row.expires_at]
        if row.entry.fresh_for is not None:
            ends.append(row.stored_at + row.entry.fresh_for)
        own = self._site.keyer.ttl
        seconds = checks.ttl(own(response) if callable(own) else own)
        if seconds is not None:
            ends.append(row.stored_at + seconds)
        return min(end - now for end in ends if end is not None) if ends else None

    def _stored(self, response: object, kwargs: dict[str, Any]) -> str:
        """Have a call store a response that the function need not be asked for."""
        own_option = CALL_OPTIONS & kwargs.keys() & set(self._site.keyer.binder.names)
        if own_option:
            raise InvalidValueError(f"has {sorted(own_option)[0]!r}, which is an argument of the function's own")
        before = self._ledger.stats
        # An async function's call is read, and its answer stored, in the same way.
        self._site.call(self._invocation((), kwargs)._replace(function=lambda *_, **__: response), reuse=False)
        after = self._ledger.stats
        if after.stored > before.stored:
            return "loaded"
        for counts, earlier in ((after.errors, before.errors), (after.bypasses, before.bypasses)):
            grown = [str(name) for name, count in counts.items() if count > earlier.get(name, 0)]
            if grown:
                return f"trouble with {grown[0]}"
        return "refused by store_if"


def _with_storage(site: CallSite, storage: StorageBackend) -> CallSite:
    """Return a call site that keeps its answers in another storage, and has patience with it."""
    config = replace(
        site.core.config,
        cache_timeout_seconds=PATIENCE_SECONDS,
        embed_timeout_seconds=PATIENCE_SECONDS,
        load_timeout_seconds=max(PATIENCE_SECONDS, site.core.config.load_timeout_seconds),
    )
    core = replace(
        site.core,
        config=config,
        find_storage=lambda: storage,
        existing_storage=lambda: storage,
        find_opening=lambda: breaker_of(storage),
    )
    return replace(site, core=core)


def _conversation(prompt: str, *, whole: bool) -> list[dict[str, str]]:
    """Return the messages that a stored prompt stands for: one, or all turns if the history may be similar."""
    turns = (read(prompt) if whole else None) or (Turn("user", prompt),)
    return [{"role": turn.role, "content": turn.text} for turn in turns]


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InvalidValueError(f'--kwargs={text!r} is no JSON object; use \'{{"user_id": "ada"}}\'')
    return found
