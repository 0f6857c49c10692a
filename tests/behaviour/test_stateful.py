"""On every storage, a cached function behaves as one whose answers are kept in a plain dictionary."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from support.examples import examples

from recallm import InMemoryStorage, ThreadSafeInMemoryStorage, semantic_cache
from recallm.testing import Clock, FakeEmbedder

PROMPTS = st.sampled_from(
    ["one two", "two one", "three four", "four three", "five", " ", "six seven eight", "eight six seven"]
)
USERS = st.sampled_from(["ada", "bob"])
NAMESPACES = st.sampled_from(["n", "m"])
TTL = 10.0


class Away(Exception):  # noqa: N818  # what the function raises
    """The error of the function while it fails."""


class Model(RuleBasedStateMachine):
    """A cached function beside a dictionary of the entries that must be in the cache."""

    storage_type: type[InMemoryStorage]
    asynchronous: bool

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.answers = self.hits = self.misses = self.stale = self.bypasses = 0
        self.away = False
        self.entries: dict[tuple[str, str, str], tuple[str, float]] = {}
        shared: dict[str, Any] = {
            "context": lambda kw: {"user": kw["user"]},
            "embedder": FakeEmbedder(),
            "storage": self.storage_type(clock=self.clock),
            "guards": (),
            "threshold": 0.99,
            "ttl": TTL,
            "ignore": ("self",),
            "prompt": "prompt",
        }

        def answer(prompt: str, user: str, stream: bool = False) -> str:
            if self.away:
                raise Away
            self.answers += 1
            return f"answer {self.answers} for {user}"

        async def later(prompt: str, user: str, stream: bool = False) -> str:
            await asyncio.sleep(0)
            return answer(prompt, user)

        self.cached: Any = semantic_cache(**shared)(later if self.asynchronous else answer)

    def perform(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call the function, or one of its methods such as `invalidate`."""
        if self.asynchronous:
            handle = {"refresh": "arefresh", "invalidate": "ainvalidate"}.get(name, name)
            return asyncio.run(getattr(self.cached, handle)(*args, **kwargs))
        return getattr(self.cached, name)(*args, **kwargs)

    def alive(self) -> dict[tuple[str, str, str], str]:
        """Return the answers that have not expired."""
        return {key: answer for key, (answer, until) in self.entries.items() if self.clock.now < until}

    def serving(self, prompt: str, user: str, namespace: str) -> dict[tuple[str, str, str], str]:
        """Return the entries that may answer: the very prompt's, else those with the same words in another order."""
        alive = self.alive()
        exact = (prompt, user, namespace)
        if exact in alive:
            return {exact: alive[exact]}
        blank = not prompt.strip()
        return {
            key: answer
            for key, answer in alive.items()
            if key[1:] == (user, namespace) and not blank and sorted(key[0].split()) == sorted(prompt.split())
        }

    @rule(prompt=PROMPTS, user=USERS, namespace=NAMESPACES)
    def ask(self, prompt: str, user: str, namespace: str) -> None:
        """A call is a hit if and only if the dictionary has an answer."""
        expected = self.serving(prompt, user, namespace)
        before = self.answers
        if expected:
            assert self.perform("__call__", prompt, user, cache_namespace=namespace) in expected.values()
            assert self.answers == before
            self.hits += 1
            return
        self.misses += 1
        if self.away:
            with pytest.raises(Away):
                self.perform("__call__", prompt, user, cache_namespace=namespace)
            return
        answer = self.perform("__call__", prompt, user, cache_namespace=namespace)
        assert self.answers == before + 1
        self.entries[prompt, user, namespace] = (answer, self.clock.now + TTL)

    @rule(prompt=PROMPTS, user=USERS, namespace=NAMESPACES)
    def refresh(self, prompt: str, user: str, namespace: str) -> None:
        """A refresh calls the function, and its answer replaces the old one."""
        self.misses += 1
        if self.away:
            with pytest.raises(Away):
                self.perform("refresh", prompt, user, cache_namespace=namespace)
            return
        answer = self.perform("refresh", prompt, user, cache_namespace=namespace)
        self.entries[prompt, user, namespace] = (answer, self.clock.now + TTL)

    @rule(prompt=PROMPTS, user=USERS, namespace=NAMESPACES)
    def invalidate(self, prompt: str, user: str, namespace: str) -> None:
        """Invalidating a call removes the entries that it could hit, by prompt and by similarity."""
        alive = self.alive()
        exact = {(prompt, user, namespace)} & alive.keys()
        blank = not prompt.strip()
        similar = {
            key
            for key in alive
            if key[1:] == (user, namespace) and not blank and sorted(key[0].split()) == sorted(prompt.split())
        }
        assert self.perform("invalidate", prompt, user, cache_namespace=namespace) == len(exact | similar)
        for key in exact | similar:
            del self.entries[key]

    @rule(namespace=NAMESPACES)
    def invalidate_namespace(self, namespace: str) -> None:
        """Invalidating a namespace removes all of its entries and no others."""
        gone = [key for key in self.alive() if key[2] == namespace]
        assert self.cached.cache.invalidate_namespace(namespace) == len(gone)
        self.entries = {key: kept for key, kept in self.entries.items() if key[2] != namespace}

    @rule(seconds=st.sampled_from([0.0, 1.0, 4.0, 10.0]))
    def let_time_pass(self, seconds: float) -> None:
        """As time passes, answers expire."""
        self.clock.advance(seconds)

    @rule()
    def change_moods(self) -> None:
        """Make the function fail from now on, or work again."""
        self.away = not self.away

    @rule(prompt=PROMPTS, user=USERS)
    def stream(self, prompt: str, user: str) -> None:
        """A streamed call is never answered from the cache, and never kept."""
        self.bypasses += 1
        if self.away:
            with pytest.raises(Away):
                self.perform("__call__", prompt, user, stream=True)
        else:
            assert self.perform("__call__", prompt, user, stream=True) == f"answer {self.answers} for {user}"

    @invariant()
    def sizes_agree(self) -> None:
        """The reported sizes are the numbers of live entries by namespace."""
        sizes: dict[str, int] = {}
        for key in self.alive():
            sizes[key[2]] = sizes.get(key[2], 0) + 1
        assert self.cached.stats().namespace_sizes == sizes

    @invariant()
    def statistics_add_up(self) -> None:
        """Every call is a hit, a miss or a bypass."""
        stats = self.cached.stats()
        assert (stats.hits, stats.misses, dict(stats.bypasses)) == (
            self.hits,
            self.misses,
            {"stream": self.bypasses} if self.bypasses else {},
        )
        assert stats.errors == {}


@pytest.mark.untraced
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("storage_type", [InMemoryStorage, ThreadSafeInMemoryStorage])
def test_the_cache_does_as_the_dictionary(storage_type: type[InMemoryStorage], asynchronous: bool) -> None:
    """Ten thousand random operations have the same results as on a plain dictionary of answers."""
    kind = type("Kind", (Model,), {"storage_type": storage_type, "asynchronous": asynchronous})
    run_state_machine_as_test(
        kind,
        settings=examples(0.5, stateful_step_count=50, suppress_health_check=list(HealthCheck)),
    )
