"""The part of an effect handler that asks the embedder."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from recallm.concurrency.timeouts import How, PendingFuture, pending, submit
from recallm.embedders.managed import ManagedEmbedder
from recallm.engine.core import Core
from recallm.engine.effects import Embed, EmbedTurns
from recallm.errors import BusyError
from recallm.storage.base import Recall, RecallAndSearch, Search, StorageOperation

if TYPE_CHECKING:
    from recallm.typing import Vector


class Embeds:
    """Asks the embedder for one call: always the one that was in use when it was first asked.

    Args:
        core: what the call shares with others of its cache.
    """

    __slots__ = ("_ahead", "_core", "_embedder")

    def __init__(self, core: Core) -> None:
        self._core = core
        self._embedder: ManagedEmbedder | None = None
        self._ahead: tuple[str, str, Future[Vector | None]] | None = None

    def _find_embedder(self) -> ManagedEmbedder:
        if self._embedder is None:
            self._embedder = self._core.find_embedder()
        return self._embedder

    def _with_search(self, recall: Recall) -> StorageOperation:
        """Return a look-up that also searches if the prompt's vector is known, for which nobody has to wait then."""
        beside = None if recall.beside is None else recall.beside()
        if beside is None:
            return recall
        try:
            _, vector = self._find_embedder().cached_vector(beside.text, beside.model_id)
        except BusyError:
            return recall
        if vector is None:
            return recall
        search = Search(recall.namespace, beside.partition, vector, beside.threshold, beside.limit)
        return RecallAndSearch(recall.namespace, recall.key, search)

    def _load_model(self) -> Any:
        embedder = self._find_embedder()
        info = embedder.model_info()
        if not isinstance(info, Future):
            return info

        def over(how: How) -> None:
            if how == "late":
                embedder.load_timed_out()

        return PendingFuture(info, self._core.config.load_timeout_seconds, over)

    def _embed(self, effect: Embed) -> Any:
        embedder, text, model_id = self._find_embedder(), effect.text, effect.model_id
        known, vector = embedder.cached_vector(text, model_id)
        if known:
            return vector
        timeout, ahead = self._core.config.embed_timeout_seconds, self._ahead
        if ahead is not None and ahead[:2] == (text, model_id):
            embedder.breaker.admit()
            self._ahead = None
            return pending(embedder.workers, ahead[2], timeout, embedder.breaker)
        return submit(embedder.workers, lambda: embedder.embed(text, model_id), timeout, embedder.breaker)

    def _embed_ahead(self, recall: Recall) -> None:
        """Have a prompt embedded while the storage looks for it: nobody here asked it lately, so it is seldom there."""
        beside = None if recall.beside is None else recall.beside()
        if beside is None or self._ahead is not None:
            return
        embedder = self._find_embedder()
        with suppress(BusyError):
            if not embedder.cached_vector(beside.text, beside.model_id)[0]:
                future = embedder.embed_ahead(beside.text, beside.model_id)
                self._ahead = None if future is None else (beside.text, beside.model_id, future)

    def _embed_turns(self, effect: EmbedTurns) -> Any:
        embedder, model_id = self._find_embedder(), effect.model_id
        known = {text: embedder.cached_vector(text, model_id) for text in effect.texts}
        vectors = {text: vector for text, (is_known, vector) in known.items() if is_known}
        missing = [text for text in effect.texts if text not in vectors]
        if not missing:
            return vectors
        timeout = self._core.config.embed_timeout_seconds
        return submit(
            embedder.workers, lambda: vectors | embedder.embed_turns(missing, model_id), timeout, embedder.breaker
        )
