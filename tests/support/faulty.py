"""Embedders and storages that fail, lie or hang, and a cached function to try them on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from recallm import CacheConfig, InMemoryStorage, semantic_cache
from recallm.records import Candidate, Entry, Recalled
from recallm.testing import Clock, FakeEmbedder

HANG_SECONDS = 20.0
"""How long what hangs would hang; a call must return long before."""

PATIENT = CacheConfig(cache_timeout_seconds=HANG_SECONDS, embed_timeout_seconds=HANG_SECONDS)
"""Time limits that a busy machine does not reach by itself."""


class Function:
    """A function that answers with how often it has run."""

    def __init__(self, *, asynchronous: bool = False, **options: Any) -> None:
        self.ran = 0
        self.response: Any = None
        kept = {"context": {}, "storage": InMemoryStorage(), "embedder": FakeEmbedder(), "guards": (), **options}
        kept.setdefault("config", PATIENT)

        def answer(question: str) -> str:
            return self.next()

        async def later(question: str) -> str:
            return self.next()

        self.asynchronous = asynchronous
        self.cached: Any = semantic_cache(**kept, namespace="n", ignore=("self",))(later if asynchronous else answer)

    def next(self) -> str:
        """Answer."""
        self.ran += 1
        return f"answer {self.ran}" if self.response is None else self.response

    def ask(self, question: str) -> str:
        """Return what a caller gets."""
        answer: str = asyncio.run(self.cached(question)) if self.asynchronous else self.cached(question)
        return answer

    def counted(self) -> tuple[int, int, int]:
        """Return hits, misses and what is stored."""
        stats = self.cached.stats()
        return stats.hits, stats.misses, stats.stored


class Returning(FakeEmbedder):
    """An embedder that returns or raises a given value."""

    def __init__(self, result: Any) -> None:
        super().__init__(dim=4)
        self.result = result

    def embed(self, text: str) -> Any:
        """Return or raise it."""
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


class HangingEmbedder(FakeEmbedder):
    """An embedder that hangs in one of its operations until it is released."""

    def __init__(self, where: str, released: threading.Event) -> None:
        super().__init__()
        self.where, self.released = where, released

    def load(self) -> None:
        """Load, or hang."""
        if self.where == "load":
            self.released.wait(HANG_SECONDS)

    def embed(self, text: str) -> Any:
        """Embed, or hang."""
        if self.where == "embed":
            self.released.wait(HANG_SECONDS)
        return super().embed(text)


class Obstinate(InMemoryStorage):
    """A storage whose operations are replaced one by one."""

    blocking = True

    def __init__(self, clock: Clock | None = None, **replaced: Callable[..., Any]) -> None:
        super().__init__(clock=clock or Clock())
        self.replaced = replaced

    def _perform(self, operation: str, *args: Any) -> Any:
        own = getattr(super(), operation)
        replacement = self.replaced.get(operation)
        return own(*args) if replacement is None else replacement(own, *args)

    def recall(self, namespace: str, key: str) -> Any:
        """Look up, or perform the replacement."""
        return self._perform("recall", namespace, key)

    def search(self, *args: Any) -> Any:
        """Search, or perform the replacement."""
        return self._perform("search", *args)

    def put(self, entry: Entry, epoch: int, ttl: float | None) -> Any:
        """Store, or perform the replacement."""
        return self._perform("put", entry, epoch, ttl)

    def sizes(self, namespaces: Any) -> Any:
        """Count, or perform the replacement."""
        return self._perform("sizes", namespaces)


class Away(InMemoryStorage):
    """A storage on a server that is down, but for storing and finding."""

    blocking = True

    def invalidate(self, namespace: str) -> int:
        """Fail."""
        raise ConnectionError("down")

    def sizes(self, namespaces: Iterable[str]) -> Mapping[str, int]:
        """Fail."""
        raise ConnectionError("down")


def returning(result: Any) -> Callable[..., Any]:
    """Return an operation that returns, or raises, `result`."""

    def operate(*_: Any) -> Any:
        if isinstance(result, Exception):
            raise result
        return result

    return operate


def changed(entry: Entry, **changes: Any) -> Entry:
    """Return an entry that differs in some fields."""
    return entry._replace(**changes)


def lying(**changes: Any) -> dict[str, Any]:
    """Return a look-up and a search whose entries differ from what was stored."""

    def changed_candidate(found: Candidate) -> Candidate:
        return Candidate(changed(found.entry, **changes), found.similarity, found.age)

    def recall(own: Any, *args: Any) -> Recalled:
        recalled = own(*args)
        found = recalled.candidate
        return Recalled(None if found is None else changed_candidate(found), recalled.epoch)

    def search(own: Any, *args: Any) -> Sequence[Candidate]:
        return [changed_candidate(found) for found in own(*args)]

    return {"recall": recall, "search": search}
