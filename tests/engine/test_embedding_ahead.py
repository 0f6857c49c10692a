"""Behind a network a new prompt is embedded while its exact look-up is under way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from recallm import CacheConfig, InMemoryStorage, SemanticCache
from recallm.records import Recalled
from recallm.storage.base import Search
from recallm.testing import FakeEmbedder

WAIT = 20.0


class Gate:
    """Holds whoever comes through it until it is opened, and sets `entered` when somebody comes."""

    def __init__(self) -> None:
        self.entered, self.open = threading.Event(), threading.Event()
        self.open.set()

    def hold(self) -> None:
        """Wait to be let through."""
        self.entered.set()
        self.open.wait(WAIT)


class Far(InMemoryStorage):
    """A storage behind a network, which may look for both at once."""

    blocking = True
    recalls_and_searches = True

    def __init__(self, hold: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self._hold = hold

    def recall(self, namespace: str, key: str) -> Recalled:
        """Call `hold`, and look."""
        self._hold()
        return super().recall(namespace, key)

    def recall_and_search(self, namespace: str, key: str, search: Search) -> Recalled:
        """Look for the key."""
        return self.recall(namespace, key)


class Slow(FakeEmbedder):
    """An embedder that lets calls through a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Gate()

    def embed(self, text: str) -> Any:
        """Go through the gate, and return its vector."""
        self.gate.hold()
        return super().embed(text)


def asking(storage: Any, embedder: Any, **options: Any) -> Any:
    """Return a cached function that answers with the prompt."""
    cache = SemanticCache(storage, CacheConfig(cache_timeout_seconds=WAIT, **options), embedder, guards=())

    def answer(prompt: str) -> str:
        return prompt

    return cache.wrap(answer, context={})


def test_a_prompt_is_embedded_while_it_is_looked_for() -> None:
    """Behind a network the exact look-up and the embedding of a new prompt do not wait for each other."""
    looking = Gate()
    embedder = Slow()
    answer = asking(Far(looking.hold), embedder)
    answer("the first shows that embedding is quick")
    looking.open.clear()
    caller = threading.Thread(target=lambda: answer("two"))
    embedder.gate.entered.clear()
    caller.start()
    assert embedder.gate.entered.wait(WAIT)
    looking.open.set()
    caller.join()
    assert embedder.embedded == ["the first shows that embedding is quick", "two"]
    assert answer.stats().misses == 2


def test_what_was_embedded_in_vain_holds_nobody_up() -> None:
    """A hit does not wait for the embedding that was begun meanwhile, and its failure is nobody's."""
    storage, embedder = Far(), Slow()
    other = asking(storage, FakeEmbedder())
    answer = asking(storage, embedder)
    answer("the first shows that embedding is quick")
    other("two")
    embedder.gate.open.clear()
    assert answer("two") == "two"
    embedder.gate.open.set()
    assert (answer.stats().exact_hits, answer.stats().errors) == (1, {})


def test_a_crowd_that_asks_the_same_embeds_it_once_or_twice() -> None:
    """Of a crowd with one new prompt one call embeds it ahead, and the one that all wait for, which may be another."""
    embedder = Slow()
    answer = asking(Far(), embedder)
    answer("the first shows that embedding is quick")
    crowd = [threading.Thread(target=lambda: answer("two")) for _ in range(16)]
    for caller in crowd:
        caller.start()
    for caller in crowd:
        caller.join()
    assert embedder.embedded.count("two") <= 2
